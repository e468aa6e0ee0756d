"""Does the file belong to the plate: the last doubts, one by one."""

from __future__ import annotations

import pytest
from bench import Bench

from lis import events as e
from lis import ledger, queries
from lis.matching import _some
from lis.services import results
from lis.tube import TubeState

KIT = "cdc-2019-ncov-n1n2rp"


def test_a_value_no_cycler_can_mean_is_kept_aside(embedded: Bench):
    """A Cq of zero quarantines the file instead of stopping the laboratory."""
    [code] = embedded.singles()
    plate = embedded.plate([code])
    handled = embedded.deliver(embedded.table(plate, {code: {"N": 0}}), plate=plate)
    assert handled.ingested.state == "quarantined"
    assert embedded.tube(code).state is TubeState.RUNNING


def test_a_target_twice_and_a_table_without_rows_are_kept_aside(embedded: Bench):
    """Two values for one target under two of its names, and a file without results, decide nothing."""
    plate = embedded.plate(embedded.singles())
    rows = embedded.contents(plate, {})
    twice = [*rows, (*rows[0][:3], "ORF1a/b", 22.0)]
    assert embedded.deliver(embedded.table(plate, rows=twice), plate=plate).ingested.code == "TARGET_TWICE"
    assert embedded.deliver(embedded.table(plate, rows=[]), plate=plate).ingested.state == "quarantined"


def test_a_tube_that_moved_on_gets_no_result(embedded: Bench):
    """If any tube of the plate was decided otherwise meanwhile, the whole file waits for a person."""
    one, two = embedded.singles(2)
    plate = embedded.plate([one, two])
    with embedded.lab.database.write("rogue") as unit:
        ledger.append(unit, [(one, e.Voided("", plate, "A1", "plate", "dropped", "first", 0))])
    handled = embedded.deliver(embedded.table(plate), plate=plate)
    assert handled.ingested.code == "TUBE_MOVED_ON"
    assert embedded.tube(two).state is TubeState.RUNNING


def test_a_file_nobody_kept_cannot_be_read(embedded: Bench):
    """Only what stands in the inbox is ever ingested."""
    with pytest.raises(LookupError), embedded.lab.database.write("x") as unit:
        results.ingest(unit, embedded.lab.rules, "0" * 64, results.Parsed(None))


def test_wells_that_an_operator_took_out_count_as_not_measured(embedded: Bench):
    """A file keeps every reading of a loaded well; the readings of one tube are all of its targets."""
    [code] = embedded.singles()
    handled = embedded.cycle([code])
    with embedded.lab.database.read() as conn:
        readings = queries.readings_of_tube(conn, code)
    assert {row["target"] for row in readings} == {"ORF1ab", "N", "IC"}
    assert {row["run_id"] for row in readings} == {handled.ingested.run_id}


def test_a_list_of_wells_is_short_and_in_order():
    """Five wells are named in the order of the plate, the rest is counted."""
    assert _some({"B2", "A10", "A2"}) == "A2, A10, B2"
    assert _some({f"A{n}" for n in range(1, 9)}) == "A1, A2, A3, A4, A5 and 3 more"
