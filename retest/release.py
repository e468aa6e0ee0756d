"""Automatic verification: which negatives may leave without a person having looked at them.

Every rule is a row of the release file: id, switch, limit where it has one, and a sentence in both
languages. All rules must be listed, so that one that is switched off is seen to be off. The rules
about the run itself and the doubts about its file cannot be switched off, and a positive is never
released automatically.

The TOML format (`retest/policies/release.toml`)
================================================
::

    id = "release"
    version = "1"
    source = "..."

    [signatures]
    positive = 2                  # at least 2
    other = 1
    mixed-recollect = 2           # optional: <material>-<result> is more exact than <result>

    [[rule]]
    id = "specimen-age"
    on = true
    limit = 72.0                  # hours; only for rules that have a limit
    reason = "..."                # optional; why it is switched off
    en = "..."
    zh = "..."
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from msgspec import Struct

from retest.checked import Section, digest, load
from retest.words import Call, Material


class ReleaseFacts(Struct, frozen=True, kw_only=True):
    """What is known about one result before it is released. None is always "not known".

    Attributes:
        call: call of the last reading.
        result: what would be reported: negative, positive, inconclusive, invalid.
        material: single, mixed or pool.
        findings: how many times this tube was read.
        run_ended: the instrument reported the end of the run.
        run_valid: the run's controls are good.
        batch_valid: the extraction batch's controls are good.
        controls_present: every required control was on the plate.
        file_complete: the instrument file was read to its end without a missing well.
        assay_validated: the laboratory has validated this assay version for this material and size.
        quality: the control charts that reject the run, in words; empty: none does.
        flags: instrument flags on the specimen's wells.
        curves: curve verdict of every target of the virus (not the internal control).
        ic_cq: latest Cq (cycles) of the internal control; None: none detected.
        ic_required: whether the assay has an internal control.
        neighbour_min_cq: smallest target Cq (cycles) in the adjacent wells; None: no signal there.
        person_held: a person of this tube is held for review.
        is_retest: the tube is a repeat or a re-collected specimen.
        specimen_age_hours: hours from collection to the start of the run.
    """

    call: Call
    result: str
    material: Material
    findings: int
    run_ended: bool
    run_valid: bool
    batch_valid: bool
    controls_present: bool
    file_complete: bool
    assay_validated: bool
    quality: str = ""
    flags: tuple[str, ...] = ()
    curves: tuple[str | None, ...] = ()
    ic_cq: float | None = None
    ic_required: bool = True
    neighbour_min_cq: float | None = None
    person_held: bool = False
    is_retest: bool = False
    specimen_age_hours: float | None = None


@dataclass(frozen=True, slots=True)
class ReleaseRule:
    """One rule as the laboratory has set it."""

    id: str
    on: bool
    limit: float | None
    en: str
    zh: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Blocked:
    """Why a result waits for a person."""

    rule: str
    sentence_en: str
    sentence_zh: str


def _ic_late(facts: ReleaseFacts, limit: float) -> bool:
    return facts.ic_required and (facts.ic_cq is None or facts.ic_cq > limit)


def _neighbour(facts: ReleaseFacts, limit: float) -> bool:
    return facts.neighbour_min_cq is not None and facts.neighbour_min_cq <= limit


def _old(facts: ReleaseFacts, limit: float) -> bool:
    return facts.specimen_age_hours is None or not 0 <= facts.specimen_age_hours <= limit


_ALWAYS_ON: Final[Mapping[str, Callable[[ReleaseFacts], bool]]] = {
    "negative-only": lambda facts: facts.call is not Call.negative or facts.result != "negative",
    "run-ended": lambda facts: not facts.run_ended,
    "run-valid": lambda facts: not facts.run_valid,
    "batch-valid": lambda facts: not facts.batch_valid,
    "controls-present": lambda facts: not facts.controls_present,
    "file-complete": lambda facts: not facts.file_complete,
    "control-chart": lambda facts: bool(facts.quality),
    # the doubts of the cycler, and ours: a Cq that its curve contradicts, a file of another cycler
    "instrument-flags": lambda facts: bool(facts.flags),
}
_SWITCHED: Final[Mapping[str, Callable[[ReleaseFacts], bool]]] = {
    "assay-validated": lambda facts: not facts.assay_validated,
    # of a positive every target may rise; that is its result and no doubt
    "curve": lambda facts: (
        facts.call is not Call.positive and any(one in ("sigmoid", "atypical") for one in facts.curves)
    ),
    "curve-judged": lambda facts: not facts.curves or None in facts.curves,
    "person-held": lambda facts: facts.person_held,
    "retest": lambda facts: facts.is_retest,
    "mixed": lambda facts: facts.material is Material.mixed,
}
_LIMITED: Final[Mapping[str, Callable[[ReleaseFacts, float], bool]]] = {
    "findings": lambda facts, limit: facts.findings > limit or facts.findings < 1,
    "ic-late": _ic_late,
    "neighbour-strong": _neighbour,
    "specimen-age": _old,
}
_RESULTS: Final = ("positive", "negative", "inconclusive", "invalid", "recollect")
_SIGNATURE_KEYS: Final = {
    "other",
    *_RESULTS,
    *(f"{m.value}-{result}" for m in Material for result in _RESULTS),
}
RULE_IDS: Final = (*_ALWAYS_ON, *_SWITCHED, *_LIMITED)


@dataclass(frozen=True)
class ReleaseRules:
    """The laboratory's release rules. Build with `from_toml`; never changed afterwards."""

    id: str
    version: str
    source: str
    digest: str
    rules: tuple[ReleaseRule, ...]
    signatures: Mapping[str, int]

    @property
    def off(self) -> tuple[ReleaseRule, ...]:
        """The rules that are switched off, to be shown beside those that are on."""
        return tuple(rule for rule in self.rules if not rule.on)

    @cached_property
    def checks(self) -> "tuple[tuple[Blocked, Callable[..., bool], float | None], ...]":
        """The rules that are on: what each says when it holds a result back, and how that is found out."""
        known: Mapping[str, Callable[..., bool]] = {**_ALWAYS_ON, **_SWITCHED, **_LIMITED}
        return tuple(
            (Blocked(rule.id, rule.en, rule.zh), known[rule.id], rule.limit) for rule in self.rules if rule.on
        )

    @classmethod
    def from_toml(cls, text: str, name: str = "") -> "ReleaseRules":
        """Load from TOML text; `name` (a file name) appears in errors. Raises `RulesError`."""
        return load(text, name, cls.from_mapping)

    @classmethod
    def from_mapping(cls, content: Mapping[str, Any], name: str = "") -> "ReleaseRules":
        """Load from the parsed content. Raises `RulesError` naming key, fault and remedy."""
        section = Section(content, name or "release")
        rules = tuple(_rule(part) for part in section.tables("rule"))
        ids = [rule.id for rule in rules]
        for rule_id in RULE_IDS:
            if ids.count(rule_id) != 1:
                sentence = (
                    f"the rule '{rule_id}' is listed {ids.count(rule_id)} times. List it once, on or off."
                )
                raise section.refuse("rule", "rule-listing", sentence)
        release = cls(
            id=section.text("id"),
            version=section.text("version"),
            source=section.text("source"),
            digest=digest(content),
            rules=rules,
            signatures=_signatures(section.table("signatures")),
        )
        section.close()
        return release


