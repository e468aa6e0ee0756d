"""The pipetting worklist: every aliquot has one place, and a scan that is wrong stops with where it belongs."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO

import pytest
from bench import Bench
from pypdf import PdfReader

from lis.errors import Invalid, LisError, NotFound, Refused
from lis.laboratory.papers import pool_sheet_pdf
from lis.printing import PoolBlock, PoolSheetView, as_pool_sheet
from lis.services import plates, pools, receiving
from lis.services.pools import AliquotResult, AliquotScan, Formed, Sheet
from lis.tube import TubeState

DETECTED = {"ORF1ab": 25.0, "N": 25.0}


def form(bench: Bench, *groups: list[str], confirm: bool | None = True) -> Formed:
    """Pools on one worklist."""
    orders = [pools.PoolOrder(tuple(group)) for group in groups]
    with bench.lab.database.write("anna") as unit:
        return pools.form_many(unit, bench.lab.rules, orders, confirm=confirm)


def scan(bench: Bench, *scans: tuple[str, ...]) -> list[AliquotResult]:
    """Scans of (pool, tube) or (pool, tube, well)."""
    with bench.lab.database.write("wei") as unit:
        return pools.confirm(unit, [AliquotScan(*one) for one in scans])


def sheet(bench: Bench, number: str) -> Sheet:
    """The worklist as it stands."""
    with bench.lab.database.read() as conn:
        return pools.sheet(conn, bench.lab.rules, number)


def test_pools_formed_together_share_a_worklist_and_no_well(bench: Bench):
    """Each pool has its own free well; reserved wells stay free; the next worklist is another one."""
    groups = [bench.singles(3) for _ in range(9)]
    made = form(bench, *groups)
    found = sheet(bench, made.worklist)
    wells = {step.transfer.pool: step.transfer.destination_well for step in found.steps}
    assert list(wells.values()) == ["A1", "B1", "C1", "D1", "E1", "F1", "G1", "H1", "A2"]
    assert [step.transfer.source_tube for step in found.steps] == [code for one in groups for code in one]
    assert [step.transfer.step for step in found.steps] == list(range(1, 28))
    assert {step.transfer.volume_ul for step in found.steps} == {100.0}
    assert (found.to_confirm, found.open) == (27, 27)
    assert form(bench, bench.singles(2)).worklist != made.worklist
    with pytest.raises(NotFound):
        sheet(bench, "PW999999")
    assert bench.check().ok


def test_more_pools_than_a_plate_has_wells_are_refused(bench: Bench):
    """The reserved wells are nobody's; nothing is written."""
    before = bench.count()
    with pytest.raises(LisError) as error:
        form(bench, *([bench.code(), bench.code()] for _ in range(95)))
    assert error.value.code == "POOLS_COUNT"
    assert "94" in error.value.sentence
    assert bench.count() == before


def test_all_pools_are_formed_or_none(bench: Bench):
    """One tube in two pools of a request, or one bad member, leaves every tube where it was."""
    good, other = bench.singles(3), bench.singles(2)
    before = bench.count()
    for groups, code in (
        ([good, [*other, good[0]]], "IN_TWO_POOLS"),
        ([good, [*other, bench.mixed()]], "NESTED_POOL"),
    ):
        before = bench.count()
        with pytest.raises(LisError) as error:
            form(bench, *groups)
        assert error.value.code == code
        assert bench.count() == before
    assert set(bench.states([*good, *other])) == {TubeState.RECEIVED}


def test_the_csv_says_tube_by_tube_where_to_take_and_where_to_put(bench: Bench):
    """A liquid handler reads source, destination and volume; a person sees where reception put the tube."""
    codes = bench.received(*(bench.order() for _ in range(2)), rack="R,9")
    made = form(bench, codes)
    text = pools.as_csv(sheet(bench, made.worklist))
    assert text.endswith("\r\n")
    rows = list(csv.DictReader(io.StringIO(text)))
    pool = made.pools[0].tube_id
    assert [row["source_tube"] for row in rows] == codes
    assert rows[0] == {
        "step": "1", "pool": pool, "destination_plate": "1", "destination_well": "A1", "source_tube": codes[0],
        "source_rack": "1", "source_well": "A1", "volume_ul": "100", "stands_in_rack": "R,9", "stands_at": codes[0],
    }  # fmt: skip


