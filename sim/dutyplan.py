"""A duty plan as a manager writes it: who is on, when; and how it lies on the calendar.

Times are of the laboratory's own clock; whoever lays a plan out says which minute that is.
"""

import datetime as dt
import re
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from scheduler import Rota, Shift
from scheduler.shifts import pieces
from sim.duty import MACHINE_KINDS, Turn, Window
from sim.faults import listed, phrase, toml_fault
from sim.refusal import check_keys, entries, named, refused, shown, typed, within

ROLES: Final = ("reception", "prepare", "review")
"""Stations at which people are planned: tubes are received, plates prepared, results reviewed."""

WEEK: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY: Final = 1440
MOST_PEOPLE: Final = 500
MOST_TEXT: Final = 100
CLOCK: Final = re.compile(r"([01][0-9]|2[0-4]):([0-5][0-9])")


@dataclass(frozen=True, slots=True)
class PlannedShift:
    """One shift at one station.

    Attributes:
        role: one of `ROLES`; `name` is unique there.
        start, end: minutes of the local day; an end after midnight is above 1440.
        people: planned.
        days: of the week, 0 for Monday.
        breaks: minutes after the start, for all who are on.
        spell, rest: longest stretch in protective clothing and the rest after it; spell 0 for no limit.
    """

    role: str
    name: str
    start: int
    end: int
    people: int
    days: tuple[int, ...] = tuple(range(7))
    breaks: tuple[tuple[int, int], ...] = ()
    spell: int = 0
    rest: int = 30

    def __post_init__(self) -> None:
        self.on()

    def on(self) -> list[Window]:
        """When somebody of this shift works, in minutes of its day."""
        breaks = tuple((float(a), float(b)) for a, b in self.breaks)
        shift = Shift(self.name, self.start, self.end, self.people, breaks)
        return pieces(shift, Rota((shift,), self.spell, self.rest))


@dataclass(frozen=True, slots=True)
class Special:
    """Another number of people for one shift on one day."""

    date: dt.date
    role: str
    shift: str
    people: int


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine that plates are prepared with: its name, and its kind, a key of `sim.duty.MACHINE_KINDS`."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class DutyPlan:
    """Who is on, and what they work with, from a day on, until another plan says otherwise."""

    since: dt.date
    shifts: tuple[PlannedShift, ...]
    exceptions: tuple[Special, ...] = ()
    title: str = ""
    machines: tuple[Machine, ...] = ()

    def people(self, shift: PlannedShift, day: dt.date) -> int:
        """Planned on one day."""
        for one in self.exceptions:
            if (one.date, one.role, one.shift) == (day, shift.role, shift.name):
                return one.people
        return shift.people if day.weekday() in shift.days else 0

    @property
    def roles(self) -> tuple[str, ...]:
        """Stations the plan speaks of."""
        return tuple(role for role in ROLES if any(shift.role == role for shift in self.shifts))


@dataclass(frozen=True, slots=True)
class Away:
    """People of one station who are not there between two minutes; of one shift, or of any."""

    role: str
    start: float
    end: float
    people: int
    shift: str = ""


# -- as it is written -------------------------------------------------------------------------------


def plan_from_toml(text: str) -> DutyPlan:
    """Read a duty plan.

    Raises:
        ScenarioError: the key, why it is refused, and what to write instead.
    """
    try:
        facts = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise refused("BAD_TOML", phrase("toml-plan", error=toml_fault(error))) from error
    check_keys(facts, {"from", "shift"}, {"title", "exception", "machine"})
    shifts: list[PlannedShift] = []
    for number, entry in enumerate(entries(facts, "shift"), start=1):
        with within(named("shift", entry, number)):
            made = _shift(entry)
            if any((one.role, one.name) == (made.role, made.name) for one in shifts):
                raise refused("BAD_DUTY", phrase("duty-shift-twice", role=made.role), "name")
            shifts.append(made)
    if not shifts:
        raise refused("BAD_DUTY", phrase("duty-no-shift"), "shift")
    exceptions = [
        _exception(entry, number, shifts) for number, entry in enumerate(entries(facts, "exception"), start=1)
    ]
    title = typed(str, "title", facts.get("title", ""))[:MOST_TEXT]
    machines = tuple(_machines(entries(facts, "machine")))
    return DutyPlan(_date("from", facts["from"]), tuple(shifts), tuple(exceptions), title, machines)


