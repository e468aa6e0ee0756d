"""What should I do now: the start page of each role, worklists, the pick list, the call list, search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from lis import barcodes, laboratory, queries
from lis.auth import Role
from lis.clock import from_text, to_text
from lis.db import Unit
from lis.errors import Invalid, NotFound
from lis.privacy import document_number
from lis.queries import Counted, DangerPlace, Place
from lis.services import callbacks, disclosure, lots
from lis.tube import TubeState
from lis.web import listing
from lis.web.commands import Asked
from lis.web.linelists import LISTINGS
from lis.web.listing import Filtered
from lis.web.pages import ROWS, Seen
from lis.web.pages_bench import instruments
from lis.web.payloads import Code, Payload, Words, masked_name, person_json
from lis.web.views import page

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from lis.queries import Row
    from lis.web.commands import Caller
    from lis.web.listing import Filters

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
api = APIRouter(prefix="/api/v1", tags=["worklists"])

COUNTED: Final = (
    *(TubeState.REGISTERED, TubeState.SEALED, TubeState.RECEIVED, TubeState.POOLED, TubeState.PLATED),
    *(TubeState.RUNNING, TubeState.AWAITING_RETEST, TubeState.AWAITING_RECOLLECTION, TubeState.IN_REVIEW),
    *(TubeState.ON_HOLD_UNKNOWN, TubeState.ON_HOLD_DAMAGED),
)

TUBES: Final = ("receive", "plate", "retest", "recollect", "review", "release", "hold")
LISTS: Final = (*TUBES, "late", "refer", "qc", "quarantine")
FEW: Final = 8
"""Rows of the list on the start page."""

_ALL: Final = (
    *("registered", "sealed", "received", "running", "retest", "review", "amendments", "recollect", "hold"),
    *("quarantine", "qc", "late", "lots", "actions", "alarms"),
)


@dataclass(frozen=True, slots=True)
class Start:
    """The start page of a role: its work first, then everything else; the list that opens on it."""

    first: tuple[str, ...]
    opens: str

    @property
    def tiles(self) -> tuple[str, ...]:
        """All tiles in the order in which this role works."""
        return (*self.first, *(name for name in _ALL if name not in self.first))


STARTS: Final[dict[str, Start]] = {
    "technician": Start(("sealed", "received", "running", "retest", "hold", "late", "registered"), "retest"),
    "reviewer": Start(("review", "amendments", "qc", "recollect", "quarantine", "late", "actions"), "review"),
    "manager": Start(("late", "alarms", "review", "qc", "quarantine", "actions", "lots"), "late"),
    "quality": Start(("qc", "lots", "actions", "alarms", "quarantine", "amendments"), "qc"),
    "administrator": Start(("alarms", "quarantine", "lots"), "late"),
    "collection": Start(("registered", "recollect", "sealed"), "recollect"),
}
"""Role -> its start page; a role that is not named works as a technician does."""


@router.get("/")
def home(request: Request, caller: Seen) -> Response:
    """What should I do now: what waits at every step, in the order of the role, and its own list."""
    if not caller.identity.may("look"):
        return RedirectResponse("/collection" if caller.identity.may("register") else "/account", 303)
    start = STARTS.get(caller.identity.role.value, STARTS[Role.TECHNICIAN.value])
    with caller.lab.database.read() as conn:
        counts = _counts(caller, conn)
        shown = _rows(caller, conn, start.opens, listing.Filters(), FEW)
        urgent = queries.due_first(conn, FEW) if start.opens == "retest" and not shown["rows"] else []
        alarms = laboratory.alarms(caller.lab, conn, 3)
    return page(
        request, "home.html", caller.identity, tiles=start.tiles, counts=counts, shown=shown, urgent=urgent,
        alarms=alarms, name=start.opens, may_person=caller.identity.may("person"),
    )  # fmt: skip


def _counts(caller: Caller, conn: Connection) -> dict[str, int]:
    """Tile -> how much waits there."""
    states = queries.count_in_states(conn, *COUNTED)
    depths = queries.queue_depths(conn)
    now = caller.lab.database.clock.now()

    def standing(*names: TubeState) -> int:
        return sum(states.get(name, 0) for name in names)

    return {
        "registered": standing(TubeState.REGISTERED),
        "sealed": standing(TubeState.SEALED),
        "received": standing(TubeState.RECEIVED),
        "running": standing(TubeState.PLATED, TubeState.RUNNING),
        "retest": standing(TubeState.AWAITING_RETEST),
        "review": standing(TubeState.IN_REVIEW),
        "amendments": depths["amendments"],
        "recollect": depths["recalls"],
        "hold": standing(TubeState.ON_HOLD_UNKNOWN, TubeState.ON_HOLD_DAMAGED),
        "quarantine": depths["quarantined"],
        "qc": len(_unanswered(caller, conn)),
        "late": listing.endangered_count(caller, conn, listing.Filters()),
        "lots": queries.lots_near_end(conn, now + lots.NEAR),
        "actions": queries.open_actions(conn),
        "alarms": depths["alarms"] + (caller.lab.database.trouble is not None),
    }


def _unanswered(caller: Caller, conn: Connection) -> list[dict[str, Any]]:
    """Failed runs about which nobody has closed a corrective action."""
    found = listing.failed_runs(caller, conn)
    return [row for row in found if not any(not one.open for one in row["actions"])]


# -- worklists ------------------------------------------------------------------------------------


@router.get("/worklists/{name}")
def worklist(
    request: Request, caller: Seen, name: str, wanted: Filtered,
    after: Annotated[str, Query(max_length=160)] = "",
    seen: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
) -> Response:  # fmt: skip
    """A worklist as a table: most urgent first, exact places, what to do; sifted as the address says."""
    if name not in LISTS:
        raise NotFound("WORKLIST_UNKNOWN", f"There is no worklist {name[:40]}. Known: {', '.join(LISTS)}.")
    if name == "quarantine":
        return instruments(request, caller)
    if name == "refer":
        return _referrals(request, caller, wanted)
    with caller.lab.database.read() as conn:
        shown = _rows(caller, conn, name, wanted, ROWS, after)
        sites = queries.sites_in(conn, name) if name in TUBES else []
        recalls = listing.calls(conn, queries.PAGE) if name == "recollect" else []
        called = queries.queue_depths(conn)["recalls"] if recalls else 0
    return page(
        request, "worklist.html", caller.identity, name=name, shown=shown, sites=sites, recalls=recalls,
        called=called, wanted=wanted, seen=seen, rows=ROWS, may_person=caller.identity.may("person"),
        may_open=caller.identity.may("correct"), outcomes=callbacks.OUTCOMES, referrals=(),
        tiers=[one.id for one in caller.lab.rules.tiers.tiers], exported=_exported(caller, name),
    )  # fmt: skip


def _referrals(request: Request, caller: Caller, wanted: Filters) -> Response:
    """Persons without an answer whose specimens are used up: a clinician must decide."""
    with caller.lab.database.read() as conn:
        found = queries.referrals(conn, caller.lab.database.clock.now())
    people = [{**row, "name": masked_name(row["name"])} for row in found]
    return page(
        request, "worklist.html", caller.identity, name="refer", recalls=[], called=0,
        referrals=people, wanted=wanted, sites=[], seen=0, rows=ROWS,
        shown={"rows": [], "total": Counted(len(people)), "next": ""},
        may_person=caller.identity.may("person"),
        may_open=False, outcomes=(), tiers=[], exported=(),
    )  # fmt: skip


def _exported(caller: Caller, name: str) -> tuple[str, ...]:
    """The lists of a page that this person may take out."""
    names = {"recollect": ("recollect", "calls"), "retest": ("retest", "pick")}.get(name, (name,))
    return tuple(one for one in names if caller.identity.may(LISTINGS[one].may))


def _rows(
    caller: Caller, conn: Connection, name: str, wanted: Filters, limit: int, after: str = ""
) -> dict[str, Any]:
    """A page of a list: its rows, how many there are in all, and where the next page begins.

    Raises:
        Invalid: ``LIST_PLACE``: ``after`` is no place in this list.
    """
    if name == "qc":
        runs = listing.failed_runs(caller, conn)
        return {"rows": runs[:limit], "total": Counted(len(runs)), "next": ""}
    if name == "late":
        behind = _danger_place(after) if after else None
        feared = listing.endangered(caller, conn, wanted, limit + 1, behind)
        last = (
            DangerPlace.of(feared[limit - 1], listing.as_of(caller, behind)) if len(feared) > limit else None
        )
        return {
            "rows": feared[:limit],
            "total": Counted(listing.endangered_count(caller, conn, wanted)),
            "next": _danger_address(last) if last else "",
            "forecast": queries.forecast_row(conn),
        }
    sieve = wanted.sieve(caller.lab.database.clock.now())
    found = queries.sifted(conn, name, sieve, limit + 1, _place(after) if after else None)
    there = found[:limit]
    return {
        "rows": there,
        "total": queries.sifted_count(conn, name, sieve),
        "next": _address(Place.of(there[-1])) if len(found) > limit else "",
    }


def _address(place: Place) -> str:
    return f"{place.priority}~{place.due}~{place.tube_id}"


def _place(after: str) -> Place:
    """Where a page ended.

    Raises:
        Invalid: ``LIST_PLACE``.
    """
    priority, _, rest = after.partition("~")
    due, _, code = rest.partition("~")
    if not priority.lstrip("-").isdecimal() or len(priority) > 9 or "\0" in after:
        raise _damaged()
    return Place(int(priority), due, code)


def _danger_address(place: DangerPlace) -> str:
    return "~".join((place.as_of, str(int(place.late)), repr(place.risk), place.moment, place.tube_id))


def _danger_place(after: str) -> DangerPlace:
    """Where a page of tubes that are late, or likely to be, ended.

    Raises:
        Invalid: ``LIST_PLACE``.
    """
    parts = after.split("~", 4)
    if len(parts) < 5 or "\0" in after:
        raise _damaged()
    as_of, late, risk, moment, code = parts
    try:
        from_text(as_of)
        return DangerPlace(as_of, late == "1", float(risk), moment, code)
    except ValueError as error:
        raise _damaged() from error


def _damaged() -> Invalid:
    return Invalid("LIST_PLACE", "This address of a list is damaged. Open the list anew.")


@router.get("/picklist")
def picklist(
    request: Request, caller: Seen, wanted: Filtered, n: Annotated[int, Query(ge=1, le=500)] = listing.PLATE
) -> Response:
    """The tubes to fetch for the next plate of retests, in the order of the walk, ticked off by scan."""
    with caller.lab.database.read() as conn:
        tubes = listing.picked(caller, conn, wanted, n)
        found = queries.sifted_count(conn, "retest", wanted.sieve(caller.lab.database.clock.now()))
    return page(
        request, "picklist.html", caller.identity, tubes=tubes, found=found, n=n, wanted=wanted,
        exported=_exported(caller, "pick"),
    )  # fmt: skip


# -- calling persons back -------------------------------------------------------------------------


class TryIn(Payload):
    """How a try to reach a person went."""

    outcome: Code
    note: Words = ""


@api.post("/tubes/{barcode}/persons/{person_id}/calls", status_code=201)
def call_tried(barcode: str, person_id: str, order: TryIn, asked: Asked) -> Response:
    """Write down a try to reach a person who is called back; it is an event of the tube."""

    def act(unit: Unit) -> dict[str, str]:
        callbacks.try_contact(unit, barcode, person_id, order.outcome, order.note)
        return {"tube": barcode, "person_id": person_id, "outcome": order.outcome, "at": to_text(unit.now)}

    return asked.write("hold", act, 201)


# -- search ---------------------------------------------------------------------------------------


@router.get("/search")
def search(request: Request, caller: Seen, q: Annotated[str, Query(max_length=80)] = "") -> Response:
    """Tubes, pools, plates, racks and reports, each in its group; a complete code opens its page at once."""
    text = barcodes.clean(q)
    with caller.lab.database.read() as conn:
        tubes = queries.find_tubes(conn, text, ROWS) if text else []
        plate = queries.plate_row(conn, text) if text else None
        report = queries.report_row(conn, text) if text else None
        found = queries.hits(conn, text, FEW) if text else queries.Hits((), (), ())
    if report is not None:
        return RedirectResponse(f"/reports/{report['report_id']}", 303)
    if plate is not None:
        return RedirectResponse(f"/plates/{plate['plate_id']}", 303)
    if any(tube.tube_id == text for tube in tubes):
        return RedirectResponse(f"/tubes/{text}", 303)
    return _search_page(request, caller, text, tubes, found)


def _search_page(
    request: Request, caller: Caller, text: str, tubes: list[Any], found: queries.Hits, **people: Any
) -> Response:
    named = {"persons": None, "asked": ""} | people
    return page(
        request, "search.html", caller.identity, q=text, tubes=tubes, hits=found,
        may_person=caller.identity.may("person"), **named,
    )  # fmt: skip


class PersonSearch(Payload):
    """A person to look for: a full name, or a document."""

    name: Words = ""
    document_type: Code = "resident_id"
    document_number: Code = ""


@api.post("/persons/find")
def find_persons(order: PersonSearch, asked: Asked) -> Response:
    """Persons of a full name or with a document, with their tubes. That somebody looked is written down."""
    asked.identity.must("person")
    with asked.lab.database.read() as conn:
        rows = _persons(asked, conn, order)
        tubes = queries.tubes_of_persons(conn, [row["person_id"] for row in rows])
    by = "document" if order.document_number.strip() else "name"

    def act(unit: Unit) -> dict[str, Any]:
        told = {"at": unit.now, "actor": unit.actor, "act": "person-search", "what": by, "form": ""}
        queries.add_export(unit.conn, told | {"filters": "", "row_count": len(rows), "persons": True})
        disclosure.disclose(unit, "search", by, "", [row["person_id"] for row in rows])
        return {
            "persons": [
                person_json(row, full=True)
                | {
                    "tubes": [
                        {"barcode": one.tube_id, "state": one.state.value, "kind": one.kind.value}
                        for one in tubes[row["person_id"]]
                    ]
                }
                for row in rows
            ]
        }

    return asked.write("person", act)


def _persons(asked: Caller, conn: Connection, order: PersonSearch) -> list[Row]:
    """The persons looked for.

    Raises:
        Invalid: neither a name nor a document was given, or the number is malformed.
    """
    if order.document_number.strip():
        number = document_number(order.document_type, order.document_number)
        row = queries.person_by_fingerprint(
            conn, asked.lab.vault.fingerprint(f"{order.document_type}:{number}")
        )
        return [row] if row else []
    name = " ".join(order.name.split())
    if not name:
        raise Invalid("PERSON_NAME", "Type the full name, or a document number.")
    return queries.persons_named(conn, name, ROWS)
