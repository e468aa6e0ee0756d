"""Where a tube stands on its way, and why it is late."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from lis import events as e
from lis import queries
from lis.tube import TubeState

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from lis.ledger import Entry
    from lis.tube import Tube

GATES: Final = {
    TubeState.REGISTERED: "collection",
    TubeState.SEALED: "reception",
    TubeState.RECEIVED: "plating",
    TubeState.POOLED: "pool",
    TubeState.PLATED: "preparation",
    TubeState.RUNNING: "cycler",
    TubeState.RESULTED: "decision",
    TubeState.AWAITING_RETEST: "retest",
    TubeState.IN_REVIEW: "review",
    TubeState.ON_HOLD_DAMAGED: "hold",
    TubeState.AWAITING_RECOLLECTION: "recollection",
}
"""State of a tube without a report -> the gate at which it stands."""

_AFTER: Final[dict[type, str]] = {
    e.Sealed: "reception",
    e.Received: "plating",
    e.ReceiptWithdrawn: "reception",
    e.HoldCleared: "plating",
    e.PoolFormed: "plating",
    e.HeldDamaged: "hold",
    e.JoinedPool: "pool",
    e.Plated: "preparation",
    e.RunStarted: "cycler",
    e.Called: "decision",
    e.Voided: "retest",
    e.RetestOrdered: "retest",
    e.Concluded: "review",
}
"""Event -> the gate before which the tube stands after it."""

CAUSES: Final = (
    *("held", "run-failed", "retested"),
    *(
        f"slow-{gate}"
        for gate in ("reception", "plating", "pool", "preparation", "cycler", "decision", "review")
    ),
)
"""Why a tube is late: it was held, its run failed, it was tested again, or where it stood longest."""


def gate_after(fact: e.Event) -> str:
    """The gate before which a tube stands after an event; empty if the event moves it before none."""
    return _AFTER.get(type(fact), "")


def cause(history: Sequence[Entry], now: datetime) -> str:
    """Why a tube needs so long: what befell it, else the gate at which it stood longest."""
    kinds = [type(entry.fact) for entry in history]
    if e.HeldDamaged in kinds:
        return "held"
    if e.Voided in kinds:
        return "run-failed"
    if e.RetestOrdered in kinds:
        return "retested"
    stood: dict[str, timedelta] = defaultdict(timedelta)
    gate, since = "", now
    for entry in history:
        if type(entry.fact) in _AFTER:
            if gate:
                stood[gate] += entry.at - since
            gate, since = _AFTER[type(entry.fact)], entry.at
    if gate:
        stood[gate] += now - since
    return f"slow-{max(stood, key=lambda one: stood[one])}" if stood else ""


def outlook(conn: Connection, tube: Tube, history: Sequence[Entry], now: datetime) -> dict[str, Any] | None:
    """When a tube's report is expected, where it stands, and why it is late; None once nobody waits for it.

    Times are those of the newest stored forecast, ``made_at`` says from when; they are None before one was
    made. A tube is late when its promise has passed, or is foreseen to.
    """
    if tube.state not in GATES:
        return None
    row = queries.forecast_of(conn, tube.tube_id)
    names = ("p025", "p10", "p50", "p90", "p975", "risk", "at", "made_at")
    times: dict[str, Any] = {name: row[name] if row else None for name in names}
    promised = tube.promised_at
    late = promised is not None and (now > promised or (row is not None and row["p50"] > promised))
    return times | {
        "due": promised,
        "late": late,
        "gate": GATES[tube.state],
        "cause": cause(history, now) if late else "",
    }
