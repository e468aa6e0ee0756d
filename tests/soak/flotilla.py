"""A laboratory and fifty agents as processes of their own, for soaks that cut what is between them."""

from __future__ import annotations

import multiprocessing
import random
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from instruments.agent import Agent, AgentConfig
from lis import config, laboratory
from lis.reception import Reception

SPAWN = multiprocessing.get_context("spawn")


def memory_mb() -> float:
    """Resident memory of this process (Linux)."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def laboratory_process(line: Any, folder: str, url: str, endpoint: str) -> None:
    """A laboratory that keeps and reads until it is told to stop; answers ``memory``."""
    with (
        laboratory.open_laboratory(config.load(folder, database=url)) as lab,
        Reception(lab, endpoint) as link,
    ):
        line.send((link.endpoint, link.public_key))
        while (asked := line.recv()) != "stop":
            line.send(memory_mb() if asked == "memory" else link.bridge.snapshot())
    line.send("stopped")


def agents_process(line: Any, folders: list[str], endpoint: str, server: bytes, keys: list[Any]) -> None:
    """One agent a folder, a thread each; answers with counts of files, and its memory."""
    stop = threading.Event()
    health = []

    def sail(settings: AgentConfig, number: int) -> None:
        """One agent's life; its outbox belongs to the thread that opened it."""
        agent = Agent(settings, random.Random(number))
        agent.run(stop)
        agent.close()

    threads = []
    for number, (folder, pair) in enumerate(zip(folders, keys, strict=True)):
        settings = AgentConfig(
            Path(folder), Path(folder).with_suffix(".outbox.db"), endpoint, f"bench-{number}", server,
            pair.public, pair.secret, ("*.csv",), settle_s=0.2, poll_s=0.5, answer_s=5.0,
            retry_first_s=0.5, retry_max_s=10.0, ping_s=2.0,
        )  # fmt: skip
        health.append(settings.health_file)
        threads.append(threading.Thread(target=sail, args=(settings, number), daemon=True))
    for thread in threads:
        thread.start()
    line.send("started")
    while line.recv() != "stop":
        line.send((_sum(health), memory_mb()))
    stop.set()
    for thread in threads:
        thread.join(30)
    line.send("stopped")


def _sum(health: list[Path]) -> dict[str, int]:
    """Files by state over all agents, as their health files tell it."""
    import json

    total = {"pending": 0, "acked": 0, "refused": 0}
    for path in health:
        for _ in range(50):
            try:
                found = json.loads(path.read_text(encoding="utf-8"))
                break
            except (OSError, ValueError):
                time.sleep(0.02)
        else:
            continue
        for name in total:
            total[name] += found.get(name, 0)
    return total


class Process:
    """A process and the line to it."""

    def __init__(self, target: Any, *arguments: Any) -> None:
        self.line, theirs = SPAWN.Pipe()
        self.process = SPAWN.Process(target=target, args=(theirs, *arguments))
        self.process.start()
        self.hello = self.line.recv()

    def ask(self, what: str) -> Any:
        """A question and its answer."""
        self.line.send(what)
        return self.line.recv()

    def stop(self) -> None:
        """End it in good order."""
        self.ask("stop")
        self.process.join(60)

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.join(60)
