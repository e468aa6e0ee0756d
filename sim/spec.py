"""A laboratory as frozen values: its rules, stations, staff and what it does with called-back persons."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.resources import files
from typing import Any

from pooling import PoolRules
from retest import AssayRules, CaseRules, Policy
from scheduler import FillRules, Rota, TierRules, templates_from_toml
from sim.chain import read_rota
from sim.faults import listed, phrase
from sim.refusal import check_keys, check_types, entries, joined, made, named, refused, typed, within
from sim.service import Service
from sim.stations import Bench, check_outages, read_bench

LEAST_DAYS = 30
"""Days below which no warm-up can be told from the days after it."""


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
        for wrong, key, what in (
            (not 0 <= self.absence < 1, "absence", phrase("share-below", value=self.absence)),
            (
                not self.present or not all(0 <= p <= 1 for p in self.present),
                "present",
                phrase("present"),
            ),
            (self.cost < 0, "cost", phrase("cost-negative")),
        ):
            if wrong:
                raise refused("BAD_STAFF", what, key)


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
        for wrong, key, what in (
            (not 0 <= self.show_up <= 1, "show_up", phrase("share", value=self.show_up)),
            (self.travel < 0, "travel", phrase("minutes-negative")),
            (self.desks < 1, "desks", phrase("no-desks")),
        ):
            if wrong:
                raise refused("BAD_RECALL", what, key)


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
        continuing: it never stands empty: the warm-up is found and left out (`sim.warmup`). Said by the
            scenario and not guessed from its days: a surge of many days begins with an empty laboratory too.
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
    continuing: bool = False

    def __post_init__(self) -> None:
        names = [station.name for station in self.stations]
        units = [station.unit for station in self.stations]
        for number, station in enumerate(self.stations):
            key = named("station", {"name": station.name}, number)
            if station.staff and station.staff not in self.staff:
                what = phrase("no-such-staff", name=station.staff, known=listed(self.staff))
                raise refused("UNKNOWN_STAFF", what, joined(key, "staff"))
            if station.name in names[:number]:
                raise refused("BAD_LABORATORY", phrase("station-twice"), joined(key, "name"))
            if number and station.unit == "tube":
                raise refused("BAD_STATION", phrase("tube-station-late"), joined(key, "unit"))
        reading = sum(s.reads for s in self.stations)
        share = phrase("share-below-any")
        for wrong, key, what in (
            (len(units) < 2, "station", phrase("stations-few")),
            (units[:1] != ["tube"], "station", phrase("first-takes-tubes")),
            (
                reading != 1,
                "station",
                phrase("one-reads", reading=reading),
            ),
            (self.days < 1, "laboratory.days", phrase("at-least", value=self.days, least=1)),
            (
                self.continuing and self.days < LEAST_DAYS,
                "laboratory.days",
                phrase("days-few", value=self.days, least=LEAST_DAYS),
            ),
            (not 0 <= self.control_failure < 1, "laboratory.control_failure", share),
            (not 0 <= self.invalid < 1, "laboratory.invalid", share),
            (not 0 <= self.volume_spread <= 1, "laboratory.volume_spread", phrase("share-any")),
            (self.pool_every <= 0, "laboratory.pool_every", phrase("minutes-above-zero")),
            (
                self.target_hours <= 0,
                "laboratory.target_hours",
                phrase("hours-above-zero", value=self.target_hours),
            ),
            (
                not 0 < self.target_share <= 1,
                "laboratory.target_share",
                phrase("share-above", value=self.target_share),
            ),
        ):
            if wrong:
                raise refused("BAD_LABORATORY", what, key)
        with within("laboratory.recall.tier"):
            self.tiers.tier(self.recall.tier)

    @property
    def assay(self) -> AssayRules:
        """The assay rules."""
        return self.rules.assay

    @property
    def reads_at(self) -> int:
        """Index of the station that reads."""
        return next(number for number, station in enumerate(self.stations) if station.reads)


def shipped(package: str, folder: str, name: str, but: tuple[str, ...] = ()) -> str:
    """Text of a rule file that comes with the policies; those that begin like `but` are others.

    Raises:
        ScenarioError: `UNKNOWN_RULES`, naming those there are.
    """
    place = files(package).joinpath(folder)
    found = (one.name.removesuffix(".toml") for one in place.iterdir() if one.name.endswith(".toml"))
    known = sorted(one for one in found if not one.startswith(but))
    if name not in known:
        raise refused("UNKNOWN_RULES", phrase("no-rules", name=name, known=listed(known)))
    return place.joinpath(f"{name}.toml").read_text("utf-8")


NO_POLICIES = ("discharge-", "release")
"""How the files beside the policies are named that are none: rules of discharge and of release."""

_PLAIN = {"days", "auto_release", "control_failure", "invalid", "volume_spread", "pool_every"} | {
    "target_hours",
    "target_share",
    "continuing",
}
_NAMED = {"assay", "policy", "template", "fill", "pool", "recall"}


def read_laboratory(facts: Mapping[str, Any]) -> Laboratory:
    """From the tables `laboratory`, `station` and `staff` of a scenario.

    Raises:
        ScenarioError: the key, why it is refused, and what to write instead.
    """
    own = facts.get("laboratory", {})
    with within("laboratory"):
        check_keys(own, {"assay"}, _PLAIN | _NAMED)
        check_types(own, Laboratory)
        assay, policy, template = (
            typed(str, key, own.get(key, usual))
            for key, usual in (("assay", ""), ("policy", "china"), ("template", "96-standard"))
        )
    stations = tuple(read_bench(entry, n) for n, entry in enumerate(entries(facts, "station"), start=1))
    crews = [_staff(n, entry) for n, entry in enumerate(entries(facts, "staff"), start=1)]
    staff = {crew.name: crew for crew in crews}
    check_outages(stations, {name: crew.rota.positions for name, crew in staff.items()})
    return Laboratory(
        rules=_rules(assay, policy),
        tiers=tier_rules(),
        fill=_fill(own.get("fill", {}), template, stations),
        pool=_pool(own.get("pool", {})),
        stations=stations,
        staff=staff,
        recall=_recall(own.get("recall", {})),
        **{key: own[key] for key in _PLAIN if key in own},
    )


def tier_rules() -> TierRules:
    """The tiers that come with the scheduler."""
    return TierRules.from_toml(shipped("scheduler", "", "tiers"))


def _rules(assay: str, policy: str) -> CaseRules:
    with within("laboratory.assay"):
        own = AssayRules.from_toml(shipped("retest", "assays", assay), assay)
    with within("laboratory.policy"):
        return CaseRules(own, Policy.from_toml(shipped("retest", "policies", policy, NO_POLICIES)))


def _staff(number: int, facts: Any) -> Staff:
    with within(named("staff", facts, number)):
        more = {"absence", "present", "cost"}
        check_keys(facts, {"name", "shift"}, more | {"spell", "rest", "ending"})
        check_types(facts, Staff)
        rota = read_rota(facts)
        own = {key: facts[key] for key in more if key in facts}
        found: Staff = made(Staff, {**own, "name": facts["name"], "rota": rota})
    return found


def _fill(facts: Any, template: str, stations: Sequence[Bench]) -> FillRules:
    templates = templates_from_toml(shipped("scheduler", "", "plates"))
    if template not in templates:
        what = phrase("no-template", name=template, known=listed(templates))
        raise refused("UNKNOWN_RULES", what, "laboratory.template")
    working = sum(station.service.average for station in stations if station.unit == "plate")
    with within("laboratory.fill"):
        check_keys(facts, set(), set(FillRules.__dataclass_fields__) - {"template"})
        usual = {"minutes_to_report": round(1.25 * working), "template": templates[template]}
        found: FillRules = made(FillRules, {**usual, **facts})
    return found


def _pool(facts: Any) -> PoolRules:
    with within("laboratory.pool"):
        check_keys(facts, set(), {"size", "max_n", "min_n", "max_wait", "lead", "excluded_tiers"})
        values: dict[str, Any] = {
            key: typed(int, key, facts[key]) for key in ("size", "max_n", "min_n") if key in facts
        }
        for key in ("max_wait", "lead"):
            if key in facts:
                values[key] = timedelta(minutes=typed(float, key, facts[key]))
        if "excluded_tiers" in facts:
            values["excluded_tiers"] = frozenset(typed(list, "excluded_tiers", facts["excluded_tiers"]))
        found: PoolRules = made(PoolRules, values)
    return found


def _recall(facts: Any) -> Recall:
    with within("laboratory.recall"):
        check_keys(facts, set(), Recall.__dataclass_fields__)
        values = dict(facts)
        if "delay" in facts:
            with within("delay"):
                values["delay"] = Service.read(facts["delay"])
        found: Recall = made(Recall, values)
    return found
