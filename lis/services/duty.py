"""The duty plan: who is on, when; who is absent; which machines are out of service. All of it is kept."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from lis import queries
from lis.errors import Invalid, NotFound, Refused
from sim.dutyplan import ROLES, WEEK, DutyPlan, PlannedShift, plan_from_toml, plan_toml, told
from sim.refusal import ScenarioError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from sqlalchemy import Connection

    from lis.db import Unit
    from lis.queries import Spell

MOST_TEXT: Final = 100_000
MOST_REASON: Final = 200
LONGEST: Final = timedelta(days=366)


def read_plan(text: str) -> DutyPlan:
    """A duty plan as written by hand.

    Raises:
        Invalid: ``DUTY_PLAN``, with the key and the reason.
    """
    if len(text) > MOST_TEXT:
        raise Invalid(
            "DUTY_PLAN",
            f"A duty plan has at most {MOST_TEXT} characters.",
            key="",
            reason="",
            reason_zh=f"排班表最多 {MOST_TEXT} 个字符。",
        )
    try:
        return plan_from_toml(text)
    except ScenarioError as error:
        raise Invalid(
            "DUTY_PLAN",
            f"The duty plan cannot be used. {error}",
            key=error.key,
            reason=error.reason,
            reason_zh=error.zh or error.reason,
        ) from error


def set_plan(unit: Unit, plan: DutyPlan) -> int:
    """Put a plan in force from its first day on; returns the number of the act. Older plans are kept.

    Raises:
        Invalid: ``DUTY_PLAN``: a machine has the name of a cycler.
    """
    cyclers = {name for name, _ in queries.cyclers(unit.conn)}
    for machine in plan.machines:
        if machine.name in cyclers:
            reason = "a cycler has this name; rename the machine."
            key = f"machine.{machine.name}.name"
            raise Invalid(
                "DUTY_PLAN",
                f"The duty plan cannot be used. {key}: {reason}",
                key=key,
                reason=reason,
                reason_zh="已有同名扩增仪，请改名。",
            )
    number = _note(unit, "planned", first_day=plan.since.isoformat(), reason=plan.title)
    queries.insert_rows(
        unit.conn, "duty_shift", [_shift_row(number, place, one) for place, one in enumerate(plan.shifts)]
    )
    breaks = [
        {"act_id": number, "place": place, "starts": start, "ends": end}
        for place, one in enumerate(plan.shifts)
        for start, end in one.breaks
    ]
    exceptions = [
        {
            "act_id": number,
            "place": place,
            "day": one.date.isoformat(),
            "role": one.role,
            "shift": one.shift,
            "people": one.people,
        }
        for place, one in enumerate(plan.exceptions)
    ]
    machines = [
        {"act_id": number, "place": place, "name": one.name, "kind": one.kind}
        for place, one in enumerate(plan.machines)
    ]
    parts: dict[str, list[dict[str, Any]]] = {
        "duty_break": breaks,
        "duty_exception": exceptions,
        "duty_machine": machines,
    }
    for table, rows in parts.items():
        if rows:
            queries.insert_rows(unit.conn, table, rows)
    return number


def _shift_row(number: int, place: int, one: PlannedShift) -> dict[str, Any]:
    return {
        "act_id": number,
        "place": place,
        "role": one.role,
        "name": one.name,
        "starts": one.start,
        "ends": one.end,
        "people": one.people,
        "days": "".join("1" if day in one.days else "0" for day in range(len(WEEK))),
        "spell": one.spell,
        "rest": one.rest,
    }


def absent(
    unit: Unit, role: str, people: int, between: tuple[datetime, datetime], reason: str = "", shift: str = ""
) -> int:
    """So many people of a station are not there between two moments; returns the number of the absence.

    Raises:
        Invalid: ``DUTY_ROLE``, ``DUTY_PEOPLE`` or ``DUTY_TIME``. NotFound: ``DUTY_SHIFT``.
    """
    # gather
    since, until = between
    plans = [plan for _, plan in queries.duty_plans(unit.conn)]
    # decide
    if role not in ROLES:
        raise Invalid("DUTY_ROLE", f"A station is one of {', '.join(ROLES)}, not {role[:20]!r}.")
    _check_spell(since, until)
    shifts = [one for plan in plans for one in plan.shifts if one.role == role]
    if shift and shift not in {one.name for one in shifts}:
        known = ", ".join(sorted({one.name for one in shifts})) or "none"
        raise NotFound(
            "DUTY_SHIFT", f"{role} has no shift {shift[:40]!r}; the plan has: {known}.", known=known
        )
    specials = [one.people for plan in plans for one in plan.exceptions if one.role == role]
    most = max([*(one.people for one in shifts), *specials], default=0)
    if not 1 <= people <= most:
        said = (
            f"At most {most} are planned at {role}; write 1 to {most}."
            if most
            else f"Nobody is planned at {role}. Set a duty plan first (lis duty set)."
        )
        raise Invalid("DUTY_PEOPLE", said, most=str(most))
    # apply
    said = _reason(reason)
    return _note(unit, "absent", role=role, shift=shift, people=people, since=since, until=until, reason=said)


def back(unit: Unit, number: int, at: datetime | None = None) -> None:
    """The people of an absence are back from a moment on (now).

    Raises:
        NotFound: ``ABSENCE_UNKNOWN``. Refused: ``ABSENCE_OVER``. Invalid: ``DUTY_TIME``.
    """
    found = next((one for one in queries.absences(unit.conn) if one.act_id == number), None)
    if found is None:
        raise NotFound("ABSENCE_UNKNOWN", f"There is no absence {number}. lis duty list shows them.")
    if found.over(unit.now):
        raise Refused("ABSENCE_OVER", f"Absence {number} has ended already; nothing was changed.")
    moment = at or unit.now
    if moment < found.since and moment < unit.now:
        raise Invalid("DUTY_TIME", "Nobody is back before the absence began. Give a later time.")
    _note(unit, "back", ends=number, role=found.role, since=max(moment, found.since))


def out_of_service(
    unit: Unit,
    instrument: str,
    since: datetime | None = None,
    expected: datetime | None = None,
    reason: str = "",
) -> int:
    """A machine is out of service from a moment on (now); returns the number of the act.

    Args:
        unit: the transaction.
        instrument: a cycler, or a machine of the duty plan.
        since: when it begins; a moment ahead is maintenance, which needs an end.
        expected: when it should be back.
        reason: why.

    Raises:
        NotFound: ``INSTRUMENT_UNKNOWN``. Refused: ``OUT_ALREADY``. Invalid: ``DUTY_TIME``.
    """
    # gather
    known = set(named(unit.conn, unit.now))
    begin = since or unit.now
    out = _overlapping(unit.conn, instrument, unit.now, (begin, expected))
    # decide
    if instrument not in known:
        names = ", ".join(sorted(known)) or "none"
        raise NotFound(
            "INSTRUMENT_UNKNOWN",
            f"There is no instrument {instrument[:80]!r}; there are: {names}. "
            "lis device list shows cyclers, lis duty list the machines of the plan.",
            known=names,
        )
    if out is not None:
        raise Refused(
            "OUT_ALREADY",
            f"{instrument} is out of service from {out.since:%Y-%m-%d %H:%M} UTC on. "
            "Say first that it is back.",
        )
    if begin > unit.now and expected is None:
        raise Invalid(
            "DUTY_END", "Maintenance that lies ahead has an end. Say when the machine will be back."
        )
    if begin > unit.now + LONGEST:
        raise Invalid("DUTY_TIME", "It begins within a year. Give an earlier time.")
    if expected is not None:
        _check_spell(begin, expected)
    # apply
    said = _reason(reason)
    return _note(unit, "out", instrument=instrument, since=begin, until=expected, reason=said)


def back_in_service(unit: Unit, instrument: str) -> None:
    """A machine is back in service now; of one that is not out yet, its next maintenance is called off.

    Raises:
        Refused: ``NOT_OUT``.
    """
    known = [one for one in queries.outages(unit.conn) if one.instrument == instrument and one.ended is None]
    out = min(known, key=lambda one: one.since, default=None)
    if out is None:
        raise Refused("NOT_OUT", f"{instrument[:80]} is not out of service; nothing was changed.")
    _note(unit, "in", instrument=instrument, ends=out.act_id, since=unit.now)


def named(conn: Connection, now: datetime) -> list[str]:
    """Cyclers, and the machines of the plan in force: everything that can be out of service."""
    # a plan that begins tomorrow counts already: the clocks of the laboratory may be ahead of UTC
    planned = queries.machines(conn, (now + timedelta(days=1)).date())
    cyclers = {name for name, _ in queries.cyclers(conn)}
    return [*sorted(cyclers), *(one.name for one in planned if one.name not in cyclers)]


def _overlapping(
    conn: Connection, instrument: str, now: datetime, between: tuple[datetime, datetime | None]
) -> Spell | None:
    """An outage of a machine that has not ended and touches a time; one that is overdue lasts on."""
    begin, end = between
    for one in queries.outages(conn):
        if one.instrument == instrument and one.ended is None:
            lasts = one.expected is None or one.expected <= now
            if (lasts or one.expected > begin) and (end is None or one.since < end):  # type: ignore[operator]
                return one
    return None


def _check_spell(since: datetime, until: datetime) -> None:
    if not since < until <= since + LONGEST:
        raise Invalid("DUTY_TIME", "It ends after it began, and within a year. Give another time.")


def _reason(text: str) -> str:
    return " ".join(text.split())[:MOST_REASON]


def _note(unit: Unit, act: str, **facts: Any) -> int:
    number = queries.next_number(unit.conn, "duty")
    row = {
        "act_id": number,
        "at": unit.now,
        "actor": unit.actor,
        "act": act,
        "role": "",
        "shift": "",
        "people": 0,
        "instrument": "",
        "since": None,
        "until": None,
        "ends": None,
        "first_day": "",
        "reason": "",
    }
    queries.insert_rows(unit.conn, "duty_act", [row | facts])
    return number


# -- what is shown ---------------------------------------------------------------------------------


def document(conn: Connection, now: datetime, zone: ZoneInfo) -> dict[str, Any]:
    """The plan in force, what was set for later, who is absent, what is out of service, and all acts."""
    today = now.astimezone(zone).date()
    plans = queries.duty_plans(conn)
    begun = [one for one in plans if one[1].since <= today]
    return {
        "at": now,
        "today": today.isoformat(),
        "plan": _plan_json(*begun[-1]) if begun else None,
        "later": [_plan_json(*one) for one in plans if one[1].since > today],
        "planned_today": planned(begun[-1][1], today) if begun else [],
        "absences": [_absence(one) for one in queries.absences(conn) if not one.over(now)],
        "out_of_service": [_outage(one) for one in queries.outages(conn) if one.ended is None],
        "acts": [_act(row) for row in queries.duty_acts(conn)],
    }


def planned(plan: DutyPlan, day: date) -> list[dict[str, Any]]:
    """The shifts of one day with the people planned."""
    return [
        {
            "role": one.role,
            "shift": one.name,
            "start": told(one.start),
            "end": told(one.end),
            "people": plan.people(one, day),
        }
        for one in plan.shifts
    ]


def _plan_json(act: queries.Row, plan: DutyPlan) -> dict[str, Any]:
    return {
        "act": act["act_id"],
        "set_at": act["at"],
        "set_by": act["actor"],
        "from": plan.since.isoformat(),
        "title": plan.title,
        "shifts": [
            {
                "role": one.role,
                "name": one.name,
                "start": told(one.start),
                "end": told(one.end),
                "people": one.people,
                "days": [WEEK[day] for day in one.days],
                "breaks": [[told(one.start + a), told(one.start + b)] for a, b in one.breaks],
                "spell": one.spell,
                "rest": one.rest,
            }
            for one in plan.shifts
        ],
        "exceptions": [
            {"date": one.date.isoformat(), "role": one.role, "shift": one.shift, "people": one.people}
            for one in plan.exceptions
        ],
        "machines": [{"name": one.name, "kind": one.kind} for one in plan.machines],
        "toml": plan_toml(plan),
    }


def _absence(one: Spell) -> dict[str, Any]:
    return {
        "absence": one.act_id,
        "role": one.role,
        "shift": one.shift,
        "people": one.people,
        "since": one.since,
        "until": one.until,
        "reason": one.reason,
        "said_by": one.actor,
        "said_at": one.at,
    }


def _outage(one: Spell) -> dict[str, Any]:
    return {
        "act": one.act_id,
        "instrument": one.instrument,
        "since": one.since,
        "expected_back": one.expected,
        "planned": one.planned,
        "reason": one.reason,
        "said_by": one.actor,
        "said_at": one.at,
    }


def _act(row: queries.Row) -> dict[str, Any]:
    """One act without what it does not have."""
    return {name: value for name, value in row.items() if value not in {"", None, 0}}