def test_a_pool_is_plated_only_when_every_aliquot_was_scanned(bench: Bench):
    """Until the last scan neither the scheduler nor a hand can plate it; then it reads like any pool."""
    codes = bench.singles(3)
    made = form(bench, codes)
    pool = made.pools[0].tube_id
    for code in codes[:2]:
        assert scan(bench, (pool, code))[0].code == "ALIQUOT_CONFIRMED"
    with bench.lab.database.write("anna") as unit:
        assert pool not in [job.tube for job in plates.jobs(unit, bench.lab.rules)]
    with pytest.raises(Refused) as error:
        bench.plate([pool])
    assert error.value.code == "ALIQUOTS_OPEN"
    [last] = scan(bench, (pool, codes[2], "A1"))
    assert (last.code, last.left, last.outcome.value) == ("POOL_COMPLETE", 0, "confirmed")
    found = sheet(bench, made.worklist)
    assert found.open == 0
    assert {step.confirmed_by for step in found.steps} == {"wei"}
    bench.cycle([pool])
    assert bench.states(codes) == [TubeState.RELEASED] * 3
    assert bench.check().ok


def test_a_wrong_tube_stops_and_says_where_it_belongs(bench: Bench):
    """A tube of the neighbour, of no pool, of another well, an unknown one: each stops with what and where."""
    first, second, loose = bench.singles(3), bench.singles(3), bench.singles(1)[0]
    made = form(bench, first, second)
    one, two = (pool.tube_id for pool in made.pools)
    before = bench.count()
    cases = [
        ((one, second[0]), "ALIQUOT_ELSEWHERE", [two, "well B1", second[0]]),
        ((one, loose), "ALIQUOT_NO_POOL", ["is received", "Put it aside"]),
        ((one, bench.code()), "ALIQUOT_NO_POOL", ["is not known here"]),
        ((one, first[0], "B1"), "ALIQUOT_WELL", ["well A1, not in B1"]),
        ((one, "hello"), "NOT_A_TUBE", ["hello"]),
        ((first[0], first[1]), "NOT_A_POOL", [first[0]]),
        (("", first[1]), "NOT_A_POOL", ["(nothing)"]),
    ]
    for given, code, said in cases:
        [result] = scan(bench, given)
        assert (result.outcome.value, result.code) == ("refused", code)
        assert result.sentence.startswith("Stop: ")
        for part in said:
            assert part in result.sentence, result.sentence
    assert bench.count() == before
    with pytest.raises(Invalid):
        scan(bench)


def test_a_repeated_tube_stops_with_when_and_who(bench: Bench):
    """The same aliquot twice is not confirmed twice; the sentence says when, by whom, and what to do."""
    codes = bench.singles(3)
    pool = form(bench, codes).pools[0].tube_id
    scan(bench, (pool, codes[0]))
    [result] = scan(bench, (pool, codes[0]))
    assert result.code == "ALIQUOT_REPEATED"
    assert "by wei" in result.sentence
    assert "reject the pool" in result.sentence
    assert bench.tube(pool).open_aliquots == 2


def test_scans_after_a_wrong_one_are_not_looked_at(bench: Bench):
    """Good scans before the wrong one count, the rest waits until the hand has stopped and looked."""
    codes, loose = bench.singles(4), bench.singles(1)[0]
    pool = form(bench, codes).pools[0].tube_id
    results = scan(bench, (pool, codes[0]), (pool, codes[1]), (pool, loose), (pool, codes[2]))
    assert [one.outcome.value for one in results] == ["confirmed", "confirmed", "refused"]
    assert bench.tube(pool).open_aliquots == 2
    results = scan(bench, (pool, codes[2]), (pool, codes[2]))
    assert [one.code for one in results] == ["ALIQUOT_CONFIRMED", "ALIQUOT_REPEATED"]


