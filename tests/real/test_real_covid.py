"""Two real COVID plates through ``lis interpret`` and ``lis import``, with the outcomes a laboratory would give.

What the files show, and what the rule files make of it:

* i3L, ABI 7500, 2021-01-02, E / RdRp / RNase P. Three of the four NTC wells carry RNase P at 35.5 to 36.6:
  traces of human RNA, no virus. The rule file tolerates RNase P in an NTC from 35.0 on, where it could not
  make a specimen valid either; any E or RdRp there would void the run. So the run is valid. G11 (36.54 / 34.96)
  lies below 37 with both targets: positive by the guide's printed cutoff, and nothing leaves without two
  people. A laboratory whose own cutoff is stricter has G11 in the grey zone: its rule file says so. H6
  (37.51 / 37.03) is grey by either. Five specimens have no usable RNase P: invalid, extracted again.
* CDC N1/N2/RP, QuantStudio 7 Flex, edited by hand to exercise calling. Its NTC shows N1 at Ct 20 and its
  extraction control has RP at 41: a laboratory voids that run. The file also lacks 144 declared reactions.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from exports import FOLDER, HERE, Bench, Plan, run_of, template_of
from test_real_import import lis_import

from lis import ledger, queries
from lis.cli import main
from lis.errors import Refused
from lis.services import admin, reports

pytestmark = pytest.mark.skipif(
    not HERE, reason="the folder of real exports (../shared/data) is not beside this checkout"
)

I3L = "covid/i3l_abi7500_covid_E_RdRp_RNaseP.xls"
CDC = "covid/aihg_COVID_test_HANDEDITED_qs7flex.xls"
CALLS = "covid/aihg_COVID_test_expected_calls.csv"
CONTROLS = {"NTC": "NTC", "POS": "PC", "HSC": "EC", "nCoVPC": "PC"}

POSITIVE = {"F6", "D11"}
WEAK = "G11"
GREY = "H6"
INVALID = {"A1", "G4", "G8", "G10", "G12"}
LATE_CONTROL = "G5"

OUTCOME = {
    "2019-nCoV detected": "positive",
    "Inconclusive Result": "borderline",
    "2019-nCoV not detected": "negative",
    "Invalid Result": "invalid",
}
NEXT = {"positive": "conclude", "borderline": "retest", "negative": "conclude", "invalid": "re-extract"}


@pytest.fixture
def bench(tmp_path: Path):
    """A fresh laboratory on the embedded database."""
    made = Bench(tmp_path / "data")
    yield made
    made.close()


def interpret(text: str, assay: str, capsys, monkeypatch, *more: str) -> dict[str, dict]:
    """``lis interpret --json`` over a CSV: the row of each specimen."""
    capsys.readouterr()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    main(["interpret", "--assay", assay, "--json", *more])
    return {row["specimen"]: row for row in json.loads(capsys.readouterr().out)}


def table(name: str, key) -> dict[str, dict[str, float | None]]:
    """Specimen -> target -> Cq of a file, controls left out."""
    found: dict[str, dict[str, float | None]] = {}
    for reading in run_of(name).readings:
        if reading.sample not in CONTROLS:
            found.setdefault(key(reading), {})[reading.target] = reading.cq
    return found


def as_csv(rows: dict[str, dict[str, float | None]]) -> str:
    """The CSV that ``lis interpret`` reads; an empty field is undetermined."""
    targets = list(next(iter(rows.values())))
    lines = [",".join(["specimen", *targets])]
    lines += [
        ",".join([name, *("" if cqs[t] is None else str(cqs[t]) for t in targets)])
        for name, cqs in rows.items()
    ]
    return "\n".join(lines) + "\n"


def plan_of(name: str, *, split: bool) -> tuple[Plan, dict[str, int], dict[str, list[str]]]:
    """The plate map of a file: its controls as controls, one tube per sample name.

    Args:
        name: the export.
        split: whether every well tests one target, so that a specimen has a well for each.
    """
    wells, numbers, kept = [], {}, {}
    seen = {}
    for reading in run_of(name).readings:
        seen.setdefault(reading.well, (reading.sample, []))[1].append(reading.target)
    for well, (sample, targets) in seen.items():
        if sample in CONTROLS:
            what: int | str = CONTROLS[sample]
            if not split or targets[0] == "N1":
                kept.setdefault(CONTROLS[sample], []).append(well)
        else:
            what = numbers.setdefault(sample, len(numbers))
        wells.append((well, what, tuple(targets) if split else ()))
    return Plan(tuple(wells)), numbers, kept


def well_of() -> dict[str, str]:
    """Sample -> well of the i3L plate; its specimens stand in one well each."""
    return {reading.sample: reading.well for reading in run_of(I3L).readings}


# -- i3L: E / RdRp / RNase P -----------------------------------------------------------------------


def expected_i3l(well: str) -> str:
    """What a laboratory calls a well of the i3L plate under the shipped rules."""
    if well in POSITIVE | {WEAK}:
        return "positive"
    return "borderline" if well == GREY else "invalid" if well in INVALID else "negative"


def test_the_i3l_batch_is_interpreted_as_a_laboratory_would(capsys, monkeypatch):
    """All 90 specimens: three positive, one grey, five without RNase P, the rest negative."""
    rows = table(I3L, lambda reading: reading.well)
    found = interpret(as_csv(rows), "generic-e-rdrp-rnasep", capsys, monkeypatch)
    assert len(found) == 90
    for well, row in found.items():
        assert row["outcome"] == expected_i3l(well), well
        assert row["next"] == NEXT[row["outcome"]]
        assert row["assay_version"] == "1"
    assert found[GREY]["rule"] == "grey"


def i3l_plate(bench: Bench, assay: str) -> tuple[str, dict[str, str]]:
    """The i3L plate, loaded; its code, and the tube of each well."""
    plan, numbers, kept = plan_of(I3L, split=False)
    bench.rule("plates", "i3l", template_of("i3l", 96, kept))
    plate, codes = bench.plate(plan, assay, "i3l")
    wells = well_of()
    return plate, {wells[sample]: codes[number] for sample, number in numbers.items()}


def test_the_i3l_batch_goes_through_to_reports_and_queues(bench: Bench, capsys):
    """Negatives are reported, positives wait for two people, grey and invalid queue by themselves."""
    plate, tube_in = i3l_plate(bench, "generic-e-rdrp-rnasep")
    status, document, err = lis_import(bench, FOLDER / I3L, plate, capsys)
    assert (status, document["state"], err) == (0, "read", "")
    tubes = {one["tube"]: one for one in document["tubes"]}
    assert len(tubes) == 90
    for well, code in tube_in.items():
        assert tubes[code]["outcome"] == expected_i3l(well), well
    lab = bench.open()
    with lab.database.read() as conn:
        run = queries.run_row(conn, document["run_id"])
        now = ledger.tubes(conn, tube_in.values())
        waiting = {tube.tube_id: tube for tube in queries.worklist(conn, "retest")}
        reported = queries.count_of(conn, "report")
        assert admin.verify_log(conn).ok
    assert run["valid"], run["verdict"]
    queued = {tube_in[well] for well in INVALID | {GREY}}
    assert set(waiting) == queued
    for well in INVALID | {GREY}:
        tube = waiting[tube_in[well]]
        assert tube.test == ("re-amplify" if well == GREY else "re-extract")
        assert tube.reason
        assert tube.priority > 0
        assert tube.due_at is not None
        assert tube.due_at > bench.clock.now()
        assert not tube.result
    for well in POSITIVE | {WEAK}:
        tube = now[tube_in[well]]
        assert (tube.state, tube.result, tube.signatures) == ("in_review", "positive", 0)
    assert now[tube_in[LATE_CONTROL]].state == "in_review"
    held = {one["tube"]: one["rules"] for one in document["held"]}
    assert held[tube_in[LATE_CONTROL]] == ["ic-late"]
    left = set(tube_in.values()) - queued - {tube_in[w] for w in (*POSITIVE, WEAK)} - set(held)
    assert reported == len(left) == len([t for t in now.values() if t.state == "released"])
    assert all(now[code].result == "negative" for code in left)


def test_the_three_traces_of_rnase_p_in_the_ntc_do_not_void_the_run():
    """The NTC wells H4, H5 and H10 hold RNase P at 35.5 to 36.6 and no viral signal; H12 holds nothing."""
    ntc = {}
    for reading in run_of(I3L).readings:
        if reading.sample == "NTC":
            ntc.setdefault(reading.well, {})[reading.target] = reading.cq
    assert set(ntc) == {"H4", "H5", "H10", "H12"}
    assert all(well["E"] is None and well["RdRp"] is None for well in ntc.values())
    assert sorted(round(well["RNAse P"], 1) for well in ntc.values() if well["RNAse P"]) == [35.5, 36.5, 36.6]
    assert min(well["RNAse P"] for well in ntc.values() if well["RNAse P"]) >= 35.0


def stricter_rules() -> str:
    """The shipped rule file under another id, with the laboratory's own cutoff: detected below 35, grey to 40."""
    home = Path(__file__).resolve().parents[2] / "retest" / "assays" / "generic-e-rdrp-rnasep.toml"
    text = home.read_text(encoding="utf-8").replace('id = "generic-e-rdrp-rnasep"', 'id = "i3l-strict"', 1)
    return text.replace('{ op = "<", ct = 37.0 }', '{ op = "<", ct = 35.0 }').replace(
        "low = 37.0", "low = 35.0"
    )


