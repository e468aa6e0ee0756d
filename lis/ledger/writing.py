"""The one writer of tube state. Events and the state they lead to are written in one transaction."""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from itertools import compress, groupby
from operator import is_not, itemgetter
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import ColumnElement, Connection, bindparam, delete, update

from lis import events as e
from lis.db import Prepared, among, insert_many, insert_tuples, under_way
from lis.errors import Conflict
from lis.events import COLUMNS, FIELDS
from lis.ledger.amending import write_amendments
from lis.ledger.rows import HEAD, LINKED, Recorded, as_row, as_stored, link, link_row, tubes
from lis.schema import chain, event, pool_member, recall, tube, tube_person
from lis.tube import Tube, evolve

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from lis.db import Unit


TOGETHER: Final = 4
"""Tubes that move alike: from this many on, one statement moves them all."""


def append(unit: Unit, facts: Iterable[Recorded], known: Mapping[str, Tube] | None = None) -> dict[str, Tube]:
    """Record ``facts`` in order and move their tubes; the only way to change a tube.

    Args:
        unit: the transaction; its ``now`` and ``actor`` are recorded with every event.
        facts: (tube, event) pairs; later events of one tube see the effect of earlier ones.
        known: tubes as read in this transaction, to save reading them again; a stale one is refused.

    Returns:
        Every tube touched, as it stands afterwards.

    Raises:
        IllegalMove: a tube's state, kind or count does not allow its event; nothing is written.
    """
    facts = list(facts)
    if not facts:
        return {}
    if not unit.logs:
        raise RuntimeError("a transaction that only receives has no turn at the log; open it with `write`")
    touched = {tube_id for tube_id, _ in facts}
    given = known or {}
    before = {code: given[code] for code in touched if code in given}
    before |= tubes(unit.conn, touched - given.keys())
    after = dict(before)
    moved: list[Tube] = []
    for tube_id, fact in facts:
        after[tube_id] = evolve(after[tube_id], fact, unit.now)
        moved.append(after[tube_id])
    with _writing_tubes(unit.conn, before, after):  # PostgreSQL moves the tubes while their rows are linked
        rows = _linked(unit, moved, facts)
    _write_rows(unit.conn, rows)
    unit.head.event_id, unit.head.hash = rows[-1]["event_id"], rows[-1]["hash"]
    _write_head(unit)
    _write_links(unit, facts)
    return after


def _linked(unit: Unit, moved: Iterable[Tube], facts: Iterable[Recorded]) -> list[dict[str, Any]]:
    """The rows of the log for ``facts``, each with its hash, and the tubes they led to."""
    rows: list[dict[str, Any]] = []
    digest = unit.head.hash
    for event_id, (now, (_, fact)) in enumerate(zip(moved, facts, strict=True), unit.head.event_id + 1):
        row = as_row(event_id, now, fact, unit.now, unit.actor)
        row["hash"] = digest = link(digest, row)
        rows.append(row)
    return rows


