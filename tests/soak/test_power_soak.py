"""Power failures: the backing file of a mounted file system is copied while what it lacks is still in memory.

Started by hand: ``pytest -m soak -n 0 -s tests/soak/test_power_soak.py``; only the system's administrator can
mount. ``SOAK_ROUNDS`` (20) shortens it.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from streaming import PLATES, Part, Postgres, Stream

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]
ROUNDS = int(os.environ.get("SOAK_ROUNDS", "20"))
SEED = int(os.environ.get("SOAK_SEED", "0")) or random.SystemRandom().randrange(2**32)


class Disk:
    """An ext4 file system in a file, mounted, whose power can be cut.

    Args:
        home: where its backing files lie, on a disk that keeps its power.
        megabytes: its size.
    """

    def __init__(self, home: Path, name: str, megabytes: int) -> None:
        self.folder = home / name
        self._home, self._name, self._cuts = home, name, 0
        self.folder.mkdir(parents=True)
        self.mounted = False
        with self._image.open("wb") as image:
            image.truncate(megabytes * 2**20)
        subprocess.run(["mkfs.ext4", "-q", "-F", self._image], check=True)
        self._mount()

    @property
    def _image(self) -> Path:
        return self._home / f"{self._name}-{self._cuts}.img"

    def _mount(self) -> None:
        made = subprocess.run(
            ["mount", "-o", "loop", self._image, self.folder], capture_output=True, text=True, check=False
        )
        if made.returncode:
            pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
        self.mounted = True

    def unmount(self) -> None:
        """Let go of it, for good or for its copy."""
        if self.mounted:
            subprocess.run(["umount", "-l", self.folder], check=True)
            self.mounted = False

    def snapshot(self) -> Path:
        """Copy what reached the backing file; what is only in memory is not in it."""
        copy = self._home / f"{self._name}-{self._cuts + 1}.img"
        subprocess.run(["cp", "--sparse=always", self._image, copy], check=True)
        return copy

    def wake(self) -> None:
        """Mount the copy in place of the disk, whose own memory is thrown away."""
        old = self._image
        self.unmount()
        self._cuts += 1
        self._mount()
        old.unlink()


@contextlib.contextmanager
def disk(home: Path, name: str, megabytes: int) -> Iterator[Disk]:
    """A disk, unmounted at the end whatever happens."""
    for program in ("mkfs.ext4", "mount", "umount"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not on this machine")
    home.mkdir(parents=True, exist_ok=True)
    made = Disk(home, name, megabytes)
    try:
        yield made
    finally:
        made.unmount()


def cut(stream: Stream, disks: list[Disk], parts: list[Part]) -> bool:
    """Everything dies at once and wakes up with what the disks had; whether unsynced bytes were lost, as they should be."""
    for one in disks:
        (one.folder / "unsynced").write_bytes(b"in memory only" * 1000)
    for part in parts:
        part.kill()
    for one in disks:
        one.snapshot()
    for one in disks:
        one.wake()
    ghosts = [one.folder / "unsynced" for one in disks]
    forgotten = [not path.exists() or path.stat().st_size == 0 for path in ghosts]
    for path in ghosts:
        path.unlink(missing_ok=True)
    return any(forgotten)


def storm(kind: str, stream: Stream, disks: list[Disk], database: Postgres | None) -> None:
    """A power failure in each round, at a random moment after a cycler's file."""
    chance = random.Random(SEED)
    print(f"\n{kind}: seed {SEED}")
    parts = [stream.server, *stream.agents, *([database.part] if database else [])]
    stream.start()
    proved = spooled = acked = 0
    for number in range(ROUNDS):
        sheet = stream.sheets[number % PLATES]
        if number < PLATES:
            stream.write(sheet)
        time.sleep(chance.uniform(0.0, 2.5))  # the random moment
        before = stream.acked()
        proved += cut(stream, disks, parts)
        if database:
            database.start()
        acked += len(stream.acked())
        lost = stream.lost()
        assert not lost, f"round {number}: acknowledged {sorted(before)}, lost {lost}"
        believed = stream._believed()
        spooled += len(believed)
        kept = stream.kept()
        wrong = {name for name, sha in believed.items() if kept.get(name) != sha}
        assert not wrong, f"round {number}: outboxes believe in {wrong}"
        stream.start()
        if number % 2:  # every other time the world catches up before the next one
            stream.until(lambda: stream.told(sheet), f"{sheet.name} told")  # noqa: B023 - of this turn
    for sheet in stream.sheets[ROUNDS:]:
        stream.write(sheet)
    stream.settle()
    figures = stream.verdict()
    print(
        f"{kind}: {ROUNDS} power failures of server and agents, {acked} acknowledgements looked for after them "
        f"({spooled} of them in outboxes), {figures}; bytes nobody synced were lost in {proved} rounds"
    )
    assert figures == dict.fromkeys(figures, 0)
    assert proved > 0  # else these would be no power failures


def test_twenty_power_failures_lose_nothing_on_sqlite(tmp_path: Path):
    """Data folder and outboxes on disks of their own: what was acknowledged is in the copy of the disk."""
    with disk(tmp_path / "images", "server", 256) as server, disk(tmp_path / "images", "pc", 64) as pc:
        stream = Stream(tmp_path / "home", server.folder / "data", "", pc.folder, 0, light=True)
        try:
            storm("sqlite", stream, [server, pc], None)
        finally:
            stream.close()


def test_twenty_power_failures_lose_nothing_on_postgresql(tmp_path_factory: pytest.TempPathFactory):
    """The same with the database server's folder on the disk that loses its power."""
    home = Path(
        os.path.realpath(
            subprocess.check_output(["mktemp", "-d", "--tmpdir", "nat-lis-power-XXXX"]).decode().strip()
        )
    )
    home.chmod(0o755)
    try:
        with disk(home, "server", 512) as server, disk(home, "pc", 64) as pc:
            server.folder.chmod(0o755)
            database = Postgres(server.folder)
            database.part.log = home / "postgres.log"
            database.start()
            stream = None
            try:
                logs = tmp_path_factory.mktemp("power")
                stream = Stream(
                    logs / "home", server.folder / "data", database.url, pc.folder, 0, database, light=True
                )
                storm("postgresql", stream, [server, pc], database)
            finally:
                if stream is not None:
                    stream.close()
                database.part.kill()
    finally:
        shutil.rmtree(home, ignore_errors=True)
