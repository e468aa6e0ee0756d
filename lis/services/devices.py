"""Devices: added, enrolled by key or by code, rotated, ended, revoked. Every act is written down.

A code is known here by its digest alone (docs/decisions/0011-enrolment.md). Whatever becomes of a key,
it is never enrolled a second time.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import TYPE_CHECKING

from lis import ledger, queries
from lis.errors import Invalid, NotFound, Refused

if TYPE_CHECKING:
    from datetime import datetime

    from lis.db import Unit
    from lis.queries import Row

KEY_LENGTH = 40
"""Characters of a CURVE public key in Z85."""

LONGEST_CODE = timedelta(days=31)


def add_device(unit: Unit, name: str, kind: str, serial: str = "") -> None:
    """Add a device that enrols later, with a code. Without a ``serial`` that of its first file is kept.

    Raises:
        Invalid: the name is malformed. Refused: ``DEVICE_KNOWN``.
    """
    _add(unit, name, kind, serial, None)


def enrol_device(unit: Unit, name: str, kind: str, public_key: str, serial: str = "") -> None:
    """Let the holder of a key send results under ``name``, one name for one cycler.

    Without a ``serial`` that of its first file is remembered.

    Raises:
        Invalid: the name or key is malformed. Refused: the name or key is enrolled already.
    """
    if len(public_key) != KEY_LENGTH:
        raise Invalid("DEVICE_KEY", f"A public key has {KEY_LENGTH} characters. Copy the whole key.")
    _refuse_known_key(unit, public_key)
    _add(unit, name, kind, serial, public_key)
    _note(unit, name, "enrolled", "with a key that the administrator entered", public_key)


def _add(unit: Unit, name: str, kind: str, serial: str, public_key: str | None) -> None:
    if not name.strip() or len(name) > 80 or not name.isprintable():
        raise Invalid("DEVICE_NAME", "A device needs a name of at most 80 characters.")
    if queries.device_row(unit.conn, name) is not None:
        raise Refused(
            "DEVICE_KNOWN", f"There is a device {name} already. `lis device rotate` renews its key."
        )
    row = {
        "name": name,
        "kind": kind,
        "serial": serial.strip(),
        "public_key": public_key,
        "enrolled_at": unit.now,
        "enrolled_by": unit.actor,
    }
    queries.insert_rows(unit.conn, "device", [row])
    _note(unit, name, "added", f"kind {kind}, serial {serial.strip() or '(that of its first file)'}")


def _refuse_known_key(unit: Unit, public_key: str) -> None:
    if queries.key_was_enrolled(unit.conn, public_key):
        raise Refused(
            "DEVICE_KNOWN", "This key was enrolled before. Make a new key pair on the instrument's PC."
        )


def _note(unit: Unit, name: str, act: str, detail: str, public_key: str = "") -> None:
    row = {"device": name, "act": act, "public_key": public_key, "detail": detail}
    ledger.write_acts(unit, "device_act", [row])


def _known(unit: Unit, name: str) -> Row:
    row = queries.device_row(unit.conn, name)
    if row is None:
        raise NotFound("DEVICE_UNKNOWN", f"No device {name} is enrolled.")
    return row


# -- codes ----------------------------------------------------------------------------------------


def digest_of(code_key: str) -> str:
    """What is stored of a code: the SHA-256 (hex) of the public key that its secret makes."""
    return hashlib.sha256(code_key.encode()).hexdigest()


def issue_code(unit: Unit, name: str, code_key: str, valid: timedelta) -> datetime:
    """Let whoever holds a code name the (new) key of a device, once; an older code of it is cancelled.

    The key that the device has now works until then. Returns when the code ends.

    Raises:
        NotFound: ``DEVICE_UNKNOWN``. Invalid: ``CODE_HOURS``.
    """
    _known(unit, name)
    if not timedelta(0) < valid <= LONGEST_CODE:
        raise Invalid("CODE_HOURS", f"A code is valid for at most {LONGEST_CODE.days} days; give less.")
    _cancel(unit, name, "a newer code was issued")
    until = unit.now + valid
    row = {
        "digest": digest_of(code_key),
        "device": name,
        "issued_at": unit.now,
        "issued_by": unit.actor,
        "expires_at": until,
    }
    queries.insert_rows(unit.conn, "enrolment", [row])
    _note(unit, name, "code", f"valid until {until:%Y-%m-%d %H:%M} UTC")
    return until


def cancel_codes(unit: Unit, name: str) -> int:
    """Make the open code of a device worthless; how many there were.

    Raises:
        NotFound: ``DEVICE_UNKNOWN``.
    """
    _known(unit, name)
    return _cancel(unit, name, "by the administrator")


def _cancel(unit: Unit, name: str, why: str) -> int:
    codes = queries.open_codes(unit.conn, unit.now, name)
    for row in codes:
        queries.update_row(unit.conn, "enrolment", {"digest": row["digest"]}, cancelled_at=unit.now)
        _note(unit, name, "cancelled", f"the code of {row['issued_at']:%Y-%m-%d %H:%M} UTC: {why}")
    return len(codes)


@dataclass(frozen=True, slots=True)
class Request:
    """An agent's wish to be enrolled, with the public key of the code it proved to hold."""

    code_key: str
    public_key: str
    instrument: str = ""
    agent: str = ""
    address: str = ""


