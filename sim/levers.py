"""What of a laboratory can be changed: machines, people, how plates close, how large pools are."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product

from scheduler import Rota
from sim.faults import phrase
from sim.refusal import refused
from sim.scenario import Scenario
from sim.spec import Laboratory

Levels = Mapping[str, int]
CLOSINGS = ("urgency", "cost", "fifo-full")
POOL_SIZES = (0, 5, 10)


@dataclass(frozen=True, slots=True)
class Lever:
    """Something of which there can be more or less.

    Attributes:
        name: of the station or the staff.
        kind: `machines` or `people` (in the largest shift; the others keep their proportion).
        now: level in the scenario; `most` the largest allowed.
        cost: of one more for one day.
    """

    name: str
    kind: str
    now: int
    most: int
    cost: float


@dataclass(frozen=True, slots=True)
class Custom:
    """How a laboratory works, apart from machines and people.

    Attributes:
        closing: when a partial plate closes (`scheduler.POLICIES`).
        pool: members of a laboratory pool; 0 tests every single tube singly.
    """

    closing: str
    pool: int


def laboratory_of(scenario: Scenario) -> Laboratory:
    """The laboratory of a scenario.

    Raises:
        ScenarioError: `NO_LABORATORY`.
    """
    if scenario.laboratory is None:
        raise refused("NO_LABORATORY", phrase("not-planned", name=scenario.name))
    return scenario.laboratory


def levers(lab: Laboratory) -> tuple[Lever, ...]:
    """Everything that can be changed, with what one more costs a day."""
    found = [
        Lever(bench.name, "machines", bench.servers, bench.most, bench.cost)
        for bench in lab.stations
        if not bench.staff
    ]
    for staff in lab.staff.values():
        hours = sum((shift.end - shift.start) / 60 for shift in staff.rota.shifts)
        share = sum(s.people * (s.end - s.start) / 60 for s in staff.rota.shifts) / (
            staff.rota.positions * hours
        )
        found.append(Lever(staff.name, "people", staff.rota.positions, 200, staff.cost * hours * share))
    return tuple(found)


def with_levels(scenario: Scenario, levels: Levels) -> Scenario:
    """The scenario with other numbers of machines and people."""
    lab = laboratory_of(scenario)
    stations = tuple(
        replace(b, servers=levels.get(b.name, b.servers)) if not b.staff else b for b in lab.stations
    )
    staff = {
        name: replace(one, rota=_sized(one.rota, levels.get(name, one.rota.positions)))
        for name, one in lab.staff.items()
    }
    return replace(scenario, laboratory=replace(lab, stations=stations, staff=staff))


def _sized(rota: Rota, positions: int) -> Rota:
    """The rota with another largest shift; the others keep their proportion, and at least one person."""
    factor = positions / rota.positions
    shifts = tuple(replace(s, people=max(round(s.people * factor), min(s.people, 1))) for s in rota.shifts)
    return replace(rota, shifts=shifts)


def people_of(scenario: Scenario, levels: Levels) -> int:
    """People a day: those of all shifts of all staff together."""
    lab = laboratory_of(with_levels(scenario, levels))
    return sum(shift.people for staff in lab.staff.values() for shift in staff.rota.shifts)


def machines_of(scenario: Scenario, levels: Levels) -> int:
    """Machines and places, of all stations together."""
    return sum(b.servers for b in laboratory_of(with_levels(scenario, levels)).stations)


def custom_of(scenario: Scenario) -> Custom:
    """How the laboratory works now."""
    lab = laboratory_of(scenario)
    pooled = any(source.lab_pool for source in scenario.streams)
    return Custom(lab.fill.policy, lab.pool.size if pooled else 0)


def customs(scenario: Scenario) -> tuple[Custom, ...]:
    """The ways worth trying, the present one first; pools only where single tubes are pooled already.

    A stream that is tested singly stays so: whether its tubes may be pooled is no question of turnaround.
    """
    now = custom_of(scenario)
    most = laboratory_of(scenario).pool.max_n
    sizes = [size for size in POOL_SIZES if size <= most] if now.pool else [0]
    others = [Custom(closing, size) for closing, size in product(CLOSINGS, sizes)]
    return (now, *(one for one in others if one != now))


def with_custom(scenario: Scenario, custom: Custom) -> Scenario:
    """The scenario under another rule for closing plates and another size of pools."""
    lab = laboratory_of(scenario)
    fill = replace(lab.fill, policy=custom.closing, waves=lab.fill.waves if custom.closing == "waves" else ())
    streams = tuple(replace(s, lab_pool=custom.pool if s.lab_pool else 0) for s in scenario.streams)
    pool = lab.pool
    if custom.pool:
        pool = replace(pool, size=custom.pool, min_n=min(pool.min_n, custom.pool))
    return replace(scenario, streams=streams, laboratory=replace(lab, fill=fill, pool=pool))
