"""Which aliquot goes into which well, for a machine and by hand."""

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pooling
from pooling import PoolDesignError, PoolToMake
from pooling.worklist import HEADER, WELLS


def pools_of(*sizes):
    """Pools with running barcodes."""
    made, tube = [], 0
    for number, size in enumerate(sizes, start=1):
        made.append(PoolToMake(f"L{number}", tuple(f"T{tube + place}" for place in range(1, size + 1))))
        tube += size
    return made


def test_wells_run_down_the_columns():
    """An 8-channel head works column by column: A1 to H1, then A2, and H12 last."""
    assert (WELLS[0], WELLS[7], WELLS[8], WELLS[95], len(set(WELLS))) == ("A1", "H1", "A2", "H12", 96)


def test_two_pools_step_by_step():
    """Members of a pool go into its one well; racks are loaded in the order of the list."""
    rows = pooling.worklist(pools_of(2, 3), 50.0)
    assert [(row.step, row.pool, row.destination_well, row.source_tube, row.source_well) for row in rows] == [
        (1, "L1", "A1", "T1", "A1"),
        (2, "L1", "A1", "T2", "B1"),
        (3, "L2", "B1", "T3", "C1"),
        (4, "L2", "B1", "T4", "D1"),
        (5, "L2", "B1", "T5", "E1"),
    ]
    assert {(row.destination_plate, row.source_rack, row.volume_ul) for row in rows} == {(1, 1, 50.0)}
    assert pooling.worklist(pools_of(2), 0.5)[1].volume_ul == 0.5


def test_reserved_wells_and_further_plates():
    """Control wells are left free, and after the last free well the next plate begins."""
    rows = pooling.worklist(pools_of(*[2] * 96), 50.0, reserved=("A1", "H12"))
    wells = [(row.destination_plate, row.destination_well) for row in rows[::2]]
    assert wells[0] == (1, "B1")
    assert wells[93:] == [(1, "G12"), (2, "B1"), (2, "C1")]
    assert [(row.source_rack, row.source_well) for row in rows[95:97]] == [(1, "H12"), (2, "A1")]


@given(
    sizes=st.lists(st.integers(1, 12), max_size=120), reserved=st.sets(st.sampled_from(WELLS), max_size=90)
)
def test_every_aliquot_once_and_no_well_twice(sizes, reserved):
    """No tube is lost or drawn twice, no two pools share a well, no reserved well is used."""
    pools = pools_of(*sizes)
    rows = pooling.worklist(pools, 20.0, tuple(reserved))
    assert [row.source_tube for row in rows] == [tube for pool in pools for tube in pool.members]
    homes = {row.pool: (row.destination_plate, row.destination_well) for row in rows}
    assert len(set(homes.values())) == len(pools)
    assert {(row.pool, row.destination_plate, row.destination_well) for row in rows} == {
        (pool, *home) for pool, home in homes.items()
    }
    assert not {well for _, well in homes.values()} & reserved
    places = [(row.source_rack, row.source_well) for row in rows]
    assert len(set(places)) == len(places)
    assert [row.step for row in rows] == list(range(1, len(rows) + 1))


def test_csv_for_a_liquid_handler():
    """A header and one CRLF line per aliquot, decimals with a full stop, commas and quotes kept apart."""
    pools = [PoolToMake("L,1", ('T"1', "T2"))]
    text = pooling.worklist_csv(pooling.worklist(pools, 37.5))
    assert text.splitlines()[0] == (
        "step,pool,destination_plate,destination_well,source_tube,source_rack,source_well,volume_ul"
    )
    assert text.count("\r\n") == 3
    assert text.endswith("\r\n")
    table = list(csv.DictReader(text.splitlines()))
    assert tuple(table[0]) == HEADER
    assert table[0]["pool"] == "L,1"
    assert table[0]["source_tube"] == 'T"1'
    assert text.splitlines()[2] == '2,"L,1",1,A1,T2,1,B1,37.5'
    assert pooling.worklist_csv(()).splitlines() == [",".join(HEADER)]


def test_the_list_to_print():
    """One heading per pool with well, count and volume, one line to tick per tube, in two languages."""
    rows = pooling.worklist(pools_of(2, 1), 50.0)
    english, chinese = pooling.by_hand(rows), pooling.by_hand(rows, "zh")
    assert english == (
        "Pool L1, plate 1, well A1: 2 tubes, 100 µl",
        "  [ ] 1/2 take 50 µl from tube T1 (rack 1, A1)",
        "  [ ] 2/2 take 50 µl from tube T2 (rack 1, B1)",
        "Pool L2, plate 1, well B1: 1 tubes, 50 µl",
        "  [ ] 1/1 take 50 µl from tube T3 (rack 1, C1)",
    )
    assert chinese[0] == "混检管 L1,第 1 板 A1 孔:2 管,共 100 µl"
    assert chinese[1] == "  [ ] 1/2 从试管 T1(第 1 架 A1)吸取 50 µl"
    assert len(chinese) == 5


@pytest.mark.parametrize(
    ("call", "code", "word"),
    [
        pytest.param(lambda: pooling.worklist(pools_of(2), 0.0), "BAD_WORKLIST", "0", id="no-volume"),
        pytest.param(lambda: pooling.worklist(pools_of(2), 5.0, ("I1",)), "BAD_WORKLIST", "I1", id="no-well"),
        pytest.param(
            lambda: pooling.worklist(pools_of(2), 5.0, WELLS), "BAD_WORKLIST", "one free", id="full"
        ),
        pytest.param(lambda: pooling.worklist([PoolToMake("L", ())], 5.0), "BAD_WORKLIST", "L", id="empty"),
        pytest.param(
            lambda: pooling.worklist([PoolToMake("L", ("T1", "T1"))], 5.0),
            "BAD_WORKLIST",
            "T1",
            id="tube-twice",
        ),
        pytest.param(
            lambda: pooling.worklist([PoolToMake("L", ("T1",)), PoolToMake("M", ("T1",))], 5.0),
            "BAD_WORKLIST",
            "T1",
            id="in-two-pools",
        ),
        pytest.param(lambda: pooling.worklist(2 * pools_of(1), 5.0), "BAD_WORKLIST", "L1", id="pool-twice"),
        pytest.param(
            lambda: pooling.worklist([PoolToMake("T1", ("T1",))], 5.0), "BAD_WORKLIST", "T1", id="into-itself"
        ),
        pytest.param(
            lambda: pooling.worklist([PoolToMake("L", (" ",))], 5.0), "BAD_WORKLIST", "barcode", id="blank"
        ),
        pytest.param(
            lambda: pooling.worklist([PoolToMake("L", ("T\n1",))], 5.0),
            "BAD_WORKLIST",
            "barcode",
            id="line-break",
        ),
        pytest.param(lambda: pooling.by_hand((), "fr"), "BAD_LANGUAGE", "fr", id="language"),
    ],
)
def test_impossible_worklists_are_refused(call, code, word):
    """No volume, no well, a tube twice, a barcode with a line break: nothing is pipetted."""
    with pytest.raises(PoolDesignError) as caught:
        call()
    assert caught.value.code == code
    assert word in str(caught.value)


def test_volumes_are_written_short():
    """50.0 microlitres are written 50, and letters never force quotes."""
    text = pooling.worklist_csv(pooling.worklist([PoolToMake("LX", ("TX",))], 50.0))
    assert text.splitlines()[1] == "1,LX,1,A1,TX,1,A1,50"