def enrol_by_code(unit: Unit, request: Request) -> str:
    """Enrol the key of an agent under the device its code was issued for; that device's name.

    The same request again (its answer was lost) is answered the same. An earlier key of the device, and
    a revocation, end here.

    Raises:
        Refused: ``CODE_UNKNOWN``, ``CODE_USED``, ``CODE_CANCELLED``, ``CODE_EXPIRED``,
            ``CODE_OTHER_DEVICE``; ``DEVICE_KNOWN`` for a key that was enrolled before.
    """
    # gather
    digest = digest_of(request.code_key)
    code = queries.enrolment_row(unit.conn, digest)
    if code is None:
        raise Refused("CODE_UNKNOWN", "This code was not issued here. Ask the administrator for a new one.")
    name: str = code["device"]
    device = _known(unit, name)
    # decide
    if code["public_key"] == request.public_key == device["public_key"] and not device["revoked_at"]:
        return name
    _refuse_spent(unit, code)
    if request.instrument and request.instrument != name:
        raise Refused(
            "CODE_OTHER_DEVICE",
            f"This code is for {name}, not for {request.instrument}. Is this the right PC?",
        )
    _refuse_known_key(unit, request.public_key)
    # apply
    queries.update_row(
        unit.conn,
        "device",
        {"name": name},
        public_key=request.public_key,
        key_until=None,
        revoked_at=None,
        agent=request.agent,
    )
    queries.update_row(
        unit.conn, "enrolment", {"digest": digest}, used_at=unit.now, public_key=request.public_key
    )
    detail = f"with the code of {code['issued_by']}, from {request.address or 'an unknown address'}"
    if device["public_key"]:
        detail += f"; the key {device['public_key']} ended"
    _note(unit, name, "enrolled", detail, request.public_key)
    return name


def _refuse_spent(unit: Unit, code: Row) -> None:
    name = code["device"]
    if code["used_at"]:
        raise Refused(
            "CODE_USED",
            f"This code of {name} was used on {code['used_at']:%Y-%m-%d %H:%M} UTC. If that was not you, "
            f"have the administrator revoke {name} at once; otherwise ask for a new code.",
        )
    if code["cancelled_at"]:
        raise Refused(
            "CODE_CANCELLED", f"This code of {name} was cancelled. Ask the administrator for a new one."
        )
    if code["expires_at"] <= unit.now:
        raise Refused(
            "CODE_EXPIRED",
            f"This code of {name} ended on {code['expires_at']:%Y-%m-%d %H:%M} UTC. Ask the administrator "
            "for a new one.",
        )


# -- keys -----------------------------------------------------------------------------------------


def revoke_device(unit: Unit, name: str) -> None:
    """Stop taking anything from a device, also over a connection that is open; its open code ends too.

    The bridge notices within :data:`lis.reception.REMEMBER_KEYS`. A new code lets the device in again,
    with another key.

    Raises:
        NotFound: ``DEVICE_UNKNOWN``.
    """
    device = _known(unit, name)
    _cancel(unit, name, "the device was revoked")
    queries.update_row(unit.conn, "device", {"name": name}, revoked_at=unit.now)
    _note(unit, name, "revoked", f"the key {device['public_key'] or '(none yet)'} ended")


def set_expiry(unit: Unit, name: str, until: datetime | None) -> None:
    """End the key of a device at ``until``; None: it does not end by itself.

    Raises:
        NotFound: ``DEVICE_UNKNOWN``. Refused: ``DEVICE_NO_KEY``. Invalid: ``EXPIRY_PAST``.
    """
    device = _known(unit, name)
    if device["public_key"] is None or device["revoked_at"]:
        raise Refused("DEVICE_NO_KEY", f"{name} has no key that could end. Enrol it with a code first.")
    if until is not None and until <= unit.now:
        raise Invalid("EXPIRY_PAST", f"That moment is past. `lis device revoke {name}` ends the key at once.")
    queries.update_row(unit.conn, "device", {"name": name}, key_until=until)
    _note(unit, name, "expiry", f"{until.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if until else "none")


def set_serial(unit: Unit, name: str, serial: str) -> None:
    """The serial that files of a device must carry from now on; empty = that of its next file.

    Raises:
        NotFound: ``DEVICE_UNKNOWN``.
    """
    before = _known(unit, name)["serial"]
    queries.update_row(unit.conn, "device", {"name": name}, serial=serial.strip())
    _note(unit, name, "serial", f"{serial.strip() or '(that of its next file)'}, before {before or '(none)'}")


def heard(unit: Unit, name: str, agent: str = "") -> None:
    """Remember when an agent was last heard of; its version, where it said it."""
    said = {"agent": agent} if agent else {}
    queries.update_row(unit.conn, "device", {"name": name}, last_seen_at=unit.now, **said)
