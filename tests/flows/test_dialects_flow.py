"""ASTM and HL7 over TCP into the inbox: acknowledged after the commit, read like any file, never a result by halves."""

from __future__ import annotations

import contextlib
import queue
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bench import Bench
from message_peers import GENEXPERT, Instrument, astm_plate, frames_of, hl7_plate, mllp

from lis import config, queries
from lis.errors import LisError
from lis.reception import Reception
from lis.services import devices, inbox, plates
from lis.services.results import Ingested

ACK, NAK = b"\x06", b"\x15"
LISTENERS = [
    {"dialect": "astm", "address": "tcp://127.0.0.1:0", "device": "GX-1"},
    {"dialect": "hl7", "address": "tcp://127.0.0.1:0", "device": "HL-1"},
]


class Site:
    """A laboratory with both listeners open, and what was read."""

    def __init__(self, bench: Bench, link: Reception, done: queue.Queue[Ingested]) -> None:
        self.bench = bench
        self.link = link
        self.done = done
        self.ports = [int(one.rsplit(":", 1)[1]) for one in link.listeners.endpoints]

    def call(self, dialect: str) -> Instrument:
        """Call a listener."""
        return Instrument(self.ports[("astm", "hl7").index(dialect)])

    def read(self) -> Ingested:
        """What became of the next file."""
        return self.done.get(timeout=60)

    def files(self) -> list[dict]:
        """All files, oldest first."""
        with self.bench.lab.database.read() as conn:
            return sorted(queries.files(conn), key=lambda row: row["received_at"])

    def alarms(self) -> list[str]:
        """Codes of open alarms."""
        with self.bench.lab.database.read() as conn:
            return [row["code"] for row in queries.open_alarms(conn)]

    def loaded(self, cycler: str, cq: float | None = None) -> tuple[str, list[str], list[tuple]]:
        """A plate in a cycler: its code, its tubes and what the cycler will say; ``cq`` is of the first tube."""
        tubes = self.bench.singles(2)
        plate = self.bench.plate(tubes, load=False)
        with self.bench.lab.database.write("anna") as unit:
            plates.load(unit, plate, plate, cycler)
        target = next(t.name for t in self.bench.assay_of(plate).targets if not t.is_control)
        second = [t.name for t in self.bench.assay_of(plate).targets if not t.is_control][-1]
        return plate, tubes, self.bench.contents(plate, {tubes[0]: {target: cq, second: cq}})


@pytest.fixture
def site(make_bench: Callable[..., Bench]) -> Iterator[Site]:
    """Open listeners on a fresh database of each kind."""
    done: queue.Queue[Ingested] = queue.Queue()
    bench = make_bench(listeners=LISTENERS)
    with Reception(bench.lab, "tcp://127.0.0.1:*", done.put) as link:
        yield Site(bench, link, done)


def test_plates_travel_from_the_line_to_the_tubes(site: Site):
    """A plate in each dialect reaches its tubes; what is acknowledged is committed; what is repeated is stored once."""
    plate, (positive, negative), rows = site.loaded("GX-1", 24.0)
    message = astm_plate(plate, rows)
    with site.call("astm") as gx:
        assert set(gx.sends(message, 60)) == {ACK}
        (row,) = site.files()  # committed already, whether it was read or not
        assert row["device"] == "GX-1"
        assert site.read().state == "read"
        assert set(gx.sends(message)) == {ACK}
    assert site.bench.tube(positive).outcome == "positive"
    assert site.bench.tube(negative).result == "negative"
    other, tubes, rows = site.loaded("HL-1", 24.0)
    with site.call("hl7") as hl:
        for _ in range(2):
            hl.say(mllp(hl7_plate(other, rows)), [100, 1, 1000])
            assert b"\rMSA|AA|MSG-1" in hl.block()
    done = site.read()
    assert done.state == "read", done
    assert site.bench.tube(tubes[0]).outcome == "positive"
    assert [row["state"] for row in site.files()] == ["read", "read"]
    assert site.bench.check().ok


def test_what_is_doubtful_is_kept_aside_and_reaches_no_tube(site: Site):
    """Half a message, one without wells, one of another cycler's plate, and another content under a used number."""
    plate, tubes, rows = site.loaded("GX-1", 24.0)
    message = astm_plate(plate, rows)
    with site.call("astm") as gx:  # cut in a frame
        first, second, third, *_ = frames_of(message)
        for data in (b"\x05", first, second):
            assert gx.asked(data) == ACK
        gx.say(third[:-7])
    done = site.read()
    assert (done.state, done.code) == ("quarantined", "INCOMPLETE_FILE")
    with site.call("astm") as gx:  # ended before the last record
        assert set(gx.sends(astm_plate(plate, rows, end=False))) == {ACK}
    assert site.read().code == "INCOMPLETE_FILE"
    with site.call("astm") as gx:
        assert set(gx.sends(GENEXPERT)) == {ACK}
        assert site.read().code == "NO_WELL"
        assert set(gx.sends(message)) == {ACK}  # whole at last: no conflict with its own beginnings
        assert site.read().state == "read"
        assert set(gx.sends(message.replace(b"|24.0|", b"|34.0|", 1))) == {ACK}
    assert site.read().code == "RUN_CONFLICT"
    with site.call("hl7") as hl:
        other, _, rows = site.loaded("GX-1")
        hl.say(mllp(hl7_plate(other, rows)))
        assert b"\rMSA|AA|" in hl.block()
    assert site.read().code == "OTHER_INSTRUMENT"
    states = sorted((row["state"], row["code"]) for row in site.files())
    assert states == [
        ("quarantined", "INCOMPLETE_FILE"),
        ("quarantined", "INCOMPLETE_FILE"),
        ("quarantined", "NO_WELL"),
        ("quarantined", "OTHER_INSTRUMENT"),
        ("quarantined", "RUN_CONFLICT"),
        ("read", ""),
    ]
    site.link.listeners.stop()  # events are delivered
    assert {"RUN_CONFLICT", "TRANSMISSION-INCOMPLETE"} <= set(site.alarms())
    assert site.bench.tube(tubes[0]).outcome == "positive"


