"""Lists as files over HTTP: the rows of the screen, nothing a spreadsheet would run, nobody's name without permission."""

from __future__ import annotations

import csv
import html
import io
import re
import shutil
from datetime import date, timedelta
from pathlib import Path
from zipfile import ZipFile

import pytest
from moments import NOON
from python_calamine import CalamineWorkbook
from sqlalchemy import text
from web_bench import Bench, Person, bench, people, plate, receive, run_file, tube_code, upload

from lis import queries
from lis.clock import FixedClock, to_text
from lis.web.exporting import FORMULA, plain
from lis.web.linelists import LISTINGS

SITE = "=HYPERLINK(A1)"


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path):
    """A laboratory with something on every list."""
    folder = tmp_path_factory.mktemp("exports")
    (folder / "lis.db").write_bytes(sqlite_template.read_bytes())
    with bench(f"sqlite:///{folder / 'lis.db'}", folder, FixedClock(NOON), idle_minutes=400) as found:
        cai = found.person("cai")
        codes = receive(cai, *range(1, 9))
        mixed = receive(cai, 20, kind="mixed", places=5, rack="R2")[0]
        made = plate(cai)
        truth = {codes[0]: 22.0, mixed: 27.0}
        upload(cai, run_file(found, made, truth, only={codes[3]: "N"}), "SYNTHETIC.txt")
        upload(cai, b"junk", "-junk.csv")
        receive(cai, *range(30, 34), rack="R3")
        failed = plate(cai)
        upload(cai, run_file(found, failed, {}, broken_control=True), "failed.txt")
        receive(cai, *range(40, 45), rack="R4")
        odd = {"barcode": tube_code(60), "site": SITE, "persons": people(1, "Q"), "sealed": True}
        cai.ok("/api/v1/tubes", odd)
        cai.ok("/api/v1/receipts", {"barcode": tube_code(77)})
        cai.ok("/api/v1/lots", {"kind": "kit", "number": "L7", "expires": "2023-06-30"})
        cai.ok("/api/v1/actions", {"about": "plate", "subject": failed["plate_id"], "detail": "@换管"})
        yield found


def rows_of(who: Person, name: str, query: str = "") -> list[list[str]]:
    """A list as csv, head first."""
    answer = who.get(f"/exports/{name}.csv{query}")
    assert answer.status_code == 200, answer.text
    assert answer.content.startswith(b"\xef\xbb\xbf")
    return list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))


def sheet_of(who: Person, name: str, query: str = "") -> list[list[object]]:
    """A list as xlsx, head first."""
    answer = who.get(f"/exports/{name}.xlsx{query}")
    assert answer.status_code == 200, answer.text
    return CalamineWorkbook.from_filelike(io.BytesIO(answer.content)).get_sheet_by_index(0).to_python()


@pytest.mark.parametrize("name", sorted(LISTINGS))
def test_every_list_comes_as_csv_and_as_xlsx_with_the_same_rows(day: Bench, name: str):
    """Both forms hold the same rows, cell by cell, under the same words."""
    cai = day.person("cai")
    cai.http.cookies.set("lis_language", "en")
    plain_rows, sheet = rows_of(cai, name), sheet_of(cai, name)
    if name == "exports":  # the first of the two is itself on the second
        del sheet[1]
    assert [len(row) for row in sheet] == [len(row) for row in plain_rows]
    assert plain_rows[0] == sheet[0]
    for left, right in zip(plain_rows[1:], sheet[1:], strict=True):
        assert [cell.removeprefix("'") for cell in left] == [_as_text(cell) for cell in right]
    assert (len(plain_rows) > 1) == (name != "late"), "nothing is late in this laboratory; all else has rows"


def _as_text(value: object) -> str:
    """A cell of a sheet as csv writes it: whole numbers are read back as floats, midnights as days."""
    if type(value) is date:
        return f"{value} 00:00:00"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def test_the_file_holds_what_the_screen_shows(day: Bench):
    """The tubes of a worklist page and of its export are the same, in the same order, also when sifted."""
    cai = day.person("cai")
    for name, query in (("plate", ""), ("plate", "?kind=single&q=R4"), ("retest", ""), ("picklist", "")):
        path = f"/{name}" if name == "picklist" else f"/worklists/{name}"
        page = cai.get(path + query, headers={"Accept": "text/html"}).text
        table = page[page.index("<tbody>") :]
        shown = re.findall(r'href="/tubes/(\d+)"', table)
        rows = rows_of(cai, "pick" if name == "picklist" else name, query)
        column = 1 if name == "picklist" else 0
        assert shown
        assert [row[column] for row in rows[1:]] == shown


