"""ASTM and HL7 messages as files: what is read, what makes them doubtful, what is never taken for negative."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from message_peers import GENEXPERT, ORU, TUBE, astm_plate, hl7_plate, line, mllp

from instruments import InstrumentError, RunFile, read
from instruments.formats import read_all

PLATE = "P00000018"
ROWS = [
    ("A1", TUBE, "", "N", 22.5),
    ("A1", TUBE, "", "IC", 27.0),
    ("H12", "NTC", "NTC", "N", None),
    ("H12", "NTC", "NTC", "IC", None),
]
ZONE = ZoneInfo("Asia/Shanghai")


def one(data: bytes) -> RunFile:
    """A message as a file."""
    return read("message", data, zone=ZONE)


def values(run: RunFile) -> list[tuple]:
    """What the readings say."""
    return [(r.well, r.sample, r.task, r.target, r.cq, r.call) for r in run.readings]


@pytest.mark.parametrize("data", [astm_plate(PLATE, ROWS), mllp(hl7_plate(PLATE, ROWS))], ids=["astm", "hl7"])
def test_a_plate_is_read_with_its_places(data: bytes):
    """Plate, wells, specimens, controls, targets, Cq, serial and times of a message of a whole plate."""
    run = one(data)
    assert (run.complete, run.reasons, run.plate, run.experiment, run.serial[:-1]) == (
        True,
        (),
        PLATE,
        "MSG-1",
        "SN-",
    )
    assert values(run) == [
        ("A1", TUBE, "unknown", "N", 22.5, ""),
        ("A1", TUBE, "unknown", "IC", 27.0, ""),
        ("H12", "NTC", "control", "N", None, ""),
        ("H12", "NTC", "control", "IC", None, ""),
    ]
    assert run.run_ended == datetime(2022, 12, 1, 2, tzinfo=UTC)


def test_a_message_recorded_on_the_line_reads_like_the_stored_one():
    """Frames, ENQ and EOT around a message change nothing; several messages are several runs."""
    data = line(astm_plate(PLATE, ROWS), 60)
    assert one(data).readings == one(astm_plate(PLATE, ROWS)).readings
    assert one(data).complete
    assert len(read_all("two", data + line(GENEXPERT))) == 2
    assert len(read_all("two", astm_plate(PLATE, ROWS) + GENEXPERT)) == 2
    assert len(read_all("two", mllp(ORU) + mllp(ORU))) == len(read_all("two", ORU + ORU)) == 2


def test_a_message_of_one_cartridge_has_no_well():
    """Analytes have their call and Cq, a Cq of 0 beside a negative call is none; the rest is kept by name."""
    run = one(GENEXPERT)
    assert values(run) == [("", TUBE, "unknown", "E", 22.4, "POS"), ("", TUBE, "unknown", "N2", None, "NEG")]
    assert (run.complete, run.plate, run.serial, run.operator) == (True, "", "SN-1", "anna")
    assert run.run_started == datetime(2022, 12, 1, 0, tzinfo=UTC)
    assert {"R 1 COV1: POSITIVE", "R 4 E: 312", "comment Error 5011 Signal loss", "record P"} <= set(
        run.unread
    )


def test_coded_results_are_read_by_their_gene():
    """LOINC names of a call and of a Cq meet at their gene; codes of SNOMED CT are calls."""
    run = one(mllp(ORU))
    assert values(run) == [("", TUBE, "unknown", "SARS-CoV-2 N gene", 21.7, "Detected (260373001)")]
    assert run.readings[0].flags == ("A",)
    assert run.complete


def test_a_file_without_an_envelope_must_be_compared_with_the_plate():
    """Nothing proves the end of a bare HL7 file: it is complete only when its wells are those loaded."""
    run = one(hl7_plate(PLATE, ROWS))
    assert not run.complete
    assert run.reasons == run.assumptions
    assert run.confirmed([("A1", "N"), ("H12", "IC")]).complete
    assert not run.confirmed([("A2", "N")]).complete


@pytest.mark.parametrize("make", [astm_plate, lambda *given: mllp(hl7_plate(*given))], ids=["astm", "hl7"])
def test_a_message_cut_anywhere_is_never_complete(make):
    """Cut at any byte, a message is unreadable or incomplete, with a reason."""
    data = make(PLATE, ROWS[::2])
    for stop in range(1, len(data) - 1):
        try:
            run = one(data[:stop])
        except InstrumentError:
            continue
        if data[:stop].endswith(b"\x1c"):  # the message is whole, only the CR of the envelope is missing
            continue
        assert not run.complete, stop
        assert run.reasons


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"L|1|N", b"L|1|T", "ended with code T"),
        (b"|Ct||||F", b"|Ct||||P", "is not final (P)"),
        (b"|Ct||||F", b"|Ct||||X", "is not final (X)"),
        (b"R|2|", b"R|3|", "R 3 after R 1"),
        (b"O|2|", b"O|4|", "O 4 after O 1"),
        (b"|22.5|", b"||", "its Cq is missing"),
        (b"|22.5|", b"|22,5|", "its Cq is '22,5'"),
        (b"|22.5|", b"|>40|", "its Cq is '>40'"),
        (b"|22.5|", b"|0|", "its Cq is '0'"),
        (b"^A1|", b"^1|", "'1' does not say which row"),
        (b"^A1|", b"^R1|", "'R1' does not say which row"),
        (b"P00000018^A1", b"P00000026^A1", "several plates"),
        (b"^^^IC^Ct|27.0", b"^^^N^Ct|27.0", "has 2 Cq"),
        (b"O|1|", b"M|1|", "belongs to no order"),
    ],
)
def test_doubts_about_an_astm_message_are_said(old: bytes, new: bytes, words: str):
    """Anything missing, not final, unreadable or contradictory makes the message incomplete, with the reason."""
    data = astm_plate(PLATE, ROWS)
    assert old in data
    run = one(data.replace(old, new, 1))
    assert not run.complete
    assert words in "; ".join(run.reasons)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"OUL^R22^OUL_R22", b"ADT^A01", "its type is ADT^A01"),
        (b"OBX|2|", b"OBX|3|", "OBX 3 stands where 2 is next"),
        (b"|Ct|||||F", b"|Ct|||||P", "is not final (P)"),
        (b"|Ct|||||F", b"|Ct|||||", "is not final (it has no status)"),
        (b"||22.5|", b"|||", "its Cq is missing"),
        (b"||22.5|", b'||""|', "its Cq is missing"),
        (b"|A^1", b"|1^1", "'11' does not say which row"),
        (b"|A^1", b"|1", "'1' does not say which row"),
        (b"P00000018|A^1", b"P00000026|A^1", "several plates"),
        (b"|A^1\r", b"|A^1||P00000018|B^1\r", "two places: well A1 and B1"),
        (b"OBX|2|ST|IC^IC", b"OBX|2|ST|N^IC", "has 2 Cq"),
        (
            b"OBR|1|||COV^SARS-CoV-2^L",
            b"OBR|1|||COV^SARS-CoV-2^L" + b"|" * 21 + b"P",
            "OBR 1 is not final (P)",
        ),
    ],
)
def test_doubts_about_an_hl7_message_are_said(old: bytes, new: bytes, words: str):
    """Anything missing, not final, unreadable or contradictory makes the message incomplete, with the reason."""
    data = mllp(hl7_plate(PLATE, ROWS))
    assert old in data
    run = one(data.replace(old, new, 1))
    assert not run.complete
    assert words in "; ".join(run.reasons)


@pytest.mark.parametrize("call", ["POSITIVE", "INVALID", "ERROR", "NO RESULT", "Inconclusive", "detected"])
def test_a_call_that_is_not_negative_without_a_cq_is_never_read_as_negative(call: str):
    """A missing Cq beside any call but a negative one makes the message incomplete and is flagged."""
    for record in (f"R|1|^^^N|{call}|||||F", f"R|1|^^^N|{call}|||||F\rR|2|^^^N^Ct|Undetermined|||||F"):
        run = one(f"H|\\^&|1\rO|1|S|P^A1\r{record}\rL|1|N\r".encode())
        assert not run.complete
        assert run.readings[0].cq is None
        assert "UNREAD_CQ" in run.readings[0].flags
    obx = f"OBX|1|ST|N||{call}||||||F"
    run = one(mllp(f"MSH|^~\\&|A|B|C|D|20221201||ORU^R01|1|P|2.5.1\rOBR|1|||X\r{obx}\r".encode()))
    assert not run.complete
    assert "UNREAD_CQ" in run.readings[0].flags


@pytest.mark.parametrize(
    "sac",
    [
        "SAC||||||||||P00000018|B^3",
        "SAC|||||||||||||P00000018|B03",
        "SAC|||B3|P00000018",
        "SAC|||P00000018^B3",
        "OBX|1|ST|PLATE||P00000018||||||F\rOBX|2|ST|WELL||b3||||||F",
    ],
)
def test_every_way_to_name_a_place_is_read(sac: str):
    """Carrier, tray, parent container, container with component, and observations name plate and well."""
    text = f"MSH|^~\\&|A|B|C|D|20221201||OUL^R22^OUL_R22|1|P|2.5.1\rSPM|1|{TUBE}\r{sac}\rOBR|1|||X\rOBX|1|NM|N_Cq||30.1||||||F\r"
    run = one(mllp(text.encode()))
    assert run.reasons == ()
    assert (run.plate, values(run)) == (PLATE, [("B3", TUBE, "unknown", "N", 30.1, "")])


@pytest.mark.parametrize(
    ("kind", "value", "cq", "complete"),
    [
        ("NM", "22.5", 22.5, True),
        ("SN", "^22.5", 22.5, True),
        ("SN", "=^22.5", 22.5, True),
        ("SN", ">^40", None, False),
        ("SN", "^22^-^23", None, False),
        ("CWE", "^Undetermined", None, True),
        ("ST", "22.5~23.5", None, False),
    ],
)
def test_a_cq_is_an_exact_number_or_a_doubt(kind: str, value: str, cq: float | None, complete: bool):
    """Structured numbers are read when they are exact; a comparison, a range or a repetition is never a Cq."""
    obx = f"OBX|1|{kind}|N_Ct||{value}||||||F"
    run = one(mllp(f"MSH|^~\\&|A|B|C|D|20221201||ORU^R01|1|P|2.5.1\rOBR|1|||X\r{obx}\rSPM|1|S\r".encode()))
    assert (run.readings[0].cq, run.complete) == (cq, complete)


def test_specimens_that_contradict_each_other_are_a_doubt():
    """Two specimens under one order, or none of the results an order announces, are said."""
    head = "MSH|^~\\&|A|B|C|D|20221201||{}|1|P|2.5.1\r"
    two = head.format("ORU^R01") + "OBR|1|||X\rOBX|1|NM|N_Ct||22||||||F\rSPM|1|S1\rSPM|2|S2\r"
    assert "OBR 1 has two specimens: S1 and S2" in one(mllp(two.encode())).reasons
    none = head.format("OUL^R22") + "SPM|1|S1\rOBX|1|NM|VOLUME||200||||||F\rOBR|1|||X\r"
    run = one(mllp(none.encode()))
    assert {"OBX VOLUME of the specimen", "OBR 1 without results"} <= set(run.unread)
    assert run.readings == ()


def test_times_are_read_with_their_zone_or_with_the_laboratorys():
    """A time is UTC only when its zone is written or known; one that no calendar has is none."""
    record = "H|\\^&|1\rO|1|S|P^A1\rR|1|^^^N^Ct|22.5|||||F|||{}\rL|1|N\r"
    for written, known, found in (
        ("20221201080000", ZONE, datetime(2022, 12, 1, tzinfo=UTC)),
        ("20221201080000", None, None),
        ("20221201080000.123+0200", None, datetime(2022, 12, 1, 6, tzinfo=UTC)),
        ("202212010800-0330", ZONE, datetime(2022, 12, 1, 11, 30, tzinfo=UTC)),
        ("20221301080000", ZONE, None),
        ("00010101000000", ZONE, None),
        ("20221201080000+9999", ZONE, None),
        ("yesterday", ZONE, None),
    ):
        run = read("m", record.format(written).encode(), zone=known)
        assert run.run_started == found, written
        assert ("R-12 start (no zone)" in run.unread) is (found is None)


def test_escapes_and_other_delimiters_are_undone():
    """A message brings its own delimiters; escaped ones are text."""
    run = one(b"H!~*$!1\rO!1!S$F$1$X41$!P*A1\rR!1!***N$S$1*Ct!22.5!!!!!F\rL!1!N\r")
    assert values(run) == [("A1", "S!1A", "unknown", "N*1", 22.5, "")]
    text = "MSH#*~\\&#A#B#C#D#20221201##ORU*R01#1#P#2.5.1\rOBR#1###X\rOBX#1#NM#N\\S\\1_Ct##22.5######F\rSPM#1#S\\F\\1\r"
    assert values(one(mllp(text.encode())))[0][1:4] == ("S|1", "unknown", "N^1")
    hidden = text.replace("S\\F\\1", "S\\X0031\\").encode()
    assert one(mllp(hidden)).readings[0].sample == "S1"


def test_chinese_text_is_read_in_both_encodings():
    """Calls in UTF-8 and in GB 18030 mean the same."""
    astm = "H|\\^&|1\rO|1|样本|P^A1\rR|1|^^^N|阴性|||||F\rL|1|N\r"
    hl7 = "MSH|^~\\&|A|B|C|D|20221201||ORU^R01|1|P|2.5.1||||||{}\rOBR|1|||X\rOBX|1|ST|N||阴性||||||F\rSPM|1|样本\r"
    for run in (
        one(astm.encode()),
        one(astm.encode("gb18030")),
        one(mllp(hl7.format("UNICODE UTF-8").encode())),
        one(mllp(hl7.format("GB 18030-2000").encode("gb18030"))),
        one(mllp(hl7.format("UNICODE UTF-8").encode("gb18030"))),
    ):
        assert (run.complete, run.readings[0].sample, run.readings[0].call) == (True, "样本", "阴性")


@pytest.mark.parametrize(
    "data", [b"H|||| nothing like a header\r", b"H|\\\\\\|1\rL|1|N\r", mllp(b"MSH|^^^^|A\r")]
)
def test_what_is_no_message_is_a_sentence(data: bytes):
    """A header that cannot be understood is refused with a sentence."""
    with pytest.raises(InstrumentError, match=r"\.$"):
        one(data)


def test_an_empty_message_is_read_and_has_reasons():
    """A message that holds nothing is not complete, and says what it lacks."""
    assert one(b"H|\\^&|1\r").reasons == ("its last record (L) is missing: the message is cut off",)
    assert "its type is not given" in one(mllp(b"MSH|^~\\&|\r")).reasons[0]
