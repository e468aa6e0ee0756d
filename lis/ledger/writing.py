"""The one writer of tube state. Events and the state they lead to are written in one transaction."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, bindparam, insert, update

from lis import events as e
from lis.errors import Conflict
from lis.events import FIELDS, TIMES, Event
from lis.ledger.rows import Recorded, as_row, head_of, link, link_row, tubes
from lis.schema import chain, event, pool_member, recall, tube, tube_person
from lis.tube import Tube, TubeState, evolve

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from lis.db import Unit


def append(unit: Unit, facts: Iterable[Recorded]) -> dict[str, Tube]:
    """Record ``facts`` in order and move their tubes; the only way to change a tube.

    Args:
        unit: the transaction; its ``now`` and ``actor`` are recorded with every event.
        facts: (tube, event) pairs; later events of one tube see the effect of earlier ones.

    Returns:
        Every tube touched, as it stands afterwards.

    Raises:
        IllegalMove: a tube's state, kind or count does not allow its event; nothing is written.
    """
    facts = list(facts)
    if not facts:
        return {}
    before = tubes(unit.conn, {tube_id for tube_id, _ in facts})
    after = dict(before)
    rows = []
    head_id, head_hash = head_of(unit.conn)
    for tube_id, fact in facts:
        moved = evolve(after[tube_id], fact, unit.now)
        after[tube_id] = moved
        head_id += 1
        row = as_row(head_id, moved, fact, unit.now, unit.actor)
        head_hash = link(head_hash, row)
        rows.append({**row, "at": unit.now, **_moments(fact), "hash": head_hash})
    unit.conn.execute(insert(event), rows)
    _write_head(unit, head_id, head_hash)
    _write_tubes(unit.conn, before, after)
    _write_links(unit, facts)
    return after


def _moments(fact: Event) -> dict[str, datetime]:
    return {name: getattr(fact, name) for name in FIELDS[type(fact).__name__] if name in TIMES}


def _write_head(unit: Unit, event_id: int, digest: str) -> None:
    values = {"event_id": event_id, "hash": digest, "at": unit.now}
    if not unit.conn.execute(update(chain).where(chain.c.id == 1).values(**values)).rowcount:
        unit.conn.execute(insert(chain).values(id=1, **values))


def _write_tubes(conn: Connection, before: dict[str, Tube], after: dict[str, Tube]) -> None:
    new = [new._asdict() for tube_id, new in after.items() if before[tube_id].state is TubeState.ABSENT]
    if new:
        conn.execute(insert(tube), new)
    moved = [
        {**now._asdict(), "b_id": tube_id, "b_seq": before[tube_id].seq}
        for tube_id, now in after.items()
        if before[tube_id].state is not TubeState.ABSENT
    ]
    if moved:
        names: dict[Any, Any] = {name: bindparam(name) for name in Tube._fields if name != "tube_id"}
        statement = update(tube).where(tube.c.tube_id == bindparam("b_id"), tube.c.seq == bindparam("b_seq"))
        for row in moved:
            row.pop("tube_id")
        changed = conn.execute(statement.values(names), moved).rowcount
        if changed not in {len(moved), -1}:
            raise Conflict(
                "TUBE_MOVED", "A tube was moved by someone else meanwhile. Nothing was written; scan again."
            )


def _write_links(unit: Unit, facts: Sequence[Recorded]) -> None:
    """The rows that follow from events: persons in tubes, tubes in pools, persons recalled."""
    rows: dict[type, list[dict[str, Any]]] = defaultdict(list)
    for tube_id, fact in facts:
        rows[type(fact)].append(link_row(tube_id, fact, unit.now))
    if rows[e.PersonBound]:
        unit.conn.execute(insert(tube_person), rows[e.PersonBound])
    if rows[e.JoinedPool]:
        unit.conn.execute(insert(pool_member), rows[e.JoinedPool])
    if rows[e.PersonRecalled]:
        unit.conn.execute(insert(recall), rows[e.PersonRecalled])
    for row in rows[e.PersonRecollected]:
        unit.conn.execute(
            update(recall)
            .where(recall.c.tube_id == row["tube_id"], recall.c.person_id == row["person_id"])
            .values(closed_at=unit.now, other_tube=row["other_tube"], result=row["result"])
        )
