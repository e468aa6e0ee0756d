"""A laboratory in a process of its own, made to be killed: bridge, reading thread, and acts asked for on stdin.

``python kill_server.py DATA URL ENDPOINT``. It prints one JSON line when it is ready, then answers every line
on stdin, which names an act, after its commit. The answer carries the head of the log at that moment: whoever
got it may demand that the log up to there is found unchanged whatever happens next.
"""

from __future__ import annotations

import json
import sys
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


ACTS = {act.__name__: act for act in (register, receive, pool, plate, load, sign, release, look)}


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


def main() -> None:
    """Serve until stdin closes or the process is killed."""
    data, url, endpoint = sys.argv[1:]
    with laboratory.open_laboratory(config.load(data, database=url)) as lab, Reception(lab, endpoint):
        print(json.dumps({"ready": True}), flush=True)
        for line in sys.stdin:
            print(json.dumps(answer(lab, line)), flush=True)


if __name__ == "__main__":
    main()
