"""A result reaches a tube only from the cycler that its plate was loaded into."""

from __future__ import annotations

import pytest
from bench import Bench
from hypothesis import given
from hypothesis import strategies as st

from instruments import RunFile
from lis import laboratory, queries
from lis.errors import LisError
from lis.matching import OTHER_SERIAL, Mismatch, Sender, same_instrument
from lis.services import devices, inbox, plates
from lis.tube import TubeState

QS5, CFX = "qs5-1", "cfx-2"


@pytest.fixture(name="two")
def two_cyclers(bench: Bench) -> Bench:
    """A laboratory with two enrolled cyclers, of which one has a known serial."""
    with bench.lab.database.write("root") as unit:
        devices.enrol_device(unit, QS5, "cycler", "a" * 40, serial="272510")
        devices.enrol_device(unit, CFX, "cycler", "b" * 40)
    return bench


def loaded(bench: Bench, cycler: str) -> tuple[str, str]:
    """A tube on a plate that was loaded into ``cycler``: both codes."""
    [code] = bench.singles()
    plate = bench.plate([code], load=False)
    with bench.lab.database.write("anna") as unit:
        plates.load(unit, plate, plate, cycler)
    return code, plate


def correct(bench: Bench, plate: str, cycler: str, reason: str = "wrong cycler was typed") -> str:
    """The code a correction of the loading is refused with; empty if it is done."""
    try:
        with bench.lab.database.write("rosa") as unit:
            plates.correct_loading(unit, plate, cycler, reason)
    except LisError as error:
        return error.code
    return ""


def serial_of(bench: Bench, name: str) -> str:
    """The serial the laboratory knows of a device."""
    with bench.lab.database.read() as conn:
        return dict(queries.cyclers(conn))[name]


def alarms(bench: Bench) -> list[str]:
    """Codes of open alarms."""
    with bench.lab.database.read() as conn:
        return [row["code"] for row in queries.open_alarms(conn)]


def test_a_file_of_another_cycler_is_kept_aside(two: Bench):
    """A plate in one cycler takes no result of another: the sentence names both, and no tube moves."""
    code, plate = loaded(two, QS5)
    done = two.deliver(two.table(plate), plate=plate, device=CFX).ingested
    assert (done.state, done.code) == ("quarantined", "OTHER_INSTRUMENT")
    for word in (plate, QS5, CFX, "correct the loading"):
        assert word in done.sentence
    assert two.tube(code).state is TubeState.RUNNING
    assert two.count("reading") == 0
    assert two.check().ok


def test_a_corrected_loading_lets_the_kept_file_be_read(two: Bench):
    """The loading is corrected with a reason that the log keeps; then the quarantined file is read as it is."""
    code, plate = loaded(two, QS5)
    kept = two.deliver(two.table(plate), plate=plate, device=CFX)
    assert correct(two, plate, CFX, " ") == "REASON"
    assert correct(two, plate, " ") == "INSTRUMENT"
    assert correct(two, plate, QS5) == "NOTHING_CHANGED"
    assert correct(two, plate, CFX) == ""
    assert two.history(code)[-1] == "LoadingCorrected"
    with two.lab.database.write("rosa") as unit:
        inbox.retry(unit, kept.stored.file_id)
    done, issued, _ = laboratory.process(two.lab, kept.stored.file_id, "rosa")
    assert done.state == "read"
    assert list(issued.reports) == [code]
    assert correct(two, plate, QS5) == "PLATE_STATE"
    assert two.check().ok


def test_the_cycler_of_the_loading_is_heard_however_it_is_written(two: Bench):
    """Capitals and spaces in the name typed at loading do not keep a good file away."""
    code, plate = loaded(two, " QS5-1 ")
    assert two.deliver(two.table(plate, serial="272510"), plate=plate, device=QS5).ingested.state == "read"
    assert two.tube(code).result == "negative"


def test_a_serial_of_another_cycler_is_kept_aside(two: Bench):
    """A file under the right name whose own serial is not the known one waits for a person."""
    code, plate = loaded(two, QS5)
    done = two.deliver(two.table(plate, serial="999"), plate=plate, device=QS5).ingested
    assert done.code == "OTHER_INSTRUMENT"
    for word in (QS5, "272510", "999"):
        assert word in done.sentence
    assert two.tube(code).state is TubeState.RUNNING


