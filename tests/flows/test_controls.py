"""Controls first: a failed control voids exactly its wells, and all of them in one act."""

from __future__ import annotations

import pytest
from bench import Bench

from lis import queries
from lis.services import pools
from lis.services.plates import PlateOrder, WellOrder
from lis.tube import TubeState

POSITIVE = {"ORF1ab": 25.0, "N": 25.0}
CDC = "cdc-2019-ncov-n1n2rp"


@pytest.mark.parametrize(
    "signal",
    [{"NTC": {"N": 33.0}}, {"PC": {"ORF1ab": None, "N": None}}, {"PC": {"N": None}}],
    ids=["ntc-signal", "pc-dead", "pc-half"],
)
def test_a_failed_control_of_the_run_voids_every_tube_in_one_act(bench: Bench, signal: dict):
    """Nothing of the run is reported; every tube waits again with reason, kind, priority and due time."""
    codes = [*bench.singles(4), bench.mixed(5)]
    due = {code: bench.tube(code).due_at for code in codes}
    handled = bench.cycle(codes, {**signal, codes[0]: POSITIVE})
    assert handled.ingested.decisions == {"void": 5}
    assert handled.issued.reports == {}
    for code in codes:
        tube = bench.tube(code)
        assert (tube.state, tube.test, tube.outcome) == (TubeState.AWAITING_RETEST, "re-amplify", "")
        assert tube.reason.startswith("run-failed: ")
        assert tube.priority >= 40
        assert tube.due_at == due[code]
        assert (tube.tests, tube.plate_id) == (0, "")
    assert bench.tube(codes[4]).priority > bench.tube(codes[0]).priority
    with bench.lab.database.read() as conn:
        assert [row["code"] for row in queries.open_alarms(conn)] == ["CONTROL_FAILED"]
        [run] = queries.runs_of_plate(conn, handled.ingested.plate_id)
        assert not run["valid"]
        assert run["verdict"]
        assert queries.plate_row(conn, handled.ingested.plate_id)["state"] == "failed"
        voids = list(queries.event_counts(conn, "Voided", "run_id").items())
    assert voids == [(handled.ingested.run_id, 5)]
    again = bench.cycle(codes, {codes[0]: POSITIVE})
    assert again.ingested.decisions == {"conclude": 5}
    assert bench.tube(codes[0]).result == "positive"
    assert bench.check().ok


def test_a_failed_extraction_control_voids_exactly_its_quadrant(make_bench):
    """On a 384-well plate one batch is void and requeued for extraction; the other three are reported."""
    bench = make_bench(block=384)
    codes = bench.received(*(bench.order() for _ in range(40)), rack="big")
    layout = bench.lab.rules.template("384-quadrants")

    free: dict[int, list[str]] = {}
    for well in layout.sample_wells("column"):
        free.setdefault(layout.batch(well), []).append(well)
    chosen = [well for batch in (1, 2, 3, 4) for well in free[batch][:10]]
    wells = [WellOrder(well, tube=code) for well, code in zip(chosen, codes, strict=True)]
    wells += [WellOrder(well, control=kind) for kind, well in layout.controls]
    plate = bench.make(PlateOrder(template="384-quadrants", assay=CDC, wells=tuple(wells)))
    bad = next(well for kind, well in layout.controls if kind == "EC" and layout.batch(well) == 3)
    handled = bench.deliver(bench.table(plate, {bad: {"RP": None}}), plate=plate)
    assert handled.ingested.state == "read", handled.ingested
    assert dict(handled.ingested.decisions) == {"conclude": 30, "void": 10}
    void = codes[20:30]
    for code in void:
        tube = bench.tube(code)
        assert (tube.state, tube.test) == (TubeState.AWAITING_RETEST, "re-extract")
        assert tube.reason.startswith("extraction-failed: ")
        assert tube.tests == 0
    good = [code for code in codes if code not in void]
    assert {bench.tube(code).result for code in good} == {"negative"}
    assert set(bench.states(good)) == {TubeState.RELEASED}
    assert not set(void) & set(handled.issued.reports)
    assert bench.check().ok


def test_a_control_without_a_reading_keeps_the_whole_file_aside(bench: Bench):
    """A control that is on the plate but not in the file proves nothing: no tube of the plate is decided."""
    [code] = bench.singles()
    plate = bench.plate([code])
    rows = [row for row in bench.contents(plate, {}) if not (row[2] == "NTC" and row[3] == "N")]
    assert bench.deliver(bench.table(plate, rows=rows), plate=plate).ingested.code == "TARGET_MISSING"
    assert bench.tube(code).state is TubeState.RUNNING


def test_a_pool_member_tested_singly_stays_single_after_a_void(bench: Bench):
    """A void never turns a single test back into a pooled one; a second kit stays a second kit."""
    codes = bench.singles(2)
    with bench.lab.database.write("anna") as unit:
        pool = pools.form(unit, bench.lab.rules, codes).tube_id
    bench.cycle([pool], {pool: POSITIVE})
    bench.cycle(codes, {"NTC": POSITIVE})
    assert [bench.tube(code).test for code in codes] == ["singly", "singly"]
