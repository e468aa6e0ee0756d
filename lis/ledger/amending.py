"""Proposals to correct a report, as they follow from the log: who asked for what, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import Connection, insert, select, update

from lis import events as e
from lis.errors import Conflict
from lis.schema import amendment

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from lis.db import Unit
    from lis.events import Event
    from lis.ledger.rows import Recorded

AMENDMENTS: Final = (
    "tube_id",
    "amends",
    "result",
    "reason",
    "signers",
    "opened_at",
    "closed_at",
    "outcome",
)


class Proposal(NamedTuple):
    """The last proposal to correct one report; ``signers`` are accounts, comma-separated."""

    result: str
    reason: str
    signers: str
    opened_at: datetime
    closed_at: datetime | None = None
    outcome: str = ""


def follow(old: Proposal | None, fact: Event, at: datetime, actor: str) -> Proposal | None:
    """The proposal about a report after ``fact``; None where there is none and none is needed.

    Raises:
        Conflict: ``AMENDMENT_CLOSED``: nothing is open that could be withdrawn.
    """
    standing = old if old is not None and old.closed_at is None else None
    match fact:
        case e.AmendmentProposed() if standing is None:
            return Proposal(fact.result, fact.reason, actor, at)
        case e.AmendmentProposed() if standing is not None:
            return standing._replace(signers=f"{standing.signers}, {actor}")
        case e.AmendmentWithdrawn() if standing is None:
            raise Conflict(
                "AMENDMENT_CLOSED", f"No correction of report {fact.amends} is proposed (any more)."
            )
        case e.AmendmentWithdrawn() if standing is not None:
            return standing._replace(closed_at=at, outcome="withdrawn")
        case e.Amended() if standing is not None:
            return standing._replace(closed_at=at, outcome=fact.report_id)
        case _:
            return old


def write_amendments(unit: Unit, facts: Iterable[Recorded]) -> None:
    """Keep the table of proposals in step with the log."""
    for tube_id, fact in facts:
        if isinstance(fact, e.AmendmentProposed | e.AmendmentWithdrawn | e.Amended):
            old = _stored(unit.conn, tube_id, fact.amends)
            new = follow(old, fact, unit.now, unit.actor)
            if new is not None and new != old:
                _store(unit.conn, tube_id, fact.amends, old, new)


def _stored(conn: Connection, tube_id: str, amends: str) -> Proposal | None:
    found = select(*(amendment.c[name] for name in AMENDMENTS[2:])).where(
        amendment.c.tube_id == tube_id, amendment.c.amends == amends
    )
    row = conn.execute(found).one_or_none()
    return None if row is None else Proposal(*row)


def _store(conn: Connection, tube_id: str, amends: str, old: Proposal | None, new: Proposal) -> None:
    if old is None:
        conn.execute(insert(amendment).values(tube_id=tube_id, amends=amends, **new._asdict()))
        return
    own = update(amendment).where(amendment.c.tube_id == tube_id, amendment.c.amends == amends)
    conn.execute(own.values(**new._asdict()))
