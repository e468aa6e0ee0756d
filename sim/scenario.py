"""What a day brings, as frozen values read from TOML."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.arrivals import Arrival, past_minutes
from sim.chain import Chain
from sim.faults import listed, phrase, toml_fault
from sim.refusal import check_keys, entries, joined, made, named, refused, shown, typed, within
from sim.spec import Laboratory, read_laboratory, tier_rules

MODES = ("single", "mixed")
PLACES = (1, 5, 10, 20)
DAY = 1440


@dataclass(frozen=True, slots=True)
class Quantiles:
    """A distribution given by quantiles, straight in between.

    Attributes:
        name: where the quantiles come from.
        shares: ascending, from 0 to 1.
        values: Cq at each share, ascending.
        ceiling: draws stay at or below this Cq (the part above is cut off, not piled up); None for no limit.
    """

    name: str
    shares: tuple[float, ...]
    values: tuple[float, ...]
    ceiling: float | None = None

    def __post_init__(self) -> None:
        rising = all(np.diff(self.shares) > 0) and all(np.diff(self.values) > 0)
        if len(self.shares) != len(self.values) or len(self.shares) < 2 or not rising:
            raise refused("BAD_QUANTILES", phrase("quantiles-rise"), "quantiles")
        if (self.shares[0], self.shares[-1]) != (0, 1):
            raise refused("BAD_QUANTILES", phrase("quantiles-ends"), "quantiles")
        if self.ceiling is not None and self.ceiling <= self.values[0]:
            raise refused("BAD_QUANTILES", phrase("ceiling-low", value=self.values[0]), "ceiling")

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw `count` values by inverting the distribution."""
        top = 1.0 if self.ceiling is None else float(np.interp(self.ceiling, self.values, self.shares))
        drawn: NDArray[np.float64] = np.interp(rng.uniform(0, top, count), self.shares, self.values)
        return drawn


@dataclass(frozen=True, slots=True)
class Stream:
    """One source of tubes.

    Attributes:
        name: for people; unique in a scenario.
        mode: `single` or `mixed` (at collection).
        places: persons a tube has room for (1, 5, 10, 20).
        tier: turnaround tier.
        site: collection site.
        start, end: minutes of the day between which tubes arrive.
        tubes: exact number of tubes.
        prevalence_start, prevalence_end: share of infected persons at start and end, linear in between.
        fill: chance that a place beyond the first is taken.
        lab_pool: size of the laboratory pools single tubes may form; 0 when they are tested singly.
        delay: minutes from sampling to arrival.
        arrival: shape of the arrivals.
        tubes_by_day: factor on `tubes` for every simulated day; the last one holds on.
        prevalence_by_day: share of infected persons for every simulated day, instead of start and end.
    """

    name: str
    mode: str
    places: int
    tier: str
    site: str
    start: float
    end: float
    tubes: int
    prevalence_start: float
    prevalence_end: float
    fill: float = 1.0
    lab_pool: int = 0
    delay: float = 60.0
    arrival: Arrival = field(default_factory=Arrival)
    tubes_by_day: tuple[float, ...] = ()
    prevalence_by_day: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for wrong, key, what in (
            (self.mode not in MODES, "mode", phrase("choice", value=self.mode, known=listed(MODES))),
            (self.places not in PLACES, "places", phrase("places", value=self.places, known=PLACES)),
            (
                (self.mode == "single") != (self.places == 1),
                "places",
                phrase("places-of-mode"),
            ),
            (
                not 0 <= self.start < DAY,
                "start",
                phrase("stream-start", value=self.start),
            ),
            (
                not self.start < self.end <= DAY,
                "end",
                phrase("stream-end", value=self.end),
            ),
            (self.tubes < 0, "tubes", phrase("at-least", value=self.tubes, least=0)),
            (self.delay < 0, "delay", phrase("minutes", value=self.delay)),
            (not 0 <= self.fill <= 1, "fill", phrase("share", value=self.fill)),
            (
                not 0 <= self.prevalence_start <= 1,
                "prevalence_start",
                phrase("share", value=self.prevalence_start),
            ),
            (not 0 <= self.prevalence_end <= 1, "prevalence_end", phrase("share", value=self.prevalence_end)),
            (
                min(self.tubes_by_day, default=0) < 0,
                "tubes_by_day",
                phrase("factors-negative"),
            ),
            (
                not all(0 <= p <= 1 for p in self.prevalence_by_day),
                "prevalence_by_day",
                phrase("share-daily"),
            ),
            (
                self.lab_pool < 0 or self.lab_pool == 1,
                "lab_pool",
                phrase("pool-size", value=self.lab_pool),
            ),
            (
                bool(self.lab_pool) and self.mode == "mixed",
                "lab_pool",
                phrase("pool-of-mixed"),
            ),
        ):
            if wrong:
                raise refused("BAD_STREAM", what, key)


