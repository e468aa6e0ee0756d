"""Review, signatures, release.

Nothing leaves before its run ended, its controls held and everybody who must sign has signed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from lis import events as e
from lis import ledger, queries
from lis.db import Unit
from lis.errors import Forbidden, Invalid, Refused
from lis.events import TubeKind
from lis.services.reports.evidence import Evidence, evidence_of
from lis.tube import Tube, TubeState, illegal_sentence
from retest import Blocked, Material, auto_verify, signatures_needed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from lis.ledger import Recorded
    from lis.rulebook import Rulebook

AUTO: Final = "auto-verification"
"""Actor of signatures that the written rules gave."""


@dataclass(frozen=True, slots=True)
class Issued:
    """What a release did: tube -> its report numbers."""

    reports: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Held:
    """A tube that waits for a person, and every rule that holds it."""

    tube: str
    blocked: tuple[Blocked, ...]


# -- automatic release ---------------------------------------------------------------------------


def release_ready(
    unit: Unit, rules: Rulebook, tube_ids: Collection[str], known: Mapping[str, Tube] | None = None
) -> tuple[Issued, tuple[Held, ...]]:
    """Release those of ``tube_ids`` that meet every written rule; say of the others what holds them.

    With automatic release switched off everything waits for a person. ``known`` are tubes as they were
    written in this transaction, to save reading them again; a stale one is refused.
    """
    # gather
    given = known or {}
    read = ledger.tubes(unit.conn, [code for code in tube_ids if code not in given])
    found = {code: given[code] if code in given else read[code] for code in sorted(tube_ids)}
    tubes = [tube for tube in found.values() if tube.state is TubeState.IN_REVIEW]
    evidence = evidence_of(unit, rules, tubes)
    # decide
    blocked = {tube.tube_id: auto_verify(evidence[tube.tube_id].facts, rules.release) for tube in tubes}
    ready = [tube for tube in tubes if rules.auto_release and not blocked[tube.tube_id]]
    # apply
    issued = issue(replace(unit, actor=AUTO), rules, ready, evidence, signing=(AUTO,))
    released = {tube.tube_id for tube in ready}
    held = tuple(Held(tube.tube_id, blocked[tube.tube_id]) for tube in tubes if tube.tube_id not in released)
    return issued, held


def why_held(unit: Unit, rules: Rulebook, tube: Tube) -> tuple[Blocked, ...]:
    """Every rule that keeps this tube from leaving without a person."""
    return auto_verify(evidence_of(unit, rules, [tube])[tube.tube_id].facts, rules.release)


def why_each_held(unit: Unit, rules: Rulebook, tubes: Sequence[Tube]) -> dict[str, tuple[Blocked, ...]]:
    """The same for many tubes; every run is read once."""
    evidence = evidence_of(unit, rules, tubes)
    return {code: auto_verify(found.facts, rules.release) for code, found in evidence.items()}


# -- review --------------------------------------------------------------------------------------


def review(unit: Unit, rules: Rulebook, barcode: str, verdict: str, reason: str = "") -> Tube:
    """A reviewer accepts a result, or wants a retest or a new specimen instead.

    Raises:
        Refused: the tube is not in review, or its evidence does not allow a release.
        Forbidden: ``SAME_PERSON``: this person has signed this result already.
    """
    tube = ledger.known(unit.conn, barcode)
    if tube.state is not TubeState.IN_REVIEW:
        raise Refused(
            "NOT_IN_REVIEW", illegal_sentence(tube, e.Reviewed), tube=tube.tube_id, state=tube.state
        )
    match verdict:
        case "accept":
            facts = _accept(unit, rules, tube, reason)
        case "retest" | "re-amplify" | "re-extract" | "second-kit":
            test = "re-extract" if verdict == "retest" else verdict
            due = tube.due_at or unit.now
            facts = [(tube.tube_id, e.RetestOrdered(test, _needed(reason), rules.void_priority(tube), due))]
        case "recollect":
            persons = queries.persons_in(unit.conn, tube.tube_id)
            due = unit.now + timedelta(hours=rules.recall_hours)
            facts = ledger.recalls(tube.tube_id, persons, _needed(reason), due)
        case "comment":
            facts = [(tube.tube_id, e.Commented(_needed(reason)))]
        case _:
            raise Invalid(
                "VERDICT",
                "A verdict is accept, retest, re-amplify, re-extract, second-kit, recollect or comment.",
            )
    return ledger.append(unit, facts)[tube.tube_id]


def _accept(unit: Unit, rules: Rulebook, tube: Tube, reason: str) -> list[Recorded]:
    if unit.actor in queries.actors_since(unit.conn, tube.tube_id, "Reviewed", "Concluded"):
        raise Forbidden(
            "SAME_PERSON",
            f"{unit.actor} has signed tube {tube.tube_id} already. A second person must look at it.",
            tube=tube.tube_id,
        )
    _must_hold(tube, why_held(unit, rules, tube))
    return [(tube.tube_id, e.Reviewed("accept", reason.strip()))]


MUST_HOLD: Final = frozenset({"run-ended", "run-valid", "batch-valid", "controls-present", "file-complete"})
"""Rules that no signature can overrule."""


def _must_hold(tube: Tube, blocked: Sequence[Blocked]) -> None:
    for one in blocked:
        if one.rule in MUST_HOLD:
            raise Refused("NOT_RELEASABLE", f"Tube {tube.tube_id}: {one.sentence_en}", tube=tube.tube_id)


def missing_signatures(tube: Tube, rules: Rulebook) -> int:
    """How many people still have to sign the result of a tube."""
    return max(signatures_needed(tube.result, Material(tube.kind.value), rules.release) - tube.signatures, 0)


def release(unit: Unit, rules: Rulebook, barcodes: Sequence[str] = ()) -> Issued:
    """Issue the reports of signed results: those named, or all that have every signature.

    Raises:
        Refused: a tube named is not in review, signatures are missing, or its evidence does not hold.
    """
    # gather
    if barcodes:
        tubes = [ledger.known(unit.conn, code) for code in barcodes]
    else:
        tubes = queries.tubes_in_state(unit.conn, TubeState.IN_REVIEW)
    # decide
    ready = []
    for tube in tubes:
        needed = signatures_needed(tube.result, Material(tube.kind.value), rules.release)
        if tube.state is not TubeState.IN_REVIEW:
            raise Refused("NOT_IN_REVIEW", illegal_sentence(tube, e.Released), tube=tube.tube_id)
        if tube.signatures >= needed:
            ready.append(tube)
        elif barcodes:
            raise Refused(
                "SIGNATURES",
                f"Tube {tube.tube_id} ({tube.result}) has {tube.signatures} of {needed} signatures. "
                "Another person must review it first.",
                tube=tube.tube_id,
            )
    evidence = evidence_of(unit, rules, ready)
    for tube in ready:
        _must_hold(tube, auto_verify(evidence[tube.tube_id].facts, rules.release))
    # apply
    return issue(unit, rules, ready, evidence)


# -- issuing -------------------------------------------------------------------------------------


def issue(
    unit: Unit,
    rules: Rulebook,
    tubes: Sequence[Tube],
    evidence: Mapping[str, Evidence],
    signing: tuple[str, ...] = (),
) -> Issued:
    """Write the reports of ``tubes``; ``signing`` are signatures given in the same act."""
    for tube in tubes:
        if tube.kind is TubeKind.MIXED and tube.result != "negative":
            raise Refused(
                "MIXED_NOT_NEGATIVE",
                f"Tube {tube.tube_id} is mixed and {tube.result}: no individual result can be reported. "
                "Call its persons back.",
                tube=tube.tube_id,
            )
    if not tubes:
        return Issued({})
    people = queries.people_of(unit.conn, [tube.tube_id for tube in tubes])
    signers = queries.signers(unit.conn, [tube.tube_id for tube in tubes])
    who = {name for many in signers.values() for name in many} | set(signing)
    names = queries.full_names(unit.conn, sorted(who))
    numbers = iter(queries.next_numbers(unit.conn, "report", sum(map(len, people.values()))))
    day = f"{unit.now:%y%m%d}"
    rows: list[dict[str, Any]] = []
    facts: list[Recorded] = []
    by_tube: dict[str, tuple[str, ...]] = {}
    for tube in tubes:
        code = tube.tube_id
        signed = {name: names[name] for name in (*signers.get(code, ()), *signing)}
        found = evidence[code]
        own = [
            _report_row(unit, rules, tube, who, found, signed, f"R{day}-{next(numbers):07d}")
            for who in people[code]
        ]
        rows += own
        by_tube[code] = tuple(row["report_id"] for row in own)
        facts += [(code, e.Reviewed("accept", name)) for name in signing]
        facts.append((code, e.Released(tube.result, len(own), ledger.seal_of([row["seal"] for row in own]))))
    if any(row["pool_policy"] for row in rows):
        queries.keep_rules(unit.conn, rules.pool_files(), unit.now)
    queries.insert_rows(unit.conn, "report", rows)
    facts.sort(key=lambda fact: isinstance(fact[1], e.Released))  # rows of one kind are written at once
    ledger.append(unit, facts, {tube.tube_id: tube for tube in tubes})
    _close_recalls(unit, rules, tubes, people)
    return Issued(by_tube)


def _report_row(
    unit: Unit,
    rules: Rulebook,
    tube: Tube,
    person: str,
    evidence: Evidence,
    signed: Mapping[str, str],
    number: str,
) -> dict[str, Any]:
    mode = "pool" if evidence.pool else tube.kind.value
    together = mode != TubeKind.SINGLE
    row = {
        "report_id": number,
        "version": 1,
        "amends": "",
        "tube_id": tube.tube_id,
        "person_id": person,
        "result": tube.result,
        "mode": mode,
        "places": evidence.places,
        "tests": tube.tests,
        "assay": evidence.assay,
        "assay_version": evidence.version,
        "pool_policy": rules.pool_policy.id if together else "",
        "pool_policy_version": rules.pool_policy.version if together else "",
        "sampled_at": tube.sampled_at,
        "received_at": tube.received_at,
        "issued_at": unit.now,
        "due_at": tube.promised_at,
        "signed_by": ", ".join(signed),
        "signed_names": "\n".join(signed.values()),
        "reason": "",
    }
    return {**row, "seal": ledger.report_seal(row)}


ANSWERS: Final = frozenset({"negative", "positive", *queries.UNANSWERED})
"""Results of a new specimen with which a person is awaited no longer.

