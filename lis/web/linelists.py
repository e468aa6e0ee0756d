"""Line lists: the rows and columns of every list that can be taken out, the same for csv and for xlsx.

A line list has one row for each tube, person, plate or act, as epidemiologists use the word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from lis import laboratory, queries
from lis.queries import Place
from lis.services import actions, lots
from lis.tube import Tube
from lis.web.listing import Filters, calls, endangered, failed_runs, picked
from lis.web.words import label, reason_text, say

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from lis.web.commands import Caller

ALL: Final = 10_000_000
"""More rows than any list has: whoever takes one out takes all of it, not the thousand a screen reads."""

PIECE: Final = 2000
"""Tubes that are read at once for an export: memory stays the same, however long the list is."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its word, and whether it tells who somebody is."""

    name: str
    person: bool = False


Cells = dict[str, Any]
"""Column -> value: text, number or moment."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One list: what may see it, its columns, and its rows."""

    may: str
    columns: tuple[Column, ...]
    rows: Callable[[Caller, Connection, Filters, str], Iterable[Cells]]

    def shown(self, *, persons: bool) -> tuple[str, ...]:
        """The columns somebody may see."""
        return tuple(one.name for one in self.columns if persons or not one.person)


def heading(name: str, language: str, zone: str) -> str:
    """The word over a column; of times with the zone they are in."""
    word = say(f"column.{name}", language)
    return f"{word} ({zone})" if name.endswith("_at") else word


# -- tubes ----------------------------------------------------------------------------------------


TUBE: Final = (
    *("tube", "kind", "state", "tier", "site", "rack", "position", "plate", "well", "pool", "test"),
    *("priority", "reason", "outcome", "result", "sampled_at", "received_at", "due_at", "promised_at"),
)


def tube_cells(tube: Tube, language: str) -> Cells:
    """One tube as a row."""
    return {
        "tube": tube.tube_id,
        "kind": label("kind", tube.kind, language),
        "state": label("state", tube.state, language),
        "tier": label("tier", tube.tier, language) if tube.tier else "",
        "site": tube.site,
        "rack": tube.rack,
        "position": tube.position,
        "plate": tube.plate_id,
        "well": tube.well,
        "pool": tube.pool_id,
        "test": label("test", tube.test, language),
        "priority": tube.priority,
        "reason": reason_text(tube.reason, language),
        "outcome": label("outcome", tube.outcome, language),
        "result": label("outcome", tube.result, language),
        "sampled_at": tube.sampled_at,
        "received_at": tube.received_at,
        "due_at": tube.due_at,
        "promised_at": tube.promised_at,
    }


def _tubes(name: str) -> Callable[[Caller, Connection, Filters, str], Iterator[Cells]]:
    def rows(caller: Caller, conn: Connection, wanted: Filters, language: str) -> Iterator[Cells]:
        sieve = wanted.sieve(caller.lab.database.clock.now())
        after: Place | None = None
        while found := queries.sifted(conn, name, sieve, PIECE, after):
            yield from (tube_cells(tube, language) for tube in found)
            after = Place.of(found[-1])

    return rows


def _picked(caller: Caller, conn: Connection, wanted: Filters, language: str) -> Iterator[Cells]:
    for number, tube in enumerate(picked(caller, conn, wanted), 1):
        yield {"number": number, **tube_cells(tube, language)}


def _endangered(caller: Caller, conn: Connection, wanted: Filters, language: str) -> Iterator[Cells]:
    for one in endangered(caller, conn, wanted):
        yield tube_cells(one.tube, language) | {"risk": one.risk, "expected_at": one.p50}


