"""A laboratory as frozen values: its rules, stations, staff and what it does with called-back persons."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.resources import files
from itertools import pairwise
from typing import Any

from pooling import PoolRules
from retest import AssayRules, CaseRules, Policy
from scheduler import FillRules, Rota, TierRules, templates_from_toml
from sim.arrivals import ScenarioError
from sim.chain import read_rota
from sim.service import Service


@dataclass(frozen=True, slots=True)
class Staff:
    """A rota with the people who do not come.

    Attributes:
        name: stations name it.
        rota: shifts, breaks, spells, ending.
        absence: chance that a person is not there for a whole shift.
        present: share of the staff that is there, day by day; the last value holds on.
        cost: of one position for one hour.
    """

    name: str
    rota: Rota
    absence: float = 0.0
    present: tuple[float, ...] = (1.0,)
    cost: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.absence < 1 or not self.present or not all(0 <= p <= 1 for p in self.present):
            raise ScenarioError(
                "BAD_STAFF", f"Staff {self.name!r}: absence and presence lie between 0 and 1."
            )


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
        down: chance that a machine is out of order for a whole day.
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

    def __post_init__(self) -> None:
        for wrong, what in (
            (self.unit not in ("tube", "plate"), "unit is tube or plate"),
            ((self.servers > 0) == bool(self.staff), "it has servers, or staff that is named, and not both"),
            (self.servers < 0 or self.patience < 0, "servers and patience are not negative"),
            (not 1 <= self.plates[0] <= self.plates[1], "plates is [least, most], from 1 up"),
            (not 0 <= self.down < 1 or not 0 <= self.failure < 1, "down and failure lie between 0 and 1"),
            (min(self.per_positive, self.repair, self.cost) < 0, "minutes and costs are not negative"),
        ):
            if wrong:
                raise ScenarioError("BAD_STATION", f"Station {self.name!r}: {what}.")


@dataclass(frozen=True, slots=True)
class Recall:
    """What happens with persons who are called back.

    Attributes:
        show_up: share that comes again.
        delay: minutes from the call to the new specimen's sampling.
        travel: minutes from sampling to the laboratory.
        tier: of the new specimen.
        desks: places at which re-collected specimens are received.
    """

    show_up: float = 1.0
    delay: Service = field(default_factory=lambda: Service("uniform", low=90.0, high=240.0))
    travel: float = 30.0
    tier: str = "yellow"
    desks: int = 2

    def __post_init__(self) -> None:
        if not 0 <= self.show_up <= 1 or self.travel < 0 or self.desks < 1:
            raise ScenarioError(
                "BAD_RECALL", "show_up lies in 0..1, travel is not negative, desks from 1 up."
            )


@dataclass(frozen=True)
class Laboratory:
    """Everything about a laboratory that is not its tubes.

    Attributes:
        rules: assay and jurisdiction, as values of the policy packages.
        fill: how plates are filled; `pool` how pools are formed, every `pool_every` minutes.
        days: days of arrivals.
        auto_release: whether first negatives leave without a reviewer.
        control_failure: share of plates whose negative control is contaminated.
        invalid: share of first extractions that fail.
        volume_spread: a day's tubes vary uniformly by this share up and down.
        target_hours, target_share: what counts as a good day.
    """

    rules: CaseRules
    tiers: TierRules
    fill: FillRules
    pool: PoolRules
    stations: tuple[Bench, ...]
    staff: Mapping[str, Staff]
    recall: Recall = field(default_factory=Recall)
    days: int = 1
    auto_release: bool = True
    control_failure: float = 0.0
    invalid: float = 0.0
    volume_spread: float = 0.0
    pool_every: float = 15.0
    target_hours: float = 24.0
    target_share: float = 0.95

    def __post_init__(self) -> None:
        names = [station.name for station in self.stations]
        units = [station.unit for station in self.stations]
        missing = sorted({s.staff for s in self.stations if s.staff} - set(self.staff))
        if missing:
            raise ScenarioError(
                "UNKNOWN_STAFF", f"Stations name staff that is not there: {', '.join(missing)}."
            )
        for wrong, what in (
            (len(set(names)) < len(names), "every station has a name of its own"),
            (
                len(units) < 2 or units[0] != "tube" or "tube" in units[1:],
                "one tube station, then plate stations",
            ),
            (sum(s.reads for s in self.stations) != 1, "exactly one station reads (the cycler)"),
            (self.days < 1, "at least one day"),
            (not 0 <= self.control_failure < 1 or not 0 <= self.invalid < 1, "shares lie between 0 and 1"),
            (
                not 0 <= self.volume_spread <= 1 or self.pool_every <= 0,
                "spread lies in 0..1, pool_every above 0",
            ),
            (
                self.target_hours <= 0 or not 0 < self.target_share <= 1,
                "the target is hours above 0 and a share",
            ),
        ):
            if wrong:
                raise ScenarioError("BAD_LABORATORY", f"A laboratory needs: {what}.")
        self.tiers.tier(self.recall.tier)

    @property
    def assay(self) -> AssayRules:
        """The assay rules."""
        return self.rules.assay

    @property
    def reads_at(self) -> int:
        """Index of the station that reads."""
        return next(number for number, station in enumerate(self.stations) if station.reads)


def shipped(package: str, path: str) -> str:
    """Text of a rule file that comes with the policies."""
    place = files(package).joinpath(path)
    if not place.is_file():
        raise ScenarioError("UNKNOWN_RULES", f"There is no rule file {path} among those of {package}.")
    return place.read_text("utf-8")


_PLAIN = {"days", "auto_release", "control_failure", "invalid", "volume_spread", "pool_every"} | {
    "target_hours",
    "target_share",
}
_NAMED = {"assay", "policy", "template", "fill", "pool", "recall"}


def read_laboratory(facts: Mapping[str, Any]) -> Laboratory:
    """From the tables `laboratory`, `station` and `staff` of a scenario.

    Raises:
        ScenarioError: the key, and why it is refused.
        RulesError, ScheduleError, PoolDesignError: what a policy package refuses.
    """
    own = facts.get("laboratory", {})
    _keys("laboratory", own, {"assay"}, _PLAIN | _NAMED)
    stations = tuple(_bench(entry) for entry in facts.get("station", ()))
    for first, second in pairwise(stations):
        if first.reads and second.unit == "tube":
            raise ScenarioError("BAD_STATION", f"Station {second.name!r}: after the cycler there are plates.")
    staff = {str(entry.get("name", "?")): _staff(entry) for entry in facts.get("staff", ())}
    return Laboratory(
        rules=CaseRules(
            AssayRules.from_toml(shipped("retest", f"assays/{own['assay']}.toml"), own["assay"]),
            Policy.from_toml(shipped("retest", f"policies/{own.get('policy', 'china')}.toml")),
        ),
        tiers=TierRules.from_toml(shipped("scheduler", "tiers.toml")),
        fill=_fill(own.get("fill", {}), str(own.get("template", "96-standard")), stations),
        pool=_pool(own.get("pool", {})),
        stations=stations,
        staff=staff,
        recall=_recall(own.get("recall", {})),
        **{key: own[key] for key in _PLAIN if key in own},
    )


def _keys(place: str, facts: Mapping[str, Any], needed: set[str], allowed: set[str]) -> None:
    wrong = sorted((needed - set(facts)) | (set(facts) - needed - allowed))
    if wrong:
        raise ScenarioError("BAD_KEYS", f"{place}: keys missing or unknown: {', '.join(wrong)}.")


def _bench(facts: Mapping[str, Any]) -> Bench:
    place = f"station {facts.get('name', '?')}"
    _keys(place, facts, {"name", "service"}, set(Bench.__dataclass_fields__))
    made = dict(facts)
    made["service"] = Service.read(place, facts["service"])
    if "plates" in facts:
        made["plates"] = _pair(place, facts["plates"])
    return Bench(**made)


def _pair(place: str, value: Any) -> tuple[int, int]:
    if not isinstance(value, Sequence) or len(value) != 2:
        raise ScenarioError("BAD_STATION", f"{place}: plates is [least, most].")
    return int(value[0]), int(value[1])


def _staff(facts: Mapping[str, Any]) -> Staff:
    name = str(facts.get("name", "?"))
    more = {"absence", "present", "cost"}
    _keys(f"staff {name}", facts, {"name", "shift"}, more | {"spell", "rest", "ending"})
    made: dict[str, Any] = {
        key: tuple(facts[key]) if key == "present" else facts[key] for key in more if key in facts
    }
    return Staff(name, read_rota(facts), **made)


def _fill(facts: Mapping[str, Any], template: str, stations: Sequence[Bench]) -> FillRules:
    _keys("laboratory.fill", facts, set(), set(FillRules.__dataclass_fields__) - {"template"})
    templates = templates_from_toml(shipped("scheduler", "plates.toml"))
    if template not in templates:
        raise ScenarioError(
            "UNKNOWN_RULES", f"No plate template {template!r}; known: {', '.join(templates)}."
        )
    working = sum(station.service.average for station in stations if station.unit == "plate")
    made: dict[str, Any] = {"minutes_to_report": round(1.25 * working)}
    made |= {key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()}
    return FillRules(templates[template], **made)


def _pool(facts: Mapping[str, Any]) -> PoolRules:
    _keys("laboratory.pool", facts, set(), {"size", "max_n", "min_n", "max_wait", "lead", "excluded_tiers"})
    made: dict[str, Any] = {key: facts[key] for key in ("size", "max_n", "min_n") if key in facts}
    made |= {key: timedelta(minutes=facts[key]) for key in ("max_wait", "lead") if key in facts}
    if "excluded_tiers" in facts:
        made["excluded_tiers"] = frozenset(facts["excluded_tiers"])
    return PoolRules(**made)


def _recall(facts: Mapping[str, Any]) -> Recall:
    _keys("laboratory.recall", facts, set(), set(Recall.__dataclass_fields__))
    made = dict(facts)
    if "delay" in facts:
        made["delay"] = Service.read("laboratory.recall", facts["delay"])
    return Recall(**made)