def test_nothing_in_a_file_is_worked_out_by_a_spreadsheet(day: Bench):
    """A site, a file name or a note that looks like a formula is text in both forms."""
    cai = day.person("cai")
    assert f"'{SITE}" in rows_of(cai, "receive")[1]
    answer = cai.get("/exports/receive.xlsx")
    assert any(SITE in row for row in sheet_of(cai, "receive"))
    with ZipFile(io.BytesIO(answer.content)) as packed:
        assert b"<f>" not in packed.read("xl/worksheets/sheet1.xml")
    assert any("'-junk.csv" in row for row in rows_of(cai, "quarantine"))
    assert any("'@换管" in row for row in rows_of(cai, "actions"))
    for begin in FORMULA:
        assert plain(f"{begin}1") == f"'{begin}1"
    assert (plain(-3.5), plain("A-1"), plain(None)) == (-3.5, "A-1", "")


def test_persons_are_left_out_for_those_who_may_not_see_them(day: Bench):
    """A technician's call list and reports have no column of a person; a manager's have, and it is written down."""
    anna, cai = day.person("anna"), day.person("cai")
    for who in (anna, cai):
        who.http.cookies.set("lis_language", "en")
    for name in ("calls", "reports"):
        assert "Name" in rows_of(cai, name)[0]
        assert not {"Name", "Document", "Phone", "Note"} & set(rows_of(anna, name)[0])
        assert "王小" not in str(rows_of(anna, name))
    with day.lab.database.read() as conn:
        last = {(row["actor"], row["what"]): row["persons"] for row in queries.export_acts(conn)}
    assert last["cai", "calls"]
    assert not last["anna", "calls"]


def test_every_export_is_written_down_with_who_what_and_how_many(day: Bench):
    """The act names the person, the list, its form and filters, and the number of rows that left."""
    bo = day.person("bo")
    day.lab.database.clock.advance(timedelta(minutes=1))
    rows = rows_of(bo, "plate", "?q=R4")
    with day.lab.database.read() as conn:
        act = queries.export_acts(conn)[0]
    assert (act["actor"], act["what"], act["form"], act["filters"]) == ("bo", "plate", "csv", "q=R4")
    assert act["row_count"] == len(rows) - 1 == 5
    assert bo.get("/exports/exports.csv").status_code == 403
    assert rows_of(day.person("cai"), "exports")[1][1] == "bo"


def test_what_cannot_be_taken_out_is_refused_and_not_written_down(day: Bench):
    """Unknown lists and forms, bad filters and strangers get no file."""
    cai = day.person("cai")
    with day.lab.database.read() as conn:
        before = len(queries.export_acts(conn))
    assert cai.get("/exports/persons.csv").status_code == 404
    assert cai.get("/exports/plate.pdf").status_code == 404
    assert cai.get("/exports/plate.csv?age=many").status_code == 422
    assert day.client().get("/exports/plate.csv").status_code == 401
    with day.lab.database.read() as conn:
        assert len(queries.export_acts(conn)) == before


# -- the same house over HTTP: search, lots on plates, call-backs ----------------------------------


def test_a_person_is_found_by_name_or_document_by_those_who_may_and_it_is_written_down(day: Bench):
    """A technician may not look; a reviewer may, by the whole name or the document, and each look leaves its trace."""
    anna, bo = day.person("anna"), day.person("bo")
    assert anna.post("/api/v1/persons/find", {"name": "王小一"}).status_code == 403
    by_name = bo.ok("/api/v1/persons/find", {"name": " 王小一 "})["persons"]
    assert by_name
    assert all(one["tubes"] for one in by_name)
    by_document = bo.ok("/api/v1/persons/find", {"document_type": "passport", "document_number": "Q0000000"})
    assert [tube["barcode"] for one in by_document["persons"] for tube in one["tubes"]] == [tube_code(60)]
    assert bo.ok("/api/v1/persons/find", {"name": "王"})["persons"] == []
    assert bo.post("/api/v1/persons/find", {"name": " "}).json()["code"] == "PERSON_NAME"
    with day.lab.database.read() as conn:
        acts = [row for row in queries.export_acts(conn) if row["act"] == "person-search"]
    assert [(row["what"], row["row_count"]) for row in reversed(acts)][:3] == [
        ("name", len(by_name)), ("document", 1), ("name", 0)
    ]  # fmt: skip


