"""Enrolment codes and the bridge's door: what a code carries, who may knock with one, how often."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_bridge import QS5, SERVER, STRANGER, House, zmq

from instruments import wire
from instruments.bridge import KeyPair, Limits, Refused, new_keypair
from instruments.door import TRIES, TRIES_OF_ADDRESS, WINDOW_S, Door, new_code, public_of
from instruments.wire import Code, WireError, code_text, read_code

HOSTS = st.from_regex(r"[a-z0-9][a-z0-9.-]{0,30}|\[[0-9a-f:]{2,20}\]", fullmatch=True)
CODES = st.builds(
    lambda host, port, key, secret: Code(f"tcp://{host}:{port}", key, secret),
    HOSTS,
    st.integers(0, 65535),
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=16, max_size=16),
)
ONE = Code("tcp://192.168.7.20:5555", bytes(range(32)), bytes(range(16)))


@settings(max_examples=40)
@given(CODES)
def test_a_code_is_read_as_it_was_written_however_it_was_typed(code: Code):
    """Small letters, blanks, no dashes, O for 0 and l for 1 give the same address, key and secret."""
    text = code_text(code)
    assert read_code(text) == code
    sloppy = text.lower().replace("-", " \n").replace("0", "O").replace("1", "l")
    assert read_code(sloppy) == code


def test_a_wrong_digit_is_found_with_its_group():
    """Each digit replaced by each other one, and each pair of neighbours swapped, is refused; nearly always by its group."""
    text = code_text(ONE)
    groups = text.split("-")
    unnamed = 0
    for number, group in enumerate(groups, 1):
        wrong = {
            group[:at] + digit + group[at + 1 :]
            for at in range(5)
            for digit in "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
        }
        wrong |= {group[:at] + group[at + 1] + group[at] + group[at + 2 :] for at in range(4)}
        for other in wrong - {group}:
            with pytest.raises(WireError) as error:
                read_code("-".join([*groups[: number - 1], other, *groups[number:]]))
            assert error.value.code == "bad-code"
            unnamed += f"Group {number} " not in error.value.sentence
    assert unnamed < 28  # 0 and Z weigh the same; the whole code's check finds those


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "end of the code is missing"),
        (code_text(ONE)[:-6], "end of the code is missing"),
        (code_text(ONE)[:-12], "not whole"),
        (code_text(ONE)[:-2], "Group 28"),
        (code_text(ONE)[6:], "Group 1 "),
        (code_text(ONE).replace("A", "U"), "mistyped"),
        ("not a code at all", "Group 1"),
    ],
)
def test_a_code_that_is_not_whole_is_a_sentence(text: str, words: str):
    """Cut, shifted, misread or made-up codes are refused in words."""
    with pytest.raises(WireError) as error:
        read_code(text)
    assert words in error.value.sentence


@pytest.mark.parametrize(
    "endpoint", ["tcp://*:5555", "ipc:///x", "tcp://lis.lab", "tcp://lis.lab:99999", "tcp://a b:1"]
)
def test_an_address_nobody_can_call_gets_no_code(endpoint: str):
    """Only ``tcp://host:port`` goes into a code."""
    with pytest.raises(WireError, match="bad-code"):
        code_text(Code(endpoint, bytes(32), bytes(16)))


def test_a_code_of_a_later_version_asks_for_a_newer_agent(monkeypatch: pytest.MonkeyPatch):
    """A version that this agent does not know is named."""
    monkeypatch.setattr(wire, "_CODE_VERSION", 2)
    text = code_text(ONE)
    monkeypatch.undo()
    with pytest.raises(WireError, match="version 2"):
        read_code(text)


def test_codes_differ_and_hide_their_secret():
    """Two codes for one bridge have nothing in common but it; the stored half does not tell the secret."""
    one, two = (new_code("tcp://lis.lab:5555", SERVER.public) for _ in range(2))
    assert len(one.secret) * 8 >= 96
    assert one.secret != two.secret
    assert public_of(one) != public_of(two)
    assert one.secret.hex() not in repr(one)


# -- the door -------------------------------------------------------------------------------------


def test_knocks_in_vain_are_counted_and_stopped():
    """After 20 unknown keys of one address, or 200 of all, nothing is looked up for a minute; codes count nothing."""
    now = [0.0]
    asked = []

    def knows(key: bytes) -> bool:
        asked.append(key)
        return key.startswith(b"good")

    door = Door(knows, lambda _: "qs5", lambda: now[0])
    keys = (b"bad %d" % number for number in itertools.count())
    assert [door.admits(b"good", "10.0.0.1") for _ in range(50)] == [True] * 50
    assert [door.admits(b"dead agent", "10.0.0.1") for _ in range(50)] == [False] * 50
    assert asked.count(b"dead agent") == 1
    rest = TRIES_OF_ADDRESS - 1
    assert [door.admits(next(keys), "10.0.0.1") for _ in range(rest)] == [False] * rest
    asked.clear()
    assert door.admits(b"good", "10.0.0.1") is None
    assert asked == []
    assert door.admits(b"good", "10.0.0.2") is True
    others = [door.admits(next(keys), f"10.0.1.{n}") for n in range(TRIES - TRIES_OF_ADDRESS)]
    assert others == [False] * len(others)
    assert door.admits(b"good", "10.0.0.2") is None
    now[0] = WINDOW_S + 1
    assert door.admits(b"good", "10.0.0.1") is True


