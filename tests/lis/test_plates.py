"""Plates: each well knows its tube, no tube is twice anywhere, controls keep their places."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from bench import Bench

from lis import barcodes, queries
from lis.errors import LisError
from lis.services import plates
from lis.services.plates import PlateOrder, WellOrder
from lis.tube import TubeState
from scheduler.fill import Plan

CDC = "cdc-2019-ncov-n1n2rp"
CONTROLS = (WellOrder("A12", control="NTC"), WellOrder("H12", control="PC"))


def refused(bench: Bench, code: str, *wells: WellOrder, **order: object) -> LisError:
    """The plate is refused with this code, and nothing is written."""
    before = bench.count(), bench.count("plate")
    with pytest.raises(LisError) as error:
        bench.make(PlateOrder(wells=wells, **order), load=False)
    assert error.value.code == code, error.value
    assert (bench.count(), bench.count("plate")) == before
    return error.value


def wells_of(bench: Bench, plate_id: str) -> dict[str, dict]:
    """The plate map by well."""
    with bench.lab.database.read() as conn:
        return {row["well"]: row for row in queries.wells(conn, plate_id)}


def state_of(bench: Bench, plate_id: str) -> str:
    """State of a plate."""
    with bench.lab.database.read() as conn:
        return queries.plate_row(conn, plate_id)["state"]


def test_the_scheduler_fills_a_plate_of_96_by_due_time(bench: Bench):
    """93 of 100 waiting tubes go on a plate of 96, the urgent ones first, beside the template's controls."""
    usual, urgent = bench.singles(97), bench.singles(3, tier="fever")
    plate = bench.make(PlateOrder(), load=False)
    wells = wells_of(bench, plate)
    tubes = {row["tube_id"] for row in wells.values() if row["tube_id"]}
    assert len(tubes) == 93
    assert tubes >= set(urgent)
    assert {well: row["control"] for well, row in wells.items() if row["control"]} == {
        "A12": "NTC",
        "D12": "EC",
        "H12": "PC",
    }
    assert Counter(bench.states([*usual, *urgent])) == {TubeState.PLATED: 93, TubeState.RECEIVED: 7}
    for well, row in wells.items():
        if row["tube_id"]:
            tube = bench.tube(row["tube_id"])
            assert (tube.plate_id, tube.well) == (plate, well)
    assert bench.check().ok


def test_a_plate_of_384_holds_four_extraction_batches(bench: Bench):
    """A 384-well plate takes 368 or more tubes; each quadrant is an extraction batch with its own control."""
    bench.received(*(bench.order() for _ in range(380)), rack="big")
    wells = wells_of(bench, bench.make(PlateOrder(template="384-quadrants"), load=False))
    assert len([row for row in wells.values() if row["tube_id"]]) == 372
    assert len({row["batch"] for row in wells.values() if row["tube_id"]}) == 4
    extraction = {row["batch"] for row in wells.values() if row["control"] == "EC"}
    assert extraction == {row["batch"] for row in wells.values() if row["tube_id"]}


def test_the_scheduler_waits_or_says_that_nothing_waits(bench: Bench):
    """Without tubes no plate is made; a patient laboratory would rather wait than run three tubes."""
    refused(bench, "NOTHING_TO_PLATE")
    bench.singles(3)
    refused(bench, "NOTHING_TO_PLATE", now_whatever=False)
    with bench.lab.database.write("anna") as unit:
        plan = plates.propose(unit, bench.lab.rules, PlateOrder(assay="daan-2019-ncov"))
    assert isinstance(plan, Plan)
    refused(bench, "NOTHING_TO_PLATE", assay=CDC)


def test_no_partial_plate_is_closed_behind_plates_that_wait_for_a_cycler(bench: Bench):
    """More plates made than cyclers in use: a partial one waits; plates put aside long ago hold nobody up."""

    def asked() -> str:
        with bench.lab.database.write("anna") as unit:
            return type(plates.propose(unit, bench.lab.rules, PlateOrder(now_whatever=False))).__name__

    bench.plate(bench.singles(1))
    bench.plate(bench.singles(1), load=False)
    bench.singles(3)
    bench.clock.advance(timedelta(hours=1))
    assert asked() == "Plan"
    bench.plate(bench.singles(1), load=False)
    assert asked() == "Wait"
    bench.clock.advance(timedelta(hours=7, minutes=1))
    assert asked() == "Plan"


def test_wells_by_hand_must_make_sense(bench: Bench):
    """Twice the same well, tube, an unknown well, a control's place, empty and double wells are refused."""
    one, two = bench.singles(2)
    good = WellOrder("A1", tube=one)
    refused(bench, "WELL_TAKEN", good, WellOrder("A1", tube=two))
    refused(bench, "WELL_TAKEN", good, WellOrder("A1", control="NTC"))
    refused(bench, "TUBE_TWICE", good, WellOrder("A2", tube=one))
    refused(bench, "WELL_UNKNOWN", good, WellOrder("Z9", tube=two))
    refused(bench, "WELL_UNKNOWN", good, WellOrder("A13", tube=two))
    refused(bench, "CONTROL_WELL", good, WellOrder("A12", tube=two))
    refused(bench, "WELL_CONTENT", good, WellOrder("A2"))
    refused(bench, "WELL_CONTENT", good, WellOrder("A2", tube=two, control="NTC"))
    refused(bench, "CONTROL_UNKNOWN", good, WellOrder("A2", control="WATER"))
    refused(bench, "BARCODE_CHECK", good, WellOrder("A2", tube="440700000018"))
    refused(bench, "ASSAY_UNKNOWN", good, assay="nobody-knows")
    refused(bench, "TEMPLATE_UNKNOWN", good, template="97-wells")
    refused(bench, "BARCODE_SHAPE", good, barcode="plate-1")


