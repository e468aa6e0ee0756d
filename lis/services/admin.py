"""The check that the log tells the truth, and all that stands beside it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lis import ledger, queries
from lis.errors import Damaged

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class Check:
    """What :func:`verify_log` found."""

    events: int
    tubes: int
    ok: bool
    problem: str = ""
    event_id: int = 0
    tube: str = ""

    def as_json(self) -> dict[str, object]:
        """The document that ``lis verify-log --json`` prints."""
        found: dict[str, object] = {"events": self.events, "tubes": self.tubes, "ok": self.ok}
        if not self.ok:
            found |= {"first_bad_row": self.event_id, "tube": self.tube, "problem": self.problem}
        return found


def verify_log(conn: Connection) -> Check:
    """Fold the log, compare it with every table that follows from it, and check every piece of evidence."""
    found = ledger.verify(conn)
    if not found.ok:
        return Check(
            found.events,
            found.tubes,
            ok=False,
            problem=found.problem,
            event_id=found.event_id,
            tube=found.tube_id,
        )
    for check in (_files, _runs, _plates, _reports, _acts, _keys):
        for flaw in check(conn):
            return Check(
                found.events,
                found.tubes,
                ok=False,
                problem=flaw.problem,
                event_id=flaw.event_id,
                tube=flaw.tube,
            )
    return Check(found.events, found.tubes, ok=True)


@dataclass(frozen=True, slots=True)
class Flaw:
    """One piece of evidence that does not fit the log."""

    problem: str
    event_id: int = 0
    tube: str = ""


def _files(conn: Connection) -> Iterator[Flaw]:
    """Files whose bytes are not those that arrived."""
    for file_id in queries.all_file_ids(conn):
        try:
            row = queries.file_row(conn, file_id)
        except Damaged:
            row = None
        if row is None or hashlib.sha256(row["content"]).hexdigest() != row["sha256"]:
            yield Flaw(f"file {file_id[:12]} was changed after it was received")


def _runs(conn: Connection) -> Iterator[Flaw]:
    """Runs whose readings are not those that the calls of the log rest on."""
    for run, readings in queries.runs_with_readings(conn):
        values = [(row["well"], row["target"], row["dye"], row["cq"], row["curve"]) for row in readings]
        if ledger.run_seal(run["file_id"], run["plate_id"], values) != run["run_id"]:
            yield Flaw(
                f"a reading of run {run['run_id'][:12]} (plate {run['plate_id']}) was "
                "changed, added or removed"
            )
    for row in queries.unknown_runs(conn):
        problem = f"row {row['event_id']} rests on run {row['run_id'][:12]}, which is not stored"
        yield Flaw(problem, row["event_id"], row["tube_id"])


def _plates(conn: Connection) -> Iterator[Flaw]:
    """Plate maps that contradict the log, readings that contradict the plate map."""
    for row in queries.misplaced_tubes(conn):
        problem = f"tube {row['tube_id']} in well {row['well']} of plate {row['plate_id']}: the maps differ"
        yield Flaw(problem, row["event_id"], row["tube_id"])
    for row in queries.misplaced_readings(conn):
        yield Flaw(
            f"run {row['run_id'][:12]} well {row['well']}: the plate map does not have "
            f"{row['tube_id'] or 'this control'} there",
            tube=row["tube_id"] or "",
        )


@dataclass(frozen=True, slots=True)
class _Corrected:
    """What an amended report says of itself; the log must say the same."""

    tube: str
    amends: str
    seal: str
    signed_by: str


def _reports(conn: Connection) -> Iterator[Flaw]:
    """Reports that do not say what was issued or who signed it, and reports that nobody issued."""
    issued: dict[str, list[tuple[int, str, str]]] = defaultdict(list)
    amended: dict[str, _Corrected] = {}
    for row in queries.all_reports(conn):
        number = row["report_id"]
        if ledger.report_seal(row) != row["seal"]:
            yield Flaw(f"report {number} was changed after it was issued", tube=row["tube_id"])
        if row["amends"]:
            amended[number] = _Corrected(row["tube_id"], row["amends"], row["seal"], row["signed_by"])
        else:
            issued[row["tube_id"]].append((len(number), number, row["seal"]))
    signers: dict[str, list[str]] = defaultdict(list)
    for row in queries.seals_in_log(conn):
        code = row["tube_id"]
        match row["kind"]:
            case "AmendmentProposed":
                signers[row["amends"]].append(row["actor"])
                continue
            case "AmendmentWithdrawn":
                signers.pop(row["amends"], None)
                continue
            case "Amended":
                people = ", ".join((*signers.pop(row["amends"], ()), row["actor"]))
                want = _Corrected(code, row["amends"], row["seal"], people)
                good = amended.pop(row["report_id"], None) == want
            case _:
                seals = [seal for *_, seal in sorted(issued.pop(code, []))]
                good = row["count"] == len(seals) and ledger.seal_of(seals) == row["seal"]
        if not good:
            problem = f"the reports of tube {code} are not those that row {row['event_id']} issued"
            yield Flaw(problem, row["event_id"], code)
    for code in sorted({*issued, *(one.tube for one in amended.values())}):
        yield Flaw(f"tube {code} has a report that nobody issued", tube=code)


def _acts(conn: Connection) -> Iterator[Flaw]:
    """Acts and disclosures that were changed, removed or added behind our back."""
    for name in ledger.CHAINS:
        if problem := ledger.broken_acts(conn, name):
            yield Flaw(problem)


def _keys(conn: Connection) -> Iterator[Flaw]:
    """Devices with a key that no act enrolled."""
    acts = ledger.read_acts(conn, "device_act")
    keys = {row["device"]: row["public_key"] for row in acts if row["act"] == "enrolled"}
    for device in queries.devices(conn):
        if device["public_key"] and device["public_key"] != keys.get(device["name"]):
            yield Flaw(f"device {device['name']} has a key that no act enrolled")
