"""The turnaround wall: how the laboratory stands now, and what the last day was like.

What waits is asked anew each time. What happened is followed in the log, event by event, and kept in memory
for a day: quantiles over fifty thousand reported tubes cannot be asked of the database every other second.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from lis import queries
from lis.events import TubeKind
from pooling.prevalence import wilson

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from lis.queries import Happened, OpenTally, Way
    from lis.rulebook import Rulebook

DAY: Final = timedelta(hours=24)
SOON: Final = timedelta(hours=2)
"""A tube with less time left than this is at risk."""

SILENT: Final = timedelta(minutes=10)
"""What counts as silent where nothing else is set; an agent speaks every few seconds."""

SPAN: Final = 2000
"""Events of the log that are read at once, so that no question takes long."""

AT_ONCE: Final = 25
"""Such spans that are read between two messages of the wall."""

STAGES: Final = ("receive", "plate", "run", "review", "report", "whole")
"""Collected to received, to plated, to started, to concluded, to reported; and from the first to the last."""

QUANTILES: Final = (50, 75, 95)


class Reported(NamedTuple):
    """One reported tube: when, whether as promised, hours of each stage, persons and positives in it."""

    at: datetime
    on_time: bool
    hours: tuple[float, ...]
    persons: int
    positive: int


@dataclass(slots=True)
class Day:
    """What the log says of the last day, read on from where it was left; not for two threads at once.

    Attributes:
        upto: number of the last event that was read; None before the first look.
        called: tube -> when it was called last; ``again``: tube -> when a retest was ordered last.
    """

    upto: int | None = None
    reported: deque[Reported] = field(default_factory=deque)
    called: dict[str, datetime] = field(default_factory=dict)
    again: dict[str, datetime] = field(default_factory=dict)

    def read_on(self, conn: Connection, now: datetime, spans: int = AT_ONCE) -> bool:
        """Read what the log has added, at most so many spans of it; whether that was all."""
        if self.upto is None:
            self.upto = queries.event_before(conn, now - DAY)
        last = queries.last_event(conn)
        for _ in range(spans):
            if self.upto >= last:
                break
            upto = min(self.upto + SPAN, last)
            self._take(conn, queries.happened(conn, self.upto, upto))
            self.upto = upto
        self._forget(now - DAY)
        return self.upto >= last

    def _take(self, conn: Connection, many: list[Happened]) -> None:
        released = [one for one in many if one.kind == "Released"]
        ways = queries.ways(conn, (one.tube_id for one in released))
        self.reported.extend(_reported(one, ways[one.tube_id]) for one in released if one.tube_id in ways)
        for one in many:
            if one.kind != "Released":
                kept = self.called if one.kind == "Called" else self.again
                kept.pop(one.tube_id, None)  # the order of a dictionary is that of first insertion
                kept[one.tube_id] = one.at

    def _forget(self, before: datetime) -> None:
        while self.reported and self.reported[0].at < before:
            self.reported.popleft()
        for kept in (self.called, self.again):
            for code in [code for code, at in kept.items() if at < before]:
                del kept[code]


def _reported(one: Happened, way: Way) -> Reported:
    moments = (way.sampled, way.received, way.plated, way.started, way.concluded, one.at)
    hours = [_hours(start, end) for start, end in pairwise(moments)]
    on_time = way.promised is None or one.at <= way.promised
    positive = one.persons if one.result == "positive" else 0
    return Reported(one.at, on_time, (*hours, _hours(way.sampled, one.at)), one.persons, positive)


def _hours(start: datetime | None, end: datetime | None) -> float:
    """Hours between two steps; NaN if one is not known, 0 if the clock of a site ran ahead."""
    if start is None or end is None:
        return float("nan")
    return max((end - start).total_seconds() / 3600, 0.0)


# -- the message ----------------------------------------------------------------------------------


def message(
    conn: Connection, rules: Rulebook, day: Day, now: datetime, midnight: datetime, silent: timedelta = SILENT
) -> dict[str, Any]:
    """Everything the wall shows, without a word about any person.

    Args:
        conn: the snapshot to look at.
        rules: for the tiers.
        day: read on already.
        now: the moment of the message.
        midnight: when today began at the laboratory.
        silent: an instrument that was not heard for longer is told of.
    """
    tallies = queries.open_tallies(conn, now, now + SOON)
    waiting = [one for one in tallies if one.state != "awaiting_recollection"]
    return {
        "tiers": _tiers(waiting, rules),
        "river": _river(tallies),
        "on_time": {
            "today": _share(one.on_time for one in day.reported if one.at >= midnight),
            "day": _share(one.on_time for one in day.reported),
        },
        "stages": _stages(day.reported),
        "retest": _share(code in day.again for code in day.called),
        "positivity": _positivity(day.reported),
        "forecast": _forecast(conn),
        "next": _next(conn),
        "instruments": _instruments(conn, now, silent),
        "alarms": queries.queue_depths(conn)["alarms"],
    }


def _tiers(tallies: Iterable[OpenTally], rules: Rulebook) -> list[dict[str, Any]]:
    """One clock for each promise of the laboratory, the shortest first; its tiers share it."""
    by_hours: dict[float, list[OpenTally]] = defaultdict(list)
    named: dict[float, list[str]] = defaultdict(list)
    for tier in rules.tiers.tiers:
        named[tier.hours].append(tier.id)
        by_hours[tier.hours] += [one for one in tallies if one.tier == tier.id]
    return [
        {
            "hours": hours,
            "tiers": named[hours],
            "count": sum(one.tubes for one in own),
            "late": sum(one.late for one in own),
            "soon": sum(one.soon for one in own),
            "first": min((one.first for one in own if one.first), default=None),
        }
        for hours, own in sorted(by_hours.items())
    ]


def _river(tallies: Iterable[OpenTally]) -> list[dict[str, Any]]:
    """Tubes by state, in the order in which they flow."""
    flow: dict[str, dict[str, Any]] = {
        state: {"state": state, "count": 0, "late": 0, "soon": 0} for state in queries.WAITING
    }
    for one in tallies:
        flow[one.state]["count"] += one.tubes
        flow[one.state]["late"] += one.late
        flow[one.state]["soon"] += one.soon
    return list(flow.values())


def _share(many: Iterable[bool]) -> dict[str, Any]:
    told = list(many)
    return {"n": len(told), "share": sum(told) / len(told) if told else None}


def _stages(reported: Iterable[Reported]) -> list[dict[str, Any]]:
    """Quantiles of every stage in hours; None where nothing of it is known."""
    table = np.array([one.hours for one in reported], dtype=float).reshape(-1, len(STAGES))
    found = []
    for name, column in zip(STAGES, table.T, strict=True):
        known = column[~np.isnan(column)]
        ends = np.percentile(known, QUANTILES).tolist() if known.size else [None] * len(QUANTILES)
        told = dict(zip((f"p{one}" for one in QUANTILES), ends, strict=True))
        found.append({"stage": name, "n": int(known.size), **told})
    return found


def _positivity(reported: Iterable[Reported]) -> dict[str, Any]:
    """Positive among the reported persons, with the Wilson interval of 95 %."""
    many = list(reported)
    tested, positive = sum(one.persons for one in many), sum(one.positive for one in many)
    if not tested:
        return {"n": 0, "positive": 0, "share": None, "low": None, "high": None}
    low, high = wilson(tested, positive, 0.95)
    return {"n": tested, "positive": positive, "share": positive / tested, "low": low, "high": high}


def _forecast(conn: Connection) -> dict[str, Any] | None:
    """How many tubes the newest forecast saw late, and when it looked; None: nobody has foretold yet."""
    row = queries.forecast_row(conn)
    return {"late": row["breaches"], "backlog": row["backlog"], "at": row["at"]} if row else None


def _next(conn: Connection) -> list[dict[str, Any]]:
    """The tubes whose reports are due first."""
    first = [one for one in queries.due_first(conn, 20) if one.kind is not TubeKind.POOL]
    return [
        {"tube": one.tube_id, "state": one.state.value, "due": one.promised_at or one.due_at}
        for one in first[:5]
    ]


def _instruments(conn: Connection, now: datetime, silent: timedelta) -> list[dict[str, Any]]:
    """Every enrolled instrument and when it was heard last; the silent ones first."""

    def is_silent(seen: datetime | None) -> bool:
        return seen is None or now - seen > silent

    found = [
        {"name": row["name"], "seen": row["last_seen_at"], "silent": is_silent(row["last_seen_at"])}
        for row in queries.devices(conn)
        if row["revoked_at"] is None and row["public_key"]
    ]
    return sorted(found, key=lambda one: (not one["silent"], one["name"]))