def test_only_waiting_tubes_are_plated(bench: Bench):
    """Unknown, sealed, pooled, held and already plated tubes are refused with their state."""
    sealed = bench.register(bench.order())[0]
    refused(bench, "NOT_PLATABLE", WellOrder("A1", tube=sealed))
    refused(bench, "NOT_PLATABLE", WellOrder("A1", tube=bench.code()))
    [plated] = bench.singles()
    bench.plate([plated])
    assert "running" in refused(bench, "NOT_PLATABLE", WellOrder("A1", tube=plated)).sentence


def test_a_plate_code_is_used_once(bench: Bench):
    """A second plate with the same code is refused; the laboratory's own numbers skip codes in use."""
    one, two, three = bench.singles(3)
    taken = barcodes.mint(barcodes.PLATE, 1)
    assert bench.make(PlateOrder(barcode=taken, wells=(WellOrder("A1", tube=one), *CONTROLS))) == taken
    refused(bench, "PLATE_EXISTS", WellOrder("A1", tube=two), barcode=taken)
    other = bench.make(PlateOrder(wells=(WellOrder("A1", tube=two), *CONTROLS)))
    assert other == barcodes.mint(barcodes.PLATE, 2)
    assert bench.tube(three).state is TubeState.RECEIVED


def test_loading_is_confirmed_by_the_plates_own_code(bench: Bench):
    """Another plate in the hand stops the technician; a plate is loaded once, into a named cycler."""
    one, two = bench.singles(2)
    mine = bench.make(PlateOrder(wells=(WellOrder("A1", tube=one), *CONTROLS)), load=False)
    other = bench.make(PlateOrder(wells=(WellOrder("A1", tube=two), *CONTROLS)), load=False)

    def load(plate: str, scanned: str, cycler: str = "qs5") -> None:
        with bench.lab.database.write("anna") as unit:
            plates.load(unit, plate, scanned, cycler)

    for arguments, code in (
        ((mine, other), "OTHER_PLATE"),
        ((mine, one), "BARCODE_SHAPE"),
        ((mine, mine, " "), "INSTRUMENT"),
        ((barcodes.mint(barcodes.PLATE, 500), mine), "PLATE_UNKNOWN"),
    ):
        with pytest.raises(LisError) as error:
            load(*arguments)
        assert error.value.code == code
    assert bench.tube(one).state is TubeState.PLATED
    load(mine, mine)
    assert bench.states([one, two]) == [TubeState.RUNNING, TubeState.PLATED]
    with pytest.raises(LisError) as error:
        load(mine, mine)
    assert error.value.code == "PLATE_STATE"


def test_a_voided_plate_gives_all_its_tubes_back_in_one_act(bench: Bench):
    """All tubes queue again with the reason and what was due; a plate that was read or voided stays so."""
    codes = bench.singles(5)
    plate = bench.plate(codes)
    with bench.lab.database.write("anna") as unit:
        with pytest.raises(LisError) as error:
            plates.void(unit, plate, " ")
        assert error.value.code == "REASON"
        assert plates.void(unit, plate, "power cut") == 5
    assert state_of(bench, plate) == "void"
    for code in codes:
        tube = bench.tube(code)
        assert (tube.state, tube.test, tube.reason) == (TubeState.AWAITING_RETEST, "first", "power cut")
        assert (tube.plate_id, tube.well) == ("", "")
    bench.cycle(codes)
    done = bench.tube(codes[0])
    assert done.result == "negative"
    for gone in (plate, barcodes.mint(barcodes.PLATE, 2)):
        with pytest.raises(LisError) as error, bench.lab.database.write("anna") as unit:
            plates.void(unit, gone, "again")
        assert error.value.code == "PLATE_STATE"
    assert bench.check().ok


def layout(code: str, column: int, targets: tuple[tuple[str, ...], ...]) -> list[WellOrder]:
    """A tube in one well per set of targets, down a column."""
    return [
        WellOrder(f"{row}{column}", tube=code, targets=own) for row, own in zip("ABC", targets, strict=False)
    ]


ONE_EACH = (("N1",), ("N2",), ("RP",))


