"""From the administrator's command to the first file: code, enrolment, rotation and revocation over real sockets."""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from bench import Bench

from instruments import agent, wire
from instruments.door import new_code, public_of
from lis import queries, reception
from lis.reception import Reception
from lis.services import devices

SECONDS = 60.0  # an upper bound, never waited for when all is well
DAY = timedelta(hours=24)


class Site:
    """A laboratory with its bridge, and the PC beside its cycler."""

    def __init__(self, bench: Bench, link: Reception, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.bench, self.link, self.home, self._capsys = bench, link, home, capsys
        (home / "export").mkdir(parents=True)

    def code(self, name: str = "qs5", *, new: bool = True) -> str:
        """A code as ``lis device add`` and ``rotate`` issue it."""
        made = new_code(self.link.endpoint, self.link.public_key)
        with self.bench.lab.database.write("admin") as unit:
            if new:
                devices.add_device(unit, name, "cycler")
            devices.issue_code(unit, name, public_of(made), DAY)
        return wire.code_text(made)

    @property
    def config(self) -> Path:
        """What ``agent enrol`` writes."""
        return self.home / "nat-agent.json"

    def enrol(self, code: str, *more: str) -> tuple[int, str]:
        """``agent enrol`` on the PC: exit status, and what it said."""
        folder = ("--folder", str(self.home / "export"))
        status = agent.main(["enrol", *code.split("-"), "--config", str(self.config), *folder, *more])
        out, err = self._capsys.readouterr()
        return status, out + err

    def settings(self) -> agent.AgentConfig:
        """What ``agent run`` works with, with less patience."""
        options = agent._completed(agent._parsed(agent._parser(), ["run", "--config", str(self.config)]))
        return agent.replace(
            agent._config(options), settle_s=0.0, ping_s=0.2, poll_s=0.05, retry_first_s=0.05, retry_max_s=0.2
        )

    def start(self) -> agent.Agent:
        """The agent as ``agent run`` starts it."""
        return agent.Agent(self.settings())

    def alarms(self) -> list[str]:
        """Open alarms, oldest first."""
        with self.bench.lab.database.read() as conn:
            return [row["code"] for row in reversed(queries.open_alarms(conn))]

    def device(self, name: str = "qs5"):
        """What the laboratory knows of a device."""
        with self.bench.lab.database.read() as conn:
            return queries.device_row(conn, name)

    def write(self, name: str) -> None:
        """The cycler exports a run."""
        (self.home / "export" / name).write_bytes(f"run {name}".encode())

    def kept(self) -> set[str]:
        """Names of the files the laboratory keeps."""
        with self.bench.lab.database.read() as conn:
            return {row["name"] for row in queries.files(conn)}


def site_of(bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A site that runs until the test ends."""
    with Reception(bench.lab, "tcp://127.0.0.1:*") as link:
        yield Site(bench, link, tmp_path / "pc", capsys)


@pytest.fixture
def site(embedded: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A site on the embedded database."""
    yield from site_of(embedded, tmp_path, capsys)


@pytest.fixture
def any_site(bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A site on each kind of database."""
    yield from site_of(bench, tmp_path, capsys)


def drive(one: agent.Agent, done: Callable[[], bool]) -> None:
    """Let the agent work until ``done`` holds."""
    ticks = 0
    while not done():
        one.step()
        one._link.wait(0.05)
        ticks += 1
        assert ticks < SECONDS / 0.05, one.status()


def test_a_pc_enrols_and_its_first_file_arrives(any_site: Site):
    """One code and one command: the key stays on the PC and private, the settings are written, the agent just works."""
    site = any_site
    code = site.code()
    status, said = site.enrol(code)
    assert (status, "enrolled as qs5" in said) == (0, True)
    settings = json.loads(site.config.read_text(encoding="utf-8"))
    assert (settings["endpoint"], settings["instrument"]) == (site.link.endpoint, "qs5")
    assert settings["server_key"].encode() == site.link.public_key
    key_file = site.home / settings["key_file"]
    if os.name == "posix":
        assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    secret = key_file.read_text(encoding="ascii").split("secret-key")[1].split('"')[1]
    assert secret not in site.config.read_text(encoding="utf-8")
    site.write("P1.txt")
    one = site.start()
    try:
        assert one.ship(SECONDS)
        drive(one, lambda: site.device()["agent"] == agent.VERSION)
    finally:
        one.close()
    assert site.kept() == {"P1.txt"}
    assert site.device()["last_seen_at"] == site.bench.clock.now()
    assert site.alarms() == []


def test_a_repeated_command_is_harmless_and_a_second_pc_is_refused(site: Site, tmp_path: Path):
    """The same PC may say it again (its answer was lost); another PC with the same code is refused, with an alarm."""
    code = site.code()
    assert site.enrol(code)[0] == 0
    first = site.device()["public_key"]
    assert site.enrol(code)[0] == 0
    assert site.device()["public_key"] == first
    site.home = tmp_path / "another"
    status, said = site.enrol(code, "--instrument", "qs5")
    assert (status, said.split(": ")[1]) == (1, "CODE_USED")
    assert "revoke qs5 at once" in said
    assert not site.config.exists()
    site.link.bridge.stop()
    assert site.alarms() == ["CODE-REFUSED"]


def test_codes_that_are_worthless_say_why(site: Site):
    """Expired, cancelled, for another device, mistyped, never issued: each its own sentence, none a key."""
    code = site.code()
    assert site.enrol(code, "--instrument", "cfx")[1].split(": ")[1] == "CODE_OTHER_DEVICE"
    site.bench.clock.advance(DAY)
    assert site.enrol(code)[1].split(": ")[1] == "CODE_EXPIRED"
    code = site.code(new=False)
    with site.bench.lab.database.write("admin") as unit:
        devices.cancel_codes(unit, "qs5")
    assert site.enrol(code)[1].split(": ")[1] == "CODE_CANCELLED"
    wrong = code[:-1] + ("7" if code[-1] != "7" else "8")
    assert site.enrol(wrong)[1].startswith("error: bad-code: Group ")
    stranger = wire.code_text(new_code(site.link.endpoint, site.link.public_key))
    assert site.enrol(stranger)[1].startswith("error: code-unknown: ")
    assert site.device()["public_key"] is None
    site.link.bridge.stop()
    assert site.alarms() == ["CODE-REFUSED", "CODE-REFUSED", "KEY-REFUSED"]


def test_a_bridge_that_is_not_there_uses_no_code(site: Site):
    """Nobody answers: a sentence says what to look at, and the code is good afterwards."""
    code = wire.read_code(site.code())
    nowhere = wire.code_text(wire.Code("tcp://127.0.0.1:1", code.server_key, code.secret))
    status, said = site.enrol(nowhere, "--wait", "0.3")
    assert (status, said.split(": ")[1]) == (1, "no-answer")
    (site.home / "code.txt").write_text(f"\ufeff{wire.code_text(code)}\n", encoding="utf-8")
    status = agent.main(["enrol", "--code-file", str(site.home / "code.txt"), "--config", str(site.config)])
    assert (status, site.device()["public_key"] is None) == (0, False)


def test_the_agent_says_what_it_lacks(site: Site, capsys: pytest.CaptureFixture[str], monkeypatch):
    """No settings, no folder, an unknown word, settings that are none: a sentence each, and nothing is started."""
    run = ["run", "--config", str(site.config)]
    assert agent.main(run) == 1
    assert "enrol this PC first" in capsys.readouterr().err
    monkeypatch.setattr("builtins.input", lambda _: site.code())
    assert agent.main(["enrol", "--config", str(site.config)]) == 0
    assert "name the folder" in capsys.readouterr().out
    for arguments, words in (
        (run, "--folder is needed"),
        (["walk"], "walk is not known"),
        ([*run[:1], "x"], "x is not"),
    ):
        with pytest.raises(SystemExit):
            agent.main(arguments)
        assert words in capsys.readouterr().err
    site.config.write_text("[]", encoding="utf-8")
    assert agent.main(run) == 1
    assert "is not the configuration" in capsys.readouterr().err


def test_rotation_keeps_the_old_key_until_the_new_one_is_there(site: Site):
    """Files flow with the old key after the code was issued; then the new key works and the old one is refused."""
    site.enrol(site.code())
    (first,) = site.home.glob("*.key_secret")
    old = site.start()
    code = site.code(new=False)
    site.write("P1.txt")
    assert old.ship(SECONDS)
    assert site.enrol(code)[0] == 0
    site.write("P2.txt")
    drive(old, lambda: "not-enrolled" in old.status()["last_error"])
    assert old.status()["pending"] == 1
    old.close()
    assert first.exists()
    new = site.start()
    assert new.ship(SECONDS)
    drive(new, lambda: not first.exists())
    assert len(list(site.home.glob("*.key_secret"))) == 1
    new.close()
    site.start().close()
    assert site.kept() == {"P1.txt", "P2.txt"}


def test_only_keys_that_were_made_here_for_a_code_are_removed(site: Site, monkeypatch):
    """A key file that somebody named in the settings stays, and so does one that the disk will not give up."""
    site.enrol(site.code())
    (first,) = site.home.glob("*.key_secret")
    mine = first.with_name("by-hand.key_secret")
    first.rename(mine)
    settings = json.loads(site.config.read_text(encoding="utf-8"))
    site.config.write_text(json.dumps({**settings, "key_file": mine.name}), encoding="utf-8")
    site.enrol(site.code(new=False))
    site.enrol(site.code(new=False))
    kept = site.settings().old_keys
    assert len(kept) == 1
    with monkeypatch.context() as planted:
        planted.setattr(Path, "unlink", lambda *_: (_ for _ in ()).throw(PermissionError("in use")))
        one = site.start()
        drive(one, lambda: one.bridge_device == "qs5")
        one.close()
    assert {mine, *kept} <= set(site.home.glob("*.key_secret"))


def test_a_running_agent_takes_its_new_key_by_itself(site: Site):
    """While ``agent run`` works a second ``agent enrol`` is enough: the next file comes with the new key."""
    site.enrol(site.code())
    arrived = threading.Semaphore(0)
    site.link._on_done = lambda _: arrived.release()
    stop = threading.Event()
    running = threading.Thread(target=agent.serve, args=(site.settings, site.config, stop))
    running.start()
    try:
        site.write("P1.txt")
        assert arrived.acquire(timeout=SECONDS)
        first = site.device()["public_key"]
        assert site.enrol(site.code(new=False))[0] == 0
        site.write("P2.txt")
        assert arrived.acquire(timeout=SECONDS)
    finally:
        stop.set()
        running.join(SECONDS)
    assert site.device()["public_key"] != first
    assert site.kept() == {"P1.txt", "P2.txt"}


@pytest.mark.parametrize("end", ["revoked", "expired"])
def test_a_key_that_ends_is_deaf_on_a_connection_that_stands(end: str, site: Site, monkeypatch):
    """Revoked or at its end, the key's next file is not taken, within 5 seconds, and is kept by the agent."""
    assert reception.REMEMBER_KEYS < 5.0
    monkeypatch.setattr(reception, "REMEMBER_KEYS", 0.1)
    site.enrol(site.code())
    one = site.start()
    site.write("P1.txt")
    assert one.ship(SECONDS)
    with site.bench.lab.database.write("admin") as unit:
        if end == "revoked":
            devices.revoke_device(unit, "qs5")
        else:
            devices.set_expiry(unit, "qs5", unit.now + DAY)
    site.bench.clock.advance(DAY)
    key = site.device()["public_key"].encode()
    drive(one, lambda: site.link._enrolled(key) is None)
    assert one.status()["link"] == "connected"
    site.write("P2.txt")
    drive(one, lambda: "not-enrolled" in one.status()["last_error"])
    one.close()
    assert site.kept() == {"P1.txt"}
    site.link.bridge.stop()
    assert site.alarms() == ["KEY-REVOKED"]