def test_a_pool_that_was_recorded_as_pipetted_waits_for_no_scan(bench: Bench):
    """Without confirmation the pool may be plated at once, and a scan for it is refused."""
    codes = bench.singles(2)
    pool = form(bench, codes, confirm=None).pools[0].tube_id
    assert bench.tube(pool).open_aliquots == 0
    assert scan(bench, (pool, codes[0]))[0].code == "ALIQUOT_NOT_AWAITED"
    bench.plate([pool])


def test_a_spoilt_pool_is_rejected_and_its_tubes_are_tested_singly(bench: Bench):
    """The wrong liquid is in: the pool goes, nobody of it is lost, and a rebuild of the tables agrees."""
    codes = bench.singles(3)
    pool = form(bench, codes).pools[0].tube_id
    scan(bench, (pool, codes[0]))
    with bench.lab.database.write("anna") as unit:
        receiving.reject(unit, bench.lab.rules, pool, "wrong tube pipetted")
    assert {bench.tube(code).test for code in codes} == {"singly"}
    assert scan(bench, (pool, codes[1]))[0].code == "ALIQUOT_NOT_AWAITED"
    bench.cycle(codes, {codes[1]: DETECTED})
    assert bench.tube(codes[1]).result == "positive"
    assert bench.check().ok


# -- on paper --------------------------------------------------------------------------------------

VIEW = PoolSheetView(
    worklist="PW000007",
    laboratory="示例市核酸检测实验室",
    made_at=datetime(2022, 12, 21, 8, 5, tzinfo=UTC),
    volume_ul=100.0,
    pools=tuple(
        PoolBlock(
            f"L{number:010d}",
            f"{'ABCDEFGH'[number % 8]}{number // 8 + 1}",
            tuple((f"T{number:03d}{n}", f"R{number} A{n}") for n in range(1, 6)),
        )
        for number in range(20)
    ),
)


def pages(pdf: bytes) -> list[str]:
    """The text of every page without white space."""
    return ["".join(page.extract_text().split()) for page in PdfReader(BytesIO(pdf)).pages]


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("zh", ["混检加样单", "加样人"]),
        ("en", ["Poolpipettingsheet", "Loadedby"]),
        ("both", ["混检加样单", "Checkedby"]),
    ],
)
def test_the_printed_sheet_names_every_pool_well_and_tube_once(language: str, words: list[str]):
    """Whoever pipettes by hand finds every tube with its place; nothing is printed twice or lost at a page."""
    found = pages(as_pool_sheet(VIEW, language))
    text = "".join(found)
    assert len(found) == 2
    assert all(word in text for word in words)
    for block in VIEW.pools:
        assert text.count(block.pool) == 1
        for tube, place in block.members:
            assert text.count(tube) == 1
            assert place.replace(" ", "") in text
    assert all("PW000007" in page for page in found)
    assert as_pool_sheet(VIEW, language) == as_pool_sheet(VIEW, language)


def test_a_sheet_that_names_a_well_twice_is_not_printed():
    """A well or a tube that stands twice on the sheet would send a hand wrong."""
    twice = replace(VIEW.pools[0], pool="L9")
    with pytest.raises(Invalid) as error:
        replace(VIEW, pools=(VIEW.pools[0], twice))
    assert error.value.code == "POOL_SHEET"
    with pytest.raises(Invalid):
        as_pool_sheet(VIEW, "de")


def test_the_sheet_of_a_real_worklist_is_printed(embedded: Bench):
    """From the pools in the log to the paper: every tube and where it stands."""
    codes = embedded.singles(4)
    made = form(embedded, codes)
    text = "".join(pages(pool_sheet_pdf(embedded.lab, sheet(embedded, made.worklist), "en")))
    assert all(code in text for code in codes)
    assert made.pools[0].tube_id in text
    assert f"R{codes[0]}" in text