@dataclass(frozen=True, slots=True)
class Chemistry:
    """How a specimen becomes a Cq.

    Attributes:
        single_copy: Cq of one template copy in the reaction; below one expected copy amplification may fail.
        noise: standard deviation of one reading, in cycles.
        extraction_noise: standard deviation between two extractions of one specimen, in cycles.
        cycles: the cycler stops here; a later Cq is no Cq.
        control_targets: names of internal controls; every other target is viral.
        control_mean, control_sd: Cq of the internal control over specimens.
        control_ceiling: a later draw is mirrored at the mean, so that only injected tubes are invalid.
        offsets: cycles added per viral target.
        mixing: places -> cycles added by the larger volume of a mixed tube.
        positive_control: Cq of viral targets in the PC.
    """

    single_copy: float = 39.0
    noise: float = 0.25
    extraction_noise: float = 0.2
    cycles: float = 45.0
    control_targets: tuple[str, ...] = ("IC", "RP", "RNase P", "MS2")
    control_mean: float = 28.1
    control_sd: float = 2.5
    control_ceiling: float = 34.0
    offsets: Mapping[str, float] = field(default_factory=dict)
    mixing: Mapping[int, float] = field(default_factory=lambda: {1: 0.0, 5: 0.74, 10: 1.0, 20: 2.0})
    positive_control: float = 26.0

    def __post_init__(self) -> None:
        for key in ("noise", "extraction_noise", "control_sd"):
            if getattr(self, key) < 0:
                raise refused("BAD_CHEMISTRY", phrase("deviation-negative"), key)
        if self.control_ceiling <= self.control_mean:
            what = phrase("control-ceiling", mean=self.control_mean)
            raise refused("BAD_CHEMISTRY", what, "control_ceiling")
        if set(self.mixing) != set(PLACES):
            raise refused("BAD_CHEMISTRY", phrase("mixing-places", places=PLACES), "mixing")

    def draw_controls(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw the internal control of `count` specimens."""
        drawn = rng.normal(self.control_mean, self.control_sd, count)
        mirrored: NDArray[np.float64] = np.where(
            drawn > self.control_ceiling, 2 * self.control_mean - drawn, drawn
        )
        return mirrored


@dataclass(frozen=True, slots=True)
class Injections:
    """Events that happen exactly so often, whatever is drawn.

    Attributes:
        borderline: singly tested tubes whose first Cq lies inside `grey` for every viral target.
        invalid: singly tested tubes whose first extraction fails (no target, no internal control).
        failed_control_plates: plates with a failing control.
        grey: Cq between which a borderline tube reads first.
        failure: `NTC` (contaminated) or `PC` (does not amplify).
    """

    borderline: int = 0
    invalid: int = 0
    failed_control_plates: int = 0
    grey: tuple[float, ...] = (38.2, 39.6)
    failure: str = "NTC"

    def __post_init__(self) -> None:
        for key in ("borderline", "invalid", "failed_control_plates"):
            if getattr(self, key) < 0:
                raise refused("BAD_INJECTIONS", phrase("count-negative"), key)
        if len(self.grey) != 2 or self.grey[0] >= self.grey[1]:
            raise refused("BAD_INJECTIONS", phrase("grey", value=list(self.grey)), "grey")
        if self.failure not in ("NTC", "PC"):
            raise refused("BAD_INJECTIONS", phrase("failing-control", value=self.failure), "failure")


NO_VIRUS = Quantiles("nothing infected", (0.0, 1.0), (20.0, 40.0))


@dataclass(frozen=True, slots=True)
class Scenario:
    """A laboratory day to be drawn, and, where it has them, the laboratory or the chain that works on it.

    `text` is the file it was read from, with the sources in its comments; `warm_up_days` is found by
    `sim.warmup`, for those that go on, and left out of what is told of their runs.
    """

    name: str
    note: str
    streams: tuple[Stream, ...] = ()
    viral: Quantiles = NO_VIRUS
    chemistry: Chemistry = field(default_factory=Chemistry)
    injections: Injections = field(default_factory=Injections)
    laboratory: Laboratory | None = None
    engine: Chain | None = None
    text: str = field(default="", repr=False, compare=False)
    warm_up_days: int | None = None

    def __post_init__(self) -> None:
        if self.engine is not None:
            return
        names = [stream.name for stream in self.streams]
        if not names or len(set(names)) < len(names):
            raise refused("BAD_SCENARIO", phrase("no-streams"), "stream")
        room = sum(stream.tubes for stream in self.streams if stream.mode == "single" and not stream.lab_pool)
        if self.injections.borderline + self.injections.invalid > room:
            raise refused("BAD_INJECTIONS", phrase("injected-tubes", room=room), "injections")
        plates = max(1, self.tubes // 96)
        if self.injections.failed_control_plates > plates:
            what = phrase("injected-plates", most=plates)
            raise refused("BAD_INJECTIONS", what, "injections.failed_control_plates")

    @property
    def tubes(self) -> int:
        """Tubes of the day."""
        return sum(stream.tubes for stream in self.streams)

    @classmethod
    def from_toml(cls, text: str, folder: Path | None = None) -> "Scenario":
        """Read a scenario from the text of a TOML file; files of past arrivals lie in `folder`.

        Raises:
            ScenarioError: with the place and the key that is missing, unknown or senseless.
        """
        try:
            facts = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise refused("BAD_TOML", phrase("toml", error=toml_fault(error))) from error
        if "engine" in facts:
            check_keys(facts, {"name", "engine"}, {"note"})
            typed(str, "name", facts["name"])
            with within("engine"):
                return cls(
                    facts["name"], facts.get("note", ""), engine=Chain.read(facts["engine"]), text=text
                )
        parts = {"laboratory", "station", "staff"}
        check_keys(facts, {"name", "viral", "stream"}, {"note", "chemistry", "injections"} | parts)
        with within("viral"):
            viral = _quantiles(facts["viral"])
        with within("injections"):
            injections = made(Injections, facts.get("injections", {}))
        return cls(
            name=typed(str, "name", facts["name"]),
            note=typed(str, "note", facts.get("note", "")),
            streams=tuple(
                _stream(entry, n, folder) for n, entry in enumerate(entries(facts, "stream"), start=1)
            ),
            viral=viral,
            chemistry=_chemistry(facts.get("chemistry", {})),
            injections=injections,
            laboratory=read_laboratory(facts) if parts & set(facts) else None,
            text=text,
        )


STREAM_NEEDS = (
    *("name", "mode", "places", "site", "start", "end", "tubes"),
    *("prevalence_start", "prevalence_end"),
)


def _stream(facts: Any, number: int, folder: Path | None) -> Stream:
    place = named("stream", facts, number)
    with within(place):
        check_keys(facts, STREAM_NEEDS, Stream.__dataclass_fields__)
        known = tier_rules()
        with within("tier"):
            if "tier" not in facts:
                tiers = listed(tier.id for tier in known.tiers)
                raise refused("BAD_KEYS", phrase("no-tier", known=tiers))
            known.tier(typed(str, "", facts["tier"]))
        with within("arrival"):
            arrival = _arrival(facts.get("arrival", {}), folder)
        found: Stream = made(Stream, {**facts, "arrival": arrival}, STREAM_NEEDS)
    return found


def _arrival(facts: Any, folder: Path | None) -> Arrival:
    check_keys(facts, set(), {*Arrival.__dataclass_fields__, "file"})
    given = dict(facts)
    if "file" in given:
        with within("file"):
            given["minutes"] = past_minutes(typed(str, "", given.pop("file")), folder)
    found: Arrival = made(Arrival, given)
    return found


def _quantiles(facts: Any) -> Quantiles:
    check_keys(facts, {"name", "quantiles"}, {"ceiling"})
    typed(str, "name", facts["name"])
    pairs = facts["quantiles"]
    if (
        not isinstance(pairs, list)
        or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs)
        or not pairs
    ):
        raise refused("BAD_TYPE", phrase("quantiles-wanted", value=shown(pairs)), "quantiles")
    shares, values = zip(*([typed(float, "quantiles", one) for one in pair] for pair in pairs), strict=True)
    ceiling = facts.get("ceiling")
    return Quantiles(
        facts["name"], shares, values, None if ceiling is None else typed(float, "ceiling", ceiling)
    )


def _chemistry(facts: Any) -> Chemistry:
    with within("chemistry"):
        check_keys(facts, set(), Chemistry.__dataclass_fields__)
        own = dict(facts)
        if "mixing" in facts:
            own["mixing"] = _mixing(typed(dict, "mixing", facts["mixing"]))
        for target, shift in typed(dict, "offsets", facts.get("offsets", {})).items():
            typed(float, joined("offsets", target), shift)
        found: Chemistry = made(Chemistry, own)
    return found


def _mixing(facts: Mapping[str, Any]) -> dict[int, float]:
    """TOML keys are text; places are numbers."""
    for places, shift in facts.items():
        if not places.isdecimal():
            raise refused("BAD_CHEMISTRY", phrase("mixing-number", value=places), "mixing")
        typed(float, joined("mixing", places), shift)
    return {int(places): shift for places, shift in facts.items()}