def test_the_first_serial_of_a_cycler_is_remembered_and_held_against_later_files(two: Bench):
    """Without a serial at enrolment the first file gives it; an exchanged cycler is told to the laboratory."""
    _, plate = loaded(two, CFX)
    assert two.deliver(two.table(plate, serial="CFX7"), plate=plate, device=CFX).ingested.state == "read"
    assert serial_of(two, CFX) == "CFX7"
    code, plate = loaded(two, CFX)
    kept = two.deliver(two.table(plate, serial="CFX8"), plate=plate, device=CFX)
    assert kept.ingested.code == "OTHER_INSTRUMENT"
    with two.lab.database.write("root") as unit:
        devices.set_serial(unit, CFX, "CFX8")
        inbox.retry(unit, kept.stored.file_id)
    assert laboratory.process(two.lab, kept.stored.file_id, "rosa")[0].state == "read"
    assert two.tube(code).result == "negative"
    with pytest.raises(LisError, match="DEVICE_UNKNOWN"), two.lab.database.write("root") as unit:
        devices.set_serial(unit, "nobody", "1")


def test_a_person_may_hand_a_file_over_but_a_contradicting_serial_holds_it(two: Bench):
    """A file from a stick names no cycler: without a contradiction it is released, with one it waits."""
    code, plate = loaded(two, QS5)
    good = two.deliver(two.table(plate, serial="272510"), plate=plate, device="upload:anna")
    assert list(good.issued.reports) == [code]
    code, plate = loaded(two, QS5)
    doubtful = two.deliver(two.table(plate, serial="31337"), plate=plate, device="usb")
    assert doubtful.ingested.state == "read"
    assert doubtful.issued.reports == {}
    assert [blocked.rule for blocked in doubtful.held[0].blocked] == ["instrument-flags"]
    assert two.tube(code).state is TubeState.IN_REVIEW
    with two.lab.database.read() as conn:
        assert {row["flags"] for row in queries.readings_of_tube(conn, code)} == {OTHER_SERIAL}
    assert alarms(two) == [OTHER_SERIAL]
    assert two.check().ok


def test_the_serial_of_a_second_cycler_gives_a_file_away(two: Bench):
    """A plate in a cycler of unknown serial takes no file that carries the serial of a known one."""
    _, plate = loaded(two, CFX)
    done = two.deliver(two.table(plate, serial="272510"), plate=plate, device=CFX).ingested
    assert done.code == "OTHER_INSTRUMENT"
    assert QS5 in done.sentence
    assert serial_of(two, CFX) == ""


def test_a_plate_that_nobody_loaded_names_no_cycler():
    """Nothing is compared before the loading was confirmed, and words such as N/A are no serial."""
    known = [Sender(QS5, "1"), Sender(CFX)]
    assert same_instrument(_run("2"), "P1", "", QS5, known) == ""
    assert same_instrument(_run("N/A"), "P1", QS5, QS5, known) == ""
    assert same_instrument(_run("000"), "P1", QS5, "usb", known) == ""


def _run(serial: str) -> RunFile:
    return RunFile("SYNTHETIC", "0" * 64, "synthetic", serial=serial)


@given(
    st.sampled_from([QS5, CFX, "other"]),
    st.sampled_from([QS5, CFX, "usb"]),
    st.sampled_from(["1", "2", "3", ""]),
)
def test_no_cycler_speaks_for_another_one(cycler: str, sender: str, serial: str):
    """Whatever is loaded, sent and written: a known cycler's file passes only under its own name and serial."""
    known = [Sender(QS5, "1"), Sender(CFX, "2")]
    own = {one.name: one.serial for one in known}
    owner = {"1": QS5, "2": CFX}.get(serial, "")
    contradicts = bool(serial) and (serial != own.get(cycler, serial) or owner not in {"", cycler})
    if sender != "usb" and (sender != cycler or contradicts):
        with pytest.raises(Mismatch, match=cycler):
            same_instrument(_run(serial), "P1", cycler, sender, known)
    else:
        assert bool(same_instrument(_run(serial), "P1", cycler, sender, known)) == contradicts
