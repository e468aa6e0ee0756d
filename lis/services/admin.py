"""Devices and accounts, and the check that the log tells the truth."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lis import ledger, queries
from lis.errors import Invalid, NotFound, Refused

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from lis.db import Unit

KEY_LENGTH = 40
"""Characters of a CURVE public key in Z85."""


def enrol_device(unit: Unit, name: str, kind: str, public_key: str) -> None:
    """Let the holder of a key send results under ``name``.

    Raises:
        Invalid: the name or key is malformed. Refused: the name or key is enrolled already.
    """
    if not name.strip() or len(name) > 80:
        raise Invalid("DEVICE_NAME", "A device needs a name of at most 80 characters.")
    if len(public_key) != KEY_LENGTH:
        raise Invalid("DEVICE_KEY", f"A public key has {KEY_LENGTH} characters. Copy the whole key.")
    for row in queries.devices(unit.conn):
        if row["name"] == name or row["public_key"] == public_key:
            raise Refused("DEVICE_KNOWN", f"Device {row['name']} is enrolled already under this name or key.")
    row = {
        "name": name,
        "kind": kind,
        "public_key": public_key,
        "enrolled_at": unit.now,
        "enrolled_by": unit.actor,
    }
    queries.insert_rows(unit.conn, "device", [row])


def revoke_device(unit: Unit, name: str) -> None:
    """Stop taking anything from a device; effective with its next message."""
    if not queries.update_row(unit.conn, "device", {"name": name}, revoked_at=unit.now):
        raise NotFound("DEVICE_UNKNOWN", f"No device {name} is enrolled.")


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
    problem = _evidence_problem(conn)
    return Check(found.events, found.tubes, ok=not problem, problem=problem)


def _evidence_problem(conn: Connection) -> str:
    """The first file whose bytes are not those that arrived; empty if all are."""
    for file_id in queries.all_file_ids(conn):
        row = queries.file_row(conn, file_id)
        if row is None or hashlib.sha256(row["content"]).hexdigest() != row["sha256"]:
            return f"file {file_id[:12]} was changed after it was received"
    return ""