def test_both_borderline_specimens_queue_under_a_stricter_cutoff(bench: Bench, capsys):
    """A laboratory that calls below 35 only has G11 (36.54 / 34.96) and H6 (37.51 / 37.03) repeated by itself."""
    bench.rule("assays", "i3l-strict", stricter_rules())
    plate, tube_in = i3l_plate(bench, "i3l-strict")
    status, document, _ = lis_import(bench, FOLDER / I3L, plate, capsys)
    assert (status, document["state"]) == (0, "read")
    lab = bench.open()
    with lab.database.read() as conn:
        waiting = {tube.tube_id: tube for tube in queries.worklist(conn, "retest")}
    for well, rule in ((WEAK, "grey-and-detected"), (GREY, "grey")):
        tube = waiting[tube_in[well]]
        assert (tube.outcome, tube.rule, tube.test) == ("borderline", rule, "re-amplify")
        assert tube.reason
        assert tube.priority > 0
        assert tube.due_at is not None
    tubes = {one["tube"]: one for one in document["tubes"]}
    assert {well for well, code in tube_in.items() if tubes[code]["outcome"] == "positive"} == POSITIVE


def test_a_positive_of_the_real_batch_leaves_only_with_two_people(bench: Bench, capsys):
    """One signature is not enough, the same person cannot give both, two people can."""
    plate, tube_in = i3l_plate(bench, "generic-e-rdrp-rnasep")
    lis_import(bench, FOLDER / I3L, plate, capsys)
    lab = bench.open()
    code = tube_in["F6"]
    with lab.database.write("rita") as unit:
        reports.review(unit, lab.rules, code, "accept")
    with pytest.raises(Refused, match="SIGNATURES"), lab.database.write("rita") as unit:
        reports.release(unit, lab.rules, [code])
    with pytest.raises(Exception, match="SAME_PERSON"), lab.database.write("rita") as unit:
        reports.review(unit, lab.rules, code, "accept")
    with lab.database.write("otto") as unit:
        reports.review(unit, lab.rules, code, "accept")
        issued = reports.release(unit, lab.rules, [code])
    with lab.database.read() as conn:
        report = queries.report_row(conn, issued.reports[code][0])
        assert admin.verify_log(conn).ok
    assert (report["result"], report["signed_by"]) == ("positive", "rita, otto")


