"""The API of the bench: tubes, scans, pools, reviews, reports. One thin function a route."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from sqlalchemy import Connection
from starlette.responses import Response

from lis import barcodes, ledger, printing, queries
from lis.db import Unit
from lis.errors import Invalid, NotFound
from lis.laboratory.papers import report_view
from lis.privacy import last_digits
from lis.rulebook import Rulebook
from lis.services import amendments, capacity, disclosure, pools, receiving, reports, sites, storage
from lis.tube import Tube
from lis.web.commands import Answer, Asked, Caller, reply
from lis.web.payloads import (
    AmendIn,
    BatchIn,
    PersonIn,
    Persons,
    PlaceIn,
    ReasonIn,
    ReleaseIn,
    Reviews,
    ScanIn,
    Scans,
    SealOrder,
    TubeOrder,
    Tubes,
    entry_json,
    file_json,
    listed,
    masked_name,
    person_json,
    reading_json,
    report_json,
    scan_json,
    tube_json,
)

router = APIRouter(prefix="/api/v1")

PDF = "application/pdf"
MOST_ROWS = 500

# -- from the swab to the rack -------------------------------------------------------------------


@router.post("/tubes", status_code=201, tags=["tubes"])
def register_tubes(orders: Tubes, asked: Asked) -> Response:
    """Put one tube or many into use, with their persons, sealed if wished; all of them or none."""
    many: list[TubeOrder] = listed(orders)
    who = asked.identity
    data = [replace(order.data(), site=sites.own_site(who, order.site)) for order in many]

    def act(unit: Unit) -> Any:
        after = receiving.register(unit, asked.lab.vault, asked.lab.rules, data)
        shown = [tube_json(tube) for tube in after.values()]
        return {"tubes": shown} if isinstance(orders, list) else shown[0]

    return asked.write("register", act, 201)


@router.post("/tubes/{barcode}/persons", status_code=201, tags=["tubes"])
def bind_persons(barcode: str, persons: Persons, asked: Asked) -> Response:
    """Bind one person or several to the next free places of a tube."""
    many: list[PersonIn] = listed(persons)
    data = [person.data() for person in many]

    def act(unit: Unit) -> dict[str, Any]:
        sites.must_be_own(unit.conn, asked.identity, [barcode])
        return tube_json(receiving.bind(unit, asked.lab.vault, barcode, data))

    return asked.write("register", act, 201)


@router.post("/tubes/{barcode}/seal", tags=["tubes"])
def seal_tube(barcode: str, order: SealOrder, asked: Asked) -> Response:
    """Close a tube at the collection site."""

    def act(unit: Unit) -> dict[str, Any]:
        sites.must_be_own(unit.conn, asked.identity, [barcode])
        return tube_json(receiving.seal(unit, barcode, order.reason))

    return asked.write("register", act)


@router.post("/receipts", tags=["tubes"])
def receive_scans(scans: Scans, asked: Asked) -> Response:
    """Take tubes in by scan: every scan gets its own answer (received, repeat, held, refused)."""
    many: list[ScanIn] = listed(scans)
    data = [scan.data() for scan in many]

    def act(unit: Unit) -> dict[str, Any]:
        results = receiving.receive(unit, asked.lab.rules, data)
        counts: dict[str, int] = {}
        for result in results:
            counts[result.outcome.value] = counts.get(result.outcome.value, 0) + 1
        return {"scans": [scan_json(result) for result in results], "counts": counts}

    return asked.write("receive", act)


@router.post("/tubes/{barcode}/hold", tags=["tubes"])
def hold_tube(barcode: str, order: ReasonIn, asked: Asked) -> Response:
    """Put a damaged or doubtful tube into the hold tray."""
    return asked.write("hold", lambda unit: tube_json(receiving.hold(unit, barcode, order.reason)))


@router.post("/tubes/{barcode}/clear", tags=["tubes"])
def clear_tube(barcode: str, order: ReasonIn, asked: Asked) -> Response:
    """Let a held tube be tested after all."""
    return asked.write("hold", lambda unit: tube_json(receiving.clear_hold(unit, barcode, order.reason)))


@router.post("/tubes/{barcode}/reject", tags=["tubes"])
def reject_tube(barcode: str, order: ReasonIn, asked: Asked) -> Response:
    """Refuse to test a tube; its persons are called back, and its pool, if it was in one, is decided anew."""

    def act(unit: Unit) -> dict[str, Any]:
        tube = receiving.reject(unit, asked.lab.rules, barcode, order.reason)
        pools.settle_pools(unit, asked.lab.rules, [tube.tube_id])
        return tube_json(tube)

    return asked.write("hold", act)


@router.post("/tubes/{barcode}/store", tags=["tubes"])
def store_tube(barcode: str, order: PlaceIn, asked: Asked) -> Response:
    """Put a finished tube away."""
    return asked.write(
        "receive", lambda unit: tube_json(storage.store(unit, barcode, order.rack, order.position))
    )


@router.post("/tubes/{barcode}/discard", tags=["tubes"])
def discard_tube(barcode: str, order: ReasonIn, asked: Asked) -> Response:
    """Destroy a tube whose retention has ended; a positive one never."""
    keep = asked.lab.settings.retention_negative_hours
    return asked.write(
        "discard", lambda unit: tube_json(storage.discard(unit, barcode, order.reason, keep_hours=keep))
    )


# -- looking -------------------------------------------------------------------------------------


@router.get("/tubes/{barcode}", tags=["tubes"])
def get_tube(barcode: str, asked: Asked) -> Response:
    """State, history, due time, readings of all runs, reports; persons masked."""
    return asked.read("look", lambda conn: tube_document(asked, conn, barcode))


def tube_document(asked: Caller, conn: Connection, barcode: str) -> dict[str, Any]:
    """Everything known about one tube."""
    tube = ledger.known(conn, barcode)
    ids = queries.persons_in(conn, tube.tube_id)
    people = queries.people(conn, ids)
    history = ledger.history(conn, tube.tube_id)
    return tube_json(tube) | {
        "history": [entry_json(entry) for entry in history],
        "people": [person_json(people[one], full=False) for one in ids],
        "readings": [reading_json(row) for row in queries.readings_of_tube(conn, tube.tube_id)],
        "members": queries.pool_members(conn, [tube.tube_id])[tube.tube_id],
        "reports": [report_json(row) for row in queries.reports_of_tube(conn, tube.tube_id)],
        "interim": pools.interim_of(conn, asked.lab.rules, tube),
        "forecast": capacity.outlook(conn, tube, history, asked.lab.database.clock.now()),
    }


@router.get("/tubes", tags=["tubes"])
def find_tubes(asked: Asked, q: Annotated[str, Query(min_length=1, max_length=80)]) -> Response:
    """Tubes whose code starts with ``q``, or that are on the plate, in the pool or in the rack ``q``."""
    text = barcodes.clean(q)
    return asked.read(
        "look", lambda conn: {"tubes": [tube_json(t) for t in queries.find_tubes(conn, text, 50)]}
    )


@router.get("/worklists/{name}", tags=["worklists"])
def get_worklist(
    name: str,
    asked: Asked,
    limit: Annotated[int, Query(ge=1, le=MOST_ROWS)] = queries.PAGE,
    after: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> Response:
    """One of receive, plate, retest, recollect, refer, review, release, hold, quarantine; urgent first."""
    return asked.read("look", lambda conn: worklist_document(conn, name, limit, after, asked))


def worklist_document(conn: Connection, name: str, limit: int, after: int, asked: Caller) -> dict[str, Any]:
    """A page of a worklist; ``next`` is where the following page begins, null at the end."""
    if name == "quarantine":
        files = queries.files(conn, "quarantined", limit=limit)
        return {"name": name, "files": [file_json(row) for row in files], "tubes": [], "next": None}
    if name == "refer":
        rows = queries.referrals(conn, asked.lab.database.clock.now(), limit)
        people = [referral_json(row) for row in rows]
        return {"name": name, "referrals": people, "tubes": [], "next": None}
    if name not in queries.WORKLISTS:
        known = ", ".join([*queries.WORKLISTS, "refer", "quarantine"])
        raise NotFound("WORKLIST_UNKNOWN", f"There is no worklist {name[:40]}. Known: {known}.")
    tubes = queries.worklist(conn, name, limit=limit, after=after)
    found: dict[str, Any] = {"name": name, "next": after + limit if len(tubes) == limit else None}
    if name == "release":
        tubes = [tube for tube in tubes if reports.missing_signatures(tube, asked.lab.rules) == 0]
    found["tubes"] = [tube_json(tube) for tube in tubes]
    if name == "recollect":
        found["recalls"] = [recall_json(row) for row in queries.open_recalls(conn, limit)]
    return found


def referral_json(row: Any) -> dict[str, Any]:
    """One person whose specimens are used up without an answer, masked: a clinician must decide."""
    masked = person_json({**row, "document_type": ""}, full=False)
    kept = {name: masked[name] for name in ("person_id", "name", "document", "phone")}
    told = {"tube": row["tube_id"], "report": row["report_id"], "result": row["result"]}
    return {**told, **kept, "reported_at": row["issued_at"]}


def recall_json(row: Any) -> dict[str, Any]:
    """One person to call back, masked; ``POST /persons/{person_id}/contact`` opens whom to call."""
    masked = person_json({**row, "document_type": ""}, full=False)
    kept = {name: masked[name] for name in ("person_id", "name", "document", "phone")}
    return {
        "tube": row["tube_id"],
        **kept,
        "reason": row["reason"],
        "opened_at": row["opened_at"],
        "due": row["due_at"],
    }


# -- review, release, reports --------------------------------------------------------------------


@router.post("/reviews", tags=["reports"])
def review_results(reviews: Reviews, asked: Asked) -> Response:
    """Sign a result, or send its tube to a retest or its persons to a new swab instead."""

    def act(unit: Unit) -> dict[str, Any]:
        after: list[Tube] = [
            reports.review(unit, asked.lab.rules, one.tube, one.verdict, one.reason)
            for one in listed(reviews)
        ]
        rules = asked.lab.rules
        return {
            "tubes": [
                tube_json(tube) | {"signatures_missing": reports.missing_signatures(tube, rules)}
                for tube in after
            ]
        }

    return asked.write("review", act)


@router.post("/reports/release", tags=["reports"])
def release_reports(order: ReleaseIn, asked: Asked) -> Response:
    """Issue the reports of signed results: those named, or all that have every signature."""

    def act(unit: Unit) -> dict[str, Any]:
        issued = reports.release(unit, asked.lab.rules, order.tubes)
        return {"tubes": {tube: list(numbers) for tube, numbers in issued.reports.items()}}

    return asked.write("release", act)


@router.post("/reports/release-negatives", tags=["reports"])
def release_negatives(order: BatchIn, asked: Asked) -> Response:
    """Sign and release the negatives named, all of them or none; each must meet every written rule."""

    def act(unit: Unit) -> dict[str, Any]:
        issued = reports.release_negatives(unit, asked.lab.rules, order.tubes)
        return {"tubes": {tube: list(numbers) for tube, numbers in issued.reports.items()}}

    return asked.write("release", act)


@router.post("/reports/{report_id}/amend", status_code=201, tags=["reports"])
def amend_report(report_id: str, order: AmendIn, asked: Asked) -> Response:
    """Ask that an issued report be corrected; the original stays.

    ``status`` is ``proposed`` (202) while more people must ask for the same, ``amended`` (201) when the
    corrected report is issued; ``in_force`` is the report that counts now.
    """

    def act(unit: Unit) -> Answer:
        done = amendments.amend(unit, asked.lab.rules, report_id, order.result, order.reason)
        found = {
            "status": done.status,
            "report_id": done.report_id or None,
            "amends": report_id,
            "result": done.result,
            "in_force": done.report_id or report_id,
            "signatures": len(done.signers),
            "signatures_needed": done.needed,
        }
        return Answer(found, 201 if done.report_id else 202)

    return asked.write("amend", act, 201)


@router.post("/reports/{report_id}/amend/withdraw", tags=["reports"])
def withdraw_amendment(report_id: str, order: ReasonIn, asked: Asked) -> Response:
    """Give up the open proposal to correct a report; the reason is kept."""

    def act(unit: Unit) -> dict[str, str]:
        amendments.withdraw(unit, report_id, order.reason)
        return {"status": "withdrawn", "amends": report_id}

    return asked.write("amend", act)


@router.get("/amendments", tags=["reports"])
def list_amendments(asked: Asked) -> Response:
    """Proposed corrections that wait for another person, oldest first."""

    def ask(conn: Connection) -> dict[str, Any]:
        return {"amendments": [amendment_json(row, asked.lab.rules) for row in queries.open_amendments(conn)]}

    return asked.read("look", ask)


def amendment_json(row: Mapping[str, Any], rules: Rulebook) -> dict[str, Any]:
    """One proposed correction."""
    signers = row["signers"].split(", ")
    return {
        "report_id": row["amends"],
        "tube": row["tube_id"],
        "says": row["says"],
        "result": row["result"],
        "reason": row["reason"],
        "signers": signers,
        "signatures": len(signers),
        "signatures_needed": amendments.people_needed(rules, row["kind"], row["says"], row["result"]),
        "proposed_at": row["opened_at"],
    }


@router.get("/reports/{report_id}", tags=["reports"])
def get_report(
    report_id: str,
    asked: Asked,
    format: str = "",  # noqa: A002 - the name of the query parameter is fixed
    language: str = "both",
    accept: Annotated[str, Header()] = "",
) -> Response:
    """A report as JSON, or as PDF with ``format=pdf`` or ``Accept: application/pdf``.

    As issued, with the person's name, for those who may see persons: that is written down. Others get the
    JSON with the name masked, and no PDF.
    """
    asked.identity.must("look")
    if format not in {"", "json", "pdf"}:
        raise Invalid("FORMAT", "A report comes as json or pdf.")
    as_pdf = format == "pdf" or (not format and PDF in accept)
    if as_pdf:
        asked.identity.must("person")
    view = report_view(asked.lab, report_id)
    if not asked.identity.may("person"):
        return reply(printing.as_json(masked_view(view)))
    body = printing.as_pdf(view, language) if as_pdf else b""  # type: ignore[arg-type]  # as_pdf checks it
    with asked.lab.database.write(asked.identity.name) as unit:
        disclosure.disclose(
            unit, "report", report_id, "pdf" if as_pdf else "json", [_person_of(unit, report_id)]
        )
    if as_pdf:
        name = f'inline; filename="{view.report_id}.pdf"'
        return Response(body, 200, {"Content-Disposition": name, "Cache-Control": "no-store"}, PDF)
    return reply(printing.as_json(view))


def _person_of(unit: Unit, report_id: str) -> str:
    row = queries.report_row(unit.conn, report_id)
    return str(row["person_id"]) if row else ""


def masked_view(view: printing.ReportView) -> printing.ReportView:
    """A report without what tells who the person is."""
    return replace(
        view, person_name=masked_name(view.person_name), document_masked=last_digits(view.document_masked)
    )
