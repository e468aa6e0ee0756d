"""Assay rules: what the numbers of one kit mean, frozen, versioned and proved when loaded.

The TOML format of an assay file (`retest/assays/*.toml`)
=========================================================
::

    id = "cdc-2019-ncov-n1n2rp"       # unique; the name used everywhere
    name = "..."                      # for people
    version = "1"                     # a changed file gets a new version; old ones stay loadable
    source = "..."                    # where the numbers come from
    notes = "..."                     # what the source leaves open and which safe reading was taken
    cycles = 45                       # optional; cycles of the run
    replicates = 1                    # optional; wells per target and specimen
    missing = "refuse"                # optional; a target without a reading makes the specimen
                                      # invalid. "read-rest": the other targets may still make it
                                      # positive or borderline, never negative

    [[target]]
    name = "N1"
    role = "target"                   # or "internal_control"
    dye = "FAM"                       # optional, for people
    aliases = ["2019-nCoV_N1"]        # optional; other spellings, capitals do not matter
    curve = "any"                     # optional; "sigmoid": an atypical curve is not a clean positive
    detected = { op = "<", ct = 40.0 }      # or "<=", or { op = "any" }: every Cq is detected
    grey = { low = 37.0, low_inclusive = true, high = 40.0, high_inclusive = false }
    negative = { op = ">=", ct = 40.0 }     # optional; else all that is left above

    [[override]]                      # cutoffs belong to (kit, instrument, laboratory)
    target = "N1"
    instruments = ["7500 Fast Dx"]    # any of these; at least one of the two lists
    laboratories = []
    detected = { op = "<", ct = 37.0 }      # grey and negative as above
    source = "..."

    [[decision]]                      # ordered, first match wins; all conditions must hold
    id = "single-target"
    detected = 1                      # how many targets: number, "all", ">=1", "<=1"
    grey = 0                          # likewise, in the grey band or detected in some replicates only
    signal = ">=1"                    # likewise, detected or grey
    only = ["E"]                      # every target with a signal is one of these
    needs = ["ORF1ab"]                # each of these is detected
    ic = "any"                        # or "detected", "not-detected"
    call = "borderline"               # positive, negative, borderline, invalid
    kind = "single-target"            # only for borderline: single-target, grey, inconclusive, curve

    [ladder.borderline]               # by decision id, or by kind, or "borderline"/"invalid" (needed)
    steps = ["re-amplify", "re-extract", "second-kit", "recollect"]
    end = "inconclusive"              # reported when the steps are used up: inconclusive or invalid
    negatives = 1                     # negative repeats that make it negative; 0: never this specimen

    [[control]]
    kind = "NTC"
    aliases = ["NC"]
    scope = "run"                     # or "extraction": counted and judged per extraction batch
    min = 1                           # fewer than this: failed; 0: judged when present
    [control.expect]                  # every target
    N1 = "absent"                     # no Cq at all; or "detected", "any", or a table:
    N2 = { state = "absent", tolerate_from = 40.0 }
    RP = { state = "detected", least = 20.0, most = 35.0 }

    [off]                             # optional; decision rows that are switched off, with the reason.
    single-target = "..."             # what they would have said is borderline, "rule-off": a person
                                      # decides; it is never negative

    [pooling]                         # optional; without it the kit is for single tubes
    max_n = 10                        # tubes in one laboratory pool
    max_mixed = 20                    # optional; persons in one tube mixed at collection, else max_n
    modes = ["single", "mixed", "pool"]

What is proved: the bands of each target cover the Cq axis once (no gap, no overlap); every combination of
target states and internal control meets exactly one row, every row is met, and no row calls negative what
has a signal or a failed control; every non-answer has a ladder; no key is unknown.

No Cq is its own value, never 0 and never the last cycle.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from retest.bands import Bands, read_bands
from retest.checked import RulesError, Section, heading, load
from retest.expected import ControlRule, read_control
from retest.ladder import Ladder, next_of_rules, read_ladders
from retest.table import Key, Row, enumerate_rows, read_row
from retest.words import (
    BORDERLINE_KINDS,
    KIND_OF_BUILT_IN,
    RULE_OFF,
    Call,
    Material,
    Next,
)

__all__ = ["AssayRules", "Override", "Pooling", "RulesError", "Target"]


@dataclass(frozen=True, slots=True)
class Target:
    """One target of the kit; an internal control is a target with another role."""

    name: str
    role: str
    dye: str
    aliases: tuple[str, ...]
    bands: Bands
    curve: str

    @property
    def is_control(self) -> bool:
        """Whether this is the internal control."""
        return self.role == "internal_control"


@dataclass(frozen=True, slots=True)
class Override:
    """Another cutoff of one target on some instruments, or in some laboratories."""

    target: str
    instruments: frozenset[str]  # folded names; empty: any
    laboratories: frozenset[str]
    bands: Bands
    source: str

    @property
    def weight(self) -> int:
        """The more exactly it is meant, the more it counts: both, laboratory, instrument."""
        return 2 * bool(self.laboratories) + bool(self.instruments)

    def holds(self, instrument: str, laboratory: str) -> bool:
        """Whether it applies to these folded names."""
        return (not self.instruments or instrument in self.instruments) and (
            not self.laboratories or laboratory in self.laboratories
        )


@dataclass(frozen=True, slots=True)
class Pooling:
    """What the kit may be used with: at most `max_n` tubes per pool, in these modes."""

    max_n: int
    modes: tuple[Material, ...]
    max_mixed: int = 1  # collection dilutes less than a laboratory pool, so it may hold more

    def fits(self, material: Material, places: int) -> bool:
        """Whether the kit is validated for a tube of this material with so many places."""
        if material is Material.single:
            return True
        return material in self.modes and places <= (
            self.max_mixed if material is Material.mixed else self.max_n
        )


@dataclass(frozen=True)
class AssayRules:
    """The rules of one assay. Build with `from_toml` or `from_mapping`; never changed afterwards."""

    id: str
    name: str
    version: str
    source: str
    notes: str
    digest: str
    cycles: int | None
    replicates: int
    missing: str
    targets: tuple[Target, ...]
    overrides: tuple[Override, ...]
    decision: tuple[Row, ...]
    ladder: Mapping[str, Ladder]
    controls: tuple[ControlRule, ...]
    pooling: Pooling
    off: Mapping[str, str]
    # Worked out once when loaded, so that reading one specimen is a few dictionary lookups.
    spelling: Mapping[str, str] = field(repr=False, compare=False)
    table: Mapping[Key, Row] = field(repr=False, compare=False)
    greys: Mapping[str, bool] = field(repr=False, compare=False)
    by_place: Mapping[tuple[str, str], Mapping[str, Bands]] = field(repr=False, compare=False)
    nexts: Mapping[str, Next] = field(repr=False, compare=False)
    kinds: Mapping[str, str] = field(repr=False, compare=False)

    @classmethod
    def from_toml(cls, text: str, name: str = "") -> "AssayRules":
        """Load from TOML text; `name` (a file name) appears in errors. Raises `RulesError`."""
        return load(text, name, cls.from_mapping)

    @classmethod
    def from_mapping(cls, content: Mapping[str, Any], name: str = "") -> "AssayRules":
        """Load from the parsed content. Raises `RulesError` naming key, fault and remedy."""
        section = Section(content, name or str(content.get("id", "assay")))
        targets = _targets(section)
        overrides = _overrides(section, targets)
        replicates = section.whole("replicates", 1, 1)
        names = tuple(target.name for target in targets if not target.is_control)
        greys = {n: replicates > 1 or _ever_grey(n, targets, overrides) for n in names}
        rows = tuple(read_row(row, names) for row in section.tables("decision"))
        has_ic = len(names) < len(targets)
        table = enumerate_rows(rows, names, list(greys.values()), has_ic=has_ic, where=section.where)
        ladder = read_ladders(section, rows)
        off = _off(section.table("off"), rows)
        rules = cls(
            **heading(section, content),
            cycles=section.whole("cycles", 1) if section.has("cycles") else None,
            replicates=replicates,
            missing=section.choice("missing", ("refuse", "read-rest"), "refuse"),
            targets=targets,
            overrides=overrides,
            decision=rows,
            ladder=ladder,
            controls=_controls(section, tuple(target.name for target in targets)),
            pooling=_pooling(section.table("pooling")),
            spelling=_spelling(section, targets),
            off=off,
            table={key: _OFF if row.id in off else row for key, row in table.items()},
            greys=greys,
            by_place=_by_place(targets, overrides),
            nexts=next_of_rules(rows, ladder),
            kinds=KIND_OF_BUILT_IN | {row.id: row.kind for row in rows if row.call is Call.borderline},
        )
        section.close()
        return rules

    def bands(self, instrument: str = "", laboratory: str = "") -> Mapping[str, Bands]:
        """The bands of every target for an instrument and a laboratory (names, capitals ignored)."""
        if len(self.by_place) == 1:
            return self.by_place["", ""]
        place = fold(instrument), fold(laboratory)
        known = {at[0] for at in self.by_place}, {at[1] for at in self.by_place}
        return self.by_place[
            place[0] if place[0] in known[0] else "", place[1] if place[1] in known[1] else ""
        ]

    def kind(self, rule: str, call: Call) -> str:
        """The kind of a finding by its rule id: a row of this table, a built-in, or its first word."""
        if call is not Call.borderline:
            return call.value
        if rule in self.kinds:
            return self.kinds[rule]
        return next((kind for kind in BORDERLINE_KINDS if rule.startswith(kind)), "inconclusive")


def fold(name: str) -> str:
    """A name as it is compared: capitals and spaces at the ends do not matter."""
    return name.strip().casefold()


def _targets(section: Section) -> tuple[Target, ...]:
    targets = tuple(_target(part) for part in section.tables("target"))
    if not any(not target.is_control for target in targets):
        raise section.refuse("target", "no-target", "an assay needs at least one target. Add a [[target]].")
    return targets


def _target(section: Section) -> Target:
    name = section.text("name")
    section.where = f"{section.where.rsplit('[', 1)[0]}[{name}]"
    role = section.choice("role", ("target", "internal_control"))
    if role == "internal_control" and section.has("grey"):
        raise section.refuse(
            "grey", "ic-grey", "an internal control worked or not; it has no grey band. Remove it."
        )
    target = Target(
        name=name,
        role=role,
        dye=section.text("dye", ""),
        aliases=section.texts("aliases"),
        bands=read_bands(section, name),
        curve=section.choice("curve", ("any", "sigmoid"), "any"),
    )
    section.close()
    return target


def _overrides(section: Section, targets: Sequence[Target]) -> tuple[Override, ...]:
    overrides: list[Override] = []
    for part in section.tables("override"):
        override = _override(part, targets)
        for other in overrides:
            if _same_place(override, other):
                sentence = f"target {override.target} has two overrides for the same place. Keep one."
                raise RulesError("override-twice", part.where, sentence)
        overrides.append(override)
    return tuple(overrides)


def _override(section: Section, targets: Sequence[Target]) -> Override:
    name = section.choice("target", [target.name for target in targets])
    override = Override(
        target=name,
        instruments=frozenset(map(fold, section.texts("instruments"))),
        laboratories=frozenset(map(fold, section.texts("laboratories"))),
        bands=read_bands(section, name),
        source=section.text("source"),
    )
    if not override.weight:
        sentence = (
            "this override names no instrument and no laboratory. Name one, or change the target itself."
        )
        raise RulesError("override-nowhere", section.where, sentence)
    section.close()
    return override


def _same_place(a: Override, b: Override) -> bool:
    if a.target != b.target or a.weight != b.weight:
        return False
    meets = (
        bool(x & y) or not x for x, y in ((a.instruments, b.instruments), (a.laboratories, b.laboratories))
    )
    return all(meets)


def _ever_grey(name: str, targets: Sequence[Target], overrides: Sequence[Override]) -> bool:
    own = [target.bands for target in targets if target.name == name]
    return any(bands.grey is not None for bands in own + [o.bands for o in overrides if o.target == name])


def _by_place(
    targets: Sequence[Target], overrides: Sequence[Override]
) -> Mapping[tuple[str, str], Mapping[str, Bands]]:
    """Bands per target for every named (instrument, laboratory); "" stands for any other."""
    instruments = {""}.union(*(override.instruments for override in overrides))
    laboratories = {""}.union(*(override.laboratories for override in overrides))
    places: dict[tuple[str, str], Mapping[str, Bands]] = {}
    for place in product(instruments, laboratories):
        bands = {target.name: target.bands for target in targets}
        for override in sorted(overrides, key=lambda override: override.weight):
            if override.holds(*place):
                bands[override.target] = override.bands
        places[place] = bands
    return places


_OFF = Row(RULE_OFF, Call.borderline, KIND_OF_BUILT_IN[RULE_OFF], "any", (), frozenset(), frozenset())


def _off(section: Section, rows: Sequence[Row]) -> Mapping[str, str]:
    """Row id -> why it is switched off. What is built in protects every specimen and stays on."""
    ids = [row.id for row in rows]
    for key in section.names():
        if key in KIND_OF_BUILT_IN:
            raise section.refuse(key, "rule-locked", f"'{key}' is built in and cannot be switched off.")
        if key not in ids:
            raise section.refuse(
                key, "off-unknown", f"no decision row is called '{key}'. Use one of: {', '.join(ids)}."
            )
    return {key: section.text(key) for key in section.names()}


def _controls(section: Section, names: tuple[str, ...]) -> tuple[ControlRule, ...]:
    controls = tuple(read_control(part, names) for part in section.tables("control"))
    seen: set[str] = set()
    for control in controls:
        for name in map(fold, (control.kind, *control.aliases)):
            if name in seen:
                raise section.refuse("control", "control-twice", f"'{name}' names two controls. Rename one.")
            seen.add(name)
    return controls


def _pooling(section: Section) -> Pooling:
    if not section.names():
        return Pooling(1, (Material.single,))
    modes = tuple(section.texts("modes"))
    for mode in modes:
        if mode not in [material.value for material in Material]:
            raise section.refuse("modes", "not-allowed", f"'{mode}' is no mode. Use single, mixed, pool.")
    max_n = section.whole("max_n", 1)
    pooling = Pooling(max_n, tuple(Material(mode) for mode in modes), section.whole("max_mixed", 1, max_n))
    section.close()
    return pooling


def _spelling(section: Section, targets: Sequence[Target]) -> Mapping[str, str]:
    """Every accepted spelling, as written and folded, to the target's name."""
    spelling: dict[str, str] = {}
    for target in targets:
        for written in (target.name, *target.aliases):
            if spelling.get(fold(written)) is not None:
                sentence = f"the spelling '{written}' is used twice. A name must lead to one target."
                raise section.refuse("target", "target-twice", sentence)
            spelling[fold(written)] = target.name
    spelling |= {target.name: target.name for target in targets}
    spelling |= {alias: target.name for target in targets for alias in target.aliases}
    return spelling