def _calls(caller: Caller, conn: Connection, wanted: Filters, language: str) -> Iterator[Cells]:
    del wanted
    for row in calls(conn, ALL, full=caller.identity.may("person")):
        last = row["tries"][-1] if row["tries"] else None
        yield {
            "tube": row["tube_id"],
            "name": row["name"],
            "document": row["document_masked"],
            "phone": row["phone_masked"],
            "reason": reason_text(row["reason"], language),
            "opened_at": row["opened_at"],
            "due_at": row["due_at"],
            "tries": len(row["tries"]),
            "tried_at": last["at"] if last else None,
            "tried_by": last["actor"] if last else "",
            "answer": label("contact", last["outcome"], language) if last else "",
            "note": last["reason"] if last else "",
        }


# -- everything else ------------------------------------------------------------------------------


def _runs(caller: Caller, conn: Connection, wanted: Filters, language: str) -> Iterator[Cells]:
    del wanted
    for row in failed_runs(caller, conn):
        yield {
            "plate": row["plate_id"],
            "read_at": row["read_at"],
            "cycler": row["instrument"] or row["device"],
            "assay": row["assay"],
            "lot": row["lot"],
            "verdict": reason_text(row["verdict"], language),
            "charts": row["quality"],
            "actions": len(row["actions"]),
        }


def _files(caller: Caller, conn: Connection, wanted: Filters, language: str) -> Iterator[Cells]:
    del caller, wanted
    for row in queries.files(conn, "quarantined", limit=ALL):
        yield {
            "file": row["name"],
            "cycler": row["device"],
            "plate": row["plate_id"],
            "received_at": row["received_at"],
            "reason": label("quarantine", row["code"], language),
        }


def _plates(caller: Caller, conn: Connection, wanted: Filters, language: str) -> Iterator[Cells]:
    del caller
    for row in queries.plates(conn, *([wanted.state] if wanted.state else []), limit=ALL):
        yield {
            "plate": row["plate_id"],
            "state": label("plate_state", row["state"], language),
            "assay": row["assay"],
            "lot": row["lot"],
            "cycler": row["instrument"],
            "created_at": row["created_at"],
            "started_at": row["started_at"],
            "closed_at": row["closed_at"],
            "reason": reason_text(row["reason"], language),
        }


def _reports(caller: Caller, conn: Connection, wanted: Filters, language: str) -> Iterator[Cells]:
    full = caller.identity.may("person")
    for start in range(0, ALL, PIECE):
        found = queries.latest_reports(conn, PIECE, start)
        people = queries.people(conn, {row["person_id"] for row in found}) if full else {}
        for row in found:
            if wanted.q and wanted.q not in {row["report_id"], row["tube_id"]}:
                continue
            yield {
                "report": row["report_id"],
                "tube": row["tube_id"],
                "name": people[row["person_id"]]["name"] if full else "",
                "document": people[row["person_id"]]["document_masked"] if full else "",
                "result": label("outcome", row["result"], language),
                "assay": row["assay"],
                "sampled_at": row["sampled_at"],
                "issued_at": row["issued_at"],
                "due_at": row["due_at"],
                "signed": row["signed_names"].replace("\n", ", "),
                "amends": row["amends"],
            }
        if len(found) < PIECE:
            return


def _alarms(caller: Caller, conn: Connection, wanted: Filters, language: str) -> Iterator[Cells]:
    del wanted
    for row in laboratory.alarms(caller.lab, conn, ALL):
        yield {
            "alarm": label("alarm", row["code"], language),
            "subject": row["subject"],
            "raised_at": row["at"],
            "sentence": row["sentence"],
        }


def _lots(caller: Caller, conn: Connection, wanted: Filters, language: str) -> Iterator[Cells]:
    del wanted
    for one in lots.register_of(conn, caller.lab.database.clock.now()):
        yield {
            "lot_kind": label("lot_kind", one.kind, language),
            "lot": one.number,
            "assay": one.assay,
            "lot_state": label("lot_state", one.state, language),
            "received_at": one.received_at,
            "expires": f"{(one.expires_at - timedelta(seconds=1)).astimezone(caller.lab.zone):%Y-%m-%d}",
            "opened_at": one.opened_at,
            "opened_by": one.opened_by,
            "finished_at": one.finished_at,
            "plates": one.plates,
        }