def test_a_search_groups_what_it_finds_and_a_whole_code_opens_its_page(day: Bench):
    """Plates, racks and tubes each have their heading; a scanned code of any kind needs no second click."""
    cai = day.person("cai")
    with day.lab.database.read() as conn:
        made = queries.plates(conn)[0]["plate_id"]
        report = queries.latest_reports(conn, 1)[0]["report_id"]
    for code, where in ((made, "plates"), (report, "reports"), (tube_code(60), "tubes")):
        answer = cai.get(f"/search?q={code}")
        assert (answer.status_code, answer.headers["location"]) == (303, f"/{where}/{code}")
    text = cai.get("/search?q=R", headers={"Accept": "text/html"}).text
    assert 'href="/search?q=R4"' in text
    assert report[:4] in text


def test_an_expired_lot_stops_the_plate_unless_a_manager_writes_why(day: Bench):
    """Refused, nothing of the plate is kept; a technician's reason does not help; a manager's does and is on record."""
    anna, cai, clock = day.person("anna"), day.person("cai"), day.lab.database.clock
    cai.ok(
        "/api/v1/lots",
        {"kind": "kit", "number": "OLD", "expires": f"{clock.now() + timedelta(days=1):%Y-%m-%d}"},
    )
    clock.advance(timedelta(days=3))
    anna, cai = day.person("anna"), day.person("cai")
    refused = anna.post("/api/v1/plates", {"lot": "OLD"})
    assert (refused.status_code, refused.json()["code"]) == (409, "LOT_EXPIRED")
    assert (
        anna.post("/api/v1/plates", {"lot": "OLD", "lot_reason": "本板急用"}).json()["code"] == "LOT_OVERRIDE"
    )
    made = cai.ok("/api/v1/plates", {"lot": "OLD", "extraction_lot": "EX1", "lot_reason": "本板急用"})
    with day.lab.database.read() as conn:
        acts = [(row["number"], row["act"]) for row in queries.lots_of_plate(conn, made["plate_id"])]
    assert acts == [("OLD", "overridden"), ("OLD", "opened"), ("OLD", "used"), ("EX1", "used")]
    listed = {one["number"]: one["state"] for one in cai.get("/api/v1/lots").json()["lots"]}
    assert listed["OLD"] == "expired"
    told = cai.get("/api/v1/lots/kit/OLD/acts").json()["acts"]
    assert told[1]["detail"] == "LOT_EXPIRED: 本板急用"
    page = cai.get("/plating", headers={"Accept": "text/html"}).text
    assert "OLD" in page
    code = made["plate_id"]
    found = anna.ok(f"/api/v1/plates/{code}/load", {"barcode": code, "instrument": "qs5-9"})
    assert found["loaded_by"] == "anna"
    assert [(one["number"], one["state"], one["override"]) for one in found["lots"]] == [
        ("OLD", "expired", "cai: 本板急用"),
        ("EX1", "unknown", ""),
    ]
    page = anna.get(f"/plates/{code}", headers={"Accept": "text/html"}).text
    rules = day.lab.rules.assay(made["assay"])
    for shown in ("OLD", "EX1", "cai: 本板急用", "qs5-9", "· anna", f"v{rules.version}", rules.digest[:12]):
        assert shown in page, shown
    for register in ("/lots", "/quality"):
        assert f'href="{register}"' in page


def test_a_call_that_was_tried_stands_on_the_call_list(day: Bench):
    """The page shows the last tries with their outcome, and the clock since the decision."""
    anna, cai = day.person("anna"), day.person("cai")
    cai.http.cookies.set("lis_language", "zh")
    with day.lab.database.read() as conn:
        row = queries.open_recalls(conn)[0]
    path = f"/api/v1/tubes/{row['tube_id']}/persons/{row['person_id']}/calls"
    assert anna.ok(path, {"outcome": "message", "note": "晚上再打"})["outcome"] == "message"
    text = cai.get("/worklists/recollect", headers={"Accept": "text/html"}).text
    assert "已留言" in text
    assert "晚上再打" in text
    hidden = anna.get("/worklists/recollect", headers={"Accept": "text/html"}).text
    assert "晚上再打" not in hidden
    waited = day.lab.database.clock.now() - row["opened_at"]
    assert f"<b>{int(waited.total_seconds()) // 3600}:" in text


