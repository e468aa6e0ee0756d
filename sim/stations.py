"""Stations of a laboratory as frozen values: what works there, how long it takes, when it is out of order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sim.faults import phrase
from sim.refusal import check_keys, check_types, entries, joined, made, named, refused, within
from sim.service import Service


@dataclass(frozen=True, slots=True)
class Outage:
    """Machines that are known beforehand to be out of service, for maintenance or because they are broken.

    Attributes:
        start, end: minutes from the first midnight.
        machines: how many of the station's.
    """

    start: float
    end: float
    machines: int = 1

    def __post_init__(self) -> None:
        for wrong, key, what in (
            (self.start < 0, "start", phrase("minutes", value=self.start)),
            (self.end <= self.start, "end", phrase("outage-end")),
            (self.machines < 1, "machines", phrase("at-least", value=self.machines, least=1)),
        ):
            if wrong:
                raise refused("BAD_OUTAGE", what, key)


@dataclass(frozen=True, slots=True)
class Bench:
    """One station of the laboratory.

    Attributes:
        name: for people; unique.
        service: minutes of one run, of a tube at the station of unit `tube`, else of a run of plates.
        unit: `tube` (reception, first of all) or `plate`.
        servers: machines, always on but for `down`; 0 when `staff` says who is there.
        staff: name of the staff that works here.
        plates: least and most plates of a run.
        patience: minutes after which a run with fewer plates starts.
        reads: the cycler: what it finishes is read. Exactly one station reads.
        per_positive: minutes added for every tube on the plate that is not negative.
        down: chance that a machine (with `staff`: a place to work at) is out of order for a whole day.
        out: when machines are known to be out of service.
        failure: chance that a run is lost; its tubes are tested again.
        repair: minutes a machine is out after a lost run.
        cost: of one server for one day.
        most: servers the room has space for.
    """

    name: str
    service: Service
    unit: str = "plate"
    servers: int = 0
    staff: str = ""
    plates: tuple[int, int] = (1, 1)
    patience: float = 60.0
    reads: bool = False
    per_positive: float = 0.0
    down: float = 0.0
    failure: float = 0.0
    repair: float = 240.0
    cost: float = 0.0
    most: int = 1000
    out: tuple[Outage, ...] = ()

    def __post_init__(self) -> None:
        plates = list(self.plates)
        for wrong, key, what in (
            (self.unit not in ("tube", "plate"), "unit", phrase("tube-or-plate", value=self.unit)),
            (self.servers < 0, "servers", phrase("servers-or-staff", value=self.servers)),
            (self.servers > 0 and self.staff, "servers", phrase("servers-and-staff")),
            (self.servers == 0 and not self.staff, "servers", phrase("nobody-works")),
            (self.patience < 0, "patience", phrase("minutes-negative")),
            (not 1 <= plates[0] <= plates[1], "plates", phrase("least-most", value=plates)),
            (not 0 <= self.down < 1, "down", phrase("share-below", value=self.down)),
            (not 0 <= self.failure < 1, "failure", phrase("share-below", value=self.failure)),
            (self.per_positive < 0, "per_positive", phrase("minutes-negative")),
            (self.repair < 0, "repair", phrase("minutes-negative")),
            (self.cost < 0, "cost", phrase("cost-negative")),
            (self.most < max(self.servers, 1), "most", phrase("room-small")),
        ):
            if wrong:
                raise refused("BAD_STATION", what, key)

    @property
    def always(self) -> bool:
        """Whether all its servers work all the time."""
        return not (self.staff or self.down or self.out)


def read_bench(facts: Any, number: int) -> Bench:
    """A station from its table, the `number`-th of the scenario, from 1 up.

    Raises:
        ScenarioError: the key, why it is refused, and what to write instead.
    """
    with within(named("station", facts, number)):
        check_keys(facts, {"name", "service"}, Bench.__dataclass_fields__)
        with within("service"):
            service = Service.read(facts["service"])
        out = tuple(_outage(entry, n) for n, entry in enumerate(entries(facts, "out"), start=1))
        found: Bench = made(Bench, {**facts, "service": service, "out": out})
    return found


def _outage(facts: Any, number: int) -> Outage:
    with within(f"out[{number}]"):
        check_keys(facts, {"start", "end"}, {"machines"})
        check_types(facts, Outage)
        return Outage(**facts)


def check_outages(stations: Sequence[Bench], positions: Mapping[str, int]) -> None:
    """Refuse an outage of more machines than a station has, as the scenario is written.

    Args:
        stations: of the scenario.
        positions: of each staff.

    Raises:
        ScenarioError: `BAD_OUTAGE`.
    """
    for number, bench in enumerate(stations, start=1):
        have = positions.get(bench.staff, 0) if bench.staff else bench.servers
        for place, one in enumerate(bench.out, start=1):
            if one.machines > have > 0:
                key = joined(named("station", {"name": bench.name}, number), f"out[{place}]", "machines")
                what = phrase("outage-many", value=one.machines, name=bench.name, have=have)
                raise refused("BAD_OUTAGE", what, key)
