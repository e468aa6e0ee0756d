"""Listeners over real TCP: who may call, what is acknowledged when, what senders of all manners leave behind."""

from __future__ import annotations

import contextlib
import hashlib
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from hl7.client import MLLPClient
from message_peers import GENEXPERT, ORU, Instrument, frames_of, line, mllp, sum_of

from instruments.dialects import astm_link, talks
from instruments.intake import BridgeEvent, Receipt, Refused, Shipment
from instruments.listener import CONNECTIONS, Listeners, Station

ACK, NAK = b"\x06", b"\x15"
STORED_AT = datetime(2022, 12, 1, tzinfo=UTC)


class Inbox:
    """Keeps what it is handed, by the laboratory's own rule of identity; can be told to fail or to wait."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str, str], Shipment] = {}
        self.calls: queue.Queue[Shipment] = queue.Queue()
        self.events: queue.Queue[BridgeEvent] = queue.Queue()
        self.fail: list[Exception] = []
        self.gate = threading.Event()
        self.gate.set()

    def take(self, shipment: Shipment) -> Receipt:
        """The handler."""
        self.calls.put(shipment)
        assert self.gate.wait(30)
        if self.fail:
            raise self.fail.pop(0)
        assert shipment.sha256 == hashlib.sha256(shipment.data).hexdigest()
        key = (shipment.device, shipment.run, shipment.sha256)
        status = "duplicate" if key in self.kept else "stored"
        self.kept[key] = shipment
        return Receipt(status, STORED_AT)

    def told(self, kind: str) -> BridgeEvent:
        """The next event, which must be of this kind."""
        event = self.events.get(timeout=10)
        assert event.kind == kind, event
        return event

    def waits(self) -> Shipment:
        """The next thing handed over."""
        return self.calls.get(timeout=10)


@pytest.fixture
def listening() -> Iterator[tuple[Inbox, dict[str, int]]]:
    """An ASTM and an HL7 listener, and one that nobody here may call."""
    inbox = Inbox()
    stations = [
        Station("astm", "127.0.0.1", 0, "GX-1"),
        Station("hl7", "127.0.0.1", 0, "HL-1", ("127.0.0.0/8",)),
        Station("astm", "127.0.0.1", 0, "GX-2", ("192.0.2.1", "2001:db8::/32")),
    ]
    with Listeners(stations, inbox.take, inbox.events.put) as found:
        ports = [int(one.rsplit(":", 1)[1]) for one in found.endpoints]
        yield inbox, dict(zip(("astm", "hl7", "closed"), ports, strict=True))


@pytest.fixture
def inbox(listening: tuple[Inbox, dict[str, int]]) -> Inbox:
    """What keeps the messages."""
    return listening[0]


@pytest.fixture
def call(listening: tuple[Inbox, dict[str, int]]) -> Callable[[str], Instrument]:
    """Call a listener."""
    return lambda dialect: Instrument(listening[1][dialect])


def test_a_message_is_acknowledged_after_it_was_kept(inbox: Inbox, call):
    """All frames but the last are answered at once; the last one only when the handler returned."""
    inbox.gate.clear()
    with call("astm") as gx:
        *most, last = frames_of(GENEXPERT)
        assert gx.asked(b"\x05") == ACK
        assert [gx.asked(frame) for frame in most] == [ACK] * len(most)
        gx.say(last)
        shipment = inbox.waits()
        gx.socket.settimeout(0.05)
        with pytest.raises(TimeoutError):
            gx.hear()
        gx.socket.settimeout(30)
        inbox.gate.set()
        assert gx.hear() == ACK
    assert (shipment.device, shipment.run, shipment.data) == ("GX-1", "ODM-0001", GENEXPERT)
    assert shipment.name == "20221201T101500-GX-1-ODM-0001.astm"


@pytest.mark.parametrize("pieces", [[1] * 400, [3, 500, 2, 9], [10_000]], ids=["bytes", "odd", "coalesced"])
def test_fragments_and_runs_together_are_one_message(inbox: Inbox, call, pieces: list[int]):
    """A sender that sends byte by byte, in odd pieces, or everything at once without waiting is understood."""
    with call("astm") as gx:
        gx.say(line(GENEXPERT), pieces)
        assert gx.hear(12) == ACK * 12
    with call("hl7") as hl:
        hl.say(mllp(ORU) + mllp(ORU.replace(b"ORU-1", b"ORU-2")), pieces)
        assert [hl.block().split(b"\rMSA|")[1][:8] for _ in range(2)] == [b"AA|ORU-1", b"AA|ORU-2"]
    assert sorted(run for _, run, _ in inbox.kept) == ["ODM-0001", "ORU-1", "ORU-2"]


def test_a_repeated_message_is_answered_and_kept_once(inbox: Inbox, call):
    """A sender that lost the last answer (it hung up before) sends again: the same is said, one message is kept."""
    for _ in range(2):
        with call("astm") as gx:
            *most, last = frames_of(GENEXPERT)
            assert {gx.asked(frame) for frame in (b"\x05", *most)} == {ACK}
            gx.say(last)
            inbox.waits()
    with call("astm") as gx:
        answers = gx.sends(GENEXPERT, 60)
        assert set(answers) == {ACK}
        assert len(answers) > 12
    for _ in range(2):
        with call("hl7") as hl:
            hl.say(mllp(ORU))
            inbox.waits()
    with call("hl7") as hl:
        hl.say(mllp(ORU))
        assert b"\rMSA|AA|ORU-1" in hl.block()
    assert len(inbox.kept) == 2


def test_a_sender_that_damages_and_repeats_frames_is_kept_once(inbox: Inbox, call):
    """Each frame first with a wrong checksum, then right, then again because its ACK was lost."""
    with call("astm") as gx:
        assert gx.asked(b"\x05") == ACK
        for frame in frames_of(GENEXPERT):
            assert gx.asked(frame.replace(b"|", b"!", 1)) == NAK
            assert gx.asked(frame) == ACK
            assert gx.asked(frame) == ACK
        gx.say(b"\x04")
        assert gx.asked(b"\x05") == ACK
        assert [gx.asked(b"\x022x\x03ZZ\r\n") for _ in range(6)] == [NAK] * 6
    (shipment,) = inbox.kept.values()
    assert shipment.data == GENEXPERT
    assert "its checksum is wrong" in inbox.told("frame-refused").detail


def test_an_independent_client_is_understood(inbox: Inbox, call):
    """The MLLP client of the library hl7 sends a message and finds its answer."""
    with call("hl7") as hl, MLLPClient("127.0.0.1", hl.socket.getpeername()[1]) as client:
        answer = client.send_message(ORU)
    assert b"\rMSA|AA|ORU-1\r" in answer
    assert [one.data for one in inbox.kept.values()] == [mllp(ORU)]


def test_a_line_cut_in_a_frame_leaves_evidence_and_no_message(inbox: Inbox, call):
    """The beginning is kept under a run of its own, so that the whole message is no conflict with it."""
    with call("astm") as gx:
        first, second, *_ = frames_of(GENEXPERT)
        gx.asked(b"\x05")
        gx.asked(first)
        gx.say(second[:4])
    left = inbox.waits()
    assert left.run.startswith("ODM-0001 incomplete ")
    assert left.name == "20221201T101500-GX-1-ODM-0001-incomplete.astm"
    assert left.data == first[2:-5] + second[:4]
    assert "the connection was lost" in inbox.told("transmission-incomplete").detail
    with call("hl7") as hl:
        hl.say(mllp(ORU)[:90])
    left = inbox.waits()
    assert left.data == mllp(ORU)[:90]
    assert left.name.endswith("-ORU-1-incomplete.hl7")
    inbox.told("transmission-incomplete")
    with call("astm") as gx:
        assert set(gx.sends(GENEXPERT)) == {ACK}
    assert len(inbox.kept) == 3


def test_a_store_that_fails_asks_for_the_message_again(inbox: Inbox, call, caplog: pytest.LogCaptureFixture):
    """While the database fails ASTM gets NAK and HL7 gets AE; the same frame, or message, is taken afterwards."""
    inbox.fail = [OSError("disk full"), OSError("disk full")]
    with call("astm") as gx:
        *most, last = frames_of(GENEXPERT)
        gx.asked(b"\x05")
        for frame in most:
            gx.asked(frame)
        assert [gx.asked(last), gx.asked(last), gx.asked(last)] == [NAK, NAK, ACK]
    inbox.told("handler-failed")
    inbox.fail = [OSError("disk full")]
    with call("hl7") as hl:
        hl.say(mllp(ORU))
        assert b"\rMSA|AE|ORU-1|The message could not be stored now. Send it again.\r" in hl.block()
        hl.say(mllp(ORU))
        assert b"\rMSA|AA|ORU-1" in hl.block()
    assert len(inbox.kept) == 2
    assert "disk full" in caplog.text


def test_what_is_refused_for_good_is_said_so(inbox: Inbox, call):
    """A refusal of the laboratory is AR with its sentence, and NAK in ASTM, which has no word for it; both are told."""
    inbox.fail = [
        Refused("DEVICE_REVOKED", "Device HL-1 was revoked."),
        Refused("DEVICE_REVOKED", "Device GX-1 was revoked."),
    ]
    with call("hl7") as hl:
        hl.say(mllp(ORU))
        assert b"\rMSA|AR|ORU-1|Device HL-1 was revoked.\r" in hl.block()
    assert "DEVICE_REVOKED" in inbox.told("refused").detail
    with call("astm") as gx:
        assert gx.sends(GENEXPERT)[-1] == NAK
    assert inbox.told("refused").device == "GX-1"


def test_other_messages_and_none_at_all_are_refused(inbox: Inbox, call):
    """Another type is refused and not kept; a block without header is kept for a person and refused."""
    with call("hl7") as hl:
        hl.say(mllp(ORU.replace(b"ORU^R01^ORU_R01", b"QBP^Q11^QBP_Q11")))
        assert b"\rMSA|AR|ORU-1|Messages of type QBP^Q11 ".replace(b"^", b"\\S\\") in hl.block()
        inbox.told("message-unsupported")
        assert inbox.kept == {}
        hl.say(mllp(b"PID|1"))
        assert b"\rMSA|AR||The message has no header" in hl.block()
    assert [one.data for one in inbox.kept.values()] == [mllp(b"PID|1")]


def test_a_number_of_control_characters_is_none(inbox: Inbox, call):
    """Control characters in a message's number reach neither the inbox nor a file's name; other scripts do."""
    with call("hl7") as hl:
        for number in (b"A\x00B\x7f", "号1".encode(), b"\x00"):
            hl.say(mllp(ORU.replace(b"ORU-1", number)))
            assert b"\rMSA|AA|" in hl.block()
    runs = [run for _, run, _ in inbox.kept]
    assert runs[:2] == ["AB", "号1"]
    assert runs[2].startswith("sha256:")
    assert all(one.name.isascii() and "\0" not in one.name for one in inbox.kept.values())


def test_a_query_is_answered_with_no_information(inbox: Inbox, call):
    """A query is not a result: it is acknowledged, not kept, and answered; our frames survive refusals."""
    query = b"H|\\^&|Q1||CYCLER\rQ|1|^440700000019||ALL\rL|1|N\r"
    with call("astm") as gx:
        assert set(gx.sends(query)) == {ACK}
        assert gx.hear() == b"\x05"
        gx.say(ACK)
        header = read_frame(gx)
        for answer in (NAK, NAK):
            gx.say(answer)
            assert read_frame(gx) == header
        gx.say(ACK)
        ending = read_frame(gx)
        gx.say(ACK)
        assert gx.hear() == b"\x04"
        assert set(gx.sends(b"H|\\^&|2\rL|1|N\r")) == {ACK}  # a sign of life: nothing in it to keep
        assert set(gx.sends(GENEXPERT)) == {ACK}
    assert header[2:].startswith(b"H|\\^&|||nat-lis|||||CYCLER||P|LIS2-A2|")
    assert ending[1:-4] == b"2L|1|I\r\x03"
    assert ending[-4:-2] == sum_of(ending[1:-4])
    assert [one.run for one in inbox.kept.values()] == ["ODM-0001"]


def read_frame(gx: Instrument) -> bytes:
    """One frame of ours."""
    got = b""
    while not got.endswith(b"\r\n"):
        got += gx.hear()
    return got


def test_an_unknown_address_is_hung_up_on_and_told(inbox: Inbox, call):
    """A call from an address that is not written down is closed without a word, and told once a minute."""
    for _ in range(3):
        with call("closed") as stranger:
            stranger.socket.settimeout(30)
            with contextlib.suppress(ConnectionResetError):
                assert stranger.asked(b"\x05") == b""
    event = inbox.told("source-refused")
    assert event.device == "GX-2"
    assert "127.0.0.1" in event.detail
    assert inbox.events.empty()


def test_a_silent_sender_is_given_up_and_may_begin_anew(inbox: Inbox, call, monkeypatch: pytest.MonkeyPatch):
    """When the time for a frame is over the beginning is evidence, and the open line takes the message from the start."""
    monkeypatch.setattr(astm_link, "FRAME_SECONDS", 0.05)
    with call("astm") as gx:
        gx.asked(b"\x05")
        gx.asked(frames_of(GENEXPERT)[0])
        assert inbox.waits().name.endswith("-incomplete.astm")
        monkeypatch.undo()
        assert set(gx.sends(GENEXPERT)) == {ACK}
    assert len(inbox.kept) == 2


def test_a_fault_of_ours_ends_one_connection_and_no_other(
    inbox: Inbox, call, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """When the program fails on what it hears that line is hung up on without an answer; the next call is served."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as planted, call("hl7") as hl:
        planted.setattr(talks.Hl7Talk, "receive", fail)
        planted.setattr(talks.Hl7Talk, "close", fail)
        hl.say(mllp(ORU))
        assert hl.hear() == b""
    with call("hl7") as hl:
        hl.say(mllp(ORU))
        assert b"\rMSA|AA|ORU-1" in hl.block()
    assert "the conversation failed" in caplog.text
    assert "could not be kept" in caplog.text
    inbox.told("rest-lost")


