"""The bridge over real CURVE sockets, spoken to by a bare DEALER: who gets in, what is answered."""

from __future__ import annotations

import contextlib
import json
import threading
from datetime import UTC, datetime

import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from instruments import wire
from instruments.bridge import Bridge, Limits, Receipt, Refused, new_keypair

NOW = datetime(2026, 3, 1, tzinfo=UTC)
WAIT_MS = 10_000  # an upper bound, never waited for when all is well
SILENCE_MS = 400  # how long a refused client is watched for an answer it must not get

SERVER, QS5, LC480, STRANGER = (new_keypair() for _ in range(4))


class Device:
    """A bare client: sends frames, receives frames, watches its connection."""

    def __init__(self, endpoint, keys, server=SERVER.public, routing_id=None):
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.sndtimeo = WAIT_MS
        if keys is not None:
            self.socket.curve_publickey, self.socket.curve_secretkey = keys
            self.socket.curve_serverkey = server
        if routing_id is not None:
            self.socket.routing_id = routing_id
        self.monitor = self.socket.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED
            | zmq.EVENT_HANDSHAKE_FAILED_AUTH
            | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
        )
        self.socket.connect(endpoint)

    def send(self, message):
        """Send one message."""
        self.socket.send_multipart(wire.encode(message))

    def push(self, message):
        """Send, even into a connection that may have been refused already."""
        self.socket.sndtimeo = SILENCE_MS
        with contextlib.suppress(zmq.Again):
            self.send(message)

    def answer(self, timeout=WAIT_MS):
        """The next answer, None if there is none in time."""
        if not self.socket.poll(timeout):
            return None
        return wire.decode(self.socket.recv_multipart())

    def ask(self, message):
        """Send one message and wait for the next answer."""
        self.send(message)
        return self.answer()

    def handshake(self, timeout=WAIT_MS):
        """How the handshake ended."""
        if not self.monitor.poll(timeout):
            return None
        return zmq.Event(int.from_bytes(self.monitor.recv_multipart()[0][:2], "little"))

    def close(self):
        """Hang up."""
        self.socket.disable_monitor()
        self.monitor.close(linger=0)
        self.context.destroy(linger=0)


class House:
    """A bridge with its list of devices, its store, its audit trail and any number of clients."""

    def __init__(self, **options):
        self.enrolled = {QS5.public: "qs5-1", LC480.public: "lc480-2"}
        self.files = {}
        self.events = []
        self.reads = []
        self.heard = threading.Condition()
        self.bridge = Bridge(
            "tcp://127.0.0.1:*", SERVER, self.look_up, self.store,
            on_event=self.hear, on_reads=self.reads.append, **options,
        )  # fmt: skip
        self.devices = []

    def look_up(self, key):
        """The device a key is enrolled for."""
        return self.enrolled.get(key)

    def store(self, shipment):
        """The handler: store once."""
        key = (shipment.instrument, shipment.run, shipment.sha256)
        known = key in self.files
        self.files.setdefault(key, shipment.data)
        return Receipt("duplicate" if known else "stored", NOW)

    def hear(self, event):
        """Take an event for the audit trail."""
        with self.heard:
            self.events.append(event)
            self.heard.notify_all()

    def wait_for(self, kind):
        """Wait until an event of this kind was heard."""
        with self.heard:
            return self.heard.wait_for(lambda: kind in [event.kind for event in self.events], 10)

    def device(self, keys=QS5, **options):
        """Connect one more client."""
        self.devices.append(Device(self.bridge.endpoint, keys, **options))
        return self.devices[-1]


@contextlib.contextmanager
def running(**options):
    """A bridge that runs, with its clients closed at the end."""
    house = House(**options)
    with house.bridge:
        try:
            yield house
        finally:
            for device in house.devices:
                device.close()


@pytest.fixture
def house():
    """A running bridge."""
    with running() as one:
        yield one


