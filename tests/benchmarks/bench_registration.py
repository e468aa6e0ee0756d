"""Registration over HTTP: twelve million people in six hours are 56 tubes of ten persons every second.

Run: ``python tests/benchmarks/bench_registration.py [seconds]``. The server is ``lis serve`` in a process of
its own; requests arrive by the clock (open loop), so a slow answer makes those behind it wait and shows.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from bench_setting import (
    DATABASES,
    ROOT,
    Line,
    cpu_seconds,
    database_urls,
    durable_commits,
    note,
    percentile,
    rss_mb,
    show,
    tube,
)

from lis import auth, config, laboratory

TUBES_A_SECOND = 56.0
P99_MS = 200.0
CONNECTIONS = 48
PASSWORD = "only for a benchmark"


@dataclass(frozen=True)
class Server:
    """A running server and what a client needs to talk to it."""

    port: int
    token: str
    pid: int
    commits: float


@contextlib.contextmanager
def server_on(url: str) -> Iterator[Server]:
    """``lis serve`` on the database ``url``, with one account that may register."""
    with tempfile.TemporaryDirectory(prefix="nat-lis-serve-") as folder:
        with laboratory.open_laboratory(config.load(folder, database=url)) as lab:
            with lab.database.write("bench") as unit:
                auth.create_account(unit, "site", "Site", "technician", PASSWORD)
                token = auth.open_token(unit, "site", days=1).secret
            commits = durable_commits(lab)
        ports = [_free_port(), _free_port()]
        environment = os.environ | {"LIS_DATABASE": url, "LIS_BRIDGE": f"tcp://127.0.0.1:{ports[1]}"}
        script = "import sys; from lis.cli import main; main(sys.argv[1:])"
        command = [sys.executable, "-c", script, "serve", "--data", folder, "--port", str(ports[0])]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
        try:
            _wait_for(ports[0], process)
            yield Server(ports[0], token, process.pid, commits)
        finally:
            process.terminate()
            process.wait(30)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise SystemExit("the server did not come up")


class Client:
    """Keep-alive connections to the server, handed out one at a time."""

    def __init__(self, server: Server, connections: int) -> None:
        self._server = server
        self._free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self._count = connections

    async def __aenter__(self) -> Self:
        """Connect."""
        for _ in range(self._count):
            self._free.put_nowait(await asyncio.open_connection("127.0.0.1", self._server.port))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Hang up."""
        while not self._free.empty():
            self._free.get_nowait()[1].close()

    async def send(self, raw: bytes) -> None:
        """Send and wait for a good answer."""
        reader, writer = await self._free.get()
        writer.write(raw)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
        )
        body = await reader.readexactly(length)
        self._free.put_nowait((reader, writer))
        if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201")):
            raise SystemExit(f"refused: {head[:40]!r} {body[:300]!r}")


def request(server: Server, path: str, document: object) -> bytes:
    """The bytes of one POST."""
    body = json.dumps(document).encode()
    head = (
        f"POST /api/v1{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {server.token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def tube_json(number: int, persons: int) -> dict[str, object]:
    """A sealed tube with its persons as the API takes it."""
    data = tube(number, persons)
    people = [
        {
            "name": p.name,
            "document_type": p.document_type,
            "document_number": p.document_number,
            "phone": p.phone,
        }
        for p in data.persons
    ]
    return {"barcode": data.barcode, "kind": data.kind, "places": persons, "persons": people, "sealed": True}


async def open_loop(server: Server, raws: list[bytes]) -> list[float]:
    """Latencies in ms of tubes that arrive by the clock, from the moment each was due."""
    spent: list[float] = []
    async with Client(server, CONNECTIONS) as client:
        start = time.perf_counter() + 0.2

        async def one(number: int) -> None:
            due = start + number / TUBES_A_SECOND
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            await client.send(raws[number])
            spent.append(1000 * (time.perf_counter() - due))

        await asyncio.gather(*(one(number) for number in range(len(raws))))
    return spent


async def closed_loop(server: Server, chains: list[list[bytes]], seconds: float) -> float:
    """Chains of requests a second when eight callers never pause."""
    waiting = iter(chains)
    done = 0
    async with Client(server, 8) as client:
        start = time.perf_counter()

        async def worker() -> None:
            nonlocal done
            for chain in waiting:
                for raw in chain:
                    await client.send(raw)
                done += 1
                if time.perf_counter() - start > seconds:
                    return

        await asyncio.gather(*(worker() for _ in range(8)))
        return done / (time.perf_counter() - start)


async def measure(server: Server, seconds: float) -> list[Line]:
    """All figures of one server. Requests are written before, connections made just before they are used."""
    warm = [request(server, "/tubes", tube_json(n, 10)) for n in range(170)]
    timed = [
        request(server, "/tubes", tube_json(10_000 + n, 10)) for n in range(int(TUBES_A_SECOND * seconds))
    ]
    whole = [[request(server, "/tubes", tube_json(50_000 + n, 10))] for n in range(2500)]
    chains = [_person_by_person(server, 60_000 + n) for n in range(500)]
    await open_loop(server, warm)
    used = cpu_seconds(server.pid)
    spent = await open_loop(server, timed)
    used = 1000 * (cpu_seconds(server.pid) - used) / len(timed)
    rate = await closed_loop(server, whole, 10.0)
    persons = 10 * await closed_loop(server, chains, 10.0)
    share = f"{rate / server.commits:.0%} of durable commits"
    return [
        Line("p99 latency at 56 tubes/s (560 persons/s)", percentile(spent, 0.99), P99_MS, "ms"),
        note("p50 latency", percentile(spent, 0.5), "ms"),
        note("slowest", max(spent), "ms"),
        Line("processor time of the server for one tube", used, 1000 / TUBES_A_SECOND, "ms", "of one core"),
        Line("most tubes of ten a second", rate, TUBES_A_SECOND, "/s", share, at_least=True),
        note("durable one-row commits of this database", server.commits, "/s"),
        note(
            "person by person (12 requests a tube)",
            persons,
            "/s",
            f"{1.2 * persons / server.commits:.0%} of durable commits",
        ),
        note("memory of the server", rss_mb(server.pid), "MB"),
    ]


def _person_by_person(server: Server, number: int) -> list[bytes]:
    """The requests of one tube whose persons come one after the other."""
    whole = tube_json(number, 10)
    people, code = whole.pop("persons"), whole["barcode"]
    opened = request(server, "/tubes", whole | {"sealed": False})
    bound = [request(server, f"/tubes/{code}/persons", person) for person in people]  # type: ignore[attr-defined]
    return [opened, *bound, request(server, f"/tubes/{code}/seal", {})]


def main() -> None:
    """Measure each database."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    with database_urls(sys.argv[2:] or DATABASES) as urls:
        for name, url in urls.items():
            with server_on(url) as server:
                lines = asyncio.run(measure(server, seconds))
            show(f"registration over HTTP, {name}, {seconds:.0f} s", lines)


if __name__ == "__main__":
    main()
