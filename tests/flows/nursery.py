"""Where the servers of a day full of kills are born and buried, and the port they are found at."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

SERVER = Path(__file__).with_name("kill_server.py")


@dataclass(frozen=True)
class Server:
    """A server process: its number, where it is asked and where it answers."""

    pid: int
    asks: TextIO
    answers: TextIO


class Nursery:
    """The process from which the servers are forked; see ``kill_server.py``."""

    def __init__(self) -> None:
        self._line, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, str(SERVER), str(theirs.fileno())], pass_fds=[theirs.fileno()]
            )

    def start(self, log: Path, *arguments: str) -> Server:
        """Start a server whose stderr is added to ``log``."""
        hears, asks = os.pipe()
        answers, says = os.pipe()
        with log.open("ab") as said:
            pid = self._ask(["start", *arguments], [hears, says, said.fileno()])
        os.close(hears)
        os.close(says)
        return Server(pid, os.fdopen(asks, "w", encoding="utf-8"), os.fdopen(answers, encoding="utf-8"))

    def bury(self, server: Server) -> int:
        """Close what leads to a server and wait until it is gone; its status as ``waitpid`` gives it."""
        with contextlib.suppress(BrokenPipeError):  # what was never taken from the pipe
            server.asks.close()
        status = self._ask(["bury", server.pid], [])
        server.answers.close()
        return status

    def _ask(self, what: list[Any], streams: list[int]) -> int:
        socket.send_fds(self._line, [json.dumps(what).encode()], streams)
        done: int = json.loads(self._line.recv(100))
        return done

    def close(self) -> None:
        """Close the nursery; no server is alive any more."""
        self._line.close()
        self._process.wait(60)


def quiet_port() -> int:
    """A free port outside the range from which the system draws.

    While the server is dead its port is free for a second: from the ephemeral range the system could give it
    to anybody on the machine who asks for any port, and the next server would find it taken.
    """
    for port in random.SystemRandom().sample(range(10_000, 32_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port between 10000 and 32000")