def part(data=b"A1,23.4", name="run-1.csv", instrument="qs5-1"):
    """A small file in one part."""
    (message,) = wire.split_file(data, instrument=instrument, run=name[:-4], name=name)
    return message


# ---------------------------------------------------------------------------- the protocol
def test_every_question_has_its_answer(house):
    """HELLO, PING and RUN_FILE of an enrolled device are answered under their own message id."""
    device = house.device()
    hello, ping, file = wire.hello("1.0", "qs5-1"), wire.ping(), part()
    welcome, pong, ack = device.ask(hello), device.ask(ping), device.ask(file)
    assert welcome.header == {"supported": [1, 1], "device": "qs5-1"}
    assert (pong.type, ack.type) == ("PONG", "ACK")
    assert [one.message_id for one in (welcome, pong, ack)] == [one.message_id for one in (hello, ping, file)]
    assert (ack.header["status"], ack.header["first_stored_at"]) == ("stored", NOW.isoformat())
    assert list(house.files.values()) == [b"A1,23.4"]


def test_a_device_that_says_anything_is_heard_but_not_at_every_word(house):
    """A device that only asks whether the bridge lives is told of as heard, once however often it asks."""
    device = house.device()
    for _ in range(5):
        assert device.ask(wire.ping()).type == "PONG"
    assert house.wait_for("heard")
    assert [event.device for event in house.events if event.kind == "heard"] == ["qs5-1"]


def test_a_repeat_reaches_the_handler_and_is_called_a_duplicate(house):
    """The same file five times is stored once and answered as duplicate four times."""
    device = house.device()
    answers = [device.ask(part()).header["status"] for _ in range(5)]
    assert answers == ["stored", *["duplicate"] * 4]
    assert len(house.files) == 1


def test_parts_in_any_order_and_twice_make_one_file(house):
    """5 MB in parts, reversed and repeated, arrive as exactly the file."""
    data = bytes(range(256)) * 20_000
    parts = wire.split_file(data, instrument="qs5-1", run="big", name="big.eds")
    device = house.device()
    for message in [*reversed(parts), *parts[:3]]:
        answer = device.ask(message)
    assert answer.header["complete"]
    assert list(house.files.values()) == [data]


def test_live_readings_reach_their_receiver(house):
    """READS are handed on with the device's enrolled name; another instrument's name is audited instead."""
    device = house.device()
    device.send(wire.reads("lc480-2", "run-1", 4, "FAM", [1.0] * 96))
    assert house.wait_for("wrong-instrument")
    device.send(wire.reads("qs5-1", "run-1", 5, "FAM", [0.5] * 96))
    device.ask(wire.ping())
    house.bridge.stop()
    assert [(one.device, one.cycle, one.values) for one in house.reads] == [("qs5-1", 5, (0.5,) * 96)]


def test_an_unknown_major_version_is_refused_with_the_range(house):
    """A newer agent is told which versions are spoken here, and may come again."""
    device = house.device()
    frames = wire.encode(wire.ping())
    device.socket.send_multipart([b"NAT9", *frames[1:]])
    answer = device.answer()
    assert (answer.type, answer.header["code"]) == ("NACK", "unknown-protocol")
    assert (answer.header["status"], answer.extra["supported"]) == ("retryable", [1, 1])
    assert answer.message_id == frames[2]


def test_a_message_that_only_a_bridge_may_send_is_refused(house):
    """An ACK sent to the bridge is answered with a NACK, not obeyed."""
    answer = house.device().ask(wire.ack(b"x", wire.STORED, ""))
    assert (answer.type, answer.header["code"]) == ("NACK", "wrong-way")


