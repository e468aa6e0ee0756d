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
from lis.tube import Tube, TubeState, illegal_sentence
from retest import Blocked, Call, Material, ReleaseFacts, auto_verify, signatures_needed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from lis.ledger import Recorded
    from lis.queries import Row
    from lis.rulebook import Rulebook

AUTO: Final = "auto-verification"
"""Actor of signatures that the written rules gave."""

NEIGHBOURS: Final = tuple((r, c) for r in (-1, 0, 1) for c in (-1, 0, 1) if (r, c) != (0, 0))


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


def release_ready(unit: Unit, rules: Rulebook, tube_ids: Iterable[str]) -> tuple[Issued, tuple[Held, ...]]:
    """Release those of ``tube_ids`` that meet every written rule; say of the others what holds them.

    With automatic release switched off everything waits for a person.
    """
    # gather
    tubes = [tube for tube in ledger.tubes(unit.conn, tube_ids).values() if tube.state is TubeState.IN_REVIEW]
    evidence = _evidence(unit, rules, tubes)
    # decide
    blocked = {tube.tube_id: auto_verify(evidence[tube.tube_id].facts, rules.release) for tube in tubes}
    ready = [tube for tube in tubes if rules.auto_release and not blocked[tube.tube_id]]
    # apply
    issued = _issue(replace(unit, actor=AUTO), rules, ready, evidence, signing=(AUTO,))
    released = {tube.tube_id for tube in ready}
    held = tuple(Held(tube.tube_id, blocked[tube.tube_id]) for tube in tubes if tube.tube_id not in released)
    return issued, held


def why_held(unit: Unit, rules: Rulebook, tube: Tube) -> tuple[Blocked, ...]:
    """Every rule that keeps this tube from leaving without a person."""
    return auto_verify(_evidence(unit, rules, [tube])[tube.tube_id].facts, rules.release)


