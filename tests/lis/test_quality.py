"""Control charts in the laboratory: what a control measured is kept, judged, and holds what rests on it."""

from __future__ import annotations

from datetime import timedelta
from statistics import fmean, stdev

import pytest
from bench import Bench

from instruments.westgard import LONGEST
from lis import queries
from lis.errors import Invalid, NotFound, Refused
from lis.queries import Series
from lis.services import quality, reports
from lis.tube import TubeState
from scheduler.plates import CONTROLS

CYCLER = "synthetic cycler"
DAAN = "daan-2019-ncov"
PC_N = Series(CYCLER, DAAN, "", "PC", "N")
STEADY = (24.8, 25.1, 25.0, 24.9, 25.2, 25.0, 24.9, 25.1, 25.3, 24.7)


def run(bench: Bench, pc: float | None = 25.0) -> str:
    """One negative tube beside controls of which the positive one's N has this Cq; returns the tube."""
    [code] = bench.singles()
    bench.cycle([code], {"PC": {"N": pc}})
    return code


def set_by_hand(bench: Bench, mean: float = 25.0, sd: float = 0.2, series: Series = PC_N) -> quality.Expected:
    """The manager says what a control should measure."""
    if series not in charts(bench):
        run(bench, mean)
        bench.clock.advance(timedelta(minutes=1))
    with bench.lab.database.write("rosa") as unit:
        return quality.set_target(unit, series, mean, sd, "from the validation of the kit")


def charts(bench: Bench) -> dict[Series, quality.ControlChart]:
    """All control charts."""
    with bench.lab.database.read() as conn:
        return {one.series: one for one in quality.charts(conn, bench.clock.now())}


def held_by(bench: Bench, code: str) -> set[str]:
    """Rules that keep a tube from leaving by itself."""
    with bench.lab.database.write("rosa") as unit:
        return {one.rule for one in reports.why_held(unit, bench.lab.rules, bench.tube(code))}


def alarms(bench: Bench) -> list[str]:
    """Codes of open alarms."""
    with bench.lab.database.read() as conn:
        return [row["code"] for row in queries.open_alarms(conn)]


def test_a_rejected_run_holds_its_results_until_a_person_looked(bench: Bench):
    """Beyond three SD nothing of the run leaves by itself; a reviewer who looked can release it."""
    set_by_hand(bench)
    good, doubtful = run(bench, 25.1), run(bench, 25.7)
    assert bench.tube(good).state is TubeState.RELEASED
    assert bench.tube(doubtful).state is TubeState.IN_REVIEW
    assert held_by(bench, doubtful) == {"control-chart"}
    assert alarms(bench) == ["QUALITY_REJECTED"]
    points = charts(bench)[PC_N].points
    assert [(point.value, point.broken, point.rejects) for point in points[1:]] == [
        (25.1, (), False),
        (25.7, ("1-2s", "1-3s"), True),
    ]
    with bench.lab.database.write("rosa") as unit:
        reports.review(unit, bench.lab.rules, doubtful, "accept", "a new vial of the control was opened")
        reports.release(unit, bench.lab.rules, [doubtful])
    assert bench.tube(doubtful).state is TubeState.RELEASED
    assert bench.check().ok


def test_a_warning_is_shown_and_holds_nothing(bench: Bench):
    """One point beyond two SD warns people; its results leave as usual."""
    set_by_hand(bench)
    assert bench.tube(run(bench, 25.5)).state is TubeState.RELEASED
    assert charts(bench)[PC_N].points[-1].broken == ("1-2s",)
    assert alarms(bench) == []


def test_the_second_of_two_beyond_two_sd_is_rejected(bench: Bench):
    """Rules look back over the runs of the same control, in the order in which they were read."""
    set_by_hand(bench)
    first, second = run(bench, 25.5), run(bench, 25.45)
    assert (bench.tube(first).state, bench.tube(second).state) == (TubeState.RELEASED, TubeState.IN_REVIEW)
    assert set(charts(bench)[PC_N].points[-1].broken) == {"1-2s", "2-2s"}


def test_runs_before_the_values_were_set_are_not_judged_by_them(bench: Bench):
    """New values start afresh: what other values allowed, or made these, does not count against a run."""
    for _ in range(2):
        run(bench, 25.9)
    set_by_hand(bench)
    bench.clock.advance(timedelta(minutes=1))
    assert bench.tube(run(bench, 25.5)).state is TubeState.RELEASED
    assert [point.broken for point in charts(bench)[PC_N].points] == [(), (), ("1-2s",)]


def test_a_control_without_values_is_kept_and_judges_nothing(bench: Bench):
    """Until a person said what a control should measure its runs leave as before, and every point is there."""
    for pc in (22.0, 33.0):
        assert bench.tube(run(bench, pc)).state is TubeState.RELEASED
    found = charts(bench)
    assert [point.value for point in found[PC_N].points] == [22.0, 33.0]
    assert {series.level for series in found} == {*CONTROLS, "IC"}
    ntc = [one for series, one in found.items() if series.level == "NTC"]
    assert [point.value for one in ntc for point in one.points] == [None] * 2 * len(ntc)
    assert all(one.accepted == 0 for one in ntc)


