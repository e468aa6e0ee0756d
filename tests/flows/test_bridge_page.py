"""docs/bridge.md says how to speak to the bridge: its example is right, and a client made from it works."""

from __future__ import annotations

import json
import queue
import re
import subprocess
import sys
from pathlib import Path

from bench import Bench

from instruments import wire
from instruments.bridge import new_keypair
from lis.reception import Reception
from lis.services import devices
from lis.services.results import Ingested

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "bridge.md").read_text(encoding="utf-8")
CLIENT = Path(__file__).with_name("independent_client.py")
FILE = b"well,cq\nA1,24.31\n"


def test_the_worked_example_is_what_the_program_sends():
    """The bytes and the header printed on the page are those of the agent for that file."""
    (message,) = wire.split_file(
        FILE,
        instrument="qs5-1",
        run="P00000018",
        name="P00000018.csv",
        plate="P00000018",
        produced_at="2022-12-21T06:05:00+00:00",
    )
    frames = wire.encode(message)
    (block,) = re.findall(r"```\n(1  4e.*?)```", PAGE, flags=re.DOTALL)
    shown: dict[str, str] = {}
    number = ""
    for line in block.splitlines():
        number = line[0].strip() or number
        shown[number] = f"{shown.get(number, '')} {line[1:].strip()}".strip()
    assert {key: bytes.fromhex(text) for key, text in shown.items()} == {
        "1": frames[0],
        "2": frames[1],
        "3": frames[2],
        "5": frames[4],
    }
    (header,) = re.findall(r"```json\n(.*?)\n```", PAGE)
    assert header.encode() == frames[3]


def test_every_type_and_key_of_the_protocol_stands_on_the_page():
    """No message type and no required or optional header key is missing from the table."""
    rows = dict(
        re.findall(r"^\| `([A-Z_]+)` \| (?:agent|bridge)[a-z ,]* \| (.*)\|$", PAGE, flags=re.MULTILINE)
    )
    assert set(rows) == set(wire._FIELDS)
    for kind, fields in wire._FIELDS.items():
        assert {key for key in fields if f"`{key}`" not in rows[kind]} == set(), kind


def test_a_client_written_from_the_page_ships_a_plate(bench: Bench, tmp_path: Path):
    """A stranger's program sends a drawn plate in parts; it is stored, read, and a duplicate the second time."""
    codes = bench.singles(2)
    plate = bench.plate(codes)
    path = tmp_path / f"{plate}.txt"
    path.write_bytes(bench.drawn(plate))
    assert path.stat().st_size > 2 * 8_000  # several parts, as the client cuts them
    pair, read = new_keypair(), queue.Queue[Ingested]()
    with bench.lab.database.write("admin") as unit:
        devices.enrol_device(unit, "synthetic cycler", "cycler", pair.public.decode())
    with Reception(bench.lab, "tcp://127.0.0.1:*", read.put) as link:
        command = [
            *(sys.executable, CLIENT, link.endpoint, link.public_key.decode()),
            *(pair.public.decode(), pair.secret.decode(), "synthetic cycler", plate, path),
        ]

        def ship() -> str:
            return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout

        assert ship().strip() == "stored"
        done = read.get(timeout=60)
        assert (done.state, done.plate_id, done.code) == ("read", plate, "")
        assert ship().strip() == "duplicate"
    assert json.dumps(bench.history(codes[0])).count("Called") == 1