def test_a_kit_with_one_target_per_well_gives_a_tube_several_wells(bench: Bench):
    """A tube in three wells, one target each, is one tube: plated once, read once, reported once."""
    [code] = bench.singles()
    controls = [
        WellOrder(f"{row}{column}", control=kind, targets=own)
        for column, kind in ((10, "NTC"), (11, "PC"), (9, "EC"))
        for row, own in zip("BCD", ONE_EACH, strict=True)
    ]
    order = PlateOrder(assay=CDC, template="96-two-controls", wells=(*layout(code, 1, ONE_EACH), *controls))
    plate = bench.make(order)
    assert bench.history(code).count("Plated") == 1
    assert bench.tube(code).well == "A1"
    handled = bench.deliver(bench.table(plate), plate=plate)
    assert handled.ingested.decisions == {"conclude": 1}
    assert bench.tube(code).result == "negative"
    assert bench.check().ok


def test_targets_must_be_those_of_the_assay_all_of_them_once(bench: Bench):
    """A target of another kit, a missing target and a target twice are refused before pipetting."""
    [code] = bench.singles()
    cdc = {"assay": CDC}
    refused(bench, "TARGET_UNKNOWN", *layout(code, 1, (("N1",), ("N2",), ("E",))), **cdc)
    refused(bench, "TARGET_MISSING", *layout(code, 1, (("N1",), ("N2",))), **cdc)
    refused(bench, "TUBE_TWICE", *layout(code, 1, (("N1",), ("N2",), ("N1", "RP"))), **cdc)
    refused(bench, "TUBE_TWICE", *layout(code, 1, (("N1",), ())), **cdc)
    refused(bench, "TUBE_TWICE", *layout(code, 1, ((), ("N1",))), **cdc)
    refused(
        bench,
        "TARGET_MISSING",
        WellOrder("A1", tube=code),
        WellOrder("A2", control="NTC", targets=("N1",)),
        **cdc,
    )


def test_the_wells_of_a_tube_share_one_extraction(bench: Bench):
    """A tube cannot stand in two extraction batches, where one of them could fail unseen."""
    [code] = bench.singles()
    wells = layout(code, 1, ONE_EACH)
    refused(bench, "TUBE_BATCHES", *wells, assay=CDC, template="384-quadrants")
    named = [replace(well, batch=f"X{n}") for n, well in enumerate(wells)]
    refused(bench, "TUBE_BATCHES", *named, assay=CDC)


@pytest.mark.parametrize(
    ("kept", "missing"),
    [((), "NTC, PC"), (CONTROLS[:1], "PC"), (CONTROLS[1:], "NTC")],
)
def test_a_plate_without_its_controls_is_refused_before_anybody_pipettes(
    bench: Bench, kept: tuple[WellOrder, ...], missing: str
):
    """Without the controls that the assay requires no result would count: the sentence names those missing."""
    [code] = bench.singles()
    error = refused(bench, "CONTROL_MISSING", WellOrder("A1", tube=code), *kept)
    assert error.details["controls"] == missing
    assert "daan-2019-ncov" in error.sentence
    for kind in missing.split(", "):
        assert f"Add control {missing}" in error.sentence
        assert f"0 of 1 controls {kind}" in error.sentence
    assert bench.tube(code).state is TubeState.RECEIVED


def test_every_extraction_batch_needs_its_own_control(bench: Bench):
    """Where the assay requires an extraction control, a batch without one is refused and named."""
    one, two = bench.singles(2)
    order = {"assay": CDC, "template": "384-quadrants"}
    layout = bench.lab.rules.template("384-quadrants")
    controls = [WellOrder(well, control=kind) for kind, well in layout.controls]
    free = {layout.batch(well): well for well in layout.sample_wells("column")}
    tubes = (WellOrder(free[1], tube=one), WellOrder(free[3], tube=two))
    third = [well for well in controls if not (well.control == "EC" and layout.batch(well.well) == 3)]
    error = refused(bench, "CONTROL_MISSING", *tubes, *third, **order)
    assert error.details["controls"] == "EC"
    assert "/3 has 0 of 1 controls EC" in error.sentence
    fourth = [well for well in controls if not (well.control == "EC" and layout.batch(well.well) == 4)]
    assert bench.make(PlateOrder(wells=(*tubes, *fourth), **order))


def test_a_template_without_a_required_control_fills_no_plate(bench: Bench):
    """The scheduler's plate is held to the same: a template without the extraction control is refused."""
    bench.singles(2)
    assert bench.lab.rules.template("96-two-controls")
    with bench.lab.database.write("anna") as unit:
        rules = replace(bench.lab.rules, default_assay=CDC)
        with pytest.raises(LisError) as error:
            plates.create(unit, rules, PlateOrder(template="96-two-controls"))
    assert error.value.code == "CONTROL_MISSING"
    assert "template" in error.value.sentence


def test_wells_with_one_target_each_are_one_control(bench: Bench):
    """A control that is spread over three wells counts once; half of the kinds is still too few."""
    [code] = bench.singles()
    spread = [
        WellOrder(f"{row}11", control="PC", targets=own) for row, own in zip("BCD", ONE_EACH, strict=True)
    ]
    error = refused(
        bench,
        "CONTROL_MISSING",
        *layout(code, 1, ONE_EACH),
        *spread,
        assay=CDC,
        template="96-two-controls",
    )
    assert error.details["controls"] == "NTC, EC"
