"""Blocks of HL7 on a line, and acknowledgements that an independent library finds valid."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message
from hypothesis import given, settings
from hypothesis import strategies as st
from message_peers import ORU, cut, hl7_plate, mllp

from instruments.dialects.mllp import (
    Block,
    Cut,
    Framer,
    Piece,
    TooLong,
    Verdict,
    acknowledgements,
    header,
    wrap,
)

NOW = datetime(2022, 12, 1, 12, tzinfo=UTC)
OUL = hl7_plate("P00000018", [("A1", "440700000019", "", "N", 22.5), ("A2", "NTC", "NTC", "N", None)])


def pieces(data: bytes, sizes: list[int], limit: int = 10_000) -> list[Piece]:
    """What comes out of a stream cut into pieces."""
    framer = Framer(limit)
    found: list[Piece] = []
    for part in cut(data, sizes):
        found += framer.receive(part)
    return found + framer.close()


@settings(max_examples=80)
@given(
    st.lists(
        st.sampled_from([mllp(ORU), mllp(OUL), b"\x0b", b"\x1c\r", b"noise\r\n", b"\x0bMSH|half"]), max_size=6
    ),
    st.lists(st.integers(1, 400), max_size=30),
)
def test_any_fragmentation_gives_the_same_blocks(parts: list[bytes], sizes: list[int]):
    """However the stream is cut, each whole message comes out once, in order, and half ones as cut."""
    data = b"".join(parts)
    found = pieces(data, sizes)
    assert found == pieces(data, [])
    whole = [one.data for one in found if isinstance(one, Block) and one.data.startswith(b"MSH|^~\\&|")]
    assert whole == [part[1:-2] for part in parts if part in (mllp(ORU), mllp(OUL))]


def test_a_block_that_loses_its_end_is_cut_and_the_next_one_whole():
    """A start inside a block ends it as evidence; a lost connection too; bytes between blocks are nothing."""
    assert pieces(b"xx\x0bMSH|1\x0bMSH|2\x1c\ryy\x0bMSH|3", []) == [
        Cut(b"MSH|1"),
        Block(b"MSH|2"),
        Cut(b"MSH|3"),
    ]


def test_a_block_over_the_limit_is_named_with_its_size():
    """Memory is bounded: of a block over the limit the beginning is left, and its size."""
    assert pieces(mllp(b"M" * 9_000), [], 5_000) == [TooLong(b"M" * 4096, 9_000)]
    assert pieces(mllp(b"M" * 5_000), [7] * 99, 5_000) == [Block(b"M" * 5_000)]


@pytest.mark.parametrize("message", [ORU, OUL], ids=["ORU_R01", "OUL_R22"])
def test_the_test_messages_are_valid_by_an_independent_library(message: bytes):
    """The messages that stand for instruments here are what HL7 2.5.1 asks for, as hl7apy reads it."""
    parsed = parse_message(message.decode(), validation_level=VALIDATION_LEVEL.TOLERANT, find_groups=True)
    assert parsed.validate()


@pytest.mark.parametrize("message", [ORU, OUL], ids=["ORU_R01", "OUL_R22"])
@pytest.mark.parametrize(
    "verdict",
    [
        Verdict("A"),
        Verdict("E", "The database | is ^ busy & locked."),
        Verdict("R", "类型不对。", "unsupported"),
    ],
    ids=["AA", "AE", "AR"],
)
def test_acknowledgements_are_valid_and_name_the_message(message: bytes, verdict: Verdict):
    """Every acknowledgement is strictly valid 2.5.1, goes back to its sender and repeats the control id."""
    (ack,) = acknowledgements(header(message), verdict, NOW, "1")
    parsed = parse_message(ack.decode(), validation_level=VALIDATION_LEVEL.STRICT)
    assert parsed.validate()
    assert parsed.msa.msa_1.value == f"A{verdict.letter}"
    assert parsed.msa.msa_2.value == header(message).control_id
    assert (parsed.msh.msh_5.value, parsed.msh.msh_6.value) == ("CYCLER", "LAB")
    assert parsed.msh.msh_9.value.startswith("ACK^")
    assert len(parsed.err) == (verdict.letter != "A")


@pytest.mark.parametrize(
    ("accept", "application", "letter", "codes"),
    [
        ("", "", "A", ["AA"]),
        ("AL", "NE", "A", ["CA"]),
        ("AL", "AL", "E", ["CE", "AE"]),
        ("ER", "NE", "A", []),
        ("ER", "SU", "R", ["CR"]),
        ("NE", "NE", "A", []),
    ],
)
def test_enhanced_mode_gets_what_it_asks_for(accept: str, application: str, letter: str, codes: list[str]):
    """MSH-15 and MSH-16 say which acknowledgements are wanted and when."""
    first, rest = ORU.split(b"\r", 1)
    asked = first + b"|||" + accept.encode() + b"|" + application.encode() + b"\r" + rest
    found = acknowledgements(header(asked), Verdict(letter), NOW, "1")
    assert [ack.split(b"\rMSA|")[1][:2].decode() for ack in found] == codes


@pytest.mark.parametrize(
    "data", [b"", b"MSH", b"MSH ^~\\&|x|y", b"PID|1", b"MSH|\rPID|1", b"MSH||^~\\&|x", b"\x00\xff" * 20]
)
def test_what_has_no_header_is_answered_all_the_same(data: bytes):
    """Bytes without a header get a valid refusal that names nothing."""
    assert header(data) is None
    (ack,) = acknowledgements(None, Verdict("R", "No header.", "required"), NOW, "1")
    parsed = parse_message(ack.decode(), validation_level=VALIDATION_LEVEL.TOLERANT)
    assert parsed.msa.msa_1.value == "AR"


def test_other_separators_are_escaped_into_ours():
    """A header with separators of its own is answered in the usual ones, its names as plain text."""
    head = header(b"MSH#*~\\&#A|B*C#LAB#LIS#LAB#20221201101500##ORU*R01#M|1#P#2.5.1\r")
    assert head is not None
    assert head.kind == "ORU^R01"
    (ack,) = acknowledgements(head, Verdict("A"), NOW, "1")
    assert b"|A\\F\\B*C|" in ack
    assert b"\rMSA|AA|M\\F\\1\r" in ack
    assert wrap(b"x") == mllp(b"x")
