"""A plate before it is made and as files: reasons, checks, transfers, map, work sheet."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from xml.etree import ElementTree as ET

import pytest
from bench import Bench
from moments import NOON
from pypdf import PdfReader
from web_bench import bench as web_bench
from web_bench import receive, run_file, upload

from lis import ledger
from lis.clock import FixedClock
from lis.errors import Refused
from lis.laboratory import papers
from lis.services import plates, transfers
from lis.services.plates import PlateOrder, WellOrder
from lis.web.maps import SHAPES, SIGNS, draw_plate

UL = {"sample_ul": 200.0, "eluate_ul": 5.0}


def by_hand(bench: Bench, tubes: dict[str, str], **rna: bool) -> PlateOrder:
    """A plate of the usual template with these tubes and all its controls."""
    layout = bench.lab.rules.template("")
    wells = [WellOrder(well, tube=code, rna=rna.get(well, False)) for well, code in tubes.items()]
    wells += [WellOrder(well, control=kind) for kind, well in layout.controls]
    return PlateOrder(wells=tuple(wells))


def test_the_list_of_transfers_names_every_well_with_source_and_volume(bench: Bench):
    """Tubes by rack and position, controls by kind, in the order of filling, wells numbered down the columns."""
    codes = bench.singles(9)
    plate = bench.plate(codes)
    with bench.lab.database.read() as conn:
        lines = transfers.transfers(conn, plate, **UL)
        tubes = ledger.tubes(conn, codes)
    rows = list(csv.DictReader(io.StringIO(transfers.as_csv(lines))))
    assert tuple(rows[0]) == transfers.COLUMNS
    placed = {row["source"]: row for row in rows if row["source_kind"] == "single"}
    assert set(placed) == set(codes)
    for code in codes:
        assert (placed[code]["source_rack"], placed[code]["source_position"]) == (
            tubes[code].rack,
            tubes[code].position,
        )
    assert [int(row["destination_index"]) for row in rows] == sorted(
        int(r["destination_index"]) for r in rows
    )
    assert (placed[codes[8]]["destination_well"], placed[codes[8]]["destination_index"]) == ("A2", "9")
    assert {row["volume_ul"] for row in rows} == {"200"}
    assert {row["source"] for row in rows if row["source_kind"] == "control"} == {"NTC", "PC", "EC"}


def test_rna_amplified_again_comes_from_the_well_in_which_it_lies(bench: Bench):
    """After a failed run the list points at plate and well of the extraction, with the volume of an eluate."""
    codes = bench.singles(2)
    first = bench.plate(codes)
    bench.clock.advance(timedelta(hours=2))
    bench.deliver(bench.table(first, {"PC": {"N": None, "ORF1ab": None}}), plate=first)
    assert bench.tube(codes[0]).test == "re-amplify"
    bench.clock.advance(timedelta(minutes=5))
    with bench.lab.database.write("anna") as unit:
        second = plates.create(unit, bench.lab.rules, PlateOrder())
        lines = transfers.transfers(unit.conn, second, **UL)
    found = {line.source: line for line in lines}
    assert (found[codes[0]].source_kind, found[codes[0]].source_rack, found[codes[0]].source_position) == (
        "eluate",
        first,
        "A1",
    )
    assert found[codes[1]].volume_ul == 5.0
    assert found["NTC"].volume_ul == 200.0


def test_rna_put_on_a_plate_by_hand_is_of_no_extraction_batch(bench: Bench):
    """A well said to hold RNA of an earlier plate has no batch, as when the scheduler puts it there."""
    codes = bench.singles(2)
    with bench.lab.database.write("anna") as unit:
        plate = plates.create(
            unit, bench.lab.rules, by_hand(bench, {"A1": codes[0], "B1": codes[1]}, B1=True)
        )
        batches = {line.source: line.batch for line in transfers.transfers(unit.conn, plate, **UL)}
    assert batches[codes[0]] == f"{plate}/1"
    assert batches[codes[1]] == ""


def test_checking_a_plate_says_what_making_it_would_say_and_makes_nothing(bench: Bench):
    """Good wells pass; a control well, a tube twice, a tube that is away are refused; no row is written."""
    codes = bench.singles(3)
    gone = bench.singles(1)[0]
    bench.plate([gone])
    kept = bench.lab.rules.template("").controls[0][1]
    before = (bench.count(), bench.count("plate"), bench.count("plate_well"))
    with bench.lab.database.write("anna") as unit:
        plates.check(unit, bench.lab.rules, by_hand(bench, {"A1": codes[0], "H6": codes[1]}))
        for tubes, code in (
            ({"A1": codes[0], "B1": codes[0]}, "TUBE_TWICE"),
            ({kept: codes[0]}, "CONTROL_WELL"),
            ({"A1": gone}, "NOT_PLATABLE"),
        ):
            order = by_hand(bench, tubes)
            if code == "CONTROL_WELL":
                order = PlateOrder(wells=order.wells[:1])
            with pytest.raises(Refused) as refused:
                plates.check(unit, bench.lab.rules, order)
            assert refused.value.code == code
    assert (bench.count(), bench.count("plate"), bench.count("plate_well")) == before


def test_a_scanned_tube_is_a_candidate_or_says_why_not(bench: Bench):
    """A received tube says why it waits; one on a plate, and a pool with open aliquots, are refused."""
    (code,) = bench.singles(1)
    with bench.lab.database.write("anna") as unit:
        job = plates.candidate(unit, bench.lab.rules, f" {code}\r", "")
        assert (job.tube, job.reason, job.step) == (code, "first", "extract")
        assert set(plates.jobs_of(unit, bench.lab.rules, [code])) == {code}
    bench.plate([code])
    with pytest.raises(Refused) as refused, bench.lab.database.write("anna") as unit:
        plates.candidate(unit, bench.lab.rules, code, "")
    assert refused.value.code == "NOT_PLATABLE"


def test_a_retest_stays_with_its_assay(bench: Bench):
    """A tube that is to be tested again with its own assay is refused on a plate of another one."""
    (code,) = bench.singles(1)
    bench.cycle([code], {code: {"N": 39.0}})
    assert bench.tube(code).tests == 1
    other = next(one for one in sorted(bench.lab.rules.assays) if one != bench.lab.rules.default_assay)
    with pytest.raises(Refused) as refused, bench.lab.database.write("anna") as unit:
        plates.candidate(unit, bench.lab.rules, code, other)
    assert refused.value.code in {"OTHER_ASSAY", "SECOND_KIT"}


@pytest.mark.parametrize("size", [96, 384])
def test_every_well_of_a_map_has_a_place_a_letter_and_a_shape_of_its_own_kind(size: int):
    """The map draws all wells once; what differs in meaning differs in letter and in shape, not in colour alone."""
    wells = [
        {"well": "A1", "tube": "440700000019", "control": None},
        {"well": "B1", "tube": "L0000000018", "control": None},
        {"well": "C1", "tube": None, "control": "NTC"},
        {"well": "D1", "tube": "440700000027", "control": None, "kind": "mixed"},
    ]
    drawn = {one.well: one for one in draw_plate(size, wells, {}, "en", ["A1"]).wells}
    rows, columns = SHAPES[size]
    assert len(drawn) == rows * columns
    assert len({(one.x, one.y) for one in drawn.values()}) == len(drawn)
    assert [drawn[well].letter for well in ("A1", "B1", "C1", "D1", "E1")] == ["S", "L", "NTC", "M", ""]
    assert drawn["A1"].chosen
    signs = set()
    for outcome, (letter, _) in SIGNS.items():
        (called,) = [w for w in draw_plate(size, wells[:1], {"440700000019": outcome}, "en").wells if w.tube]
        assert called.letter == letter
        signs.add((called.letter, called.path))
    assert len(signs) == len(SIGNS)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, sqlite_template):
    """A laboratory behind its server, with a plate that was read."""
    folder = tmp_path_factory.mktemp("sheets")
    (folder / "lis.db").write_bytes(sqlite_template.read_bytes())
    with web_bench(f"sqlite:///{folder / 'lis.db'}", folder, FixedClock(NOON)) as found:
        cai = found.person("cai")
        codes = receive(cai, *range(1, 6))
        made = cai.ok("/api/v1/plates", {})
        upload(cai, run_file(found, made, {codes[0]: 22.0}), "SYNTHETIC.txt")
        found.plate, found.codes = made["plate_id"], codes
        yield found


def test_a_plate_leaves_as_map_sheet_and_list(served):
    """The SVG stands alone, the PDF carries every code, the list opens as a table; a stranger gets none."""
    anna = served.person("anna")
    svg = anna.get(f"/api/v1/plates/{served.plate}/map.svg")
    assert "attachment" in svg.headers["content-disposition"]
    root = ET.fromstring(svg.content)  # noqa: S314 - our own drawing
    wells = [one for one in root.iter() if one.get("data-well")]
    assert len(wells) == 96
    assert not [one for one in root.iter() if one.get("href")]
    assert {one.get("fill") for one in root.iter() if one.tag.endswith("path")} >= {"#d55e00", "#009e73"}
    for language in ("zh", "en", "both"):
        pdf = anna.get(f"/api/v1/plates/{served.plate}/sheet.pdf?language={language}")
        text = PdfReader(io.BytesIO(pdf.content)).pages[0].extract_text()
        assert served.plate in text
        assert all(code in text for code in served.codes)
    assert anna.get(f"/api/v1/plates/{served.plate}/sheet.pdf?language=fr").status_code == 422
    lines = anna.get(f"/api/v1/plates/{served.plate}/transfers.csv").text.splitlines()
    assert len(lines) == 1 + 5 + 3
    for path in ("map.svg", "sheet.pdf", "transfers.csv"):
        assert anna.get(f"/api/v1/plates/P99999999/{path}").status_code == 404
        assert served.client().get(f"/api/v1/plates/{served.plate}/{path}").status_code == 401


def test_the_proposal_says_why_each_tube_is_on_the_plate(served):
    """Every tube of the proposal has its job: first test or why again, and how long until it is due."""
    cai = served.person("cai")
    receive(cai, *range(50, 53), rack="R5")
    found = cai.get("/api/v1/plates/proposal").json()
    tubes = [well["tube"] for well in found["wells"] if well["tube"]]
    assert set(found["jobs"]) == set(tubes)
    assert found["closed_by"] in {"full", "slack", "waited", "cost", "wave"}
    assert all(job["due_hours"] > 0 for job in found["jobs"].values())
    assert {well["kind"] for well in found["controls"]} == {"NTC", "PC", "EC"}
    wells = [{"well": w["well"], "tube": w["tube"]} for w in found["wells"] if w["tube"]]
    wells += [{"well": w["well"], "control": w["control"]} for w in found["wells"] if w["control"]]
    checked = cai.post("/api/v1/plates/check", {"wells": wells, "assay": found["assay"]})
    assert checked.json() == {"ok": True, "tubes": len(tubes)}
    assert cai.get(f"/api/v1/plates/candidate?tube={tubes[0]}").json()["tube"] == tubes[0]
    assert cai.get("/api/v1/plates/candidate?tube=1").status_code == 422


def test_the_sheet_of_an_unknown_plate_is_refused(embedded: Bench):
    """Without a plate there is no sheet."""
    with pytest.raises(Exception, match="not known"):
        papers.plate_sheet_pdf(embedded.lab, "P00000018", "zh")