def _rule(section: Section) -> ReleaseRule:
    rule_id = section.choice("id", RULE_IDS)
    section.where = f"{section.where.rsplit('[', 1)[0]}[{rule_id}]"
    on = section.flag("on")
    if not on and rule_id in _ALWAYS_ON:
        sentence = f"the rule '{rule_id}' protects every report and cannot be switched off. Set it to true."
        raise section.refuse("on", "rule-locked", sentence)
    limit = section.number("limit") if rule_id in _LIMITED else None
    rule = ReleaseRule(rule_id, on, limit, section.text("en"), section.text("zh"), section.text("reason", ""))
    section.close()
    return rule


def _signatures(section: Section) -> Mapping[str, int]:
    needed = {"positive": section.whole("positive", 2), "other": section.whole("other", 1)}
    for key in section.names():
        if key not in _SIGNATURE_KEYS:
            raise section.refuse(
                key, "unknown-key", f"'{key}' is no result. Write <result> or <material>-<result>."
            )
        # a more exact row may ask for more people, never for fewer than two on a positive
        needed[key] = section.whole(key, 2 if key.endswith("positive") else 1)
    return needed


def auto_verify(facts: ReleaseFacts, rules: ReleaseRules) -> tuple[Blocked, ...]:
    """Every rule that holds the result back; empty: it may be released without a person.

    Only a negative can come out empty.
    """
    return tuple(
        blocked
        for blocked, check, limit in rules.checks
        if (check(facts) if limit is None else check(facts, limit))
    )


def signatures_needed(result: str, material: Material | str, rules: ReleaseRules) -> int:
    """How many people sign a report: a positive needs two, anything else one unless set otherwise."""
    exact = rules.signatures.get(f"{Material(material).value}-{result}")
    if exact is not None:
        return exact
    return rules.signatures.get(result, rules.signatures["other"])
