"""Disks for tests: file systems of their own that can be full, or lose their power."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

SMALL = 6 * 2**20


def mount_small(folder: Path, size: int) -> None:
    """Make a folder that is an empty file system of so many bytes; only the system's administrator can."""
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None:
        pytest.skip("no mount on this machine: a full disk cannot be made")
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={size}", "nat-lis-test", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"a full disk cannot be made here: {made.stderr.strip()}")


@pytest.fixture(name="small_disk")
def small_disk_fixture(tmp_path: Path) -> Iterator[Path]:
    """A file system of six megabytes."""
    folder = tmp_path / "disk"
    mount_small(folder, SMALL)
    yield folder
    subprocess.run(["umount", folder], check=True)


def fill(disk: Path) -> Path:
    """Fill a disk to its last byte; the file to delete for room."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as stream:
        for size in (65536, 4096, 512):
            with contextlib.suppress(OSError):
                while stream.write(bytes(size)) == size:
                    pass
    return ballast
