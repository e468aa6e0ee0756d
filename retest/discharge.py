"""May a known positive leave isolation? A rule about persons who were positive, never about detection.

Ct 35 to 40 is still positive for a first diagnosis. Here it says that the person has stopped being
infectious, if two tests at least a day apart say so.

The TOML format (`retest/policies/discharge-*.toml`)
====================================================
::

    id = "discharge-cn-9"
    name = "..."
    version = "1"
    source = "..."
    notes = "..."

    [discharge]
    targets = ["N", "ORF1ab"]     # each of them counts; any other name of the kit leads to it
    least_ct = 35.0               # at or after this cycle, or undetermined, in every target
    tests = 2                     # this many in a row
    hours_apart = 24.0            # between the first and the last of them, at least
    from_day = 0                  # optional; tests before this day of isolation do not count
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from retest.checked import Section, heading, load
from retest.outcome import Reading
from retest.rules import fold


@dataclass(frozen=True)
class DischargeRules:
    """When isolation may end. Build with `from_toml`; never changed afterwards."""

    id: str
    name: str
    version: str
    source: str
    notes: str
    digest: str
    targets: tuple[str, ...]
    least_ct: float
    tests: int
    hours_apart: float
    from_day: int

    @classmethod
    def from_toml(cls, text: str, name: str = "") -> "DischargeRules":
        """Load from TOML text; `name` (a file name) appears in errors. Raises `RulesError`."""
        return load(text, name, cls.from_mapping)

    @classmethod
    def from_mapping(cls, content: Mapping[str, Any], name: str = "") -> "DischargeRules":
        """Load from the parsed content. Raises `RulesError` naming key, fault and remedy."""
        section = Section(content, name or str(content.get("id", "discharge")))
        part = section.table("discharge")
        rules = cls(
            **heading(section, content),
            targets=part.texts("targets"),
            least_ct=part.number("least_ct"),
            tests=part.whole("tests", 1),
            hours_apart=part.number("hours_apart"),
            from_day=part.whole("from_day", 0, 0),
        )
        if not rules.targets:
            raise part.refuse("targets", "no-target", "name at least one target.")
        part.close()
        section.close()
        return rules


@dataclass(frozen=True, slots=True)
class DischargeTest:
    """One test of a person in isolation.

    Attributes:
        specimen: the tube.
        sampled_at: when it was taken (timezone-aware).
        readings: of its targets, under the names of the rules.
        valid: the run, the batch and the internal control were good.
        day: day of isolation on which it was taken, as the authority counts them.
    """

    specimen: str
    sampled_at: datetime
    readings: tuple[Reading, ...]
    valid: bool = True
    day: int = 0


@dataclass(frozen=True, slots=True)
class Discharge:
    """Whether the rule is met.

    Attributes:
        met: whether isolation may end.
        reason: a code of `retest.REASONS`.
        specimens: the tests in a row that count so far, oldest first.
        not_before: when the test that is missing may be taken at the earliest; None when only the
            number of tests is missing, or nothing is.
    """

    met: bool
    reason: str
    specimens: tuple[str, ...]
    not_before: datetime | None = None


def discharge(tests: Sequence[DischargeTest], rules: DischargeRules) -> Discharge:
    """Judge all tests of one person's isolation, in any order.

    A test with any target before the limit breaks the row. So does a number on a flat curve or a curve
    without a number: doubt keeps the person. An invalid test, or one that lacks a target, says
    nothing: it neither counts nor breaks. Several specimens taken at once are one moment.

    Raises:
        ValueError: a time without a zone.
    """
    row: list[DischargeTest] = []
    broken = False
    for test in sorted(tests, key=lambda test: (_aware(test.sampled_at), test.specimen)):
        high = _high(test, rules)
        if high is None or test.day < rules.from_day:
            continue
        broken = broken or not high
        row = [*row, test] if high else []
    names = tuple(test.specimen for test in row)
    if not row:
        return Discharge(False, "discharge-below" if broken else "discharge-no-test", names)
    not_before = row[0].sampled_at + timedelta(hours=rules.hours_apart)
    if row[-1].sampled_at < not_before and rules.tests > 1:
        return Discharge(False, "discharge-too-soon", names, not_before)
    if len(row) < rules.tests:
        return Discharge(False, "discharge-too-few", names)
    return Discharge(True, "discharge-met", names)


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} carries no time zone; a day apart cannot be told without one.")
    return moment


def _high(test: DischargeTest, rules: DischargeRules) -> bool | None:
    """Whether every target is at or after the limit; None when the test says nothing."""
    if not test.valid:
        return None
    wanted = {fold(name) for name in rules.targets}
    readings = [reading for reading in test.readings if fold(reading.target) in wanted]
    if not all(_late(reading, rules.least_ct) for reading in readings):
        return False
    return True if {fold(reading.target) for reading in readings} == wanted else None


def _late(reading: Reading, least_ct: float) -> bool:
    if reading.cq is None:
        return reading.curve != "sigmoid"
    return reading.cq >= least_ct
