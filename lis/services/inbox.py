"""What instruments send, kept byte for byte before anything else happens.

A shipment is acknowledged after this transaction is committed. What cannot be used is quarantined
with its bytes and a reason and waits for a person; nothing is dropped.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from lis import queries
from lis.db import under_way
from lis.errors import Invalid, NotFound, Refused
from lis.packing import packed

if TYPE_CHECKING:
    from datetime import datetime

    from lis.db import Unit

MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Delivery:
    """A file as an instrument, or a person with a USB stick, hands it over.

    Attributes:
        device: enrolled name of the sender; the identity of a file is (device, run, SHA-256).
        plate: plate code the sender believes it belongs to; may be empty.
    """

    device: str
    run: str
    name: str
    data: bytes
    plate: str = ""
    produced_at: str = ""
    sha256: str = ""

    @cached_property
    def packed(self) -> bytes:
        """The content as it is kept. Asked for before the transaction, like `digest`."""
        return packed(self.data)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the content. Asked for before the transaction it keeps no other writer waiting."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True, slots=True)
class Stored:
    """What the sender may be told."""

    file_id: str
    status: str
    first_stored_at: datetime
    conflict: bool = False


def accept(unit: Unit, delivery: Delivery) -> Stored:
    """Keep a delivery. The same file of the same run again is a duplicate and changes nothing.

    The same run with another content is kept too, quarantined, and raises an alarm.

    Raises:
        Invalid: ``FILE_TOO_LARGE``, ``FILE_DAMAGED`` if the announced SHA-256 is not the content's.
    """
    # gather
    if len(delivery.data) > MAX_BYTES:
        raise Invalid(
            "FILE_TOO_LARGE",
            f"{delivery.name} has {len(delivery.data):,} bytes; a run file has at most {MAX_BYTES:,}. "
            "Export the results only, and send that file.",
        )
    if delivery.sha256 and delivery.sha256.lower() != delivery.digest:
        raise Invalid(
            "FILE_DAMAGED", f"{delivery.name} arrived changed: its SHA-256 is not the announced one."
        )
    file_id = hashlib.sha256(f"{delivery.device}\0{delivery.run}\0{delivery.digest}".encode()).hexdigest()
    same = queries.same_run(unit.conn, delivery.device, delivery.run)
    # decide
    known = next((row for row in same if row["file_id"] == file_id), None)
    if known is not None:
        return Stored(file_id, "duplicate", known["received_at"])
    # apply
    with under_way(unit.conn):
        _keep(unit, delivery, file_id, same)
    return Stored(file_id, "stored", unit.now, conflict=bool(same))


def _keep(unit: Unit, delivery: Delivery, file_id: str, same: list[queries.Row]) -> None:
    queries.insert_rows(unit.conn, "file", [_row(unit, delivery, file_id)])
    status = {"file_id": file_id, "state": "waiting", "code": "", "reason": "", "decided_by": ""}
    if same:
        sentence = (
            f"Run {delivery.run} of {delivery.device} was sent before with another content "
            f"({same[0]['received_at']:%Y-%m-%d %H:%M} UTC). The new file is kept aside: "
            "compare both and decide."
        )
        status |= {"state": "quarantined", "code": "RUN_CONFLICT", "reason": sentence}
        _alarm(unit, "RUN_CONFLICT", delivery.run, sentence)
    queries.insert_rows(unit.conn, "file_status", [status])


def _row(unit: Unit, delivery: Delivery, file_id: str) -> dict[str, object]:
    return {
        "file_id": file_id,
        "sha256": delivery.digest,
        "device": delivery.device,
        "run": delivery.run,
        "plate_id": delivery.plate,
        "name": delivery.name,
        "size": len(delivery.data),
        "content": delivery.packed,
        "received_at": unit.now,
        "produced_at": delivery.produced_at,
    }


def _alarm(unit: Unit, code: str, subject: str, sentence: str) -> None:
    queries.insert_rows(
        unit.conn, "alarm", [{"at": unit.now, "code": code, "subject": subject[:80], "sentence": sentence}]
    )


def refuse_delivery(unit: Unit, device: str, code: str, sentence: str) -> None:
    """Put a refused delivery (too large, no valid key, damaged) into the list of alarms."""
    _alarm(unit, code, device, sentence)


def know_sender(unit: Unit, device: str, kind: str) -> None:
    """Write a device without a key into the list of devices, once: its files then count as a cycler's own."""
    if queries.device_row(unit.conn, device) is not None:
        return
    row = {"name": device, "kind": kind, "serial": "", "enrolled_at": unit.now, "enrolled_by": unit.actor}
    queries.insert_rows(unit.conn, "device", [row])


def set_aside(unit: Unit, file_id: str, code: str, sentence: str) -> None:
    """Quarantine a kept file that could not be read, with the reason."""
    queries.update_row(
        unit.conn,
        "file_status",
        {"file_id": file_id},
        state="quarantined",
        code=code,
        reason=sentence,
        decided_at=unit.now,
        decided_by=unit.actor,
    )
    _alarm(unit, code, file_id[:12], sentence)


def dismiss(unit: Unit, file_id: str, reason: str) -> None:
    """A person decides that a quarantined file is not needed; its bytes stay.

    Raises:
        Refused: the file is not in quarantine.
    """
    _quarantined(unit, file_id)
    if not reason.strip():
        raise Invalid("REASON", "Say why the file is not needed; the reason is kept.")
    _decide(unit, file_id, "dismissed", reason.strip())


def retry(unit: Unit, file_id: str, plate: str = "") -> None:
    """A person wants a quarantined file read again, for the plate it had or for another one.

    Raises:
        Refused: the file is not in quarantine.
    """
    _quarantined(unit, file_id)
    _decide(unit, file_id, "waiting", "", plate_id=plate)


def _quarantined(unit: Unit, file_id: str) -> None:
    status = queries.status_of_file(unit.conn, file_id)
    if status is None:
        raise NotFound("FILE_UNKNOWN", "No such file was received.")
    if status["state"] != "quarantined":
        raise Refused(
            "FILE_STATE", f"The file is {status['state']}, not in quarantine; nothing is to be decided."
        )


def _decide(unit: Unit, file_id: str, state: str, reason: str, **values: str) -> None:
    queries.update_row(
        unit.conn,
        "file_status",
        {"file_id": file_id},
        state=state,
        reason=reason,
        decided_at=unit.now,
        decided_by=unit.actor,
        **values,
    )


def clear_alarm(unit: Unit, alarm_id: int) -> None:
    """A person has seen to an alarm."""
    queries.update_row(unit.conn, "alarm", {"alarm_id": alarm_id}, cleared_at=unit.now, cleared_by=unit.actor)
