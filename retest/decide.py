"""The diagnosis as a fold: all findings so far in, the one next thing to do out.

A mixed tube says nothing about one of its persons except when it is negative. A pool that is not negative
leads to its retained tubes. For one person's tube the ladder says what is tried next: first the
assay's own ladder for exactly that rule, else the policy's ladder for that kind of finding.

Evidence from outside the specimen (a very strong neighbour, a crowded reagent lot) orders one test more
before a conclusion; it never makes a result.

Every case ends: a specimen is tested at most `max_tests` times and a person gives at most
`max_specimens` specimens; what is still open then is reported as inconclusive or invalid, never as negative.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from msgspec import Struct

from retest.evidence import BESIDE_STRONG, Evidence
from retest.ladder import Ladder
from retest.policy import Policy
from retest.rules import AssayRules
from retest.words import Call, Material

TESTS: Final = ("first", "re-amplify", "re-extract", "second-kit", "singly", "recollected")


class CaseError(ValueError):
    """A case nothing can be decided about; `code` is ``no-finding``."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


class Finding(Struct, frozen=True):
    """One call of one tube in one run.

    Attributes:
        specimen: the tube.
        run: the PCR run.
        call: what it said.
        rule: id of the decision row that said so.
        test: first, re-amplify, re-extract, second-kit, singly or recollected.
        curve: verdict on the curve of the target that decided: sigmoid, flat, atypical or None.
        kit: assay id, where it is not the case's own.
        material: what the tube held. Only single tubes are evidence about a person.
    """

    specimen: str
    run: str
    call: Call
    rule: str
    test: str
    curve: str | None = None
    kit: str = ""
    material: Material = Material.single