def _actions(caller: Caller, conn: Connection, wanted: Filters, language: str) -> Iterator[Cells]:
    del caller, wanted
    for one in actions.actions(conn, ALL):
        for note in one.notes:
            yield {
                "action": one.action_id,
                "about": label("action_about", one.about, language),
                "subject": one.subject,
                "written_at": note["at"],
                "who": note["actor"],
                "act": label("action_act", note["act"], language),
                "note": note["detail"],
                "open": label("action_state", "open" if one.open else "closed", language),
            }


def _points(caller: Caller, conn: Connection, wanted: Filters, language: str) -> Iterator[Cells]:
    del wanted, language
    now = caller.lab.database.clock.now()
    for row in queries.quality_points(conn, now - timedelta(days=60)):
        yield {
            "cycler": row["instrument"],
            "assay": row["assay"],
            "lot": row["lot"],
            "control": row["level"],
            "target": row["target"],
            "read_at": row["at"],
            "plate": row["plate_id"],
            "cq": row["value"],
            "broken": row["broken"],
        }


def _exports(caller: Caller, conn: Connection, wanted: Filters, language: str) -> Iterator[Cells]:
    del caller, wanted
    for row in queries.export_acts(conn, ALL):
        yield {
            "done_at": row["at"],
            "who": row["actor"],
            "act": label("export_act", row["act"], language),
            "list": label("export_list", row["what"], language),
            "form": row["form"],
            "filters": row["filters"],
            "rows": row["row_count"],
            "persons": "✓" if row["persons"] else "",
        }


def _columns(*names: str, persons: tuple[str, ...] = ()) -> tuple[Column, ...]:
    return tuple(Column(name, name in persons) for name in names)


_TUBE: Final = _columns(*TUBE)
_PERSON: Final = ("name", "document", "phone")
LISTINGS: Final[Mapping[str, Listing]] = {
    **{name: Listing("look", _TUBE, _tubes(name)) for name in queries.WORKLISTS},
    "late": Listing("look", (*_TUBE, *_columns("risk", "expected_at")), _endangered),
    "pick": Listing("look", (*_columns("number"), *_TUBE), _picked),
    "calls": Listing(
        "look",
        _columns(
            *("tube", "name", "document", "phone", "reason", "opened_at", "due_at"),
            *("tries", "tried_at", "tried_by", "answer", "note"),
            persons=(*_PERSON, "note"),
        ),
        _calls,
    ),
    "qc": Listing(
        "look",
        _columns("plate", "read_at", "cycler", "assay", "lot", "verdict", "charts", "actions"),
        _runs,
    ),
    "quarantine": Listing("look", _columns("file", "cycler", "plate", "received_at", "reason"), _files),
    "plates": Listing(
        "look",
        _columns(
            *("plate", "state", "assay", "lot", "cycler", "created_at", "started_at", "closed_at", "reason")
        ),
        _plates,
    ),
    "reports": Listing(
        "look",
        _columns(
            *("report", "tube", "name", "document", "result", "assay", "sampled_at", "issued_at", "due_at"),
            *("signed", "amends"),
            persons=_PERSON,
        ),
        _reports,
    ),
    "alarms": Listing("look", _columns("alarm", "subject", "raised_at", "sentence"), _alarms),
    "lots": Listing(
        "look",
        _columns(
            *("lot_kind", "lot", "assay", "lot_state", "received_at", "expires", "opened_at"),
            *("opened_by", "finished_at", "plates"),
        ),
        _lots,
    ),
    "actions": Listing(
        "look",
        _columns("action", "about", "subject", "written_at", "who", "act", "note", "open"),
        _actions,
    ),
    "points": Listing(
        "look",
        _columns("cycler", "assay", "lot", "control", "target", "read_at", "plate", "cq", "broken"),
        _points,
    ),
    "exports": Listing(
        "export", _columns("done_at", "who", "act", "list", "form", "filters", "rows", "persons"), _exports
    ),
}
"""Every list that can be taken out, by name."""
