"""The one writer of tube state. Events and the state they lead to are written in one transaction."""

from __future__ import annotations

from collections import defaultdict
from contextlib import nullcontext
from functools import lru_cache
from itertools import compress, groupby
from operator import is_not, itemgetter
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import ColumnElement, Connection, bindparam, delete, update

from lis import events as e
from lis.db import FEW, Asked, Head, Prepared, among, insert_many, insert_tuples, under_way
from lis.errors import Conflict
from lis.events import COLUMNS, FIELDS
from lis.ledger.amending import write_amendments
from lis.ledger.rows import HEAD, LINKED, Recorded, as_row, as_stored, link, link_row, tubes
from lis.schema import chain, event, pool_member, recall, tube, tube_person
from lis.tube import Tube, evolve

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

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
    _write(unit, facts, before, moved)
    _write_links(unit, facts)
    return after


def _write(unit: Unit, facts: Sequence[Recorded], before: Mapping[str, Tube], moved: Sequence[Tube]) -> None:
    """Write the log, its head and the tubes: few rows all in one way, many while PostgreSQL moves the tubes.

    Raises:
        Conflict: ``TUBE_MOVED``: one of the tubes is not as it was read.
    """
    conn, few = unit.conn, len(facts) <= FEW
    after = {one.tube_id: one for one in moved}
    moves: list[tuple[Asked, int]] = []
    try:
        with under_way(conn) if few else nullcontext():
            insert_tuples(
                conn, tube, Tube._fields, [as_stored(after[code]) for code in after if not before[code].seq]
            )
            with nullcontext() if few else under_way(conn):
                moves += _move(conn, before, after)
                rows = _linked(unit, moved, facts)
                head = Head(rows[-1]["event_id"], rows[-1]["hash"])
                at_head = _MOVE_HEAD.ask(
                    conn, new_event_id=head.event_id, new_hash=head.hash, new_at=unit.now
                )
            _write_rows(conn, rows)
    except conn.dialect.dbapi.IntegrityError:  # type: ignore[union-attr]  # an open connection has a driver
        _refuse_stale(moves)  # whose next row is there already
        raise
    _refuse_stale(moves)
    if not at_head.touched():
        insert_many(conn, chain, [{"id": 1, "event_id": head.event_id, "hash": head.hash, "at": unit.now}])
    unit.head.event_id, unit.head.hash = head.event_id, head.hash


def _refuse_stale(moves: Iterable[tuple[Asked, int]]) -> None:
    if any(one.count not in {None, wanted} for one, wanted in moves):
        raise Conflict(
            "TUBE_MOVED", "A tube was moved by someone else meanwhile. Nothing was written; scan again."
        )


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


def _move(conn: Connection, before: Mapping[str, Tube], after: Mapping[str, Tube]) -> list[tuple[Asked, int]]:
    """Have tubes moved that were registered before: what was asked, and how many rows each must touch.

    All tubes that move alike in one statement, and only columns that changed: an index costs time only if
    one of its columns is written.
    """
    moves: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for tube_id, now in after.items():
        old = before[tube_id]
        if old.seq:
            # What did not change is the very same object, which is found out faster than equality.
            touched = compress(zip(Tube._fields, now, old, strict=True), map(is_not, now, old))
            moves[old.seq, *((name, value) for name, value, was in touched if value != was)].append(tube_id)
    asked: list[tuple[Asked, int]] = []
    for (seq, *changed), tube_ids in moves.items():
        names = tuple(name for name, _ in changed)
        values = {f"new_{name}": value for name, value in changed} | {"was_seq": seq}
        if len(tube_ids) < TOGETHER:
            one = _move_one(names)
            asked += [(one.ask(conn, **values, was_id=tube_id), 1) for tube_id in tube_ids]
        else:
            asked.append((_move_alike(names).ask(conn, **values, codes=sorted(tube_ids)), len(tube_ids)))
    return asked


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
    with under_way(unit.conn) if len(facts) <= FEW else nullcontext():
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