class Case(Struct, frozen=True):
    """What is known when the next step is chosen.

    Attributes:
        material: what the tube holds.
        findings: of this tube, oldest first; equal ones count each.
        persons: how many persons wait for this tube.
        tier: urgency tier of the order, a key of the policy's `priority.tier`.
        residual: whether material is left for a repeat; for a pool, whether the single tubes are kept.
        earlier: findings of the person's other specimens.
        evidence: what the plate and the lot say against the newest finding.
        waited_hours: how long the tube has waited since it was received.
    """

    material: Material
    findings: tuple[Finding, ...]
    persons: int = 1
    tier: str = ""
    residual: bool = True
    earlier: tuple[Finding, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    waited_hours: float = 0.0


@dataclass(frozen=True, slots=True)
class Conclude:
    """Report: positive, negative, inconclusive or invalid."""

    result: str
    reason: str


@dataclass(frozen=True, slots=True)
class TestSingly:
    """Test every retained tube of the pool; `hours` until it should be done."""

    __test__ = False  # the name is the bench's word; it is no test class

    reason: str
    priority: int
    hours: float


@dataclass(frozen=True, slots=True)
class Retest:
    """Test the same specimen again: re-amplify, re-extract or second-kit."""

    kind: str
    reason: str
    priority: int
    hours: float


@dataclass(frozen=True, slots=True)
class Recollect:
    """Collect a new single tube from every person of this tube."""

    reason: str
    hours: float


Decision = Conclude | TestSingly | Retest | Recollect


@dataclass(frozen=True, slots=True)
class CaseRules:
    """The kit and the jurisdiction that a case is decided under.

    Attributes:
        assay: the kit of the newest finding.
        policy: the jurisdiction.
        kits: other kits that may have read the person's specimens, by id; a finding of a kit that is
            not here is understood by the first word of its rule id.
    """

    assay: AssayRules
    policy: Policy
    kits: Mapping[str, AssayRules] = field(default_factory=dict)

    def kind(self, finding: Finding) -> str:
        """positive, negative, invalid, or the kind of a borderline finding."""
        assay = self.kits.get(finding.kit, self.assay) if finding.kit else self.assay
        return assay.kind(finding.rule, finding.call)

    def ladder(self, kind: str, rule: str) -> Ladder:
        """The assay's ladder for exactly this rule, else the policy's for the kind."""
        own = self.assay.ladder.get(rule) if rule != kind else None
        return own if own is not None else self.policy.ladder[kind]


def decide(case: Case, rules: CaseRules) -> Decision:
    """The next step for a case.

    Raises:
        CaseError: ``no-finding``: the tube has not been read yet.
    """
    if not case.findings:
        raise CaseError("no-finding", "This tube has no reading yet. Test it before anything is decided.")
    if case.material is Material.mixed:
        return _mixed(case, rules)
    if case.material is Material.pool:
        return _pool(case, rules)
    return _single(_Person.of(case, rules))


def _mixed(case: Case, rules: CaseRules) -> Decision:
    worst = _worst([rules.kind(finding) for finding in case.findings if finding.call is not Call.invalid])
    if worst not in ("", "negative"):
        return _recollect(f"mixed-{worst}", rules)
    if case.findings[-1].call is Call.negative:
        return Conclude("negative", "mixed-negative")
    first_time = sum(finding.call is Call.invalid for finding in case.findings) == 1
    if first_time and case.residual and rules.policy.mixed_invalid == "re-extract":
        return _retest("re-extract", "mixed-invalid-repeat", case, rules)
    return _recollect("mixed-invalid", rules)


def _pool(case: Case, rules: CaseRules) -> Decision:
    worst = _worst([rules.kind(finding) for finding in case.findings])
    if worst == "negative":
        return Conclude("negative", "pool-negative")
    if not case.residual:
        return _recollect("pool-no-material", rules)
    return TestSingly(f"pool-{worst}", _priority("singly", case, rules), rules.policy.hours["singly"])


_WEIGHT: Final = ("negative", "invalid", "grey", "curve", "inconclusive", "single-target", "positive")


def _worst(kinds: Sequence[str]) -> str:
    return max(kinds, key=_WEIGHT.index, default="")


def _priority(job: str, case: Case, rules: CaseRules) -> int:
    priority = rules.policy.priority
    held = any(finding.test == "recollected" for finding in case.findings)
    return (
        priority[job]
        + priority["per_person"] * max(case.persons - 1, 0)
        + rules.policy.tier.get(case.tier, 0)
        + (priority["recollected"] if held else 0)
        + min(int(case.waited_hours) * priority["per_hour"], priority["most_for_age"])
    )


def _retest(kind: str, reason: str, case: Case, rules: CaseRules, job: str = "retest") -> Retest:
    return Retest(kind, reason, _priority(job, case, rules), rules.policy.hours[job])


def _recollect(reason: str, rules: CaseRules) -> Recollect:
    return Recollect(reason, rules.policy.hours["recollect"])


@dataclass(frozen=True, slots=True)
class _Person:
    """One person's tube on trial: its findings, their kinds, and the other specimens."""

    case: Case
    rules: CaseRules
    own: tuple[Finding, ...]
    kinds: tuple[str, ...]
    others: tuple[Finding, ...]

    @classmethod
    def of(cls, case: Case, rules: CaseRules) -> "_Person":
        """Split by specimen: the tube read last is the one on trial."""
        current = case.findings[-1].specimen
        own, rest = case.findings, case.earlier
        if len(own) > 1:
            own = tuple(finding for finding in case.findings if finding.specimen == current)
            rest = (*rest, *(finding for finding in case.findings if finding.specimen != current))
        others = tuple(f for f in rest if f.material is Material.single and f.specimen != current)
        return cls(case, rules, own, tuple(map(rules.kind, own)), others)


def _single(person: _Person) -> Decision:
    kind = person.kinds[-1]
    doubted = _doubted(person, kind)
    if doubted is not None:
        return doubted
    if kind == "positive":
        return _positive(person)
    if kind == "invalid":
        return _climb(person, "invalid", person.own[-1].rule)
    if "positive" in person.kinds:
        return _climb(person, "contradictory", "contradictory")
    if kind == "negative":
        return _negative(person)
    if kind == "single-target" and _two_specimens(person):
        return Conclude("positive", "positive-two-specimens")
    if kind == "grey" and person.kinds.count("grey") > 1:
        return _grey_again(person)
    return _climb(person, kind, person.own[-1].rule)


def _doubted(person: _Person, kind: str) -> Decision | None:
    """One test more where the neighbour or the lot may have made the first signal of a specimen.

    A signal that came again from the same specimen is no splash, and the ladder knows what it is.
    """
    if not person.case.evidence or kind in ("negative", "invalid"):
        return None
    if sum(found not in ("negative", "invalid") for found in person.kinds) > 1:
        return None
    rules = person.rules.policy.evidence
    for evidence in person.case.evidence:
        step = rules.step(evidence.kind)
        if step and (evidence.kind == BESIDE_STRONG or kind == "single-target"):
            return _check(person, step, evidence.kind, "retest")
    return None


def _check(person: _Person, step: str, reason: str, job: str) -> Decision:
    """Test again, or take a new specimen where this one cannot be tested again."""
    if len(person.own) >= person.rules.policy.max_tests:
        return _new_specimen(person, "repeats-used-up", "inconclusive")
    if not person.case.residual:
        return _new_specimen(person, "no-material", "inconclusive")
    return _retest(step, reason, person.case, person.rules, job)


def _positive(person: _Person) -> Decision:
    confirm = person.rules.policy.confirm
    positives = [finding for finding in person.own if finding.call is Call.positive]
    confirmed = len(positives) > 1 and (confirm != "second-kit" or _second_kit(positives, person.rules))
    if confirm and not confirmed:
        return _check(person, confirm, "positive-confirm", "confirm")
    return Conclude("positive", "positive" if len(person.own) == 1 else "positive-on-repeat")


def _second_kit(findings: Sequence[Finding], rules: CaseRules) -> bool:
    """Whether two kits have read it; a finding without a kit was read with the case's own."""
    kits = {finding.kit or rules.assay.id for finding in findings}
    return len(kits) > 1 or any(finding.test == "second-kit" for finding in findings)


def _negative(person: _Person) -> Decision:
    """Negative last, no positive before: enough negative repeats, or the ladder goes on."""
    open_findings = [i for i, kind in enumerate(person.kinds) if kind not in ("negative", "invalid")]
    if open_findings:
        # the strictest of the open findings governs; 0 negatives means never this specimen
        ladders = [(_ladder(person, i), i) for i in open_findings]
        ladder, at = max(ladders, key=lambda pair: (pair[0].negatives == 0, pair[0].negatives, pair[1]))
        after = person.kinds[open_findings[-1] + 1 :].count("negative")
        if ladder.negatives == 0 or after < ladder.negatives:
            return _climb(person, person.kinds[at], person.own[at].rule)
    if _negatives_since_positive(person) < person.rules.policy.negatives_after_positive:
        return _new_specimen(person, "contradictory-specimens", "inconclusive")
    if any(finding.call in (Call.positive, Call.borderline) for finding in person.others):
        return Conclude("negative", "negative-earlier-finding")
    return Conclude("negative", "negative-on-repeat" if len(person.own) > 1 else "negative")


def _negatives_since_positive(person: _Person) -> float:
    """How many specimens, this one included, were negative after the person's last positive one."""
    positive = [i for i, finding in enumerate(person.others) if finding.call is Call.positive]
    if not positive:
        return math.inf
    doubted = {person.others[i].specimen for i in positive}
    later = person.others[positive[-1] + 1 :]
    return len({finding.specimen for finding in later if finding.call is Call.negative} - doubted) + 1


def _ladder(person: _Person, at: int) -> Ladder:
    return person.rules.ladder(person.kinds[at], person.own[at].rule)


def _two_specimens(person: _Person) -> bool:
    """China guide: two specimens of one person, each with a single target; never twice the same tube."""
    return person.rules.policy.two_single_targets_positive and any(
        person.rules.kind(finding) == "single-target" for finding in person.others
    )


def _grey_again(person: _Person) -> Decision:
    verdict = person.rules.policy.grey_again.get(person.own[-1].curve or "unknown", "ladder")
    if verdict in ("positive", "negative"):
        return Conclude(verdict, f"{verdict}-grey-twice")
    if verdict == "recollect":
        return _new_specimen(person, "grey-curve-unknown", "inconclusive")
    return _climb(person, "grey", person.own[-1].rule)


def _climb(person: _Person, kind: str, rule: str) -> Decision:
    """The next step of the ladder that has not been taken for this kind of finding."""
    ladder = person.rules.ladder(kind, rule)
    taken = _taken(person, kind)
    used_up = len(person.own) >= person.rules.policy.max_tests
    if taken >= len(ladder.steps) and not used_up:
        return Conclude(ladder.end, "repeats-ended")
    step = "recollect" if used_up else ladder.steps[taken]
    if step == "recollect":
        return _new_specimen(person, "repeats-used-up" if used_up or taken else kind, ladder.end)
    if not person.case.residual:
        return _new_specimen(person, "no-material", ladder.end)
    return _retest(step, kind, person.case, person.rules)


def _taken(person: _Person, kind: str) -> int:
    """How many steps were taken since this kind of finding first appeared."""
    if kind == "contradictory":
        return len(person.own) - person.kinds.index("positive") - 2
    since = person.kinds[person.kinds.index(kind) :]
    return sum(found in (kind, "negative") for found in since) - 1


def _new_specimen(person: _Person, reason: str, end: str) -> Decision:
    """Re-collect, unless the person has given as many specimens as the policy allows."""
    given = len({finding.specimen for finding in person.others}) + 1
    if given >= person.rules.policy.max_specimens:
        return Conclude(end, "specimens-used-up")
    return _recollect(reason, person.rules)