# -- CDC: one target per well ------------------------------------------------------------------------


def cdc_expected() -> dict[str, str]:
    """Sample -> outcome of the calls published beside the CDC file."""
    with (FOLDER / CALLS).open(encoding="utf-8") as lines:
        return {row["Sample_ID"]: OUTCOME[row["Result_Interpretation"]] for row in csv.DictReader(lines)}


def test_the_published_calls_of_the_cdc_plate_are_reproduced(capsys, monkeypatch):
    """All 29 samples of the N1/N2/RP plate get the published interpretation and what is to be done next."""
    found = interpret(
        as_csv(table(CDC, lambda reading: reading.sample)), "cdc-2019-ncov-n1n2rp", capsys, monkeypatch
    )
    assert {name: row["outcome"] for name, row in found.items()} == cdc_expected()
    for row in found.values():
        assert row["next"] == NEXT[row["outcome"]]
    assert len(found) == 29


def cdc_plate(bench: Bench) -> tuple[str, dict[str, str]]:
    """The CDC plate, three wells a specimen, loaded; its code, and the tube of each sample."""
    plan, numbers, kept = plan_of(CDC, split=True)
    bench.rule("plates", "cdc", template_of("cdc", 96, kept))
    bench.rule("tables", "cdc", TABLE)
    (bench.folder / "lis.toml").write_text('jurisdiction = "cdc"\n', encoding="utf-8")
    plate, codes = bench.plate(plan, "cdc-2019-ncov-n1n2rp", "cdc")
    return plate, {sample: codes[number] for sample, number in numbers.items()}


TABLE = """
name = "cdc-table"
delimiter = ","
block = 96
decimal = "."
thousands = ""
no_cq = []
zero_is_none = false

[columns]
well = "Well"
sample = "Sample"
target = "Target"
cq = "Cq"
"""


