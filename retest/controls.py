"""Controls before specimens: is the run valid, and is each extraction batch?

Two scopes. A control of the PCR run (NTC, PC) voids every well of the run; a control of an extraction
batch (EC, HSC) voids exactly the wells of its batch. A required control that is missing has failed.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from retest.bands import Bands
from retest.expected import ControlRule, Expectation
from retest.outcome import Reading, canonical, reading_state
from retest.reasons import sentence
from retest.rules import AssayRules, Target, fold
from retest.words import CURVE_ATYPICAL, CURVE_FLAT, DETECTED


@dataclass(frozen=True, slots=True)
class ControlReading:
    """One control with the readings of all its targets, also when they lie in several wells.

    Attributes:
        kind: kind or alias of the assay's control.
        well: its well, or wells, for the message.
        batch: its extraction batch; "" for a control of the run.
        readings: one per well and target.
    """

    kind: str
    well: str
    batch: str
    readings: tuple[Reading, ...]


@dataclass(frozen=True, slots=True)
class ControlFailure:
    """Why a control failed; `scope` is ``run`` or ``extraction``."""

    scope: str
    batch: str
    kind: str
    well: str
    target: str
    reason: str
    en: str
    zh: str


@dataclass(frozen=True, slots=True)
class PlateVerdict:
    """Whether the run counts, and which extraction batches do not."""

    run_valid: bool
    failures: tuple[ControlFailure, ...]
    failed_batches: frozenset[str]

    def batch_valid(self, batch: str) -> bool:
        """Whether the specimens of a batch may be read at all."""
        return self.run_valid and batch not in self.failed_batches


def judge_plate(
    controls: Sequence[ControlReading],
    rules: AssayRules,
    *,
    batches: Collection[str],
    instrument: str = "",
    laboratory: str = "",
) -> PlateVerdict:
    """Judge the controls of one run.

    Args:
        controls: every control well of the run.
        rules: the assay.
        batches: extraction batches whose specimens are on the plate.
        instrument: model name, for cutoffs that depend on it.
        laboratory: laboratory name, for its own cutoffs.

    Raises:
        ReadingError: a reading of a target the assay does not have.
    """
    known = {fold(name): rule for rule in rules.controls for name in (rule.kind, *rule.aliases)}
    bands = rules.bands(instrument, laboratory)
    failures: list[ControlFailure] = []
    for control in controls:
        rule = known.get(fold(control.kind))
        if rule is None:
            failures.append(_failure("run", control, "", "control-unknown"))
        elif rule.scope == "extraction" and control.batch not in batches:
            failures.append(_failure("run", control, "", "control-batch-unknown"))
        else:
            failures.extend(_judge(control, rule, rules, bands))
    there = [(control.kind, control.batch) for control in controls]
    for one in missing_controls(there, rules, batches):
        absent = ControlReading(one.rule.kind, "", one.batch, ())
        failures.append(_failure(one.rule.scope, absent, "", "control-missing"))
    return PlateVerdict(
        run_valid=all(failure.scope != "run" for failure in failures),
        failures=tuple(failures),
        failed_batches=frozenset(f.batch for f in failures if f.scope == "extraction"),
    )


def _failure(scope: str, control: ControlReading, target: str, reason: str) -> ControlFailure:
    en, zh = sentence(reason)
    return ControlFailure(scope, control.batch, control.kind, control.well, target, reason, en, zh)


def _judge(
    control: ControlReading, rule: ControlRule, rules: AssayRules, bands: Mapping[str, Bands]
) -> Iterator[ControlFailure]:
    by_target: dict[str, list[Reading]] = {}
    for reading in control.readings:
        by_target.setdefault(canonical(reading.target, rules), []).append(reading)
    for target in rules.targets:
        expectation = rule.expect[target.name]
        wells = by_target.get(target.name, [])
        if not wells and expectation.state != "any":
            yield _failure(rule.scope, control, target.name, "control-target-missing")
        for reading in wells:
            reason = _reason(reading, expectation, target, bands[target.name])
            if reason:
                yield _failure(rule.scope, control, target.name, reason)


def _reason(reading: Reading, expectation: Expectation, target: Target, bands: Bands) -> str:
    """The reason code, or an empty text when the well shows what it must."""
    if expectation.state == "any":
        return ""
    if expectation.state == "absent":
        # A number on a flat curve and a curve without a number are signals too: here doubt voids.
        quiet = reading.curve != "sigmoid" if reading.cq is None else reading.cq >= expectation.tolerate_from
        return "" if quiet else "control-signal"
    state = reading_state(target, reading, bands)
    if reading.cq is None or state in (CURVE_FLAT, CURVE_ATYPICAL):
        return "control-no-signal"
    if state != DETECTED or reading.cq > expectation.most:
        return "control-late"
    return "control-early" if reading.cq < expectation.least else ""


@dataclass(frozen=True, slots=True)
class MissingControl:
    """A control that the assay requires and that is not there often enough; `batch` is "" for the run."""

    rule: ControlRule
    batch: str
    found: int

    @property
    def sentence(self) -> str:
        """Which control is missing, where, and what for; for who sets the plate up."""
        where = f"Extraction batch {self.batch}" if self.batch else "The plate"
        what = "its specimens" if self.batch else "any specimen"
        return (
            f"{where} has {self.found} of {self.rule.min} controls {self.rule.kind} that the assay requires; "
            f"no result of {what} would count."
        )


def missing_controls(
    there: Iterable[tuple[str, str]], rules: AssayRules, batches: Collection[str]
) -> tuple[MissingControl, ...]:
    """The required controls that are not on a plate, in their scope.

    Args:
        there: (kind or alias, extraction batch) of every control on the plate; one whose targets lie in
            several wells is one control.
        rules: the assay.
        batches: extraction batches whose specimens are on the plate.
    """
    known = {fold(name): rule for rule in rules.controls for name in (rule.kind, *rule.aliases)}
    found = [(known.get(fold(kind)), batch) for kind, batch in there]
    missing = []
    for rule in rules.controls:
        for batch in [""] if rule.scope == "run" else sorted(batches):
            n = sum(1 for kind, at in found if kind is rule and (rule.scope == "run" or at == batch))
            if n < rule.min:
                missing.append(MissingControl(rule, batch, n))
    return tuple(missing)