# ---------------------------------------------------------------------------- who gets in
@pytest.mark.parametrize("keys", [STRANGER, None], ids=["unknown-key", "no-key"])
def test_strangers_are_not_let_in(house, keys):
    """A key that is not enrolled, or no key at all, gets no message through and no answer."""
    device = house.device(keys)
    device.push(part())
    assert device.handshake(SILENCE_MS) is not zmq.Event.HANDSHAKE_SUCCEEDED
    assert device.answer(SILENCE_MS) is None
    assert house.files == {}
    assert house.device().ask(wire.ping()).type == "PONG"
    if keys is not None:
        assert house.wait_for("key-refused")
        assert {event.public_key for event in house.events if event.kind == "key-refused"} == {keys.public}


def test_a_false_server_key_ends_the_handshake(house):
    """A client that trusts another server's key does not talk to this one."""
    device = house.device(QS5, server=STRANGER.public)
    device.push(part())
    assert device.answer(SILENCE_MS) is None
    assert house.files == {}


def test_a_revoked_key_is_refused_on_a_living_link(house):
    """From the moment of revocation every message of the open connection is refused and audited."""
    device = house.device()
    assert device.ask(wire.ping()).type == "PONG"
    house.enrolled.pop(QS5.public)
    answers = [device.ask(message) for message in (part(), wire.ping(), wire.hello("1.0", "qs5-1"))]
    assert {(one.type, one.header["status"], one.header["code"]) for one in answers} == {
        ("NACK", "retryable", "not-enrolled")
    }
    assert house.files == {}
    assert house.wait_for("key-revoked")
    house.enrolled[QS5.public] = "qs5-1"
    assert device.ask(part()).header["status"] == "stored"


def test_a_key_enrolled_later_is_let_in(house):
    """A device that was refused is told so at once, and admitted when it knocks after its enrolment."""
    assert house.device(STRANGER).handshake() is zmq.Event.HANDSHAKE_FAILED_AUTH
    house.enrolled[STRANGER.public] = "new-3"
    assert house.device(STRANGER).ask(wire.hello("1.0", "new-3")).header["device"] == "new-3"


def test_another_instruments_name_is_refused_for_good(house):
    """The enrolled key decides who speaks, not the header."""
    answer = house.device(LC480).ask(part(instrument="qs5-1"))
    assert (answer.header["status"], answer.header["code"]) == ("permanent", "wrong-instrument")
    assert house.wait_for("wrong-instrument")
    assert house.files == {}


def test_another_devices_address_gets_no_answer(house):
    """A device that takes the routing id of another provokes no answer to it, and is audited."""
    thief = house.device(LC480, routing_id=wire.routing_id(QS5.public))
    thief.send(part(instrument="qs5-1"))
    assert house.wait_for("stolen-address")
    assert thief.answer(SILENCE_MS) is None
    assert house.files == {}
    honest = house.device(QS5, routing_id=wire.routing_id(QS5.public))
    assert honest.ask(part()).header["status"] == "stored"


def test_an_enrolment_that_cannot_be_read_lets_nobody_in_and_loses_nothing(house, caplog):
    """While the device list fails, messages are to be sent again, and new devices wait outside."""
    device = house.device()
    assert device.ask(wire.ping()).type == "PONG"
    real, house.enrolled = house.enrolled, None
    answer = device.ask(part())
    assert (answer.header["status"], answer.header["code"]) == ("retryable", "enrolment-unreadable")
    assert device.ask(part()).header["code"] == "enrolment-unreadable"
    assert house.wait_for("enrolment-unreadable")
    late = house.device(LC480)
    late.send(wire.ping())
    assert late.answer(SILENCE_MS) is None
    house.enrolled = real
    assert late.answer().type == "PONG"
    assert device.ask(part()).header["status"] == "stored"
    assert caplog.text.count("the enrolment could not be read") == 1  # told once, not at every message
    assert [event.device for event in house.events if event.kind == "enrolment-unreadable"] == ["server"]


