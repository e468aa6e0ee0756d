"""Files: a result reaches a tube only if the file is whole and of this plate; nothing is ever dropped."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from bench import Bench

from instruments.virtual import cut, junk
from lis import barcodes, laboratory, queries
from lis.errors import Invalid, LisError
from lis.laboratory import Handled
from lis.services import inbox, plates
from lis.services.inbox import MAX_BYTES, Delivery
from lis.tube import TubeState

POSITIVE = {"ORF1ab": 25.0, "N": 25.0}


def status(bench: Bench, handled: Handled) -> dict:
    """What became of a delivery, as the database has it."""
    with bench.lab.database.read() as conn:
        found = queries.status_of_file(conn, handled.stored.file_id)
    assert found is not None
    return found


def alarms(bench: Bench) -> list[str]:
    """Codes of the open alarms."""
    with bench.lab.database.read() as conn:
        return [row["code"] for row in queries.open_alarms(conn)]


def quarantined(bench: Bench, data: bytes, code: str, **delivery: str) -> Handled:
    """The file is kept byte for byte, names what is wrong with it, and moved no tube."""
    before = bench.count(), bench.count("reading"), bench.count("run")
    handled = bench.deliver(data, **delivery)
    assert (handled.ingested.state, handled.ingested.code) == ("quarantined", code)
    assert len(handled.ingested.sentence) > 20
    assert (bench.count(), bench.count("reading"), bench.count("run")) == before
    with bench.lab.database.read() as conn:
        assert queries.file_row(conn, handled.stored.file_id)["content"] == data
        assert handled.stored.file_id in [row["file_id"] for row in queries.files(conn, "quarantined")]
    assert status(bench, handled)["reason"] == handled.ingested.sentence
    return handled


@pytest.fixture
def loaded(bench: Bench) -> tuple[Bench, str, list[str]]:
    """A laboratory with three tubes on a loaded plate."""
    codes = bench.singles(3)
    return bench, bench.plate(codes), codes


def test_a_file_is_read_once_and_its_twin_is_a_duplicate(loaded):
    """The same file of the same run again gives no second result, no second report and no alarm."""
    bench, plate, codes = loaded
    data = bench.table(plate)
    first = bench.deliver(data, run="r1", plate=plate)
    assert (first.stored.status, first.ingested.state) == ("stored", "read")
    counts = [bench.count(name) for name in ("event", "reading", "report", "file", "alarm")]
    again = bench.deliver(data, run="r1", plate=plate)
    assert again.stored.status == "duplicate"
    assert again.stored.first_stored_at == first.stored.first_stored_at
    assert (again.ingested.state, again.ingested.run_id) == ("read", first.ingested.run_id)
    assert [bench.count(name) for name in ("event", "reading", "report", "file", "alarm")] == counts
    assert bench.states(codes) == [TubeState.RELEASED] * 3
    assert bench.check().ok


def test_the_same_run_with_another_content_is_a_conflict(loaded):
    """A second content of one run is kept aside with an alarm; the first result is untouched."""
    bench, plate, codes = loaded
    bench.deliver(bench.table(plate), run="r1", plate=plate)
    before = bench.count(), bench.reports(codes[0])
    other = bench.table(plate, {codes[0]: POSITIVE})
    handled = quarantined(bench, other, "RUN_CONFLICT", run="r1", plate=plate)
    assert handled.stored.conflict
    assert alarms(bench) == ["RUN_CONFLICT"]
    assert (bench.count(), bench.reports(codes[0])) == before
    with bench.lab.database.write("rosa") as unit:
        inbox.retry(unit, handled.stored.file_id)
    ingested, _, _ = laboratory.process(bench.lab, handled.stored.file_id, "rosa")
    assert (ingested.state, ingested.code) == ("quarantined", "PLATE_DONE")
    assert bench.check().ok


def test_a_result_for_a_finished_plate_or_a_released_tube_is_kept_aside(loaded):
    """Another run of a plate that was read, or of a plate that was given up, changes nothing."""
    bench, plate, codes = loaded
    bench.deliver(bench.table(plate), plate=plate)
    quarantined(bench, bench.table(plate, {codes[0]: POSITIVE}), "PLATE_DONE", plate=plate)
    [other] = bench.singles()
    void = bench.plate([other])
    with bench.lab.database.write("anna") as unit:
        plates.void(unit, void, "power cut")
    quarantined(bench, bench.table(void), "PLATE_DONE", plate=void)
    assert bench.tube(other).state is TubeState.AWAITING_RETEST


def swapped(rows: list[tuple]) -> list[tuple]:
    """The sample names of A1 and B1 exchanged."""
    names = {row[0]: row[1] for row in rows}
    other = {"A1": names["B1"], "B1": names["A1"]}
    return [(row[0], other.get(row[0], row[1]), *row[2:]) for row in rows]


CONTRADICTIONS = {
    "extra-signal": ("WELL_NOT_LOADED", lambda rows: [*rows, ("H1", "", "", "N", 30.0)]),
    "extra-sample": ("WELL_NOT_LOADED", lambda rows: [*rows, ("H1", "somebody", "", "N", None)]),
    "well-missing": ("WELL_MISSING", lambda rows: [row for row in rows if row[0] != "B1"]),
    "target-missing": ("TARGET_MISSING", lambda rows: [r for r in rows if (r[0], r[3]) != ("B1", "N")]),
    "other-target": ("TARGET_UNKNOWN", lambda rows: [*rows[:-1], (*rows[-1][:3], "Zika", None)]),
    "control-task": (
        "CONTROL_MISMATCH",
        lambda rows: [(*r[:2], "NTC" if r[0] == "B1" else r[2], *r[3:]) for r in rows],
    ),
    "swapped": ("SAMPLE_MISMATCH", swapped),
}


@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_a_file_that_contradicts_the_plate_map_moves_no_tube(loaded, what: str):
    """An extra, missing, swapped or renamed well, or another target, quarantines the whole file."""
    bench, plate, codes = loaded
    code, change = CONTRADICTIONS[what]
    quarantined(bench, bench.table(plate, rows=change(bench.contents(plate, {}))), code, plate=plate)
    assert bench.states(codes) == [TubeState.RUNNING] * 3


def test_a_file_of_another_plate_or_none_is_kept_aside(loaded):
    """A file that names another plate, an unknown one or none waits for a person with its reason."""
    bench, plate, _ = loaded
    other = bench.plate(bench.singles(1))
    quarantined(bench, bench.table(other), "OTHER_PLATE", plate=plate)
    unknown = barcodes.mint(barcodes.PLATE, 999)
    quarantined(bench, bench.table(unknown, rows=bench.contents(plate, {})), "UNKNOWN_PLATE")
    quarantined(bench, bench.table("", rows=bench.contents(plate, {})), "UNKNOWN_PLATE")
    named = bench.deliver(bench.table("", rows=bench.contents(plate, {})), name=f"x_{plate}_y.csv")
    assert named.ingested.state == "read"


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.6, 0.97])
def test_half_a_file_is_no_result(loaded, fraction: float):
    """A file that was cut anywhere is quarantined, the whole one is read afterwards, and both are kept."""
    bench, plate, codes = loaded
    data = bench.table(plate)
    handled = bench.deliver(cut(data, fraction), run="r1", plate=plate)
    assert handled.ingested.state == "quarantined"
    assert bench.states(codes) == [TubeState.RUNNING] * 3
    assert bench.deliver(data, run="r2", plate=plate).ingested.state == "read"
    assert bench.count("file") == 2


def test_junk_is_kept_and_named(loaded):
    """Binary junk and text that is no run are quarantined with a sentence, whatever the file is called."""
    bench, plate, codes = loaded
    noise = junk(4096, np.random.default_rng(7))
    for data, name in ((noise, "run.xls"), (noise, "run.xlsx"), (noise, "run.csv"), (b"hello\n", "run.txt")):
        handled = bench.deliver(data, name=name, plate=plate)
        assert handled.ingested.state == "quarantined", name
        assert handled.ingested.code
    assert bench.states(codes) == [TubeState.RUNNING] * 3
    assert bench.check().ok


def test_200_megabytes_are_refused_before_anything_is_stored(embedded: Bench):
    """A file beyond the limit is neither stored nor parsed, and the sentence says what to send instead."""
    huge = bytes(200 * 1024 * 1024)
    with pytest.raises(Invalid) as error:
        embedded.deliver(huge)
    assert error.value.code == "FILE_TOO_LARGE"
    assert "209,715,200" in error.value.sentence
    assert f"{MAX_BYTES:,}" in error.value.sentence
    assert embedded.count("file") == 0
    with embedded.lab.database.write("bridge") as unit:
        inbox.refuse_delivery(unit, "cycler-1", error.value.code, error.value.sentence)
    assert alarms(embedded) == ["FILE_TOO_LARGE"]


def test_a_file_that_changed_on_its_way_is_refused(embedded: Bench):
    """Bytes that are not those the sender announced are refused, so that the sender sends again."""
    with pytest.raises(Invalid) as error, embedded.lab.database.write("cycler-1") as unit:
        inbox.accept(unit, Delivery("cycler-1", "r", "x.csv", b"a", sha256="0" * 64))
    assert error.value.code == "FILE_DAMAGED"
    assert embedded.count("file") == 0


def test_a_quarantined_file_is_read_once_the_cause_is_mended(loaded):
    """A person names the right plate and the file is read; nothing had to be sent again."""
    bench, plate, codes = loaded
    data = bench.table("", rows=bench.contents(plate, {}))
    handled = quarantined(bench, data, "UNKNOWN_PLATE")
    with bench.lab.database.write("rosa") as unit:
        inbox.retry(unit, handled.stored.file_id, plate)
    [ingested] = laboratory.catch_up(bench.lab)
    assert ingested.state == "read"
    assert status(bench, handled)["decided_by"] == "restart"
    assert bench.states(codes) == [TubeState.RELEASED] * 3


def test_a_quarantined_file_is_dismissed_with_a_reason_and_kept(loaded):
    """A dismissed file leaves the list; its bytes and the reason stay; it cannot be decided twice."""
    bench, _, _ = loaded
    handled = bench.deliver(b"nonsense")

    def act(what: Callable, *values: str) -> str:
        try:
            with bench.lab.database.write("rosa") as unit:
                what(unit, *values)
        except LisError as error:
            return error.code
        return ""

    file_id = handled.stored.file_id
    assert act(inbox.dismiss, file_id, "  ") == "REASON"
    assert act(inbox.dismiss, file_id, "test file of the maker") == ""
    assert status(bench, handled)["state"] == "dismissed"
    assert status(bench, handled)["reason"] == "test file of the maker"
    assert act(inbox.dismiss, file_id, "again") == "FILE_STATE"
    assert act(inbox.retry, file_id) == "FILE_STATE"
    assert act(inbox.retry, "0" * 64) == "FILE_UNKNOWN"
    with pytest.raises(LisError, match="FILE_UNKNOWN"):
        laboratory.process(bench.lab, "0" * 64, "rosa")
    with bench.lab.database.read() as conn:
        assert queries.file_row(conn, file_id)["content"] == b"nonsense"
    assert bench.deliver(b"nonsense", run="other").stored.status == "stored"
    assert bench.check().ok


def test_an_alarm_stays_until_somebody_clears_it(loaded):
    """An alarm is open until a named person has seen to it."""
    bench, plate, _ = loaded
    bench.deliver(bench.table(plate, {"NTC": POSITIVE}), plate=plate)
    with bench.lab.database.read() as conn:
        [alarm] = queries.open_alarms(conn)
    with bench.lab.database.write("rosa") as unit:
        inbox.clear_alarm(unit, alarm["alarm_id"])
    assert alarms(bench) == []


def test_names_of_targets_in_the_laboratorys_own_language_are_understood(loaded):
    """An alias of a target in the rule file, whatever its script, is that target; a stranger is not."""
    bench, plate, codes = loaded
    rows = [
        (*row[:3], {"ORF1ab": "orf1A/B", "IC": "RNase P"}.get(row[3], row[3]), row[4])
        for row in bench.contents(plate, {})
    ]
    cyrillic = [(*row[:3], row[3].replace("N", "Ν"), row[4]) for row in rows]  # a Greek capital Nu
    quarantined(bench, bench.table(plate, rows=cyrillic), "TARGET_UNKNOWN", plate=plate)
    assert bench.deliver(bench.table(plate, rows=rows), plate=plate).ingested.state == "read"
    assert bench.states(codes) == [TubeState.RELEASED] * 3


def test_the_file_of_a_plate_that_was_not_confirmed_as_loaded_is_read(bench: Bench):
    """A run whose loading nobody scanned still reaches its tubes: every well is in the file."""
    codes = bench.singles(2)
    plate = bench.plate(codes, load=False)
    assert bench.deliver(bench.table(plate), plate=plate).ingested.state == "read"
    assert bench.states(codes) == [TubeState.RELEASED] * 2
