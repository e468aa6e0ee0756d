"""Frames and parts: what goes in comes out, and nothing else is believed."""

from __future__ import annotations

import ast
import json
import math
import random
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instruments import wire

SOURCE = Path(__file__).resolve().parents[2] / "instruments"

printable = st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), min_size=1, max_size=40)
names = printable.filter(str.strip)
part_sizes = st.integers(1, 64)


def some_file(data: bytes = b"Well,Cq\nA1,23.4\n", part_bytes: int = 6) -> list[wire.Message]:
    """A small synthetic export in three parts."""
    return wire.split_file(
        data,
        instrument="qs5-1",
        run="run-7",
        name="run-7.csv",
        plate="P0042",
        produced_at="2026-03-01T04:05:06+08:00",
        part_bytes=part_bytes,
    )


MESSAGES = [
    wire.hello("1.0", "qs5-1", ["RUN_FILE"]),
    wire.ping(),
    wire.pong(b"abc"),
    wire.welcome(b"abc", "qs5-1"),
    wire.ack(b"abc", wire.STORED, "2026-03-01T00:00:00+00:00"),
    wire.ack(b"abc", wire.STORED, "", [2, 3]),
    wire.nack(b"abc", wire.PERMANENT, "wrong-instrument", "Enrolled for another device."),
    wire.reads("qs5-1", "run-7", 12, "FAM", [0.5] * 96),
    *some_file(),
]


@pytest.mark.parametrize("message", MESSAGES, ids=[f"{n}-{m.type}" for n, m in enumerate(MESSAGES)])
def test_every_type_survives_its_frames(message):
    """Decoding the frames of a message gives that message back, for every type of the protocol."""
    assert wire.decode(wire.encode(message)) == message


@given(
    data=st.binary(max_size=300),
    instrument=names,
    run=names,
    name=names,
    plate=st.one_of(st.just(""), names),
    part_bytes=part_sizes,
    order=st.randoms(use_true_random=False),
)
def test_a_file_comes_back_whole_whatever_the_order(data, instrument, run, name, plate, part_bytes, order):
    """Any file cut into any parts, shuffled, with repeats, over real frames, is the same file again."""
    messages = wire.split_file(
        data, instrument=instrument, run=run, name=name, plate=plate, part_bytes=part_bytes
    )
    assert all(len(message.body) <= part_bytes for message in messages)
    arriving = messages + order.choices(messages, k=3)
    order.shuffle(arriving)
    assembly = wire.Assembly(wire.head_of(messages[0]))
    fresh = [assembly.add(wire.decode(wire.encode(message))) for message in arriving]
    assert sum(fresh) == len(messages)
    assert assembly.missing() == []
    assert assembly.data() == data


@given(
    data=st.binary(min_size=1, max_size=200), part_bytes=part_sizes, chance=st.randoms(use_true_random=False)
)
def test_a_changed_byte_never_passes_as_the_file(data, part_bytes, chance):
    """One flipped bit in one part is found by the SHA-256 of the whole, and the parts are forgotten."""
    messages = some_file(data, part_bytes)
    victim = chance.randrange(len(messages))
    spot = chance.randrange(len(messages[victim].body))
    body = bytearray(messages[victim].body)
    body[spot] ^= 1 << chance.randrange(8)
    assembly = wire.Assembly(wire.head_of(messages[0]))
    for number, message in enumerate(messages, start=1):
        sent = message if number != victim + 1 else wire.part_message(assembly.head, number, bytes(body))
        assembly.add(sent)
    with pytest.raises(wire.WireError) as caught:
        assembly.data()
    assert caught.value.code == "digest-mismatch"
    assert assembly.missing() == list(range(1, len(messages) + 1))


def test_an_incomplete_file_is_never_given_out():
    """As long as one part is missing there is no data, only the list of what is missing."""
    messages = some_file()
    assembly = wire.Assembly(wire.head_of(messages[0]))
    assembly.add(messages[2])
    assert assembly.missing() == [1, 2]
    with pytest.raises(wire.WireError) as caught:
        assembly.data()
    assert caught.value.code == "incomplete"


def test_parts_of_another_file_or_too_many_bytes_are_refused():
    """A part that belongs elsewhere, or parts that exceed the announced size, do not get in."""
    messages = some_file()
    assembly = wire.Assembly(wire.head_of(messages[0]))
    with pytest.raises(wire.WireError) as foreign:
        assembly.add(some_file(b"another file")[0])
    assert foreign.value.code == "foreign-part"
    head = wire.head_of(messages[0])
    assembly.add(wire.part_message(head, 1, b"x" * head.size))
    with pytest.raises(wire.WireError) as many:
        assembly.add(messages[1])
    assert many.value.code == "too-many-bytes"
    assert assembly.missing() == [1, 2, 3]


def test_a_resend_has_the_same_id_and_any_other_part_another():
    """The id of a part depends on its content and place alone, so a resend is recognised."""
    ids = [message.message_id for message in some_file()]
    assert ids == [message.message_id for message in some_file()]
    other = [message.message_id for message in some_file(b"Well,Cq\nA1,23.5\n")]
    coarser = [message.message_id for message in some_file(part_bytes=8)]
    assert len({*ids, *other, *coarser}) == len(ids) + len(other) + len(coarser)


@pytest.mark.parametrize("magic", [b"NAT0", b"NAT2", b"NAT17"])
def test_an_unknown_major_version_is_answered_with_the_supported_range(magic):
    """Another major version is an error that carries the range spoken here and the message's id."""
    frames = [magic, *wire.encode(wire.ping())[1:], b"a frame protocol 1 does not know"]
    with pytest.raises(wire.WireError) as caught:
        wire.decode(frames)
    assert caught.value.code == "unknown-protocol"
    assert caught.value.supported == (1, 1)
    assert caught.value.message_id == frames[2]