def test_the_rest_of_a_broken_message_that_cannot_be_kept_is_an_alarm(inbox: Inbox, call):
    """A line cut in a message while the store fails: it is said that nothing of it is kept, not that all is."""
    inbox.fail = [OSError("no room")]
    with call("hl7") as hl:
        hl.say(mllp(ORU)[:90])
    inbox.told("handler-failed")
    detail = inbox.told("rest-lost").detail
    assert "-ORU-1-incomplete.hl7" in detail
    assert "could not be kept" in detail
    assert inbox.kept == {}


def test_a_message_over_the_limit_is_refused_for_good(inbox: Inbox, call):
    """More than 8 MiB are not collected: the message is refused by its number, and the next one taken."""
    with call("hl7") as hl:
        hl.say(mllp(ORU + b"NTE|1||" + b"x" * 9_000_000))
        assert b"\rMSA|AR|ORU-1|The message has 9" in hl.block()
        inbox.told("too-large")
        hl.say(b"\x0bMSH|^~\\&|A" + mllp(ORU))
        assert b"\rMSA|AA|ORU-1" in hl.block()
    assert [one.data for one in inbox.kept.values()] == [b"\x0bMSH|^~\\&|A", mllp(ORU)]


def test_one_device_cannot_hold_more_than_its_connections(inbox: Inbox, call):
    """Connections left open by cut cables are ended, the oldest first; the newest is served."""
    old = [call("hl7") for _ in range(CONNECTIONS + 1)]
    assert old[0].hear() == b""
    old[-1].say(mllp(ORU))
    assert b"\rMSA|AA|" in old[-1].block()
    for one in old:
        one.socket.close()


