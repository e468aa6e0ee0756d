"""``lis demo``: a whole laboratory on one machine, playing its day."""

from __future__ import annotations

import contextlib
import queue
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import simpy
import simpy.rt

from lis import auth, config, laboratory, rulebook
from lis.clock import FixedClock, SystemClock
from lis.demo import cyclers as machines
from lis.demo.play import FIRST_REVIEWER, SECOND_REVIEWER, TECHNICIAN, Stage, play
from lis.demo.summary import summary
from lis.errors import LisError
from lis.laboratory import Laboratory
from lis.reception import Reception
from lis.services import sites
from lis.services.results import Ingested
from sim import Scenario, draw_day

if TYPE_CHECKING:
    from lis.web.live import News

MIDNIGHT = datetime(2022, 12, 20, 16, 0, tzinfo=UTC)
"""Midnight of 21 December 2022 in Jiangmen: the day that is played."""

SETTINGS: dict[str, object] = {
    "laboratory": "Wuyi Demonstration Laboratory (synthetic data)",
    "laboratory_zh": "五邑演示实验室（合成数据）",
    "assay": "kinghawk",
    "session_minutes": 60 * 24 * 30,
    "idle_minutes": 60 * 24 * 30,
    "bridge": "tcp://127.0.0.1:*",
}
MANAGER = "zhao"
ACCOUNTS = (
    (TECHNICIAN, "陈技师 Chen", "technician"),
    (FIRST_REVIEWER, "李医师 Li", "reviewer"),
    (SECOND_REVIEWER, "王医师 Wang", "reviewer"),
    (MANAGER, "赵主任 Zhao", "manager"),
    ("sun", "孙质控 Sun", "quality"),
    ("gate", "北门采样 Gate", "collection"),
    ("admin", "管理员 Admin", "administrator"),
)
SITE = sites.Site("N01", "北门采样点", "North gate", "138 0000 0000")
PASSWORD = "demonstration"  # noqa: S105 - printed on the screen of a server that only this machine reaches
STOP_SECONDS = 10.0
QUIET_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Options:
    """What the demonstration is asked to do.

    Attributes:
        data: folder of the laboratory; must be new or empty.
        files: feed the exports found here instead of playing a day.
        seed: of the drawn day.
        seconds_per_minute: real seconds per played minute; 0 = as fast as it goes.
        port: of the web server; 0 = any free one.
    """

    data: Path
    files: Path | None = None
    seed: int = 20221221
    seconds_per_minute: float = 0.0
    port: int = 8080


Say = Callable[[str], None]


def run_once(options: Options, say: Say) -> dict[str, Any]:
    """Play one day to its end (or feed all files), without a browser; returns the summary."""
    with _opened(options) as (lab, reception, done):
        if options.files:
            _feed(lab, reception, options, done, say)
        else:
            _play(lab, reception, options, done, say)
        with lab.database.read() as conn:
            return summary(conn)


def run_forever(options: Options, say: Say) -> None:
    """Play the day before an audience: serve the screens until Ctrl-C."""
    from lis.web import wall
    from lis.web.live import News
    from lis.web.serving import serving

    news = News()
    with _opened(options, news) as (lab, reception, done):
        _add_accounts(lab)
        with lab.database.write("demo") as unit:
            path = wall.monitor(unit, lab, "demo", MANAGER)["path"]
        with serving(lab, lab.settings.host, options.port, news) as url:
            say(f"open {url}{path} - the turnaround wall, live")
            say(f"work at {url} - as {', '.join(name for name, _, _ in ACCOUNTS)}; password: {PASSWORD}")
            say(f"database and instrument folders: {options.data}")
            if options.files:
                _feed(lab, reception, options, done, say)
            else:
                _play(lab, reception, options, done, say)
            say("the day is over; the screens stay until Ctrl-C")
            signal.pause()


