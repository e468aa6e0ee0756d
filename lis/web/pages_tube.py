"""The whole story of one tube on one screen."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request
from sqlalchemy import Connection
from starlette.responses import HTMLResponse, Response

from lis import events as e
from lis import ledger, queries
from lis.ledger import Entry
from lis.services import capacity
from lis.tube import Tube
from lis.web.api import tube_document
from lis.web.pages import Seen
from lis.web.pages_review import runs_of
from lis.web.payloads import entry_json
from lis.web.views import page

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@router.get("/tubes/{barcode}")
def tube_page(request: Request, caller: Seen, barcode: str) -> Response:
    """One tube: where it stands, its custody, its tests with map and curves, its persons, its reports."""
    with caller.lab.database.read() as conn:
        tube = tube_document(caller, conn, barcode)
        history = ledger.history(conn, barcode)
        recalls = queries.recalls_of_tube(conn, barcode)
        pool = queries.pools_of(conn, [barcode]).get(barcode, "")
        tested = pool if pool and not tube["tests"] else barcode
        runs = runs_of(queries.readings_of_tube(conn, tested))
        told = timeline(history, queries.label_acts(conn, barcode), caller.lab.database.clock.now())
        tests = tests_of(conn, history, pool)
        members = ledger.tubes(conn, tube["members"])
    return page(
        request, "tube.html", caller.identity, tube=tube, recalls=recalls, runs=runs, timeline=told,
        tests=tests, tested=tested, members=list(members.values()),
    )  # fmt: skip


def timeline(history: list[Entry], labels: list[queries.Row], now: datetime) -> list[dict[str, Any]]:
    """Everything that happened to a tube, oldest first, each with the time that passed before it.

    ``gate`` is the gate before which the tube stood meanwhile. The last item has no event: it is the wait
    that goes on now, if the tube stands before a gate.
    """
    acts = [{"at": row["at"], "actor": row["actor"], "label": row, "e": None} for row in labels]
    told = [{"at": one.at, "actor": one.actor, "label": None, "e": one} for one in history]
    found: list[dict[str, Any]] = []
    gate, before = "", None
    for item in sorted([*told, *acts], key=lambda one: one["at"]):
        passed: timedelta | None = item["at"] - before if before else None
        entry = item["e"]
        found.append(
            {**item, "e": entry_json(entry) if entry else None, "passed": _span(passed), "gate": gate}
        )
        if entry:
            gate = capacity.gate_after(entry.fact) or ("" if _ends(entry.fact) else gate)
        before = item["at"]
    if gate and before:
        found.append(
            {"at": now, "actor": "", "label": None, "e": None, "passed": _span(now - before), "gate": gate}
        )
    return found


def _ends(fact: e.Event) -> bool:
    """Whether nobody waits for a gate after this."""
    return isinstance(fact, e.Released | e.Resolved | e.Rejected | e.Withdrawn | e.RecollectionOrdered)


def _span(passed: timedelta | None) -> str:
    """A time that passed, for people: 0:05, 2:41 or 3 d 2:41 in hours and minutes; empty below a minute."""
    minutes = int(passed.total_seconds() // 60) if passed else 0
    if minutes < 1:
        return ""
    hours, rest = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days} d {hours}:{rest:02d}" if days else f"{hours}:{rest:02d}"


def tests_of(conn: Connection, history: list[Entry], pool: str) -> list[dict[str, Any]]:
    """Every test of a tube as a row: its pools, its plates with wells, what came of each."""
    pools = {entry.fact.pool_id for entry in history if isinstance(entry.fact, e.JoinedPool)} | {pool} - {""}
    found = ledger.tubes(conn, pools)
    rows: list[dict[str, Any]] = []
    for entry in history:
        match entry.fact:
            case e.JoinedPool(pool_id=code):
                rows.append(_row(entry, "pool", pool=code, outcome=_outcome(found.get(code))))
            case e.Plated(plate_id=plate, well=well, test=test):
                rows.append(_row(entry, test, plate=plate, well=well))
            case e.Called(plate_id=plate, outcome=outcome, rule=rule) if rows:
                rows[-1] |= {"outcome": outcome, "rule": rule}
            case e.Voided(reason=reason) if rows:
                rows[-1] |= {"void": True, "rule": reason}
            case _:
                pass
    return rows


def _outcome(tube: Tube | None) -> str:
    return tube.outcome if tube else ""


def _row(entry: Entry, what: str, **values: str) -> dict[str, Any]:
    usual = {"plate": "", "well": "", "pool": "", "outcome": "", "rule": "", "void": False}
    return {"what": what, "at": entry.at, **usual, **values}
