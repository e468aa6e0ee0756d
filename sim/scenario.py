"""What a day brings, as frozen values read from TOML."""

import csv
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.arrivals import Arrival, ScenarioError
from sim.chain import Chain
from sim.spec import Laboratory, read_laboratory

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
            raise ScenarioError("BAD_QUANTILES", f"{self.name}: shares and values must pair up and rise.")
        if (self.shares[0], self.shares[-1]) != (0, 1):
            raise ScenarioError("BAD_QUANTILES", f"{self.name}: shares must run from 0 to 1.")
        if self.ceiling is not None and self.ceiling <= self.values[0]:
            raise ScenarioError("BAD_QUANTILES", f"{self.name}: the ceiling lies below every value.")

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
        for wrong, what in (
            (self.mode not in MODES, f"mode is one of {', '.join(MODES)}"),
            (self.places not in PLACES, f"places is one of {PLACES}"),
            ((self.mode == "single") != (self.places == 1), "a single tube has one place, a mixed one more"),
            (not 0 <= self.start < self.end <= DAY, "0 <= start < end <= 1440"),
            (self.tubes < 0 or self.delay < 0, "tubes and delay are not negative"),
            (not 0 <= self.fill <= 1, "fill lies between 0 and 1"),
            (min(self.prevalence_start, self.prevalence_end) < 0, "prevalence is not negative"),
            (max(self.prevalence_start, self.prevalence_end) > 1, "prevalence is at most 1"),
            (min(self.tubes_by_day, default=0) < 0, "tubes_by_day is not negative"),
            (not all(0 <= p <= 1 for p in self.prevalence_by_day), "prevalence_by_day lies between 0 and 1"),
            (self.lab_pool < 0 or self.lab_pool == 1, "lab_pool is 0 or at least 2"),
            (bool(self.lab_pool) and self.mode == "mixed", "a mixed tube is never pooled again"),
        ):
            if wrong:
                raise ScenarioError("BAD_STREAM", f"Stream {self.name!r}: {what}.")


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
        if min(self.noise, self.extraction_noise, self.control_sd) < 0:
            raise ScenarioError("BAD_CHEMISTRY", "Standard deviations are not negative.")
        if self.control_ceiling <= self.control_mean:
            raise ScenarioError("BAD_CHEMISTRY", "The ceiling of the internal control lies above its mean.")
        if set(self.mixing) != set(PLACES):
            raise ScenarioError("BAD_CHEMISTRY", f"Mixing shifts are needed for {PLACES} places.")

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
        if min(self.borderline, self.invalid, self.failed_control_plates) < 0:
            raise ScenarioError("BAD_INJECTIONS", "Counts of injections are not negative.")
        if len(self.grey) != 2 or self.grey[0] >= self.grey[1]:
            raise ScenarioError("BAD_INJECTIONS", f"Grey is two rising Cq values, not {self.grey}.")
        if self.failure not in ("NTC", "PC"):
            raise ScenarioError("BAD_INJECTIONS", f"A failing control is NTC or PC, not {self.failure!r}.")


NO_VIRUS = Quantiles("nothing infected", (0.0, 1.0), (20.0, 40.0))