@contextlib.contextmanager
def _opened(
    options: Options, news: News | None = None
) -> Iterator[tuple[Laboratory, Reception, queue.Queue[Ingested]]]:
    """An open laboratory with its bridge; a FixedClock when a day is played. ``news`` tell the screens."""
    data = options.data
    if data.exists() and any(data.iterdir()):
        raise LisError("DATA_NOT_EMPTY", f"{data} is not empty; the demonstration wants a new folder.")
    # agents are heard once a real minute, which is long by the clock of a played day
    silent = min(1440.0, 10 + 150 / options.seconds_per_minute) if options.seconds_per_minute else 1440.0
    settings = config.load(
        data,
        **SETTINGS,
        port=options.port,
        public_url=f"http://127.0.0.1:{options.port}",
        silent_minutes=silent,
    )
    clock = SystemClock() if options.files else FixedClock(MIDNIGHT)
    done: queue.Queue[Ingested] = queue.Queue()

    def told(one: Ingested) -> None:
        if news:
            news.of_file(one)
        done.put(one)

    with (
        laboratory.open_laboratory(settings, clock) as lab,
        Reception(lab, on_done=told, on_live=news.of_reads if news else None) as reception,
    ):
        yield lab, reception, done


def _add_accounts(lab: Laboratory) -> None:
    hashed = auth.hash_password(PASSWORD)  # slow on purpose, and the same for all
    with lab.database.write("demo") as unit:
        sites.add_site(unit, SITE)
        for name, full_name, role in ACCOUNTS:
            site = SITE.code if role == "collection" else ""
            auth.open_account(unit, auth.AccountData(name, full_name, role, site), hashed)


@contextlib.contextmanager
def _agents(*started: subprocess.Popen[bytes]) -> Iterator[None]:
    """End the agents with the demonstration."""
    try:
        yield
    finally:
        for process in started:
            process.terminate()
        for process in started:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _play(
    lab: Laboratory, reception: Reception, options: Options, done: queue.Queue[Ingested], say: Say
) -> None:
    cyclers = machines.install(lab.database, options.data)
    scenario = Scenario.from_toml(dict(rulebook.files("scenarios"))["demo-day"])
    day = draw_day(scenario, np.random.default_rng(options.seed))
    clock = lab.database.clock
    if not isinstance(clock, FixedClock):
        raise TypeError("a played day needs a clock that can be set")
    zone = lab.zone
    stage = Stage(
        lab=lab,
        clock=clock,
        day=day,
        seed=options.seed,
        cyclers=cyclers,
        done=done,
        say=lambda moment, sentence: say(f"{moment.astimezone(zone):%d %H:%M}  {sentence}"),
        start=MIDNIGHT,
        live=options.seconds_per_minute > 0,
    )
    patterns = {"quantstudio": ("*.txt",), "cfx": ("*Cq*.csv",)}
    started = [
        machines.start_agent(reception, options.data, c.name, c.folder, patterns[c.layout]) for c in cyclers
    ]
    say(
        f"{day.tubes} tubes of {int(day.persons.sum())} persons will come; {len(cyclers)} cyclers are running"
    )
    with _agents(*started):
        play(stage, _environment(options))


def _environment(options: Options) -> simpy.Environment:
    if options.seconds_per_minute <= 0:
        return simpy.Environment(initial_time=5 * 60)
    return simpy.rt.RealtimeEnvironment(initial_time=5 * 60, factor=options.seconds_per_minute, strict=False)


def _feed(
    lab: Laboratory, reception: Reception, options: Options, done: queue.Queue[Ingested], say: Say
) -> None:
    """Let an agent ship every file of the folder; unknown ones end in quarantine, visibly."""
    if options.files is None or not options.files.is_dir():
        raise LisError("NO_FOLDER", f"{options.files} is not a folder. Name the folder with the exports.")
    machines.enrol(lab.database, options.data, "files")
    expected = sum(1 for path in options.files.iterdir() if path.is_file() and not path.name.startswith("."))
    say(f"{expected} files in {options.files}")
    agent = machines.start_agent(reception, options.data, "files", options.files, ("*",))
    with _agents(agent):
        seen, last = 0, time.monotonic()
        while seen < expected and time.monotonic() - last < 10 * QUIET_SECONDS:
            try:
                one = done.get(timeout=QUIET_SECONDS)
            except queue.Empty:
                continue
            seen, last = seen + 1, time.monotonic()
            say(f"{one.state} {one.code} {one.sentence}".strip())
    if seen < expected:
        say(f"{expected - seen} files were not taken; the agent says why in {options.data / 'files.log'}")