def _machines(rows: Sequence[Any]) -> list[Machine]:
    found: list[Machine] = []
    for number, entry in enumerate(rows, start=1):
        with within(named("machine", entry, number)):
            check_keys(entry, {"name", "kind"}, set())
            name, kind = _name(entry["name"]), typed(str, "kind", entry["kind"])
            if kind not in MACHINE_KINDS:
                what = phrase("duty-machine", value=shown(kind), known=listed(MACHINE_KINDS))
                raise refused("BAD_DUTY", what, "kind")
            if any(one.name == name for one in found):
                raise refused("BAD_DUTY", phrase("duty-machine-twice"), "name")
            found.append(Machine(name, kind))
    return found


def _shift(facts: Any) -> PlannedShift:
    check_keys(facts, {"role", "name", "start", "end", "people"}, {"days", "breaks", "spell", "rest"})
    start, end = _clock("start", facts["start"]), _clock("end", facts["end"])
    end += DAY if end <= start else 0
    breaks = _breaks(facts.get("breaks", []), start)
    return PlannedShift(
        _role(facts["role"]),
        _name(facts["name"]),
        start,
        end,
        _people(facts["people"]),
        _days(facts.get("days", list(WEEK))),
        breaks,
        _minutes("spell", facts.get("spell", 0), 0),
        _minutes("rest", facts.get("rest", 30), 1),
    )


def _exception(facts: Any, number: int, shifts: Sequence[PlannedShift]) -> Special:
    with within(f"exception[{number}]"):
        check_keys(facts, {"date", "role", "shift", "people"}, set())
        made = Special(
            _date("date", facts["date"]), _role(facts["role"]), facts["shift"], _people(facts["people"])
        )
        known = [one.name for one in shifts if one.role == made.role]
        if made.shift not in known:
            what = phrase("duty-shift-unknown", role=made.role, known=listed(known))
            raise refused("BAD_DUTY", what, "shift")
    return made


def _role(value: Any) -> str:
    role = typed(str, "role", value)
    if role not in ROLES:
        raise refused("BAD_DUTY", phrase("choice-listed", value=shown(value), known=listed(ROLES)), "role")
    return str(role)


def _name(value: Any) -> str:
    name = typed(str, "name", value).strip()
    if not 1 <= len(name) <= 40 or not name.isprintable():
        raise refused("BAD_DUTY", phrase("duty-name"), "name")
    return str(name)


def _people(value: Any) -> int:
    people = typed(int, "people", value)
    if not 0 <= people <= MOST_PEOPLE:
        raise refused("BAD_DUTY", phrase("duty-people", value=people, most=MOST_PEOPLE), "people")
    return int(people)


def _minutes(key: str, value: Any, least: int) -> int:
    minutes = typed(int, key, value)
    if not least <= minutes <= DAY:
        raise refused("BAD_DUTY", phrase("duty-minutes", value=minutes, least=least, most=DAY), key)
    return int(minutes)


def _clock(key: str, value: Any) -> int:
    found = CLOCK.fullmatch(value) if isinstance(value, str) else None
    minutes = 60 * int(found[1]) + int(found[2]) if found else DAY + 1
    if minutes > DAY or (key == "start" and minutes == DAY):
        raise refused("BAD_DUTY", phrase("duty-clock", value=shown(value)), key)
    return minutes


def _date(key: str, value: Any) -> dt.date:
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return value
    raise refused("BAD_DUTY", phrase("duty-date"), key)