def test_a_revoked_device_and_a_stranger_are_refused(embedded: Bench):
    """Nothing is taken from a revoked device, and nothing from an address that is not written down; both are alarms."""
    bench = embedded
    settings = config.load(
        bench.lab.settings.data,
        listeners=[*LISTENERS[1:], {**LISTENERS[0], "device": "GX-9", "peers": ["192.0.2.7"]}],
    )
    lab = type(bench.lab)(settings, bench.lab.database, bench.lab.vault, bench.lab.rules)
    with Reception(lab, "tcp://127.0.0.1:*") as link:
        with lab.database.write("boss") as unit:
            devices.revoke_device(unit, "HL-1")
        site = Site(bench, link, queue.Queue())
        with Instrument(site.ports[0]) as hl:
            hl.say(mllp(hl7_plate("P00000018", [("A1", "X", "", "N", None)])))
            assert b"\rMSA|AR|MSG-1|Device HL-1 was revoked" in hl.block()
        with Instrument(site.ports[1]) as stranger:
            with contextlib.suppress(ConnectionResetError):
                assert stranger.asked(b"\x05") == b""
    assert {"REFUSED", "SOURCE-REFUSED"} <= set(site.alarms())
    assert bench.count("file") == 0


def test_a_device_of_a_listener_is_known_once(embedded: Bench):
    """Its name stands among the devices after every start, once, without a key that anybody could hold."""
    with embedded.lab.database.write("lis.toml") as unit:
        for _ in range(2):
            inbox.know_sender(unit, "GX-1", "astm")
        (row,) = queries.devices(unit.conn)
    assert (row["name"], row["kind"]) == ("GX-1", "astm")
    assert row["public_key"] is None


def test_a_taken_address_is_a_sentence_and_nothing_listens(embedded: Bench):
    """A server whose listener cannot open its address does not start, and says which address and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        settings = config.load(embedded.lab.settings.data, listeners=[{**LISTENERS[0], "address": address}])
        lab = type(embedded.lab)(settings, embedded.lab.database, embedded.lab.vault, embedded.lab.rules)
        with pytest.raises(LisError) as caught, Reception(lab, "tcp://127.0.0.1:*"):
            pass
    assert caught.value.code == "LISTENER_ADDRESS"
    assert address in caught.value.sentence


@pytest.mark.parametrize(
    ("wrong", "key", "reason"),
    [
        ({"dialect": "fax"}, "listeners.0.dialect", "'astm' or 'hl7'"),
        ({"address": "127.0.0.1:5601"}, "listeners.0.address", "write it like tcp://127.0.0.1:5601"),
        ({"address": "tcp://127.0.0.1"}, "listeners.0.address", "write it like tcp://127.0.0.1:5601"),
        ({"address": "tcp://127.0.0.1:99999"}, "listeners.0.address", "write it like tcp://127.0.0.1:5601"),
        ({"address": "tcp://cycler.lab:5601"}, "listeners.0.address", "write it like tcp://127.0.0.1:5601"),
        ({"device": ""}, "listeners.0.device", "at least 1 character"),
        ({"device": " GX"}, "listeners.0.device", "no blanks at its ends"),
        ({"peers": []}, "listeners.0.peers", "at least 1 item"),
        ({"peers": ["cycler"]}, "listeners.0.peers", "cycler is neither an address nor a network"),
        ({"port": 5601}, "listeners.0.port", "Extra inputs are not permitted"),
    ],
)
def test_wrong_listeners_are_refused_by_key(wrong: dict, key: str, reason: str, tmp_path: Path):
    """A table with a wrong value is refused with the key and the reason."""
    with pytest.raises(LisError) as caught:
        config.load(tmp_path, listeners=[{**LISTENERS[0], **wrong}])
    assert caught.value.code == "BAD_SETTINGS"
    assert f"{key}: " in caught.value.sentence
    assert reason in caught.value.sentence


def test_listeners_are_read_from_the_settings_file(tmp_path: Path):
    """Tables of lis.toml become listeners; two of one device, or of one address, are refused."""
    table = '[[listeners]]\ndialect = "astm"\naddress = "tcp://127.0.0.1:5601"\ndevice = "{}"\npeers = ["192.168.1.5"]\n'
    (tmp_path / "lis.toml").write_text(table.format("GX-1"), encoding="utf-8")
    (one,) = config.load(tmp_path).listeners
    assert (one.host, one.port, one.device, one.peers) == ("127.0.0.1", 5601, "GX-1", ("192.168.1.5",))
    for second in ("GX-2", "gx-1"):
        (tmp_path / "lis.toml").write_text(table.format("GX-1") + table.format(second), encoding="utf-8")
        with pytest.raises(LisError, match="two listeners have the"):
            config.load(tmp_path)