def why_each_held(unit: Unit, rules: Rulebook, tubes: Sequence[Tube]) -> dict[str, tuple[Blocked, ...]]:
    """The same for many tubes; every run is read once."""
    evidence = _evidence(unit, rules, tubes)
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
        case _:
            raise Invalid(
                "VERDICT", "A verdict is accept, retest, re-amplify, re-extract, second-kit or recollect."
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
    evidence = _evidence(unit, rules, ready)
    for tube in ready:
        _must_hold(tube, auto_verify(evidence[tube.tube_id].facts, rules.release))
    # apply
    return _issue(unit, rules, ready, evidence)


# -- evidence ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What a result rests on: the facts for the release rules, and the run of its last call."""

    facts: ReleaseFacts
    assay: str
    version: str
    pool: str
    places: int


def _evidence(unit: Unit, rules: Rulebook, tubes: Sequence[Tube]) -> dict[str, _Evidence]:
    """Facts of each tube; a pool member rests on the run of its pool."""
    conn = unit.conn
    pools = queries.pools_of(conn, [tube.tube_id for tube in tubes])
    tested = {tube.tube_id: _tested(tube, pools) for tube in tubes}
    calls = queries.calls(conn, tested.values())
    people = queries.people_of(conn, [tube.tube_id for tube in tubes])
    held = queries.recalls_of(conn, [person for many in people.values() for person in many])
    sizes = queries.pool_sizes(conn, {code for own, code in tested.items() if own != code})
    runs: dict[str, _Run] = {}
    found = {}
    for tube in tubes:
        code = tested[tube.tube_id]
        past = calls.get(code, [])
        run = _run(unit, runs, past[-1].run_id) if past else None
        places = tube.persons if code == tube.tube_id else sizes.get(code, 0)
        own_held = any(
            other != tube.tube_id for p in people.get(tube.tube_id, ()) for other in held.get(p, ())
        )
        found[tube.tube_id] = _Evidence(
            facts=_facts(unit, rules, tube, code, past, run, places=places, held=own_held),
            assay=past[-1].assay if past else "",
            version=run.row["assay_version"] if run else "",
            pool=code if code != tube.tube_id else "",
            places=places,
        )
    return found


def _tested(tube: Tube, pools: Mapping[str, str]) -> str:
    return pools[tube.tube_id] if tube.tests == 0 and tube.tube_id in pools else tube.tube_id


@dataclass(frozen=True, slots=True)
class _Run:
    """A run with its readings by tube, the Cq of every well by place and target, and its controls' doubts."""

    row: Mapping[str, Any]
    by_tube: Mapping[str, list[Row]]
    batch: Mapping[str, str]
    signals: Mapping[tuple[int, int], Mapping[str, float]]
    contradicted: tuple[str, ...]


def _run(unit: Unit, runs: dict[str, _Run], run_id: str) -> _Run:
    if run_id not in runs:
        row = queries.run_with_plate(unit.conn, run_id)
        readings = queries.readings_of_run(unit.conn, run_id)
        by_tube: dict[str, list[Row]] = {}
        signals: dict[tuple[int, int], dict[str, float]] = {}
        for reading in readings:
            by_tube.setdefault(reading["tube_id"] or "", []).append(reading)
            if reading["tube_id"] and reading["cq"] is not None:
                signals.setdefault(_place(reading["well"]), {})[reading["target"]] = reading["cq"]
        wells = queries.wells(unit.conn, row["plate_id"])
        batch = {well["tube_id"]: well["batch"] for well in wells if well["tube_id"]}
        runs[run_id] = _Run(row, by_tube, batch, signals, tuple(_contradicting(by_tube.get("", ()))))
    return runs[run_id]


def _place(well: str) -> tuple[int, int]:
    return ord(well[0]) - ord("A"), int(well[1:])


def _facts(  # noqa: PLR0913 - the facts of one result
    unit: Unit,
    rules: Rulebook,
    tube: Tube,
    code: str,
    past: Sequence[queries.CallRow],
    run: _Run | None,
    *,
    places: int,
    held: bool,
) -> ReleaseFacts:
    material = Material.pool if code != tube.tube_id else Material(tube.kind.value)
    if run is None or not past:
        return ReleaseFacts(
            call=Call.invalid,
            result=tube.result,
            material=material,
            findings=0,
            run_ended=False,
            run_valid=False,
            batch_valid=False,
            controls_present=False,
            file_complete=False,
            assay_validated=False,
        )
    assay = rules.assay(run.row["assay"], run.row["assay_version"])
    controls = {target.name for target in assay.targets if target.is_control}
    own = run.by_tube.get(code, [])
    viral = [r for r in own if r["target"] not in controls]
    internal = [r["cq"] for r in own if r["target"] in controls]
    failed = set(run.row["failed_batches"].split(",")) - {""}
    started = run.row["started_at"] or run.row["read_at"]
    return ReleaseFacts(
        call=Call(past[-1].outcome),
        result=tube.result,
        material=material,
        findings=len(past),
        run_ended=_has_ended(run.row, unit.now),
        run_valid=bool(run.row["valid"]),
        batch_valid=run.batch.get(code, "") not in failed,
        controls_present=bool(run.row["valid"]) or "missing" not in run.row["verdict"],
        file_complete=True,  # an incomplete file never becomes a run
        assay_validated=assay.pooling.fits(material, places),
        quality=run.row["quality"],
        flags=(*(flag for r in viral for flag in _doubts(r)), *_contradictions(run, own, viral)),
        curves=tuple(r["curve"] or None for r in viral),
        ic_cq=None if not internal or None in internal else max(internal),
        ic_required=bool(controls),
        neighbour_min_cq=_neighbours(run, own, controls),
        person_held=held,
        is_retest=tube.test != "first",
        specimen_age_hours=_age(tube, started),
    )


INTEGRITY: Final = "INTEGRITY_"
"""How flags begin that say: this Cq did not come from this curve."""

NOTHING_AMPLIFIED: Final = frozenset({"NOAMP", "NO_AMP", "NO AMP", "EXPFAIL"})
"""Flags that only say what a negative target is: it did not amplify."""


def _doubts(reading: Row) -> list[str]:
    """Instrument flags of a viral target that cast doubt on it."""
    flags = [flag for flag in reading["flags"].split(",") if flag]
    return [flag for flag in flags if reading["cq"] is not None or flag.upper() not in NOTHING_AMPLIFIED]


def _contradictions(run: _Run, own: Sequence[Row], viral: Sequence[Row]) -> list[str]:
    """Integrity flags of the internal control and of the plate's controls, which carry the result."""
    return [*run.contradicted, *_contradicting(row for row in own if row not in viral)]


def _contradicting(readings: Iterable[Row]) -> Iterator[str]:
    return (flag for row in readings for flag in row["flags"].split(",") if flag.startswith(INTEGRITY))


def _has_ended(row: Mapping[str, Any], now: datetime) -> bool:
    """The instrument's end of run, or, where its file has none, the fact that a whole file was written."""
    return row["ended_at"] is None or row["ended_at"] <= now + timedelta(minutes=5)


def _neighbours(run: _Run, own: Sequence[Row], controls: set[str]) -> float | None:
    wells = {_place(r["well"]) for r in own}
    around = {(r + dr, c + dc) for r, c in wells for dr, dc in NEIGHBOURS} - wells
    beside = [run.signals[place] for place in around if place in run.signals]
    near = [cq for many in beside for target, cq in many.items() if target not in controls]
    return min(near, default=None)


def _age(tube: Tube, started: datetime) -> float | None:
    if tube.sampled_at is None:
        return None
    return max((started - tube.sampled_at).total_seconds() / 3600, 0.0)


# -- issuing -------------------------------------------------------------------------------------


def _issue(
    unit: Unit,
    rules: Rulebook,
    tubes: Sequence[Tube],
    evidence: Mapping[str, _Evidence],
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
    rows: list[dict[str, Any]] = []
    facts: list[Recorded] = []
    by_tube: dict[str, tuple[str, ...]] = {}
    for tube in tubes:
        code = tube.tube_id
        signed = {name: names[name] for name in (*signers.get(code, ()), *signing)}
        found = evidence[code]
        own = [_report_row(unit, rules, tube, who, found, signed, next(numbers)) for who in people[code]]
        rows += own
        by_tube[code] = tuple(row["report_id"] for row in own)
        facts += [(code, e.Reviewed("accept", name)) for name in signing]
        facts.append((code, e.Released(tube.result, len(own), ledger.seal_of([row["seal"] for row in own]))))
    if any(row["pool_policy"] for row in rows):
        queries.keep_rules(unit.conn, rules.pool_files(), unit.now)
    queries.insert_rows(unit.conn, "report", rows)
    ledger.append(unit, facts, {tube.tube_id: tube for tube in tubes})
    _close_recalls(unit, rules, tubes, people)
    return Issued(by_tube)


def _report_row(
    unit: Unit,
    rules: Rulebook,
    tube: Tube,
    person: str,
    evidence: _Evidence,
    signed: Mapping[str, str],
    number: int,
) -> dict[str, Any]:
    mode = "pool" if evidence.pool else tube.kind.value
    together = mode != TubeKind.SINGLE
    row = {
        "report_id": f"R{unit.now:%y%m%d}-{number:07d}",
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
