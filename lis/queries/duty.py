"""Who is on duty, who is absent, and which instruments are out of service: as it was known at a moment."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection, select

from lis.queries.common import PAGE, Row, all_rows
from lis.schema import duty_act, duty_break, duty_exception, duty_machine, duty_shift
from sim.dutyplan import DutyPlan, Machine, PlannedShift, Special

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Spell:
    """People who are absent, or a machine that is out of service.

    Attributes:
        act_id: of the act that said so; `at` when, `actor` who.
        role, shift, people: of people; `instrument` names a cycler, or another machine of the plan.
        since: it begins; for maintenance after `at`.
        expected: when it should end, as far as somebody said.
        ended: when it did; None while nobody said so.
    """

    act_id: int
    at: datetime
    actor: str
    role: str
    shift: str
    people: int
    instrument: str
    since: datetime
    expected: datetime | None
    ended: datetime | None
    reason: str

    @property
    def until(self) -> datetime | None:
        """When it ended, else when it should end."""
        return self.ended or self.expected

    @property
    def planned(self) -> bool:
        """Whether it was said before it began: maintenance, not a breakdown."""
        return self.since > self.at

    @property
    def called_off(self) -> bool:
        """Whether it was ended before it began."""
        return self.ended is not None and self.ended <= self.since

    def over(self, now: datetime) -> bool:
        """Whether it has ended; a machine is out until somebody says that it is back."""
        return self.ended is not None or (
            not self.instrument and self.expected is not None and self.expected <= now
        )


def duty_plans(conn: Connection, at: datetime | None = None) -> list[tuple[Row, DutyPlan]]:
    """Every plan that had been set by a moment, with the act that set it, in the order of the acts."""
    acts = _acts(conn, at, "planned")
    numbers = [row["act_id"] for row in acts]
    tables = (duty_shift, duty_break, duty_exception, duty_machine)
    parts = [
        all_rows(conn, select(table).where(table.c.act_id.in_(numbers)).order_by(*table.primary_key))
        for table in tables
    ]
    return [(act, _plan(act, *parts)) for act in acts]


def _plan(
    act: Row, shifts: list[Row], breaks: list[Row], exceptions: list[Row], machines: list[Row]
) -> DutyPlan:
    number = act["act_id"]
    return DutyPlan(
        dt.date.fromisoformat(act["first_day"]),
        tuple(
            _shift(row, [b for b in breaks if b["place"] == row["place"] and b["act_id"] == number])
            for row in shifts
            if row["act_id"] == number
        ),
        tuple(
            Special(dt.date.fromisoformat(row["day"]), row["role"], row["shift"], row["people"])
            for row in exceptions
            if row["act_id"] == number
        ),
        act["reason"],
        tuple(Machine(row["name"], row["kind"]) for row in machines if row["act_id"] == number),
    )


def _shift(row: Row, breaks: list[Row]) -> PlannedShift:
    return PlannedShift(
        role=row["role"],
        name=row["name"],
        start=row["starts"],
        end=row["ends"],
        people=row["people"],
        days=tuple(day for day, on in enumerate(row["days"]) if on == "1"),
        breaks=tuple((one["starts"], one["ends"]) for one in breaks),
        spell=row["spell"],
        rest=row["rest"],
    )


def _acts(conn: Connection, at: datetime | None, *acts: str) -> list[Row]:
    found = select(duty_act).where(duty_act.c.act.in_(acts)).order_by(duty_act.c.act_id)
    return all_rows(conn, found if at is None else found.where(duty_act.c.at <= at))


def absences(conn: Connection, at: datetime | None = None) -> list[Spell]:
    """Everybody who was said to be absent by a moment, and until when, as it was known then."""
    return _spells(_acts(conn, at, "absent", "back"), "absent")


def outages(conn: Connection, at: datetime | None = None) -> list[Spell]:
    """Every time a machine was out of service, or is to be, as it was known at a moment."""
    return _spells(_acts(conn, at, "out", "in"), "out")


def _spells(acts: list[Row], begins: str) -> list[Spell]:
    ended = {row["ends"]: row["since"] for row in acts if row["ends"] is not None}
    names = ("act_id", "at", "actor", "role", "shift", "people", "instrument", "since", "reason")
    return [
        Spell(**{name: row[name] for name in names}, expected=row["until"], ended=ended.get(row["act_id"]))
        for row in acts
        if row["act"] == begins
    ]


def duty_acts(conn: Connection, limit: int = PAGE) -> list[Row]:
    """What was said of duty, the newest first."""
    return all_rows(conn, select(duty_act).order_by(duty_act.c.act_id.desc()).limit(limit))


def machines(conn: Connection, day: dt.date, at: datetime | None = None) -> tuple[Machine, ...]:
    """What the plan in force on a day names besides cyclers, as it had been set by a moment."""
    begun = [plan for _, plan in duty_plans(conn, at) if plan.since <= day]
    return begun[-1].machines if begun else ()