def test_a_damaged_address_of_a_page_is_told_in_words(day: Bench):
    """A list whose address was cut is opened anew, not answered with a fault."""
    answer = day.person("cai").get("/worklists/plate?after=x~y", headers={"Accept": "text/html"})
    assert answer.status_code == 422
    assert day.person("cai").get("/worklists/dreams", headers={"Accept": "text/html"}).status_code == 404


def test_what_is_late_goes_on_behind_its_first_page(sqlite_template: Path, tmp_path: Path):
    """Page after page by the link at the foot: every late tube is shown once, and the export has the same."""
    shutil.copy(sqlite_template, tmp_path / "lis.db")
    with bench(f"sqlite:///{tmp_path / 'lis.db'}", tmp_path, FixedClock(NOON)) as found:
        cai = found.person("cai")
        (first,) = receive(cai, 1)
        with found.lab.database.write("cai") as unit:
            row = unit.conn.execute(text("SELECT * FROM tube")).mappings().one()
            late = {**row, "promised_at": to_text(NOON - timedelta(hours=1))}
            names = ", ".join(row)
            fill = text(f"INSERT INTO tube ({names}) VALUES ({', '.join(f':{name}' for name in row)})")
            for number in range(119):
                unit.conn.execute(fill, {**late, "tube_id": tube_code(200 + number)})
        seen: list[str] = []
        address = "/worklists/late"
        for last in (50, 100, 119):
            shown = cai.get(address, headers={"Accept": "text/html"}).text
            seen += re.findall(r'href="/tubes/([^"]+)"', shown[shown.index("<main") :])
            assert str(last) in re.search(r'class="pager">(.*?)</p>', shown, re.DOTALL)[1]
            further = re.findall(r'href="([^"]*after=[^"]*)"', shown)
            address = html.unescape(further[0]) if further else ""
        assert address == ""
        assert seen == [tube_code(200 + number) for number in range(119)]
        assert first not in seen
        assert [line[0] for line in rows_of(cai, "late")[1:]] == seen


def test_each_role_begins_with_its_own_work(day: Bench):
    """The first tile and the list on the start page are those of the role."""
    for name, first, heading in (
        ("anna", "/reception", "/worklists/retest"), ("bo", "/review", "/worklists/review"),
        ("cai", "/worklists/late", "/worklists/late"), ("root", "/alarms", "/worklists/late"),
    ):  # fmt: skip
        text = day.person(name).get("/", headers={"Accept": "text/html"}).text
        tiles = re.findall(r'class="tile[^"]*" href="([^"]+)"', text)
        assert tiles[0] == first, name
        assert len(set(tiles)) == len(tiles) == 15
        assert heading in text


def test_an_action_over_http_needs_its_second_person(day: Bench):
    """Opened and answered by one, closed by another; a technician cannot sign it off."""
    anna, bo, cai = (day.person(name) for name in ("anna", "bo", "cai"))
    number = anna.ok("/api/v1/actions", {"about": "run", "subject": "run-1", "detail": "换泵"})["action"]
    anna.ok(f"/api/v1/actions/{number}/notes", {"detail": "再测"})
    anna.ok(f"/api/v1/actions/{number}/effect", {"detail": "恢复"})
    assert anna.post(f"/api/v1/actions/{number}/close", {"detail": "好"}).status_code == 403
    closed = bo.ok(f"/api/v1/actions/{number}/close", {"detail": "核对无误"})
    assert (closed["open"], len(closed["notes"])) == (False, 4)
    assert cai.ok(f"/api/v1/actions/{number}/reopen", {"detail": "又出现"})["open"]
    assert cai.get("/api/v1/actions").json()["actions"][0]["action"] == number
    page = cai.get("/actions?about=run&subject=run-1", headers={"Accept": "text/html"}).text
    assert "换泵" in page
