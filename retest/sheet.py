"""The boundary sheet of an assay: what its rules answer just below, at and just above every cutoff.

A director signs numbers, not code. Each line is a specimen made up for one rule, with the answer that
`interpret` gives: every edge of every band on every instrument, every combination of the decision table,
every rule that is built in.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from retest.bands import Bands
from retest.outcome import Outcome, Reading, interpret
from retest.rules import AssayRules, Target
from retest.words import (
    CURVE_ATYPICAL,
    CURVE_FLAT,
    CURVE_WITHOUT_CQ,
    DETECTED,
    GREY,
    MISSING,
    NOT_DETECTED,
    REPLICATES,
    Call,
    Next,
)

STEP: Final = 0.01
"""Cycles between an edge and the lines just below and above it: the last digit that cyclers print."""

CALL_ZH: Final = {Call.positive: "阳性", Call.negative: "阴性", Call.borderline: "待定", Call.invalid: "无效"}
NEXT_ZH: Final = {
    Next.conclude: "出结果",
    Next.retest: "复检",
    Next.re_extract: "重新提取",
    Next.recollect: "重新采样",
    Next.test_singly: "逐管检测",
}
PARTS: Final = {"cutoff": "界值", "decision": "判定规则", "built-in": "内置规则"}


@dataclass(frozen=True, slots=True)
class Line:
    """One made-up specimen and the answer of the rules.

    Attributes:
        part: ``cutoff``, ``decision`` or ``built-in``.
        tested: the edge (``N1 < 40``) or the rule id that the line is for.
        side: ``below``, ``at``, ``above`` for an edge, else "".
        instrument: for cutoffs that depend on it, else "".
        laboratory: likewise.
        readings: what the specimen gave.
        outcome: what `interpret` makes of it.
    """

    part: str
    tested: str
    side: str
    instrument: str
    laboratory: str
    readings: tuple[Reading, ...]
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class _Place:
    """One instrument in one laboratory, with the bands that hold there."""

    rules: AssayRules
    instrument: str
    laboratory: str
    bands: Mapping[str, Bands]

    def line(self, part: str, tested: str, readings: Sequence[Reading], side: str = "") -> Line:
        outcome = interpret(readings, self.rules, instrument=self.instrument, laboratory=self.laboratory)
        return Line(part, tested, side, self.instrument, self.laboratory, tuple(readings), outcome)

    def wells(self, target: Target, cq: float | None, curve: str | None = None) -> list[Reading]:
        return [Reading(target.name, cq, curve)] * self.rules.replicates

    def clean(self, target: Target) -> float:
        """A Cq (cycles) that is detected beyond doubt."""
        high = self.bands[target.name].detected.high
        return 25.0 if high > 35 else round(high - min(10.0, high / 2), 2)

    def around(self, but: Target, *, silent: bool) -> list[Reading]:
        """All other targets: controls good, the rest undetermined or detected beyond doubt."""
        return [
            reading
            for target in self.rules.targets
            if target is not but
            for reading in self.wells(
                target, None if silent and not target.is_control else self.clean(target)
            )
        ]


def boundary_sheet(rules: AssayRules) -> tuple[Line, ...]:
    """All lines of an assay, in the order of its file. Equal lines are written once."""
    places = [_Place(rules, *place, bands) for place, bands in sorted(rules.by_place.items())]
    lines: dict[tuple[str, str, str, str, str, tuple[Reading, ...]], Line] = {}
    for line in (*_cutoffs(places), *_decisions(places), *_built_in(places[0])):
        key = (line.part, line.tested, line.side, line.instrument, line.laboratory, line.readings)
        lines.setdefault(key, line)
    return tuple(lines.values())


def _cutoffs(places: Sequence[_Place]) -> Iterator[Line]:
    for place in places:
        for target in place.rules.targets:
            if place is not places[0] and place.bands[target.name] == places[0].bands[target.name]:
                continue  # no other cutoff here than anywhere
            for edge, tested in _edges(target.name, place.bands[target.name]):
                for silent in (True, False):
                    others = place.around(target, silent=silent)
                    for side, cq in (("below", edge - STEP), ("at", edge), ("above", edge + STEP)):
                        readings = [*place.wells(target, round(cq, 4)), *others]
                        yield place.line("cutoff", tested, readings, side)


def _edges(name: str, bands: Bands) -> Iterator[tuple[float, str]]:
    """Every finite end of a band with the words for it."""
    if bands.detected.high < float("inf"):
        yield bands.detected.high, f"{name} {'<=' if bands.detected.high_in else '<'} {bands.detected.high:g}"
    if bands.grey is not None:
        yield bands.grey.high, f"{name} grey {'<=' if bands.grey.high_in else '<'} {bands.grey.high:g}"


def _decisions(places: Sequence[_Place]) -> Iterator[Line]:
    rules = places[0].rules
    for states, control in rules.table:
        wanted = dict(zip(rules.greys, states, strict=True))
        place = next((place for place in places if _can_show(place, wanted)), None)
        if place is not None:
            readings = [
                reading
                for target in rules.targets
                for reading in _showing(place, target, control if target.is_control else wanted[target.name])
            ]
            row = next(row for row in rules.decision if row.matches(tuple(wanted), states, control))
            yield place.line("decision", row.id, readings)


def _can_show(place: _Place, wanted: Mapping[str, str]) -> bool:
    grey = [name for name, state in wanted.items() if state == GREY]
    return place.rules.replicates > 1 or all(place.bands[name].grey is not None for name in grey)


def _showing(place: _Place, target: Target, state: str) -> list[Reading]:
    """Readings that put a target into a state."""
    if state == DETECTED:
        return place.wells(target, place.clean(target))
    if state == NOT_DETECTED:
        return place.wells(target, None)
    grey = place.bands[target.name].grey
    if grey is not None:
        return place.wells(target, round((grey.low + grey.high) / 2, 4))
    first, *rest = place.wells(target, None)
    return [Reading(target.name, place.clean(target)), *([first] * len(rest))]


def _built_in(place: _Place) -> Iterator[Line]:
    rules = place.rules
    for target in rules.targets:
        silent = place.around(target, silent=True)
        yield place.line("built-in", MISSING, silent)
        if target.is_control:
            continue
        cq = place.clean(target)
        yield place.line("built-in", CURVE_FLAT, [*place.wells(target, cq, "flat"), *silent])
        yield place.line("built-in", CURVE_WITHOUT_CQ, [*place.wells(target, None, "sigmoid"), *silent])
        if target.curve == "sigmoid":
            yield place.line("built-in", CURVE_ATYPICAL, [*place.wells(target, cq, "atypical"), *silent])
        if not rules.greys[target.name]:
            two = [Reading(target.name, cq), Reading(target.name, None)]
            yield place.line("built-in", REPLICATES, [*two, *silent])


def header(rules: AssayRules) -> tuple[str, ...]:
    """The column names of `cells`."""
    names = tuple(target.name for target in rules.targets)
    return ("line", "part", "tested", "side", "place", *names, "call", "结果", "rule", "next", "下一步")


def cells(rules: AssayRules, number: int, line: Line) -> tuple[str, ...]:
    """One line as text, one cell a column."""
    outcome = line.outcome
    values = tuple(
        " / ".join(_reading(reading) for reading in line.readings if reading.target == target.name)
        for target in rules.targets
    )
    place = " / ".join(filter(None, (line.instrument, line.laboratory)))
    return (
        *(str(number), line.part, line.tested, line.side, place, *values),
        *(outcome.call.value, CALL_ZH[outcome.call], outcome.rule, outcome.next.value, NEXT_ZH[outcome.next]),
    )


def _reading(reading: Reading) -> str:
    cq = "—" if reading.cq is None else f"{reading.cq:.2f}"
    return f"{cq} {reading.curve}" if reading.curve else cq


def as_csv(rules: AssayRules) -> str:
    """The whole sheet as CSV; an empty reading cell means no such well, a dash undetermined."""
    lines = enumerate(boundary_sheet(rules), 1)
    rows = [("assay", "version", "sha256", *header(rules))]
    rows += [(rules.id, rules.version, rules.digest, *cells(rules, i, line)) for i, line in lines]
    return "".join(",".join(map(_quoted, row)) + "\n" for row in rows)


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if any(ch in cell for ch in ',"\n') else cell
