"""Copies of the embedded database with its keys: made while the laboratory works, and listed."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lis.errors import LisError, NotFound, Refused

if TYPE_CHECKING:
    from lis.config import Settings
    from lis.db import Database

LAST_BACKUP: Final = "last-backup.json"
"""In the data folder: when and where the last copy was written."""
DATABASE: Final = "lis.db"
KEPT: Final = ("secret.key", "bridge.key", "lis.toml")
MOST_SHOWN: Final = 50


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy in the laboratory's own folder of copies; ``bytes`` is the size of its database."""

    name: str
    at: datetime
    bytes: int


def folder_of(settings: Settings) -> Path:
    """Where copies made on screen go."""
    return Path(settings.backups) if settings.backups else settings.data / "backups"


def make(database: Database, settings: Settings, target: Path) -> int:
    """Write a consistent copy and the keys to a folder; the size of the copy in bytes.

    Raises:
        LisError: ``NOT_EMBEDDED``: PostgreSQL has tools of its own. Refused: ``TARGET_NOT_EMPTY``.
    """
    if database.dialect != "sqlite":
        raise LisError(
            "NOT_EMBEDDED",
            "This laboratory is on PostgreSQL: back it up with pg_basebackup, and copy the keys.",
        )
    if target.exists() and any(target.iterdir()):
        raise Refused("TARGET_NOT_EMPTY", f"{target} is not empty. Name a new folder for the backup.")
    target.mkdir(parents=True, exist_ok=True)
    database.copy_to(target / DATABASE)
    for name in KEPT:
        if (settings.data / name).exists():
            copy_private(settings.data / name, target / name)
    size = (target / DATABASE).stat().st_size
    _note(database, settings, target, size)
    return size


def copy_private(source: Path, target: Path) -> None:
    """Copy a file that only its owner may read."""
    shutil.copyfile(source, target)
    target.chmod(0o600)


def _note(database: Database, settings: Settings, target: Path, size: int) -> None:
    note = {"at": database.clock.now().isoformat(), "target": str(target.resolve()), "bytes": size}
    draft = settings.data / f"{LAST_BACKUP}.new"
    draft.write_text(json.dumps(note), encoding="utf-8")
    draft.replace(settings.data / LAST_BACKUP)


def last(settings: Settings) -> dict[str, Any] | None:
    """When (a moment), where and how large the last copy was, as far as this folder knows."""
    try:
        note = json.loads((settings.data / LAST_BACKUP).read_text(encoding="utf-8"))
        return {
            "at": datetime.fromisoformat(note["at"]),
            "target": note["target"],
            "bytes": int(note["bytes"]),
        }
    except (OSError, ValueError, KeyError, TypeError):
        return None


def copies(settings: Settings) -> list[Copy]:
    """The copies in the laboratory's own folder, newest first."""
    folder = folder_of(settings)
    found = []
    for path in sorted(folder.iterdir() if folder.is_dir() else (), reverse=True)[:MOST_SHOWN]:
        file = path / DATABASE
        try:
            at = datetime.strptime(path.name, NAMES).astimezone(UTC)
            found.append(Copy(path.name, at, file.stat().st_size))
        except (ValueError, OSError):
            continue
    return found


NAMES: Final = "%Y%m%dT%H%M%S.%f%z"
"""Copies are named by their moment."""


def same_disk(settings: Settings) -> bool:
    """Whether the copies lie on the disk of the data: they would be lost with it."""
    folder = folder_of(settings)
    while not folder.exists():
        folder = folder.parent
    return folder.stat().st_dev == settings.data.stat().st_dev


def new_name(now: datetime) -> str:
    """The name of a copy made now."""
    return now.strftime(NAMES)


def path_of(settings: Settings, name: str) -> Path:
    """The folder of a copy.

    Raises:
        NotFound: ``COPY_UNKNOWN``: no copy of this laboratory's folder has that name.
    """
    if name not in {one.name for one in copies(settings)}:
        raise NotFound("COPY_UNKNOWN", "There is no such copy. Load the list again.")
    return folder_of(settings) / name
