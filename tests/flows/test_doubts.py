"""What lies beside a tube, and what it was tested with, can cast doubt on its finding."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest
from bench import Bench

from lis import queries
from lis.matching import LoadedWell, Measured
from lis.services.plates import PlateOrder, WellOrder
from lis.services.results.doubting import LOT_DAYS
from lis.services.results.shapes import Plate
from lis.services.results.splashing import examined
from lis.tube import TubeState

FLOOD = {"ORF1ab": 14.0, "N": 14.5}
WEAK = {"ORF1ab": 33.0, "N": 33.5}
ALONE = {"N": 36.0}


def run(bench: Bench, wells: dict[str, str], signals: dict[str, dict], lot: str = "") -> None:
    """Plate tubes in named wells with a lot of reagents, run them and read the result."""
    controls = bench.lab.rules.template("").controls
    order = [WellOrder(well, tube=code) for well, code in wells.items()]
    order += [WellOrder(well, control=kind) for kind, well in controls]
    plate = bench.make(PlateOrder(wells=tuple(order), lot=lot))
    bench.clock.advance(timedelta(hours=2))
    assert bench.deliver(bench.table(plate, signals), plate=plate).ingested.state == "read"


def test_a_positive_beside_a_flood_is_extracted_again_and_one_far_away_is_not(bench: Bench):
    """A weak positive in a well beside a very strong one may be its splash; two wells on it is believed."""
    strong, beside, far = bench.singles(3)
    run(bench, {"B2": strong, "C3": beside, "E9": far}, {strong: FLOOD, beside: WEAK, far: WEAK})
    doubted = bench.tube(beside)
    assert (doubted.state, doubted.test) == (TubeState.AWAITING_RETEST, "re-extract")
    assert doubted.reason == "beside-strong"
    assert bench.tube(strong).state is bench.tube(far).state is TubeState.IN_REVIEW
    run(bench, {"A1": beside}, {beside: WEAK})
    assert (bench.tube(beside).result, bench.tube(beside).state) == ("positive", TubeState.IN_REVIEW)
    assert bench.check().ok


def test_a_negative_beside_a_flood_stays_negative(bench: Bench):
    """A neighbour never turns a result round: it can only order a test more."""
    strong, beside = bench.singles(2)
    run(bench, {"B2": strong, "B3": beside}, {strong: FLOOD})
    assert bench.tube(beside).result == "negative"


def test_the_rule_about_neighbours_can_be_switched_off_in_the_policy(bench: Bench):
    """A policy without the step concludes a positive whatever lies beside it."""
    policy = bench.lab.rules.policy
    quiet = dataclasses.replace(policy, evidence=dataclasses.replace(policy.evidence, beside_strong=""))
    lab = dataclasses.replace(bench.lab, rules=dataclasses.replace(bench.lab.rules, policy=quiet))
    calm = Bench(lab, bench.clock, bench.numbers)
    strong, beside = calm.singles(2)
    run(calm, {"B2": strong, "B3": beside}, {strong: FLOOD, beside: WEAK})
    assert calm.tube(beside).result == "positive"


WELLS = ("A1", "A3", "A5", "A7", "A9", "A11", "C1", "C3", "C5", "C7")


def crowd(bench: Bench, lot: str, alone: int) -> list[str]:
    """A plate of ten tubes of which some give one target alone; returns those."""
    codes = bench.singles(len(WELLS))
    single = codes[:alone]
    run(bench, dict(zip(WELLS, codes, strict=True)), dict.fromkeys(single, ALONE), lot)
    return single


def test_a_lot_that_gives_one_target_alone_too_often_is_checked_with_another_kit(bench: Bench):
    """Single targets that crowd into one lot order the second kit; the same few in other lots do not."""
    for lot in ("L1", "L2", "L3"):
        crowd(bench, lot, 0)
    for code in crowd(bench, "L2", 4):
        assert bench.tube(code).reason == "single-target"
    [last] = crowd(bench, "L2", 1)
    tube = bench.tube(last)
    assert (tube.state, tube.test, tube.reason) == (TubeState.AWAITING_RETEST, "second-kit", "lot-cluster")
    [other] = crowd(bench, "L3", 1)
    assert bench.tube(other).reason == "single-target"
    assert bench.check().ok


def test_a_lot_is_compared_by_its_runs_of_the_last_weeks_only(bench: Bench):
    """What a lot gave before the last weeks is forgotten, and plates without a lot are never blamed."""
    crowd(bench, "L2", 5)
    bench.clock.advance(timedelta(days=LOT_DAYS + 1))
    [late] = crowd(bench, "L2", 1)
    assert bench.tube(late).reason == "single-target"
    for code in crowd(bench, "", 6):
        assert bench.tube(code).reason == "single-target"


def flags_of(bench: Bench, code: str) -> set[str]:
    """What is flagged on the readings of a tube."""
    with bench.lab.database.read() as conn:
        rows = queries.readings_of_tube(conn, code)
    return {flag for row in rows for flag in row["flags"].split(",") if flag}


def alarms(bench: Bench) -> list[str]:
    """Codes of open alarms."""
    with bench.lab.database.read() as conn:
        return [row["code"] for row in queries.open_alarms(conn)]


def test_a_suspected_splash_names_its_source_on_the_reading(bench: Bench):
    """The reviewer sees from which well a signal may have come; wells far away, and negatives, bear no flag."""
    strong, beside, far, empty = bench.singles(4)
    run(
        bench,
        {"B2": strong, "C3": beside, "E9": far, "B3": empty},
        {strong: FLOOD, beside: WEAK, far: WEAK},
    )
    assert flags_of(bench, beside) == {"BESIDE_STRONG:B2"}
    assert flags_of(bench, strong) | flags_of(bench, far) | flags_of(bench, empty) == set()
    assert alarms(bench) == []


def test_the_specimen_extracted_right_after_a_flood_is_tested_again(bench: Bench):
    """H1 and A2 are not neighbours on the plate, but they were pipetted one after the other; the one before is not."""
    before, strong, after, later = bench.singles(4)
    wells = {"G1": before, "H1": strong, "A2": after, "D2": later}
    run(bench, wells, {strong: FLOOD, after: WEAK, later: WEAK})
    assert flags_of(bench, after) == {"EXTRACTED_AFTER_STRONG:H1"}
    assert (bench.tube(after).state, bench.tube(after).reason) == (TubeState.AWAITING_RETEST, "beside-strong")
    assert flags_of(bench, later) | flags_of(bench, before) == set()
    assert bench.tube(later).state is TubeState.IN_REVIEW


def test_positives_that_crowd_together_raise_an_alarm(bench: Bench):
    """More touching positives than chance explains are flagged, and their plate is named, once."""
    free = bench.lab.rules.template("").sample_wells("column")
    codes = bench.singles(60)
    near = dict(zip(free, codes, strict=False))
    crowded = [near[well] for well in ("C4", "C5", "D4", "D5", "E4")]
    run(bench, near, {code: {"ORF1ab": 30.0, "N": 30.5} for code in crowded})
    assert all(flags_of(bench, code) == {"CROWDED"} for code in crowded)
    assert alarms(bench) == ["POSITIVES_CROWDED"]
    assert all(bench.tube(code).result == "positive" for code in crowded)  # a flag is no verdict
    assert bench.check().ok


@pytest.mark.parametrize(
    ("batches", "found"), [(("X1", "X2", "X3", "X4"), {"SOURCE_PLATE_STRONG:A1"}), (("X1",) * 4, set())]
)
def test_a_neighbour_on_the_source_plate_is_found_on_a_stamped_plate(
    make_bench, batches: tuple[str, ...], found: set[str]
):
    """Wells two apart on 384 lay side by side on the 96-well plate that was stamped, if one was."""
    plain = make_bench()
    assert plain.lab.rules.template("").size == 96
    wells = [f"{row}{column}" for row in "ABCD" for column in range(1, 9)]
    loaded = tuple(
        LoadedWell(
            well, tube=well, control="", batch=batches[2 * (i // 8 % 2) + i % 2], test="first", targets=()
        )
        for i, well in enumerate(wells)
    )
    assay = plain.lab.rules.assay("daan-2019-ncov")
    plate = Plate("P1", assay, loaded, {}, "c")
    cqs = {"A1": 14.0, "A3": 30.0}
    measured = {
        well: tuple(
            Measured(well, target, "FAM", cqs.get(well), "", "", "", (), well) for target in ("ORF1ab", "N")
        )
        for well in wells
    }
    marks, crowd = examined(plate, measured, 384)
    assert {flag for one in marks["A3"] for flag in one.flags} == found
    assert crowd == ""
    small, _ = examined(plate, measured, 0)  # no well beyond a plate of 96: taken for one
    assert all(not one.flags for one in small["A3"])


def test_a_retest_of_a_tube_that_waited_longer_comes_first(bench: Bench):
    """The hours since receipt raise the priority of a retest."""
    [old] = bench.singles(1)
    bench.clock.advance(timedelta(hours=10))
    [new] = bench.singles(1)
    run(bench, {"A1": old, "C5": new}, {old: ALONE, new: ALONE})
    assert bench.tube(old).priority > bench.tube(new).priority