# ---------------------------------------------------------------------------- trouble
def test_handler_trouble_is_answered_by_kind(house, caplog):
    """Refused is permanent with its own words; anything else is retryable, logged, and heals."""
    device = house.device()
    moods = [Refused("no-format", "No format knows this file."), ZeroDivisionError("bug")]

    def moody(shipment):
        if moods:
            raise moods.pop(0)
        return House.store(house, shipment)

    house.bridge._intake._handler = moody
    answers = [device.ask(part()) for _ in range(3)]
    assert [(one.type, one.header["status"]) for one in answers] == [
        ("NACK", "permanent"), ("NACK", "retryable"), ("ACK", "stored"),
    ]  # fmt: skip
    assert "ZeroDivisionError: bug" in caplog.text


def test_a_slow_handler_delays_nobody_else():
    """While one device's file is being stored, others are answered and served, and its own order is kept."""
    with running() as house:
        gate, order = threading.Event(), []

        def slow(shipment):
            if shipment.name == "slow.csv":
                assert gate.wait(20)
            order.append(shipment.name)
            return House.store(house, shipment)

        house.bridge._intake._handler = slow
        first, second = house.device(QS5), house.device(LC480)
        first.send(part(name="slow.csv"))
        first.send(part(name="next.csv"))
        assert first.ask(wire.ping()).type == "PONG"
        assert second.ask(wire.ping()).type == "PONG"
        assert second.ask(part(name="other.csv", instrument="lc480-2")).type == "ACK"
        assert order == ["other.csv"]
        gate.set()
        assert [first.answer().header["status"] for _ in range(2)] == ["stored", "stored"]
        assert order == ["other.csv", "slow.csv", "next.csv"]


def test_too_much_at_once_is_put_off():
    """A device whose queue is full is told to come again, and the bridge stays upright."""
    with running(limits=Limits(queue=2, workers=1)) as house:
        entered, gate = threading.Event(), threading.Event()

        def slow(shipment):
            entered.set()
            assert gate.wait(20)
            return House.store(house, shipment)

        house.bridge._intake._handler = slow
        device = house.device()
        device.send(part(name="run-0.csv"))
        assert entered.wait(10)
        for number in range(1, 6):
            device.send(part(name=f"run-{number}.csv"))
        answers = [device.answer() for _ in range(3)]
        assert {(one.type, one.header["code"]) for one in answers} == {("NACK", "busy")}
        gate.set()
        assert [device.answer().header["status"] for _ in range(3)] == ["stored"] * 3


def test_who_sends_more_than_any_cycler_is_passed_over_and_named():
    """A flood is not looked at beyond its allowance, is audited by name, and costs the next device nothing."""
    with running(limits=Limits(burst=100.5, a_second=0.001)) as house:
        device, other = house.device(), house.device(LC480)
        for _ in range(30):
            device.send(wire.ping())  # five points each
        answered = [device.answer() for _ in range(20)]
        assert {one.type for one in answered} == {"PONG"}
        assert house.wait_for("flooding")
        assert device.answer(SILENCE_MS) is None
        assert other.ask(part(name="run-2.csv", instrument="lc480-2")).header["status"] == "stored"
        assert [event.device for event in house.events if event.kind == "flooding"] == ["qs5-1"]
        assert house.bridge.snapshot()["flooding"] == 10


def test_who_floods_on_is_cut_off_and_let_in_again_later():
    """A flood beyond all patience loses its connection, is refused until its penalty is over, and then heard again."""
    with running(limits=Limits(burst=20.5, a_second=20.0, patience=50.0)) as house:
        device, other = house.device(), house.device(LC480)
        assert {one.ask(wire.ping()).type for one in (device, other)} == {"PONG"}
        lost = device.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        for _ in range(200):
            device.push(wire.ping())
        assert house.wait_for("cut-off")
        assert lost.poll(WAIT_MS)
        told = next(event for event in house.events if event.kind == "cut-off")
        assert (told.device, told.public_key) == ("qs5-1", QS5.public)
        assert "127.0.0.1" in told.detail
        assert house.device().handshake(SILENCE_MS) is None
        assert other.ask(part(name="run-2.csv", instrument="lc480-2")).header["status"] == "stored"
        figures = house.bridge.snapshot()
        assert (figures["cut-off"], figures["event_cut-off"]) == (1, 1)
        assert min(figures["barred"], figures["hung_up"]) >= 1
        house.bridge._penalties._imposed.clear()  # as when its time is over
        assert house.device().ask(part()).header["status"] == "stored"
        device.socket.disable_monitor()
        lost.close(linger=0)