class Entrance(House):
    """A bridge with one open code for qs5-2."""

    def __init__(self, **options):
        self.code = new_code("tcp://127.0.0.1:1", SERVER.public)
        self.asked = []
        super().__init__(door=Door(lambda key: key.decode() == public_of(self.code), self.enrol), **options)

    def enrol(self, applicant):
        """What the laboratory would do."""
        self.asked.append(applicant)
        if applicant.instrument not in {"", "qs5-2"}:
            raise Refused("CODE_OTHER_DEVICE", "This code is for qs5-2.")
        self.enrolled[applicant.public_key.encode()] = "qs5-2"
        return "qs5-2"

    @property
    def code_keys(self) -> KeyPair:
        """The pair that the code makes."""
        return KeyPair(public_of(self.code).encode(), zmq.utils.z85.encode(self.code.key))


@pytest.fixture
def entrance():
    """A running bridge with a door."""
    house = Entrance(limits=Limits(workers=1))
    with house.bridge:
        yield house
        for device in house.devices:
            device.close()


def file_of(instrument: str):
    """A small run file."""
    return wire.split_file(b"A1", instrument=instrument, run="r", name="r.csv")[0]


def test_a_code_enrols_a_key_and_can_do_nothing_else(entrance: Entrance):
    """With the code's key: files, readings and greetings are refused; ENROL names a key, which then works."""
    knock = entrance.device(entrance.code_keys)
    for message in (
        file_of("qs5-2"),
        file_of("qs5-1"),
        wire.hello("1.1", "qs5-2"),
        wire.ping(),
        wire.reads("qs5-2", "r", 1, "FAM", [1.0] * 96),
    ):
        assert knock.ask(message).header["code"] == "not-enrolled"
    assert entrance.files == {}
    assert entrance.reads == []
    new = new_keypair()
    answer = knock.ask(wire.enrol("1.1", new.public.decode()))
    assert (answer.type, answer.header["device"]) == (wire.WELCOME, "qs5-2")
    (applicant,) = entrance.asked
    assert (applicant.public_key, applicant.agent) == (new.public.decode(), "1.1")
    assert applicant.address == "127.0.0.1"
    assert entrance.device(new).ask(file_of("qs5-2")).header["status"] == wire.STORED


def test_a_refused_code_is_answered_and_heard_of_once(entrance: Entrance):
    """The laboratory's refusal reaches the agent word for word, and the audit trail once a minute."""
    knock = entrance.device(entrance.code_keys)
    for _ in range(3):
        answer = knock.ask(wire.enrol("1.1", STRANGER.public.decode(), "lc480-2"))
        assert answer.header["status"] == wire.PERMANENT
        assert (answer.header["code"], answer.header["sentence"]) == (
            "CODE_OTHER_DEVICE",
            "This code is for qs5-2.",
        )
    assert entrance.wait_for("code-refused")
    told = [event for event in entrance.events if event.kind == "code-refused"]
    assert len(told) == 1
    assert "127.0.0.1" in told[0].detail


def test_no_other_key_comes_near_the_door(entrance: Entrance):
    """A stranger is refused in the handshake; an enrolled device that asks to enrol is told it needs a code."""
    stranger = entrance.device(STRANGER)
    assert stranger.handshake() == zmq.EVENT_HANDSHAKE_FAILED_AUTH
    stranger.push(wire.enrol("1.1", STRANGER.public.decode()))
    answer = entrance.device(QS5).ask(wire.enrol("1.1", STRANGER.public.decode(), "qs5-2"))
    assert (answer.header["status"], answer.header["code"]) == (wire.PERMANENT, "no-code")
    assert entrance.asked == []


def test_too_many_strangers_are_told_to_wait_and_enrolled_devices_are_not(entrance: Entrance):
    """Beyond the limit of an address unknown keys are put off, with one event; devices come in."""
    door = entrance.bridge._door
    door._vain.extend((door._tick(), "127.0.0.1", b"%d" % number) for number in range(TRIES_OF_ADDRESS))
    entrance.device(STRANGER)
    assert entrance.wait_for("too-many-keys")
    assert entrance.bridge.snapshot().get("key-refused", 0) == 0
    assert entrance.device(QS5).ask(wire.ping()).type == wire.PONG


def test_a_bridge_without_a_door_enrols_nobody():
    """Where the laboratory gives no door, ENROL is answered with what is missing."""
    house = House()
    with house.bridge:
        answer = house.device(QS5).ask(wire.enrol("1.1", STRANGER.public.decode()))
        house.devices[0].close()
    assert answer.header["code"] == "no-code"
