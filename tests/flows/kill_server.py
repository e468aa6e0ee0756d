"""Laboratories in processes of their own, made to be killed: bridge, reading thread, acts asked for on stdin.

A server prints one JSON line when it is ready, then answers every line on stdin, which names an act, after its
commit. The answer carries the head of the log at that moment: whoever got it may demand that the log up to
there is found unchanged whatever happens next.

This program is the nursery: it imports what a server needs, opens nothing, and forks each server from there.
So a kill costs a start of the laboratory and not, each time, the second that Python takes to import it.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import traceback
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lis import config, laboratory, ledger, queries
from lis.errors import LisError
from lis.events import TubeKind
from lis.laboratory import Laboratory
from lis.ledger.rows import head_of
from lis.reception import Reception
from lis.services import plates, pools, receiving, reports
from lis.services.plates import PlateOrder, WellOrder
from lis.services.receiving import PersonData, Scan, TubeData

DONE_BEFORE = {"TUBE_IN_USE", "POOL_IN_USE", "PLATE_EXISTS", "PLATE_STATE", "SAME_PERSON", "NOT_IN_REVIEW"}
"""What a repeated act is answered with: it had been committed before the answer got lost."""


def _order(tube: dict[str, Any]) -> TubeData:
    people = tuple(PersonData(name, "passport", number) for name, number in tube["persons"])
    return TubeData(
        tube["code"],
        kind=TubeKind(tube["kind"]),
        places=tube["places"],
        sampled_at=datetime.fromisoformat(tube["sampled_at"]),
        persons=people,
        sealed=True,
    )


def register(lab: Laboratory, what: dict[str, Any]) -> dict[str, Any]:
    """Put one tube with its persons into use."""
    with lab.database.write("site") as unit:
        receiving.register(unit, lab.vault, lab.rules, [_order(what["tube"])])
    return {}


def receive(lab: Laboratory, what: dict[str, Any]) -> dict[str, Any]:
    """Scan one tube in."""
    with lab.database.write("reception") as unit:
        done = receiving.receive(unit, lab.rules, [Scan(what["code"], "R1", what["position"])])
    return {"outcome": done[0].outcome}


def pool(lab: Laboratory, what: dict[str, Any]) -> dict[str, Any]:
    """Pipette a lab pool."""
    with lab.database.write("anna") as unit:
        pools.form(unit, lab.rules, what["members"], what["code"])
    return {}


def plate(lab: Laboratory, what: dict[str, Any]) -> dict[str, Any]:
    """Make a plate."""
    wells = tuple(WellOrder(**well) for well in what["wells"])
    with lab.database.write("anna") as unit:
        plates.create(unit, lab.rules, PlateOrder(what["code"], "96-standard", "", wells))
    return {}


def load(lab: Laboratory, what: dict[str, Any]) -> dict[str, Any]:
    """Put a plate into the cycler."""
    with lab.database.write("anna") as unit:
        plates.load(unit, what["code"], what["code"], "qs5")
    return {}


def sign(lab: Laboratory, what: dict[str, Any]) -> dict[str, Any]:
    """A reviewer accepts a result."""
    with lab.database.write(what["by"]) as unit:
        reports.review(unit, lab.rules, what["code"], "accept", "looked at")
    return {}


def release(lab: Laboratory, what: dict[str, Any]) -> dict[str, Any]:
    """Issue the report of a signed result."""
    with lab.database.write("rita") as unit:
        reports.release(unit, lab.rules, [what["code"]])
    return {}


def look(lab: Laboratory, what: dict[str, Any]) -> dict[str, Any]:
    """Every tube asked about: kind, state, test that is due, number of tests so far, result."""
    with lab.database.read() as conn:
        found = ledger.tubes(conn, what["codes"])
        reading = queries.waiting_files(conn)
    shown = {code: [t.kind, t.state, t.test, t.tests, t.result, t.signatures] for code, t in found.items()}
    return {"tubes": shown, "unread": len(reading)}


def files(lab: Laboratory, what: dict[str, Any]) -> dict[str, Any]:
    """What became of the files of these names."""
    with lab.database.read() as conn:
        found = [row for row in queries.files(conn) if row["name"] in what["names"]]
    return {"files": [[row["name"], row["state"], row["code"], row["reason"]] for row in found]}


def say(document: dict[str, Any]) -> None:
    """One line on stdout."""
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


ACTS = {act.__name__: act for act in (register, receive, pool, plate, load, sign, release, look, files)}


def answer(lab: Laboratory, line: str) -> dict[str, Any]:
    """Do what a line asks for and say so after the commit."""
    what = json.loads(line)
    try:
        done = ACTS[what["act"]](lab, what)
    except LisError as error:
        if error.code not in DONE_BEFORE:
            raise
        done = {"before": error.code}
    with lab.database.read() as conn:
        done["head"] = head_of(conn)
    return done


def serve(data: str, url: str, endpoint: str) -> None:
    """Serve until stdin closes or the process is killed."""
    with laboratory.open_laboratory(config.load(data, database=url)) as lab, Reception(lab, endpoint):
        say({"ready": True})
        for line in sys.stdin:
            say(answer(lab, line))


def born(request: list[str], streams: list[int]) -> int:
    """A server in a process of its own, on these streams; its number."""
    pid = os.fork()
    if pid:
        return pid
    for target, stream in enumerate(streams):
        os.dup2(stream, target)
    os.closerange(3, max(streams) + 1)  # the nursery's own socket too: a server has nothing but its streams
    try:
        serve(*request)
    except BaseException:  # noqa: BLE001 - whatever it is, the driver reads it in the log of this server
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def main() -> None:
    """Bear servers and bury them, as asked on the socket whose number is the argument."""
    with socket.socket(fileno=int(sys.argv[1])) as driver:
        while True:
            asked, streams, _, _ = socket.recv_fds(driver, 65536, 3)
            if not asked:
                return
            order, *request = json.loads(asked)
            done = born(request, streams) if order == "start" else os.waitpid(request[0], 0)[1]
            for stream in streams:
                os.close(stream)
            driver.send(json.dumps(done).encode())


if __name__ == "__main__":
    main()
