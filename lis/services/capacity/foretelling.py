"""Forecasts: made from the live state, stored as they were made, shown."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from lis import queries
from lis.errors import Invalid, NotFound
from lis.services.capacity.gathering import learned, midnight, situation
from sim.forecast import forecast
from sim.trials import advise

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from zoneinfo import ZoneInfo

    from sqlalchemy import Connection

    from lis.db import Unit
    from lis.queries import Row
    from lis.rulebook import Rulebook
    from scheduler import FillRules
    from sim.calibrate import Calibration, Fit
    from sim.forecast import Forecast
    from sim.now import State
    from sim.trials import Advice

SHARES: Final = {"p025": 0.025, "p10": 0.1, "p50": 0.5, "p90": 0.9, "p975": 0.975}
REPLICATIONS: Final = 200
MUCH: Final = 1_000_000
"""Tubes times replications from which on a second process pays for its start."""

FRESH: Final = timedelta(minutes=5)
"""A forecast no older than this is shown again instead of a new one."""


SLOW: Final = timedelta(minutes=2)
"""Whoever made a forecast of a moment longer ago than this asked for that moment."""


class Ahead(Protocol):
    """A running plate whose curves are seen."""

    @property
    def plate_id(self) -> str:
        """Barcode."""
        ...

    @property
    def ends_at(self) -> datetime:
        """When its run is likely to end."""
        ...

    @property
    def tubes(self) -> Mapping[str, str]:
        """Tube -> what the rules would do with it: a key of `sim.now.FORESEEN`."""
        ...


@dataclass(frozen=True, slots=True)
class Order:
    """What to forecast.

    Attributes:
        at: the moment to forecast from; None for now. An earlier one reads the log back to it.
        replications: how often the laboratory is played on.
        seed: of the chance.
        ends: plate -> when its live curves say it will be read.
        told: tube -> what its live curves would have the rules do with it.
        workers: processes at most.
    """

    at: datetime | None = None
    replications: int = REPLICATIONS
    seed: int = 1
    ends: Mapping[str, datetime] = field(default_factory=dict)
    told: Mapping[str, str] = field(default_factory=dict)
    workers: int = 2

    def knowing(self, ahead: Iterable[Ahead]) -> Order:
        """The same with what running plates let foresee."""
        many = tuple(ahead)
        told = {tube: word for one in many for tube, word in one.tubes.items()}
        return replace(self, ends={one.plate_id: one.ends_at for one in many}, told=told)


@dataclass(frozen=True, eq=False)
class Situation:
    """What a forecast begins with, read in one snapshot."""

    at: datetime
    state: State
    calibration: Calibration
    impatient: FillRules


@dataclass(frozen=True, eq=False)
class Foretold:
    """A forecast that is not stored yet."""

    situation: Situation
    order: Order
    found: Forecast
    advice: tuple[Advice, ...]


def look(conn: Connection, rules: Rulebook, order: Order, now: datetime, zone: ZoneInfo) -> Situation:
    """Gather what a forecast needs.

    Raises:
        Invalid: ``FORECAST_TIME``: the moment lies ahead.
    """
    at = order.at or now
    if at > now:
        raise Invalid("FORECAST_TIME", "A forecast begins now or in the past; give an earlier time.")
    state = situation(conn, rules, at, order.ends, rewound=order.at is not None)
    place = {name: n for n, name in enumerate(state.names)}
    told = {place[tube]: word for tube, word in order.told.items() if tube in place}
    state = replace(state, told=told)
    impatient = rules.fill(rules.template(), impatient=True)
    return Situation(at, state, learned(conn, rules, at, zone), impatient)


def foretell(seen: Situation, order: Order) -> Foretold:
    """Play the laboratory on. Takes seconds, so nobody else may be kept waiting meanwhile."""
    model = seen.calibration.model
    much = len(seen.state.names) * order.replications >= MUCH
    workers = min(os.cpu_count() or 1, order.workers) if much else 1
    found = forecast(model, seen.state, order.replications, order.seed, workers=workers)
    advice = advise(model, found, seen.impatient, order.seed, workers=workers) if found.backlog else []
    return Foretold(seen, order, found, tuple(advice))


def keep(unit: Unit, made: Foretold) -> int:
    """Store a forecast as it was made; returns its number."""
    number, at = queries.next_number(unit.conn, "forecast"), made.situation.at
    zero = midnight(at)
    head = _head(made.found, made.situation.calibration, zero) | {
        "forecast_id": number,
        "at": at,
        "made_at": unit.now,
        "made_by": unit.actor,
        "replications": made.order.replications,
        "seed": made.order.seed,
    }
    queries.insert_rows(unit.conn, "forecast", [head])
    queries.insert_rows(unit.conn, "forecast_tube", _tubes(made.found, number, zero))
    queries.insert_rows(unit.conn, "forecast_advice", _advice(made.advice, number))
    return number


def _head(found: Forecast, calibration: Calibration, zero: datetime) -> Row:
    row: Row = {
        "backlog": found.backlog,
        "breaches": found.expected_breaches,
        "by_reference": ",".join(fit.name for fit in calibration.fits if fit.source == "reference"),
    }
    for what, minutes in (("half", found.half), ("cleared", found.cleared)):
        values = np.quantile(minutes, list(SHARES.values()))
        row |= {f"{what}_{name}": _moment(zero, v) for name, v in zip(SHARES, values, strict=True)}
    return row


def _moment(zero: datetime, minute: float) -> datetime:
    return zero + timedelta(minutes=round(float(minute), 3))


def _tubes(found: Forecast, number: int, zero: datetime) -> list[Row]:
    state = found.state
    minutes = found.quantiles(*SHARES.values())
    return [
        {
            "forecast_id": number,
            "tube_id": state.names[place],
            "due": _moment(zero, state.promised[place]),
            **{name: _moment(zero, minutes[row, place]) for row, name in enumerate(SHARES)},
            "risk": float(found.risk[place]),
        }
        for place in found.owed.tolist()
    ]


def _advice(advice: Sequence[Advice], number: int) -> list[Row]:
    return [
        {
            "forecast_id": number,
            "place": place,
            "code": one.code,
            "step": one.step,
            "fewer_late": one.fewer_late,
            "low": one.low,
            "high": one.high,
            "sooner": one.sooner,
        }
        for place, one in enumerate(advice)
    ]


# -- what is shown ---------------------------------------------------------------------------------


def fresh(conn: Connection, now: datetime, within: timedelta = FRESH) -> int | None:
    """The number of a forecast made a moment ago of the moment of its making, if there is one."""
    row = queries.forecast_row(conn)
    if row is None or row["made_at"] - row["at"] > SLOW or now - row["made_at"] > within:
        return None
    return int(row["forecast_id"])


def document(conn: Connection, number: int) -> dict[str, Any]:
    """A stored forecast, as ``lis forecast --json`` and ``GET /forecast`` show it.

    Raises:
        NotFound: ``FORECAST_UNKNOWN``.
    """
    row = queries.forecast_row(conn, number)
    if row is None:
        raise NotFound("FORECAST_UNKNOWN", f"There is no forecast {number}.")
    return {
        "forecast_id": number,
        "at": row["at"],
        "made_at": row["made_at"],
        "replications": row["replications"],
        "backlog": row["backlog"],
        "expected_breaches": row["breaches"],
        "clearance": _band(row, "cleared_"),
        "half_done": _band(row, "half_"),
        "tubes": [_tube(one) for one in queries.forecast_tubes(conn, number)],
        "advice": [_advised(one) for one in queries.forecast_advice_of(conn, number)],
        "by_reference": [name for name in row["by_reference"].split(",") if name],
    }


def _band(row: Row, begins: str) -> dict[str, Any]:
    return {name: row[begins + name] for name in SHARES}


def _tube(row: Row) -> dict[str, Any]:
    return {"tube": row["tube_id"], "due": row["due"], **_band(row, ""), "risk": round(row["risk"], 4)}


def _advised(row: Row) -> dict[str, Any]:
    names = ("code", "step", "fewer_late", "low", "high", "sooner")
    english, chinese = sentences(row)
    return {name: row[name] for name in names} | {"sentence": english, "sentence_zh": chinese}


_DONE: Final = {
    "close-now": ("close plates now, however few tubes wait", "现有试管立即上板，不等满板"),
    "retests-first": ("plate retests before everything else", "复检优先上板"),
    "review-now": ("review results as soon as they are read", "结果一出立即审核"),
}
_STEPS: Final = {
    "prepare": ("one more person preparing plates", "增加一人备板"),
    "cycler": ("one more cycler", "增开一台扩增仪"),
}


def sentences(row: Row) -> tuple[str, str]:
    """What to do and what it would bring: English, Chinese."""
    usual = (f"one more place at {row['step']}", f"{row['step']}增加一个工位")
    english, chinese = _DONE.get(row["code"]) or _STEPS.get(row["step"], usual)
    late, sooner = round(row["fewer_late"]), round(row["sooner"])
    return (
        f"{english}: {late} fewer late tubes, done {sooner} min sooner",
        f"{chinese}：超时少{late}管，提前{sooner}分钟完成",
    )


def fit_json(fit: Fit) -> dict[str, Any]:
    """One parameter of the laboratory and how far it can be trusted."""
    known = not np.isnan(fit.distance)
    return {
        "name": fit.name,
        "source": fit.source,
        "n": fit.n,
        "p10": round(fit.p10, 4),
        "p50": round(fit.p50, 4),
        "p90": round(fit.p90, 4),
        "ks_distance": round(fit.distance, 4) if known else None,
        "ks_limit": round(fit.limit, 4) if known else None,
        "fits": fit.fits,
    }