def test_unknown_header_keys_are_kept():
    """What a newer minor version adds to a header is neither an error nor lost."""
    frames = wire.encode(some_file()[0])
    header = json.loads(frames[3])
    frames[3] = json.dumps({**header, "kit_lot": "L-9", "minor": 3}).encode()
    message = wire.decode(frames)
    assert message.extra == {"kit_lot": "L-9", "minor": 3}
    assert wire.decode(wire.encode(message)) == message


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("sha256", "A" * 64),
        ("sha256", 5),
        ("size", -1),
        ("size", True),
        ("size", wire.MAX_FILE_BYTES + 1),
        ("part", 0),
        ("part", 4),
        ("parts", wire.MAX_PARTS + 1),
        ("instrument", ""),
        ("instrument", " "),
        ("name", "a\nb"),
        ("name", "x" * 513),
        ("run", None),
        ("produced_at", "2026-03-01T04:05:06"),
        ("produced_at", "yesterday"),
    ],
)
def test_a_header_that_breaks_the_rules_is_named(change, value):
    """A wrong header value is refused with the key in the sentence."""
    frames = wire.encode(some_file()[0])
    frames[3] = json.dumps({**json.loads(frames[3]), change: value}).encode()
    with pytest.raises(wire.WireError) as caught:
        wire.decode(frames)
    assert caught.value.code == "bad-header"
    assert change in caught.value.sentence.lower()


@pytest.mark.parametrize(
    ("place", "raw", "code"),
    [
        (0, b"HTTP", "bad-frames"),
        (1, b"SHUTDOWN", "unknown-type"),
        (1, b"\xff", "unknown-type"),
        (2, b"", "bad-id"),
        (2, b"x" * 65, "bad-id"),
        (3, b"[" * 5000, "bad-header"),
        (3, b"[]", "bad-header"),
        (3, b'{"size": NaN}', "bad-header"),
        (3, b'{"size": 1e999}', "bad-header"),
        (3, b'{"name": "\\ud800"}', "bad-header"),
        (3, b"{}", "bad-header"),
        (3, b" " * (wire.MAX_HEADER_BYTES + 1), "bad-header"),
        (4, b"x" * (wire.MAX_PART_BYTES + 1), "bad-body"),
        (4, b"", "bad-body"),
    ],
)
def test_a_broken_frame_has_its_own_code(place, raw, code):
    """Whatever is wrong with a frame is told by a stable code."""
    frames = wire.encode(some_file()[0])
    frames[place] = raw
    with pytest.raises(wire.WireError) as caught:
        wire.decode(frames)
    assert caught.value.code == code


@settings(max_examples=150)
@given(st.lists(st.binary(max_size=80), max_size=7))
def test_noise_is_refused_and_nothing_else_happens(frames):
    """Random frames, with or without our magic, raise WireError and never anything else."""
    for candidate in (frames, [wire.MAGIC, *frames]):
        with pytest.raises(wire.WireError):
            wire.decode(candidate)


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=150)
@given(st.sampled_from(MESSAGES), st.data())
def test_a_mutated_header_is_read_or_refused(message, data):
    """A header with any key set to any JSON value decodes or raises WireError; decoded, it encodes again."""
    frames = wire.encode(message)
    header = json.loads(frames[3])
    key = data.draw(st.sampled_from([*header, "unknown"]))
    frames[3] = json.dumps({**header, key: data.draw(json_values)}).encode()
    try:
        decoded = wire.decode(frames)
    except wire.WireError:
        return
    assert wire.decode(wire.encode(decoded)) == decoded


def test_readings_keep_their_values_and_their_gaps():
    """384 readings travel exactly, NaN included; another number of wells is refused."""
    values = [random.Random(5).uniform(-1e6, 1e6) for _ in range(383)] + [math.nan]
    back = wire.values_of(wire.decode(wire.encode(wire.reads("qs5-1", "run-7", 3, "VIC", values))))
    assert list(back[:-1]) == values[:-1]
    assert math.isnan(back[-1])
    with pytest.raises(wire.WireError):
        wire.reads("qs5-1", "run-7", 3, "VIC", [1.0] * 95)


def test_what_cannot_be_written_is_refused_by_the_sender():
    """A header JSON cannot carry, or one too long, is an error at the sender and not on the wire."""
    head = wire.head_of(some_file()[0])
    for extra in ({"x": math.inf}, {"x": object()}, {"x": "y" * wire.MAX_HEADER_BYTES}):
        with pytest.raises(wire.WireError) as caught:
            wire.encode(wire.part_message(head, 1, b"abc", extra))
        assert caught.value.code == "bad-header"
    with pytest.raises(ValueError, match="A part has 1 to"):
        some_file(part_bytes=0)


def test_a_short_time_zone_and_z_are_understood():
    """Z means UTC, an offset is kept, a time without one is not a time."""
    assert wire.parse_moment("2026-03-01T04:05:06Z") == wire.parse_moment("2026-03-01T12:05:06+08:00")
    assert wire.parse_moment("2026-03-01T04:05:06") is None
    assert wire.parse_moment("2026-03-01") is None


@pytest.mark.parametrize("file", ["wire.py", "agent.py"])
def test_the_old_pc_can_read_the_source(file):
    """Agent and wire are Python 3.8 in syntax and import only pyzmq besides the standard library."""
    tree = ast.parse((SOURCE / file).read_text(encoding="utf-8"), feature_version=(3, 8))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(str(node.module).split(".")[0])
    assert imported <= {*sys.stdlib_module_names, "zmq", "wire", "instruments"}
