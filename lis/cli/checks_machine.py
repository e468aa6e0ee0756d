"""What ``lis doctor`` looks at around the database: folder, disk, keys, sockets, backup."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from lis.config import Settings

OK: Final = "ok"
WARN: Final = "warn"
FAIL: Final = "fail"
TOO_LITTLE = 256 * 1024**2
LITTLE = 2 * 1024**3
"""Free bytes: below the first the server calls itself not ready, below the second somebody should know."""

OLD_BACKUP = timedelta(days=2)
ZMTP_GREETING: Final = b"\xff"
"""First byte that every ZeroMQ socket says to whoever connects (RFC 23)."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was looked at, how it is, and what to do."""

    check: str
    status: Literal["ok", "warn", "fail"]
    sentence: str


def folder(settings: Settings) -> Iterator[Finding]:
    """The data folder: there, and writable."""
    data = settings.data
    if not data.is_dir():
        yield Finding(
            "folder", FAIL, f"{data} is no folder. Name the laboratory's with --data, or start lis serve."
        )
    elif not os.access(data, os.W_OK | os.X_OK):
        yield Finding("folder", FAIL, f"{data} cannot be written by this user. Run as the user of lis serve.")
    else:
        yield Finding("folder", OK, f"{data.resolve()} can be written.")


def disk(settings: Settings) -> Iterator[Finding]:
    """Space where the data are."""
    free = shutil.disk_usage(settings.data).free
    said = f"{free / 1024**3:.1f} GiB are free for the data folder."
    if free < TOO_LITTLE:
        yield Finding("disk", FAIL, f"{said} Make room now: nothing can be stored soon.")
    elif free < LITTLE:
        yield Finding("disk", WARN, f"{said} Make room, or move old backups elsewhere.")
    else:
        yield Finding("disk", OK, said)


# -- keys -----------------------------------------------------------------------------------------


def keys(settings: Settings) -> Iterator[Finding]:
    """The key of personal data and the bridge's key pair."""
    yield _key(settings.data / "secret.key", _is_secret, "Personal data cannot be read without it")
    yield _key(settings.data / "bridge.key", _is_pair, "Every agent trusts the old one alone")


def _key(path: Path, right: Callable[[str], bool], loss: str) -> Finding:
    if not path.exists():
        return Finding(path.name, FAIL, f"{path.name} is missing. {loss}: put it back from the backup.")
    mode = stat.S_IMODE(path.stat().st_mode)
    try:
        text = path.read_text(encoding="ascii", errors="replace").strip()
    except OSError as error:
        return Finding(path.name, FAIL, f"{path.name} cannot be read ({error.strerror}). Run as its owner.")
    if not right(text):
        return Finding(path.name, FAIL, f"{path.name} is not such a key. {loss}: put the right file back.")
    if os.name == "posix" and mode & 0o077:
        return Finding(
            path.name, FAIL, f"{path.name} can be read by others (mode {mode:04o}): chmod 600 {path}"
        )
    return Finding(path.name, OK, f"{path.name} is there, whole, and its owner's alone.")


def _is_secret(text: str) -> bool:
    from lis.config import KEY_BYTES

    try:
        return len(bytes.fromhex(text)) == KEY_BYTES
    except ValueError:
        return False


def _is_pair(text: str) -> bool:
    import zmq

    public, _, secret = text.partition("\n")
    try:
        return zmq.curve_public(secret.encode()) == public.encode()
    except (ValueError, zmq.ZMQError):
        return False


# -- sockets --------------------------------------------------------------------------------------


def sockets(settings: Settings) -> Iterator[Finding]:
    """Where the server should listen: does it, could it, or is somebody else there."""
    yield _web(settings.host, settings.port)
    yield _bridge(settings.bridge)


def _web(host: str, port: int) -> Finding:
    if port == 0:
        return Finding("web", OK, "The web server takes any free port.")
    place = _callable(host)
    if not _answers(place, port):
        return _silent("web", host, port)
    shown = f"[{place}]" if ":" in place else place
    try:
        with urllib.request.urlopen(f"http://{shown}:{port}/healthz", timeout=5) as answer:
            ready = json.loads(answer.read()).get("ready")
    except urllib.error.HTTPError as error:
        return Finding(
            "web", FAIL, f"The server at {host}:{port} answers {error.code}: see the other checks."
        )
    except (OSError, ValueError, AttributeError):
        return Finding("web", FAIL, f"Another program listens at {host}:{port}. Stop it, or set LIS_PORT.")
    if ready:
        return Finding("web", OK, f"The server at {host}:{port} says ready.")
    return Finding("web", FAIL, f"The server at {host}:{port} says not ready: see the other checks.")


def _bridge(endpoint: str) -> Finding:
    host, _, digits = endpoint.removeprefix("tcp://").rpartition(":")
    if not endpoint.startswith("tcp://") or not digits.isdecimal():
        return Finding("bridge", OK, f"The bridge's address {endpoint} has no fixed port to look at.")
    host, port = host.strip("[]"), int(digits)
    place = _callable(host)
    if not _answers(place, port):
        return _silent("bridge", host, port)
    if _greets(place, port):
        return Finding("bridge", OK, f"A bridge listens at {host}:{port}.")
    return Finding("bridge", FAIL, f"Another program listens at {host}:{port}. Stop it, or set LIS_BRIDGE.")


def _callable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "*": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=3):
            return True
    except OSError:
        return False


def _greets(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=3) as conn:
            return conn.recv(1) == ZMTP_GREETING
    except OSError:
        return False


def _silent(check: str, host: str, port: int) -> Finding:
    """Nobody listens: say whether somebody could."""
    place = "0.0.0.0" if host in {"", "*"} else host  # noqa: S104 - where the server would listen
    try:
        with socket.socket(socket.AF_INET6 if ":" in place else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((place, port))
    except OSError as error:
        said = f"Nobody answers at {host}:{port}, and it cannot be listened at either ({error.strerror})."
        return Finding(check, FAIL, f"{said} Is {host} an address of this machine?")
    return Finding(check, WARN, f"Nobody listens at {host}:{port}; it is free. lis serve starts the server.")


# -- backup ---------------------------------------------------------------------------------------


def backup(settings: Settings, now: datetime) -> Iterator[Finding]:
    """When `lis backup` wrote last, as far as this folder knows."""
    if settings.database and not settings.database.startswith("sqlite"):
        said = "Backups of PostgreSQL are made with its own tools and not known here: see that they are."
        yield Finding("backup", WARN, said)
        return
    from lis.services import backups

    note = backups.last(settings)
    if note is None:
        yield Finding("backup", WARN, "No backup is known. Write one with lis backup, to another disk.")
        return
    at, target = note["at"], note["target"]
    age = now - at
    said = f"The last backup is of {at:%Y-%m-%d %H:%M} UTC, in {target}."
    yield Finding(
        "backup", WARN if age > OLD_BACKUP else OK, said + (" Write a new one." if age > OLD_BACKUP else "")
    )