A specimen is reported as inconclusive or invalid only where the policy asks for no further one: that ends
the laboratory's part, and the person is referred (docs/decisions/0014-inconclusive-ends.md).
"""


def _answers(tube: Tube, heard: datetime, opened: datetime, late: timedelta) -> bool:
    """Whether a specimen can be the one that was asked for at ``opened``.

    The laboratory's own clock says when it first heard of the tube (``heard``); the collection site's
    says when the swab was taken, and may be up to ``late`` behind.
    """
    return heard >= opened and tube.sampled_at is not None and tube.sampled_at >= opened - late


def _close_recalls(
    unit: Unit, rules: Rulebook, tubes: Sequence[Tube], people: Mapping[str, Sequence[str]]
) -> None:
    """A single tube's report answers for its person in every tube that waits for them.

    Only a specimen that came after the person was called back is an answer, and each task is
    closed once, however many new tubes of the person are reported.
    """
    late = timedelta(minutes=rules.recall_clock_minutes)
    singles = [tube for tube in tubes if tube.kind is TubeKind.SINGLE and tube.result in ANSWERS]
    tasks = queries.open_tasks(unit.conn, [person for tube in singles for person in people[tube.tube_id]])
    if not tasks:
        return
    heard = queries.first_heard(unit.conn, [tube.tube_id for tube in singles])
    closing: dict[tuple[str, str], e.PersonRecollected] = {}
    for tube in singles:
        for person in people[tube.tube_id]:
            for task in tasks.get(person, ()):
                answers = _answers(tube, heard[tube.tube_id], task.opened_at, late)
                if task.tube_id != tube.tube_id and answers:
                    fact = e.PersonRecollected(person, tube.tube_id, tube.result)
                    closing.setdefault((task.tube_id, person), fact)
    facts: list[Recorded] = [(code, fact) for (code, _), fact in closing.items()]
    closed = Counter(code for code, _ in closing)
    open_counts = queries.open_recall_counts(unit.conn, closed)
    done = [code for code, count in closed.items() if open_counts[code] == count]
    facts += [(code, e.Resolved("all persons re-collected and reported")) for code in done]
    ledger.append(unit, facts)


def _needed(reason: str) -> str:
    if not reason.strip():
        raise Invalid("REASON", "Say why; the reason is kept.")
    return reason.strip()