def _days(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not value or not all(one in WEEK for one in value):
        raise refused("BAD_DUTY", phrase("duty-days", known=listed(WEEK)), "days")
    return tuple(sorted({WEEK.index(one) for one in value}))


def _breaks(value: Any, start: int) -> tuple[tuple[int, int], ...]:
    if not isinstance(value, list) or not all(isinstance(one, list) and len(one) == 2 for one in value):
        raise refused("BAD_DUTY", phrase("duty-breaks"), "breaks")
    return tuple(((_clock("breaks", a) - start) % DAY, (_clock("breaks", b) - start) % DAY) for a, b in value)


def plan_toml(plan: DutyPlan) -> str:
    """A plan as a file that can be changed by hand and set again."""
    lines = [f"title = {_quoted(plan.title)}", f"from = {plan.since.isoformat()}"]
    for one in plan.shifts:
        lines += ["", "[[shift]]", f"role = {_quoted(one.role)}", f"name = {_quoted(one.name)}"]
        lines += [f"start = {_quoted(told(one.start))}", f"end = {_quoted(told(one.end))}"]
        lines.append(f"people = {one.people}")
        if len(one.days) < len(WEEK):
            lines.append(f"days = [{', '.join(_quoted(WEEK[day]) for day in one.days)}]")
        if one.breaks:
            pairs = (
                f"[{_quoted(told(one.start + a))}, {_quoted(told(one.start + b))}]" for a, b in one.breaks
            )
            lines.append(f"breaks = [{', '.join(pairs)}]")
        if one.spell:
            lines += [f"spell = {one.spell}", f"rest = {one.rest}"]
    for special in plan.exceptions:
        lines += [
            "",
            "[[exception]]",
            f"date = {special.date.isoformat()}",
            f"role = {_quoted(special.role)}",
        ]
        lines += [f"shift = {_quoted(special.shift)}", f"people = {special.people}"]
    for machine in plan.machines:
        lines += ["", "[[machine]]", f"name = {_quoted(machine.name)}", f"kind = {_quoted(machine.kind)}"]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def told(minute: int) -> str:
    """A minute of the day as clocks show it; midnight at the end of a day is 24:00."""
    within_day = minute if minute <= DAY else minute - DAY
    return f"{within_day // 60:02d}:{within_day % 60:02d}"


# -- on the calendar --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Post:
    """One person's shift on one day: the station, the shift, and when the person is there."""

    role: str
    shift: str
    turn: Turn


def laid_out(
    plans: Sequence[DutyPlan], days: Sequence[dt.date], minute: Callable[[dt.date, float], float]
) -> list[Post]:
    """Every person's shifts on some days.

    Args:
        plans: in the order in which they were set; on each day the last one that has begun holds.
        days: to lay out.
        minute: of a local day and a minute of it, the minute that the turns count in.
    """
    posts = []
    for day in days:
        plan = next((one for one in reversed(plans) if one.since <= day), None)
        for shift in plan.shifts if plan else ():
            on = tuple((minute(day, a), minute(day, b)) for a, b in shift.on())
            for _ in range(plan.people(shift, day) if plan else 0):
                posts.append(Post(shift.role, shift.name, Turn(minute(day, shift.start), on)))  # noqa: PERF401 - reads better
    return posts


def without_away(posts: Sequence[Post], away: Collection[Away]) -> list[Post]:
    """The same without the people who are away; whoever is away for a part is there for the rest."""
    left = list(posts)
    for one in away:
        missing: dict[tuple[str, float], int] = {}
        for place in range(len(left) - 1, -1, -1):
            post = left[place]
            key = post.shift, post.turn.begins
            touched = any(a < one.end and b > one.start for a, b in post.turn.windows)
            if not touched or post.role != one.role or one.shift not in {"", post.shift}:
                continue
            if missing.get(key, 0) < one.people:
                missing[key] = missing.get(key, 0) + 1
                windows = tuple(_cut(post.turn.windows, one.start, one.end))
                left[place] = replace(post, turn=replace(post.turn, windows=windows))
    return [post for post in left if post.turn.windows]


def _cut(windows: Sequence[Window], start: float, end: float) -> list[Window]:
    cut = []
    for a, b in windows:
        cut += [(x, y) for x, y in ((a, min(b, start)), (max(a, end), b)) if y > x]
    return cut


def plan_of(since: dt.date, title: str, rotas: Mapping[str, Rota]) -> DutyPlan:
    """A plan out of rotas.

    Args:
        since: first day.
        title: for people.
        rotas: station -> its rota; day 0 of the rota is taken to be a Monday.
    """
    shifts = [
        PlannedShift(
            *(role, one.name, round(one.start), round(one.end), one.people),
            *(one.days or tuple(range(7)), tuple((round(a), round(b)) for a, b in one.breaks)),
            *(round(rota.spell), round(rota.rest)),
        )
        for role, rota in rotas.items()
        for one in rota.shifts
        if one.people
    ]
    return DutyPlan(since, tuple(shifts), title=title)
