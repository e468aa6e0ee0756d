"""The demonstration day: its numbers add up, and nothing is lost on the way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import called
from test_docs import blocks, run_block, with_lis

from lis import config, laboratory, ledger, queries
from lis.demo.summary import summary
from lis.services import admin

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict, str]:
    """The day that README's block plays as printed: its data folder, what it came to, what the block said."""
    folder = tmp_path_factory.mktemp("demo")
    (block,) = [block for block in blocks(ROOT / "README.md") if block.startswith("lis demo --once")]
    said = run_block(block, folder / "work", with_lis(folder))
    data = folder / "work" / "day"
    with laboratory.open_laboratory(config.load(data)) as lab, lab.database.read() as conn:
        return data, summary(conn), said


def test_tubes_in_are_reported_or_recalled_or_waiting(played):
    """Every tube that came in is accounted for, by state."""
    _, day, _ = played
    assert day["tubes"] == day["reported"] + day["recalled"] + day["waiting"]
    assert day["tubes"] == sum(day["states"].values())
    assert day["waiting"] == 0
    assert day["tubes"] == 280 + day["recollections"]


def test_every_person_has_exactly_one_answer(played):
    """Each person who gave a specimen is reported once: a called-back one through the new tube only."""
    data, day, _ = played
    assert day["reports"] == day["persons"]
    with laboratory.open_laboratory(config.load(data)) as lab, lab.database.read() as conn:
        names, rows = queries.dump(conn, "reports")
        persons = [row[names.index("person_id")] for row in rows]
    assert len(persons) == len(set(persons)) == day["persons"]


def test_the_day_brings_what_it_promises(played):
    """Two borderline tubes, one invalid, one failed control plate, pools, recalls: all in their queues."""
    _, day, _ = played
    assert day["retests"]["grey"] >= 2
    assert day["retests"]["invalid"] == 1
    assert any(reason.startswith("run-failed") for reason in day["retests"])
    assert day["pools"] > 5
    assert day["recollections"] > 0
    assert 0 < day["on_time_share"] <= 1
    assert 0 < day["tat_hours"]["p50"] <= day["tat_hours"]["p95"] <= day["tat_hours"]["max"]


def test_no_mixed_tube_gave_an_individual_result_other_than_negative(played):
    """Reports on mixed tubes are negative, every one."""
    data, *_ = played
    with laboratory.open_laboratory(config.load(data)) as lab, lab.database.read() as conn:
        names, rows = queries.dump(conn, "reports")
        mixed = {row[names.index("result")] for row in rows if row[names.index("mode")] == "mixed"}
    assert mixed == {"negative"}


def test_positives_carry_two_signatures(played):
    """Every positive report is signed by two different people; negatives may carry the rules' own."""
    data, *_ = played
    with laboratory.open_laboratory(config.load(data)) as lab, lab.database.read() as conn:
        names, rows = queries.dump(conn, "reports")
        signed = [
            row[names.index("signed_by")].split(", ")
            for row in rows
            if row[names.index("result")] == "positive"
        ]
    assert signed
    assert all(len(set(names)) == 2 for names in signed)


def test_the_log_of_the_day_verifies_and_rebuilds(played):
    """The log folds into the tables, and the tables can be rebuilt from it."""
    data, day, _ = played
    with laboratory.open_laboratory(config.load(data)) as lab:
        with lab.database.read() as conn:
            check = admin.verify_log(conn)
        assert (check.ok, check.events) == (True, day["events"]), check.problem
        with lab.database.write("repair") as unit:
            assert ledger.rebuild(unit) == (check.tubes, 0)
        with lab.database.read() as conn:
            assert admin.verify_log(conn).ok


def test_the_block_of_the_readme_says_what_the_day_came_to(played):
    """README's block prints the day and verifies its log: every event of it, nothing else."""
    _, day, said = played
    assert f"{day['events']} events" in said
    assert f"{'tubes':15} {day['tubes']}" in said


def test_files_of_a_folder_end_in_quarantine_when_nobody_knows_their_plate(
    played, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """``--files`` ships whatever lies in a folder; unknown plates are quarantined, visibly, and files stay."""
    data, *_ = played
    exports = tmp_path / "exports"
    exports.mkdir()
    source = next((data / "instruments" / "qs5-1").glob("*.txt"))
    (exports / source.name).write_bytes(source.read_bytes())
    (exports / "junk.bin").write_bytes(b"\x00\x01\x02" * 500)
    before = {path.name: path.read_bytes() for path in exports.iterdir()}
    order = ("demo", "--once", "--json", "--data", str(tmp_path / "data"), "--files", str(exports))
    status, document, problem = called(capsys, *order)
    assert status == 0, problem
    assert json.loads(document)["quarantined"] == {"UNKNOWN_FORMAT": 1, "UNKNOWN_PLATE": 1}
    assert {path.name: path.read_bytes() for path in exports.iterdir()} == before


def test_a_used_folder_is_refused(played, capsys: pytest.CaptureFixture[str]):
    """The demonstration never writes into a folder that holds something."""
    data, *_ = played
    status, _, problem = called(capsys, "demo", "--once", "--data", str(data))
    assert status == 1
    assert problem.startswith("error: DATA_NOT_EMPTY: ")