def test_stations_admit_what_is_written_down():
    """Addresses, networks and IPv4 inside IPv6 are compared as numbers, never as text."""
    station = Station("astm", "::1", 0, "X", ("192.0.2.1", "2001:db8::/32"))
    assert [station.admits(one) for one in ("192.0.2.1", "::ffff:192.0.2.1", "2001:db8::5", "fe80::1%eth0", "192.0.2.10")] == [
        True, True, True, False, False,
    ]  # fmt: skip


def test_a_taken_address_opens_nothing():
    """When one address of several is taken none is listened at, and the error is the system's."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        stations = [Station("astm", "127.0.0.1", 0, "A"), Station("hl7", "127.0.0.1", port, "B")]
        made = Listeners(stations, Inbox().take)
        with pytest.raises(OSError, match="in use"):
            made.start()
        assert made.endpoints == ()
        made.stop()


def test_stopping_lets_a_commit_end_and_be_answered():
    """A message that is being kept while the server stops is committed and acknowledged; the line then ends."""
    inbox = Inbox()
    inbox.gate.clear()
    listeners = Listeners([Station("hl7", "127.0.0.1", 0, "HL-1")], inbox.take).start()
    with Instrument(int(listeners.endpoints[0].rsplit(":", 1)[1])) as hl:
        hl.say(mllp(ORU))
        inbox.waits()
        stopping = threading.Thread(target=listeners.stop)
        stopping.start()
        inbox.gate.set()
        assert b"\rMSA|AA|ORU-1" in hl.block()
        stopping.join(30)
        assert hl.hear() == b""
    assert len(inbox.kept) == 1
