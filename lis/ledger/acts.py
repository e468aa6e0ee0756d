"""Acts beside the log: what was done to devices and in administration, and who saw whom in clear.

Each of these tables is a chain of its own, as the log is: numbered from 1, every row linked to the row
before it by its hash, the end held in ``act_chain``. What was changed, deleted, swapped or added behind our
back does not fit, and :func:`broken_acts` names the first row that does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, Table, select, update

from lis.clock import to_text
from lis.db import GENESIS, insert_many
from lis.ledger.rows import link
from lis.schema import act_chain, admin_act, device_act, disclosure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lis.db import Unit

PIECE: Final = 2000
"""Acts that are read at once."""


@dataclass(frozen=True, slots=True)
class Acts:
    """One chain of acts.

    Attributes:
        key: the column that numbers its rows.
        one: how a row is called, with its number; ``all``: how all of them are.
        said: what names a row, filled from its columns.
    """

    table: Table
    key: str
    one: str
    all: str
    said: str


CHAINS: Final = {
    made.table.name: made
    for made in (
        Acts(device_act, "act_id", "act {} on devices", "acts on devices", "{act} of {device}"),
        Acts(admin_act, "act_id", "act {} of administration", "acts of administration", "{act} of {subject}"),
        Acts(disclosure, "disclosure_id", "disclosure {}", "disclosures", "{act} by {actor}"),
    )
}
"""Table -> its chain."""


def _link(previous: str, row: Mapping[str, Any]) -> str:
    """The hash of an act after one whose hash was ``previous``: it covers all of its row."""
    covered = {name: value for name, value in row.items() if name != "hash"}
    return link(previous, covered | {"at": to_text(row["at"])})


def _end(conn: Connection, name: str) -> tuple[int, str]:
    """Number and hash of the last act of a chain; number 0 while there is none."""
    found = select(act_chain.c.number, act_chain.c.hash).where(act_chain.c.name == name)
    row = conn.execute(found).one_or_none()
    return (row.number, row.hash) if row else (0, GENESIS)


def write_acts(unit: Unit, name: str, acts: Sequence[Mapping[str, Any]]) -> None:
    """Write acts down in the transaction that does them; none comes between, writers take turns.

    Args:
        unit: the transaction; its moment and actor are those of the acts.
        name: the table of the chain.
        acts: every other column of it but number and hash.
    """
    chain = CHAINS[name]
    number, digest = _end(unit.conn, name)
    rows = []
    for act in acts:
        number += 1
        row = {chain.key: number, "at": unit.now, "actor": unit.actor, **act}
        digest = _link(digest, row)
        rows.append(row | {"hash": digest})
    insert_many(unit.conn, chain.table, rows)
    end = {"number": number, "hash": digest}
    moved = unit.conn.execute(update(act_chain).where(act_chain.c.name == name).values(end)).rowcount
    if moved != 1:
        insert_many(unit.conn, act_chain, [{"name": name, **end}])


def read_acts(conn: Connection, name: str) -> Iterator[dict[str, Any]]:
    """Every act of a chain in the order in which they were written."""
    chain = CHAINS[name]
    found = select(chain.table).order_by(chain.table.c[chain.key]).execution_options(yield_per=PIECE)
    with conn.execute(found) as rows:
        for row in rows.mappings():
            yield dict(row)


def broken_acts(conn: Connection, name: str) -> str:
    """The first act of a chain that does not fit, as a sentence; empty if all of them do."""
    chain = CHAINS[name]
    count, digest = 0, GENESIS
    for row in read_acts(conn, name):
        count += 1
        called = chain.one.format(count)
        if row[chain.key] != count:
            return f"{called} is missing"
        if _link(digest, row) != row["hash"]:
            said = chain.said.format_map(row)
            return f"{called} ({said}) was changed, or does not follow the one before it"
        digest = row["hash"]
    if _end(conn, name) != (count, digest):
        return f"the {chain.all} end at {count}: those after it are missing or changed"
    return ""
