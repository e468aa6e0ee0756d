"""A Cq that did not come from its curve never leaves the laboratory by itself."""

from __future__ import annotations

from datetime import timedelta

import pytest
from bench import Bench

from lis import laboratory, queries
from lis.services import reports
from lis.tube import TubeState


def touched(data: bytes, well: str, target: str, value: str) -> bytes:
    """The run with one Ct cell of its results overwritten, as a person with an editor would."""
    lines = data.decode().split("\n")
    head = next(i for i, line in enumerate(lines) if line.startswith("Well\t") and "\tCT" in line)
    names = lines[head].split("\t")
    place, name, cq = names.index("Well Position"), names.index("Target Name"), names.index("CT")
    for i in range(head + 1, len(lines)):
        cells = lines[i].split("\t")
        if len(cells) > cq and cells[place] == well and cells[name] == target:
            cells[cq] = value
            lines[i] = "\t".join(cells)
            return "\n".join(lines).encode()
    raise LookupError(well)


def flags_of(bench: Bench, run_id: str) -> dict[tuple[str, str], str]:
    """Integrity flags of a run as the database keeps them; the cycler's own say only what did not amplify."""
    with bench.lab.database.read() as conn:
        rows = queries.readings_of_run(conn, run_id)
    found = {(r["well"], r["target"]): [f for f in r["flags"].split(",") if "INTEGRITY" in f] for r in rows}
    return {key: flag for key, (flag,) in ((key, many) for key, many in found.items() if many)}


@pytest.fixture
def finished(embedded: Bench):
    """Three negative tubes whose run has ended, and its file with curves."""
    codes = embedded.singles(3)
    plate = embedded.plate(codes)
    embedded.clock.advance(timedelta(hours=2))
    wells = {row[1]: row[0] for row in embedded.contents(plate, {}) if row[1] in codes}
    return embedded, plate, codes, wells


def test_an_untouched_run_with_curves_is_released(finished):
    """Every Cq follows from its curve: nothing is flagged, every negative goes out."""
    bench, plate, codes, _ = finished
    handled = bench.deliver(bench.drawn(plate), name="run.txt", plate=plate)
    assert handled.ingested.state == "read"
    assert flags_of(bench, handled.ingested.run_id) == {}
    assert bench.states(codes) == [TubeState.RELEASED] * 3


def test_a_positive_written_over_with_undetermined_is_not_released_as_negative(finished):
    """The Cq is gone, but its curve is there: flagged, and tested again."""
    bench, plate, codes, wells = finished
    data = bench.drawn(plate, {codes[0]: {"ORF1ab": 26.0, "N": 26.0}})
    for target in ("ORF1ab", "N"):
        data = touched(data, wells[codes[0]], target, "Undetermined")
    handled = bench.deliver(data, name="run.txt", plate=plate)
    assert handled.ingested.state == "read"
    assert flags_of(bench, handled.ingested.run_id) == {
        (wells[codes[0]], target): "INTEGRITY_CURVE_WITHOUT_CQ" for target in ("ORF1ab", "N")
    }
    assert bench.states(codes) == [TubeState.AWAITING_RETEST, TubeState.RELEASED, TubeState.RELEASED]
    assert bench.reports(codes[0]) == []


def test_a_doubtful_internal_control_holds_its_tube(finished):
    """An internal control whose Cq was typed over does not vouch for a negative."""
    bench, plate, codes, wells = finished
    data = bench.drawn(plate)
    run = laboratory.parse(bench.lab, "run.txt", data).run
    control = next(r for r in run.readings if r.well == wells[codes[1]] and r.cq is not None)
    data = touched(data, control.well, control.target, f"{control.cq - 2.5:.3f}")
    handled = bench.deliver(data, name="run.txt", plate=plate)
    assert flags_of(bench, handled.ingested.run_id) == {
        (control.well, control.target): "INTEGRITY_EDITED -2.5"
    }
    assert bench.states(codes) == [TubeState.RELEASED, TubeState.IN_REVIEW, TubeState.RELEASED]
    with bench.lab.database.write("rosa") as unit:
        held = reports.why_held(unit, bench.lab.rules, bench.tube(codes[1]))
    assert [one.rule for one in held] == ["instrument-flags"]


def test_a_doubtful_plate_control_holds_the_whole_plate(finished):
    """If the Cq of a positive control is not its curve's, no result of the plate goes out by itself."""
    bench, plate, codes, _ = finished
    data = bench.drawn(plate)
    run = laboratory.parse(bench.lab, "run.txt", data).run
    control = next(r for r in run.readings if r.task == "positive_control" and r.cq is not None)
    data = touched(data, control.well, control.target, f"{control.cq + 1.3:.3f}")
    handled = bench.deliver(data, name="run.txt", plate=plate)
    assert flags_of(bench, handled.ingested.run_id) == {
        (control.well, control.target): "INTEGRITY_EDITED +1.3"
    }
    assert TubeState.RELEASED not in bench.states(codes)