@dataclass(frozen=True, slots=True)
class Scenario:
    """A laboratory day to be drawn, and, where it has them, the laboratory or the chain that works on it."""

    name: str
    note: str
    streams: tuple[Stream, ...] = ()
    viral: Quantiles = NO_VIRUS
    chemistry: Chemistry = field(default_factory=Chemistry)
    injections: Injections = field(default_factory=Injections)
    laboratory: Laboratory | None = None
    engine: Chain | None = None

    def __post_init__(self) -> None:
        if self.engine is not None:
            return
        names = [stream.name for stream in self.streams]
        if not names or len(set(names)) < len(names):
            raise ScenarioError("BAD_SCENARIO", f"{self.name}: at least one stream, each with its own name.")
        room = sum(stream.tubes for stream in self.streams if stream.mode == "single" and not stream.lab_pool)
        if self.injections.borderline + self.injections.invalid > room:
            raise ScenarioError(
                "BAD_INJECTIONS", f"{self.name}: more injections than singly tested tubes ({room})."
            )
        if self.injections.failed_control_plates > max(1, self.tubes // 96):
            raise ScenarioError("BAD_INJECTIONS", f"{self.name}: more failing plates than plates to expect.")

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
            raise ScenarioError("BAD_TOML", f"The scenario is not valid TOML: {error}.") from error
        if "engine" in facts:
            _keys("scenario", facts, {"name", "engine"}, {"note"})
            return cls(facts["name"], facts.get("note", ""), engine=Chain.read(facts["engine"]))
        parts = {"laboratory", "station", "staff"}
        _keys("scenario", facts, {"name", "viral", "stream"}, {"note", "chemistry", "injections"} | parts)
        return cls(
            name=facts["name"],
            note=facts.get("note", ""),
            streams=tuple(_stream(entry, folder) for entry in facts["stream"]),
            viral=_quantiles(facts["viral"]),
            chemistry=_chemistry(facts.get("chemistry", {})),
            injections=_made("injections", Injections, facts.get("injections", {})),
            laboratory=read_laboratory(facts) if parts & set(facts) else None,
        )


def _keys(place: str, facts: Mapping[str, Any], needed: set[str], allowed: set[str]) -> None:
    wrong = sorted((needed - set(facts)) | (set(facts) - needed - allowed))
    if wrong:
        raise ScenarioError("BAD_KEYS", f"{place}: keys missing or unknown: {', '.join(wrong)}.")


def _made(place: str, kind: Any, facts: Mapping[str, Any]) -> Any:
    """A frozen value from a table; lists become tuples."""
    _keys(place, facts, set(), set(kind.__dataclass_fields__))
    try:
        return kind(
            **{key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()}
        )
    except TypeError as error:
        raise ScenarioError("BAD_KEYS", f"{place}: {error}.") from error


def _stream(facts: Mapping[str, Any], folder: Path | None) -> Stream:
    given = dict(facts.get("arrival", {}))
    if "file" in given:
        given["minutes"] = _past_minutes(str(given.pop("file")), folder)
    arrival = _made("arrival", Arrival, given)
    made: Stream = _made(f"stream {facts.get('name', '?')}", Stream, {**facts, "arrival": arrival})
    return made


def _past_minutes(name: str, folder: Path | None) -> list[float]:
    """Minutes of the day from the column `minute` of a CSV file, or from the times of its column `at`."""
    path = (folder or Path()) / name
    if not path.is_file():
        raise ScenarioError("NO_FILE", f"arrival: there is no file {name} beside the scenario.")
    found = []
    with path.open(encoding="utf-8", newline="") as text:
        for number, row in enumerate(csv.DictReader(text), start=2):
            try:
                if "minute" in row:
                    found.append(float(row["minute"]))
                else:
                    clock = datetime.fromisoformat(row["at"])
                    found.append(clock.hour * 60 + clock.minute + clock.second / 60)
            except (KeyError, ValueError, TypeError):
                raise ScenarioError(
                    "BAD_ARRIVAL", f"{name}: line {number} has no `minute` and no time `at`."
                ) from None
    return found


def _quantiles(facts: Mapping[str, Any]) -> Quantiles:
    _keys("viral", facts, {"name", "quantiles"}, {"ceiling"})
    shares, values = zip(*facts["quantiles"], strict=True)
    return Quantiles(facts["name"], shares, values, facts.get("ceiling"))


def _chemistry(facts: Mapping[str, Any]) -> Chemistry:
    # TOML keys are text; places are numbers.
    mixing = {key: {int(n): shift for n, shift in facts[key].items()} for key in ("mixing",) if key in facts}
    made: Chemistry = _made("chemistry", Chemistry, {**facts, **mixing})
    return made