def _write_rows(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add rows to the log: long stretches of one kind with its own columns, else all with those of all."""
    stretches = [list(many) for _, many in groupby(rows, key=itemgetter("kind"))]
    if len(stretches) * TOGETHER > len(rows):
        stretches = [list(rows)]
    for many in stretches:
        names = _columns(frozenset(row["kind"] for row in many))
        insert_tuples(conn, event, names, [tuple(map(row.get, names)) for row in many], plain=True)


@lru_cache(maxsize=256)
def _columns(kinds: frozenset[str]) -> tuple[str, ...]:
    """The columns of the log that events of these kinds fill."""
    filled = {name for kind in kinds for name in FIELDS[kind]}
    return (*HEAD, *(name for name in COLUMNS if name in filled), "hash")


_MOVE_HEAD: Final = Prepared(
    update(chain)
    .where(chain.c.id == 1)
    .values({name: bindparam(f"new_{name}") for name in ("event_id", "hash", "at")})
)


def _write_head(unit: Unit) -> None:
    head = unit.head
    if not _MOVE_HEAD.run(unit.conn, new_event_id=head.event_id, new_hash=head.hash, new_at=unit.now):
        row = {"id": 1, "event_id": head.event_id, "hash": head.hash, "at": unit.now}
        insert_many(unit.conn, chain, [row])


@contextmanager
def _writing_tubes(conn: Connection, before: dict[str, Tube], after: dict[str, Tube]) -> Iterator[None]:
    """Write tubes as they stand now; done when the block ends.

    Raises:
        Conflict: ``TUBE_MOVED``: one of them is not as it was read.
    """
    new = [as_stored(now) for tube_id, now in after.items() if not before[tube_id].seq]
    if new:
        insert_tuples(conn, tube, Tube._fields, new)
    moves: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for tube_id, now in after.items():
        old = before[tube_id]
        if old.seq:
            # What did not change is the very same object, which is found out faster than equality.
            touched = compress(zip(Tube._fields, now, old, strict=True), map(is_not, now, old))
            moves[old.seq, *((name, value) for name, value, was in touched if value != was)].append(tube_id)
    alike, singly = _sorted(moves)
    told = []
    with under_way(conn) if alike else nullcontext():
        for names, values in alike:
            told.append(_move_alike(names).send(conn, **values))
        yield
    found = sum(one() for one in told) + sum(_move_one(n).run_each(conn, many) for n, many in singly.items())
    if found != sum(map(len, moves.values())):
        raise Conflict(
            "TUBE_MOVED", "A tube was moved by someone else meanwhile. Nothing was written; scan again."
        )


_Names = tuple[str, ...]
_Values = dict[str, Any]


def _sorted(
    moves: Mapping[tuple[Any, ...], list[str]],
) -> tuple[list[tuple[_Names, _Values]], dict[_Names, list[_Values]]]:
    """Which columns change to what: for all tubes that move alike at once, and for those that move alone.

    Only columns that changed: an index costs time only if one of its columns is written.
    """
    alike: list[tuple[_Names, _Values]] = []
    singly: dict[_Names, list[_Values]] = defaultdict(list)
    for (seq, *changed), tube_ids in moves.items():
        names = tuple(name for name, _ in changed)
        values = {f"new_{name}": value for name, value in changed} | {"was_seq": seq}
        if len(tube_ids) < TOGETHER:
            singly[names] += [{**values, "was_id": tube_id} for tube_id in tube_ids]
        else:
            alike.append((names, {**values, "codes": sorted(tube_ids)}))
    return alike, singly


@lru_cache(maxsize=256)
def _move_alike(names: tuple[str, ...]) -> Prepared:
    """Change these columns of many tubes to the same values."""
    return _moving(among(tube.c.tube_id, "codes"), names)


@lru_cache(maxsize=256)
def _move_one(names: tuple[str, ...]) -> Prepared:
    """Change these columns of one tube."""
    return _moving(tube.c.tube_id == bindparam("was_id"), names)


def _moving(which: ColumnElement[bool], names: Sequence[str]) -> Prepared:
    changed = update(tube).where(which, tube.c.seq == bindparam("was_seq"))
    return Prepared(changed.values({name: bindparam(f"new_{name}") for name in names}))


def _write_links(unit: Unit, facts: Sequence[Recorded]) -> None:
    """The rows that follow from events: persons in tubes, tubes in pools, persons recalled."""
    rows: dict[type, list[dict[str, Any]]] = defaultdict(list)
    for tube_id, fact in facts:
        if type(fact).__name__ in LINKED:
            rows[type(fact)].append(link_row(tube_id, fact, unit.now))
    for tube_id, fact in facts:
        if isinstance(fact, e.PersonUnbound):
            place = tube_person.c.tube_id == tube_id, tube_person.c.place == fact.place
            unit.conn.execute(delete(tube_person).where(*place))
    insert_many(unit.conn, tube_person, rows[e.PersonBound])
    insert_many(unit.conn, pool_member, rows[e.JoinedPool])
    insert_many(unit.conn, recall, rows[e.PersonRecalled])
    write_amendments(unit, facts)
    for row in rows[e.PersonRecollected]:
        task = (recall.c.tube_id == row["tube_id"], recall.c.person_id == row["person_id"])
        closed = unit.conn.execute(
            update(recall)
            .where(*task, recall.c.closed_at.is_(None))
            .values(closed_at=unit.now, other_tube=row["other_tube"], result=row["result"])
        ).rowcount
        if closed != 1:
            raise Conflict(
                "RECALL_CLOSED",
                f"Tube {row['tube_id']} does not wait for a new specimen of this person (any more). "
                "Nothing was written.",
                tube=row["tube_id"],
            )