def cdc_table(folder: Path, corrected: dict[tuple[str, str], str]) -> Path:
    """The values of the edited workbook as a plain table of all loaded wells; ``corrected`` replaces some."""
    path = folder / "cdc.csv"
    lines = ["Well,Sample,Target,Cq"]
    for reading in run_of(CDC).readings:
        cq = "" if reading.cq is None else str(reading.cq)
        cq = corrected.get((reading.sample, reading.target), cq)
        lines.append(f"{reading.well},{reading.sample},{reading.target},{cq}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_the_edited_workbook_itself_is_quarantined(bench: Bench, capsys):
    """The workbook lacks 144 reactions its own set-up declares and names two wells in rows: no tube gets any of it."""
    plate, tubes = cdc_plate(bench)
    status, document, err = lis_import(bench, FOLDER / CDC, plate, capsys)
    assert (status, document["state"], document["code"]) == (1, "quarantined", "INCOMPLETE_FILE")
    assert "144 reactions" in err
    assert "well number 121 is not position E10" in err
    lab = bench.open()
    with lab.database.read() as conn:
        assert {tube.state for tube in ledger.tubes(conn, tubes.values()).values()} == {"running"}
        assert queries.count_of(conn, "report") == 0


def test_the_cdc_run_with_its_amplifying_ntc_is_void_and_nothing_leaves(bench: Bench, tmp_path: Path, capsys):
    """N1 at Ct 20 in the NTC voids every well: all 29 tubes queue again, an alarm is raised, no report."""
    plate, tubes = cdc_plate(bench)
    path = cdc_table(tmp_path, {})
    status, document, _ = lis_import(bench, path, plate, capsys)
    assert (status, document["state"], document["decisions"]) == (0, "read", {"void": 29})
    lab = bench.open()
    with lab.database.read() as conn:
        run = queries.run_row(conn, document["run_id"])
        now = ledger.tubes(conn, tubes.values())
        alarms = queries.open_alarms(conn)
        assert queries.count_of(conn, "report") == 0
        assert len(queries.readings_of_run(conn, document["run_id"])) == 96
        assert admin.verify_log(conn).ok
    assert not run["valid"]
    assert "NTC" in run["verdict"]
    assert {tube.state for tube in now.values()} == {"awaiting_retest"}
    assert {tube.outcome for tube in now.values()} == {""}
    assert all(tube.reason.startswith("run-failed") and tube.priority > 0 for tube in now.values())
    assert [alarm["code"] for alarm in alarms] == ["CONTROL_FAILED"]


def test_a_failed_extraction_control_voids_its_batch_though_the_run_is_good(
    bench: Bench, tmp_path: Path, capsys
):
    """With a clean NTC the late RP (41) of the extraction control remains: its whole batch is extracted again."""
    plate, tubes = cdc_plate(bench)
    path = cdc_table(tmp_path, {("NTC", "N1"): ""})
    status, document, _ = lis_import(bench, path, plate, capsys)
    assert (status, document["decisions"]) == (0, {"void": 29})
    lab = bench.open()
    with lab.database.read() as conn:
        run = queries.run_row(conn, document["run_id"])
        now = ledger.tubes(conn, tubes.values())
        assert queries.count_of(conn, "report") == 0
    assert run["valid"]
    assert run["failed_batches"]
    assert {(tube.state, tube.test) for tube in now.values()} == {("awaiting_retest", "re-extract")}


BESIDE_STRONG = {"S1", "S2"}
"""Positives that lie beside wells at least ten cycles earlier than they: extracted again before they are told."""


def test_with_good_controls_the_cdc_plate_ends_as_published(bench: Bench, tmp_path: Path, capsys):
    """Controls as the protocol wants them, specimens untouched: every tube ends as the published calls say."""
    plate, tubes = cdc_plate(bench)
    path = cdc_table(tmp_path, {("NTC", "N1"): "", ("HSC", "RP"): "28.0"})
    status, document, _ = lis_import(bench, path, plate, capsys)
    assert (status, document["state"]) == (0, "read")
    found = {one["tube"]: one for one in document["tubes"]}
    lab = bench.open()
    with lab.database.read() as conn:
        now = ledger.tubes(conn, tubes.values())
        waiting = {tube.tube_id for tube in queries.worklist(conn, "retest")}
        assert admin.verify_log(conn).ok
    for sample, outcome in cdc_expected().items():
        code = tubes[sample]
        assert found[code]["outcome"] == outcome, sample
        tube = now[code]
        if outcome in {"borderline", "invalid"}:
            assert code in waiting
            assert (tube.test, bool(tube.reason)) == (
                "re-amplify" if outcome == "borderline" else "re-extract",
                True,
            )
            assert tube.due_at is not None
        elif outcome == "positive":
            if sample in BESIDE_STRONG:
                assert (tube.state, tube.test, tube.reason) == (
                    "awaiting_retest",
                    "re-extract",
                    "beside-strong",
                )
            else:
                assert (tube.state, tube.result, tube.signatures) == ("in_review", "positive", 0)
        else:
            assert tube.result == "negative"
            assert tube.state in {"in_review", "released"}
    assert len(waiting) == 5 + len(BESIDE_STRONG)