def test_a_flood_under_a_false_address_is_paid_for_as_well():
    """Messages that are never answered still cost their sender its allowance."""
    with running(limits=Limits(burst=350.5, a_second=0.001)) as house:
        thief = house.device(LC480, routing_id=wire.routing_id(QS5.public))
        for _ in range(5):
            thief.send(wire.ping())
        assert house.wait_for("flooding")
        assert house.bridge.snapshot()["stolen-address"] == 4


def test_stopping_ends_the_work_in_hand_and_acknowledges_nothing_else():
    """stop() lets a running call finish and sends its answer; what waits is left to the agents."""
    with running(limits=Limits(workers=1)) as house:
        entered, gate = threading.Event(), threading.Event()

        def slow(shipment):
            entered.set()
            assert gate.wait(20)
            return House.store(house, shipment)

        house.bridge._intake._handler = slow
        device = house.device()
        device.send(part(name="in-hand.csv"))
        device.send(part(name="waiting.csv"))
        assert entered.wait(10)
        assert device.ask(wire.ping()).type == "PONG"
        stopper = threading.Thread(target=house.bridge.stop)
        stopper.start()
        gate.set()
        stopper.join(20)
        assert device.answer().header["status"] == "stored"
        assert device.answer(SILENCE_MS) is None
        assert [run for _instrument, run, _sha in house.files] == ["in-hand"]


def test_a_bridge_starts_again_on_its_address_and_only_once():
    """Start, stop, start on the same address works; two starts, or two bridges on one port, do not."""
    with running() as house:
        with pytest.raises(RuntimeError):
            house.bridge.start()
        other = Bridge(house.bridge.endpoint, SERVER, house.look_up, house.store)
        with pytest.raises(zmq.ZMQError):
            other.start()
        house.bridge.stop()
        house.bridge.stop()
        house.bridge.start()
        assert house.device().ask(part()).header["status"] == "stored"
        assert house.bridge.snapshot()["sent_ack_stored"] == 1


FRAMES = [
    wire.encode(message)
    for message in (
        part(),
        wire.ping(),
        wire.hello("1.0", "qs5-1"),
        wire.reads("qs5-1", "r", 1, "FAM", [0.0] * 96),
    )
]


@pytest.fixture(scope="module")
def target():
    """One bridge and one client for all examples, with as much rubbish as they like."""
    with running(limits=Limits(burst=1e9)) as house:
        yield house, house.device()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(FRAMES), st.data())
def test_no_frames_bring_the_bridge_down(target, frames, data):
    """Mutated frames and headers leave no error in the loop, and the device is still answered."""
    house, device = target
    frames = list(frames)
    place = data.draw(st.integers(0, len(frames) - 1))
    if place == 3 and data.draw(st.booleans()):
        header = json.loads(frames[3])
        value = data.draw(
            st.one_of(st.none(), st.integers(), st.text(max_size=5), st.lists(st.integers(), max_size=2))
        )
        frames[3] = json.dumps({**header, data.draw(st.sampled_from([*header, "x"])): value}).encode()
    else:
        frames[place] = data.draw(st.binary(max_size=60))
    if data.draw(st.booleans()):
        frames = frames[: data.draw(st.integers(1, 5))] + data.draw(
            st.lists(st.binary(max_size=9), max_size=2)
        )
    device.socket.send_multipart(frames)
    ping = wire.ping()
    device.send(ping)
    while (answer := device.answer()).message_id != ping.message_id:
        assert answer.type in {"NACK", "ACK", "PONG", "WELCOME"}
    assert "loop_errors" not in house.bridge.snapshot()