def test_the_internal_control_is_charted_by_its_median_over_the_specimens(embedded: Bench):
    """One bad swab does not move the chart of the internal control."""
    codes = embedded.singles(5)
    embedded.cycle(
        codes, {code: {"IC": cq} for code, cq in zip(codes, (26.0, 26.2, 26.1, 39.0, 26.3), strict=True)}
    )
    [chart] = [one for series, one in charts(embedded).items() if series.level == "IC"]
    assert [point.value for point in chart.points] == [26.2]


def test_a_new_lot_has_a_chart_of_its_own(bench: Bench):
    """The values of the old lot do not judge the new one, whose control may measure something else."""
    set_by_hand(bench)
    codes = bench.singles(2)
    for code, lot in zip(codes, ("", "L2"), strict=True):
        plate = bench.plate([code])
        with bench.lab.database.write("anna") as unit:
            queries.update_row(unit.conn, "plate", {"plate_id": plate}, lot=lot)
        bench.deliver(bench.table(plate, {"PC": {"N": 29.0}}), plate=plate)
    assert [bench.tube(code).state for code in codes] == [TubeState.IN_REVIEW, TubeState.RELEASED]
    found = charts(bench)
    assert next(iter(found)).lot == ""  # the rejected one comes first
    assert [point.broken for point in found[PC_N._replace(lot="L2")].points] == [()]


def test_values_come_from_twenty_accepted_runs(embedded: Bench):
    """Mean and SD are those of the valid runs that no chart rejected; fewer than twenty are refused."""
    values = [value for value in STEADY for _ in range(2)]
    for value in values[:-1]:
        run(embedded, value)
    [code] = embedded.singles()
    embedded.cycle([code], {"PC": {"N": None}})  # the control failed: no accepted run
    with pytest.raises(Refused, match="19 accepted runs") as few, embedded.lab.database.write("rosa") as unit:
        quality.set_target(unit, PC_N)
    assert few.value.code == "QUALITY_FEW"
    run(embedded, values[-1])
    with embedded.lab.database.write("rosa") as unit:
        made = quality.set_target(unit, PC_N)
    assert (made.mean, made.sd) == pytest.approx((fmean(values), stdev(values)))
    assert (made.version, made.runs, made.set_by) == (1, quality.ENOUGH, "rosa")
    assert charts(embedded)[PC_N].expected == made
    assert set_by_hand(embedded).version == 2
    assert charts(embedded)[PC_N].expected.reason == "from the validation of the kit"


def test_runs_that_all_measured_the_same_set_nothing(embedded: Bench):
    """An SD of zero would reject every later run; a cycler that never varies is looked at."""
    for _ in range(quality.ENOUGH):
        run(embedded)
    with (
        pytest.raises(Refused, match="measured the same") as flat,
        embedded.lab.database.write("rosa") as unit,
    ):
        quality.set_target(unit, PC_N)
    assert flat.value.code == "QUALITY_FLAT"


@pytest.mark.parametrize(
    ("series", "values", "reason", "error", "code"),
    [
        (PC_N._replace(target="M"), (25.0, 0.2), "why", NotFound, "QUALITY_SERIES"),
        (PC_N, (25.0, None), "why", Invalid, "QUALITY_VALUES"),
        (PC_N, (None, 0.2), "why", Invalid, "QUALITY_VALUES"),
        (PC_N, (25.0, 0.0), "why", Invalid, "QUALITY_VALUES"),
        (PC_N, (float("nan"), 0.2), "why", Invalid, "QUALITY_VALUES"),
        (PC_N, (25.0, 0.2), " ", Invalid, "REASON"),
    ],
)
def test_values_that_mean_nothing_are_refused(embedded: Bench, series, values, reason, error, code):
    """Half a pair, no number, no reason or a control that nobody measured: refused, and nothing is kept."""
    run(embedded)
    with pytest.raises(error) as refused, embedded.lab.database.write("rosa") as unit:
        quality.set_target(unit, series, *values, reason)
    assert refused.value.code == code
    assert charts(embedded)[PC_N].expected is None


def test_the_longest_rule_says_how_far_back_a_run_looks():
    """Ten on one side of the mean is the longest of Westgard's rules."""
    assert LONGEST == 10


def test_a_lot_that_fails_too_often_stands_out(bench: Bench):
    """Inconclusive and invalid specimens are counted by lot and cycler, single signals by target."""
    bad = {"IC": None}
    for lot, failing in (("OLD", 0), ("OLD", 1), ("NEW", 9)):
        codes = bench.singles(12)
        plate = bench.plate(codes)
        with bench.lab.database.write("anna") as unit:
            queries.update_row(unit.conn, "plate", {"plate_id": plate}, lot=lot)
        bench.clock.advance(timedelta(hours=2))
        signals = dict.fromkeys(codes[:failing], bad) | {codes[-1]: {"N": 36.0}}
        bench.deliver(bench.table(plate, signals), plate=plate)
    with bench.lab.database.read() as conn:
        found = quality.failure_rates(conn, bench.lab.rules, bench.clock.now())
    lots = {rate.name: (rate.failed, rate.tested, rate.high) for rate in found["lot"]}
    assert lots == {"NEW": (10, 12, True), "OLD": (3, 24, False)}
    assert [(rate.name, rate.failed, rate.tested) for rate in found["instrument"]] == [(CYCLER, 13, 36)]
    targets = {rate.name: (rate.failed, rate.tested) for rate in found["target"]}
    assert targets == {f"{DAAN} N": (3, 36), f"{DAAN} ORF1ab": (0, 36)}
