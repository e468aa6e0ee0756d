"""The one writer of tube state. Events and the state they lead to are written in one transaction."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, bindparam, insert, update

from lis import events as e
from lis.db import among, insert_many
from lis.errors import Conflict
from lis.ledger.amending import write_amendments
from lis.ledger.rows import Recorded, as_row, head_of, link, link_row, tubes
from lis.schema import chain, event, pool_member, recall, tube, tube_person
from lis.tube import Tube, TubeState, evolve

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
    touched = {tube_id for tube_id, _ in facts}
    given = known or {}
    before = {code: given[code] for code in touched if code in given}
    before |= tubes(unit.conn, touched - given.keys())
    after = dict(before)
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    head_id, head_hash = head_of(unit.conn)
    for tube_id, fact in facts:
        moved = evolve(after[tube_id], fact, unit.now)
        after[tube_id] = moved
        head_id += 1
        row = as_row(head_id, moved, fact, unit.now, unit.actor)
        row["hash"] = head_hash = link(head_hash, row)
        rows[row["kind"]].append(row)
    for many in rows.values():
        insert_many(unit.conn, event, many)
    _write_head(unit, head_id, head_hash)
    _write_tubes(unit.conn, before, after)
    _write_links(unit, facts)
    return after


def _write_head(unit: Unit, event_id: int, digest: str) -> None:
    values = {"event_id": event_id, "hash": digest, "at": unit.now}
    if not unit.conn.execute(update(chain).where(chain.c.id == 1).values(**values)).rowcount:
        unit.conn.execute(insert(chain).values(id=1, **values))


def _write_tubes(conn: Connection, before: dict[str, Tube], after: dict[str, Tube]) -> None:
    new = [new._asdict() for tube_id, new in after.items() if before[tube_id].state is TubeState.ABSENT]
    insert_many(conn, tube, new)
    moves: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for tube_id, now in after.items():
        old = before[tube_id]
        if old.state is not TubeState.ABSENT:
            values = zip(Tube._fields, now, old, strict=True)
            moves[old.seq, *((name, value) for name, value, was in values if value != was)].append(tube_id)
    if _write_moves(conn, moves) != sum(map(len, moves.values())):
        raise Conflict(
            "TUBE_MOVED", "A tube was moved by someone else meanwhile. Nothing was written; scan again."
        )


def _write_moves(conn: Connection, moves: Mapping[tuple[Any, ...], list[str]]) -> int:
    """Change only the columns that changed, all tubes that move alike in one statement; how many moved.

    An index costs time only if one of its columns is written.
    """
    found = 0
    single: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for (seq, *changed), tube_ids in moves.items():
        values = dict(changed)
        if len(tube_ids) < TOGETHER:
            single[tuple(values)] += [{**values, "was_id": tube_id, "was_seq": seq} for tube_id in tube_ids]
            continue
        alike = update(tube).where(among(tube.c.tube_id, tube_ids), tube.c.seq == seq)
        found += conn.execute(alike.values(values)).rowcount
    for names, rows in single.items():
        one = update(tube).where(tube.c.tube_id == bindparam("was_id"), tube.c.seq == bindparam("was_seq"))
        found += conn.execute(one.values({name: bindparam(name) for name in names}), rows).rowcount
    return found


def _write_links(unit: Unit, facts: Sequence[Recorded]) -> None:
    """The rows that follow from events: persons in tubes, tubes in pools, persons recalled."""
    rows: dict[type, list[dict[str, Any]]] = defaultdict(list)
    for tube_id, fact in facts:
        rows[type(fact)].append(link_row(tube_id, fact, unit.now))
    if rows[e.PersonBound]:
        insert_many(unit.conn, tube_person, rows[e.PersonBound])
    if rows[e.JoinedPool]:
        unit.conn.execute(insert(pool_member), rows[e.JoinedPool])
    if rows[e.PersonRecalled]:
        unit.conn.execute(insert(recall), rows[e.PersonRecalled])
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
