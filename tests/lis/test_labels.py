"""Labels: read back by a scanner's eyes, safe in a printer's language, kept when the printer is away."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import pytest
import zxingcpp
from bench import Bench
from hypothesis import given, settings
from hypothesis import strategies as st

from lis import barcodes, queries
from lis.config import PrinterSettings, load
from lis.errors import Invalid, LisError, NotFound, Refused
from lis.printing.labels import Label, Stock, as_svg, as_zpl, modules, zpl_field
from lis.services import labels
from lis.services.labels import LabelOrder

WORDS = {"single": "单管", "mixed": "混采", "pool": "混检", "plate": "检测板"}
FORMATS = {"Code128": zxingcpp.BarcodeFormat.Code128, "DataMatrix": zxingcpp.BarcodeFormat.DataMatrix}


def seen(svg: str, stock: Stock, per_mm: int = 24) -> dict[str, str]:
    """What a camera reads from a label: its dark areas as drawn, at 24 dots a millimetre."""
    dots = np.full((round(stock.height_mm * per_mm), round(stock.width_mm * per_mm)), 255, np.uint8)
    for x, y, wide, high in re.findall(r"M([\d.]+) ([\d.]+)h([\d.]+)v([\d.]+)h-", svg):
        top, left = round(float(y) * per_mm), round(float(x) * per_mm)
        right, low = round((float(x) + float(wide)) * per_mm), round((float(y) + float(high)) * per_mm)
        dots[top:low, left:right] = 0
    found = {}
    for name, form in FORMATS.items():
        for one in zxingcpp.read_barcodes(dots, formats=form):
            found[name] = one.text
    return found


@pytest.mark.parametrize("stock", [Stock(50, 25), Stock(40, 20), Stock(70, 20), Stock(30, 15)])
@pytest.mark.parametrize("number", [1, 44070000001, 99999999999])
def test_both_symbols_of_a_drawn_label_read_back_as_its_code(stock: Stock, number: int):
    """Whatever the label's size, Code 128 and Data Matrix say the code, and nothing else."""
    code = barcodes.mint(barcodes.TUBE, number)
    svg = as_svg(Label(code, "tube", ("单管",)), stock)
    assert seen(svg, stock) == {"Code128": code, "DataMatrix": code}
    assert f">{code}<" in svg
    assert f">{code[-6:-1]}<" in svg


def test_labels_of_pools_and_plates_read_back_too():
    """Letters before the digits are read back; a stock for one symbol carries that one."""
    for pattern, kind in ((barcodes.POOL, "pool"), (barcodes.PLATE, "plate")):
        code = barcodes.mint(pattern, 4711)
        label = Label(code, kind, ("daan-2019-ncov", "96-standard"))
        for symbol, names in (
            ("code128", {"Code128"}),
            ("datamatrix", {"DataMatrix"}),
            ("both", set(FORMATS)),
        ):
            stock = Stock(70, 20, symbol)
            assert seen(as_svg(label, stock), stock) == dict.fromkeys(names, code)


@settings(max_examples=60)
@given(st.text(max_size=30))
def test_no_text_can_become_a_command_of_the_printer(text: str):
    """Escaped, a text has neither caret nor tilde nor control character, and the printer turns it back."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    field = zpl_field(text)
    assert re.fullmatch(r"(?:[A-Za-z0-9 \-./,()]|_[0-9A-F]{2})*", field)
    back = re.sub(r"_([0-9A-F]{2})|(.)", lambda m: m[2] or chr(int(m[1], 16)), field, flags=re.DOTALL)
    assert back.encode("latin-1").decode() == text


def test_a_label_in_zpl_carries_its_code_four_times_and_its_size():
    """Code 128, Data Matrix and two lines for people; width and height in dots; the copies; no other command."""
    code = barcodes.mint(barcodes.TUBE, 44070000001)
    zpl = as_zpl(Label(code, "tube", ("混采 10^XZ", "site")), Stock(50, 25), dpi=203, copies=3)
    assert zpl.count(f"^FD{code}^FS") == 3
    assert f"^FD{code[-6:-1]}^FS" in zpl
    assert "^PW400" in zpl
    assert "^LL200" in zpl
    assert "^PQ3" in zpl
    assert zpl.count("^XA") == zpl.count("^XZ") == 1
    assert "混" not in zpl
    chinese = as_zpl(Label(code, "tube", ("混采",)), Stock(50, 25), dpi=300, font="E:SIMSUN.TTF")
    assert "^FD_E6_B7_B7_E9_87_87^FS" in chinese
    assert "E:SIMSUN.TTF" in chinese
    one = int(re.search(r"\^BY(\d+)", zpl)[1])
    assert one * (len(modules(code, "code128")[0]) + 20) <= 400  # bars and quiet zones stay on the label
    with pytest.raises(Invalid):
        Label("^XZ", "tube")


@contextlib.contextmanager
def printer(port: int = 0) -> Iterator[tuple[int, list[bytes]]]:
    """A label printer as a network sees one: takes calls on a port, keeps what it is told."""
    printed: list[bytes] = []
    with socket.create_server(("127.0.0.1", port)) as door:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    line, _ = door.accept()
                    with line:
                        printed.append(line.makefile("rb").read())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield door.getsockname()[1], printed
        door.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def heard(printed: list[bytes], count: int) -> list[bytes]:
    """What the printer has taken, once it is so much."""
    for _ in range(500):
        if len(printed) >= count:
            break
        time.sleep(0.01)
    return printed


def order(bench: Bench, settings_, *codes: str, printer: str = "p", reason: str = "", actor: str = "anna"):
    """Order labels."""
    with bench.lab.database.write(actor) as unit:
        return labels.order_labels(unit, settings_, LabelOrder(codes, printer, 1, reason), WORDS)


def test_a_job_waits_for_a_printer_that_is_away_and_is_sent_once_it_is_back(bench: Bench):
    """The job is kept with the trouble, the same bytes reach the printer later, and a printed one is done."""
    (code,) = bench.singles(1)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    own = PrinterSettings(name="p", host="127.0.0.1", port=port)
    chosen = load(bench.lab.settings.data, printers=(own,))
    (job,) = order(bench, chosen, code)
    with bench.lab.database.read() as conn:
        row = labels.waiting_job(conn, job)
    trouble = labels.send(own, row["content"])
    assert "p (127.0.0.1" in trouble
    with bench.lab.database.write("anna") as unit:
        labels.told(unit, job, trouble)
    with printer(port) as (_, printed):
        assert labels.send(own, row["content"]) == ""
        assert heard(printed, 1) == [row["content"].encode()]
    with bench.lab.database.write("anna") as unit:
        labels.told(unit, job, "")
        assert [one["tries"] for one in queries.print_jobs(unit.conn, 5)] == [2]
        with pytest.raises(Refused):
            labels.waiting_job(unit.conn, job)
        with pytest.raises(NotFound):
            labels.waiting_job(unit.conn, 99)


def test_a_label_is_printed_again_only_with_a_reason_and_every_printing_is_kept(bench: Bench):
    """First printing and reprint are rows that the database refuses to change."""
    (code,) = bench.singles(1)
    settings_ = bench.lab.settings
    order(bench, settings_, code, printer="browser")
    bench.clock.advance(timedelta(minutes=3))
    with pytest.raises(Refused) as refused:
        order(bench, settings_, code, printer="browser", actor="bo")
    assert refused.value.code == "LABEL_REASON"
    assert "anna" in refused.value.sentence
    order(bench, settings_, code, printer="browser", reason="smudged", actor="bo")
    with bench.lab.database.read() as conn:
        acts = queries.label_acts(conn, code)
    assert [(row["act"], row["actor"], row["reason"]) for row in acts] == [
        ("first", "anna", ""),
        ("again", "bo", "smudged"),
    ]
    with pytest.raises(Exception, match="label_act"), bench.lab.database.write("eve") as unit:
        unit.conn.exec_driver_sql("UPDATE label_act SET reason = 'none'")
    assert bench.check().ok


def test_what_no_label_can_be_is_refused_before_anything_is_kept(bench: Bench):
    """A wrong code, an unknown printer, no code, too many copies: nothing is kept."""
    (code,) = bench.singles(1)
    for codes, name in (((code, "123"), "browser"), ((code,), "attic"), ((), "browser")):
        with pytest.raises(LisError):
            order(bench, bench.lab.settings, *codes, printer=name)
    with pytest.raises(Invalid), bench.lab.database.write("anna") as unit:
        labels.order_labels(unit, bench.lab.settings, LabelOrder((code,), copies=11), WORDS)
    with bench.lab.database.read() as conn:
        assert queries.print_jobs(conn, 5) == []


def test_a_label_says_what_the_code_is_and_never_whose(bench: Bench):
    """Tubes, mixed tubes, pools, plates and codes not in use yet each say what they are; no name is on any."""
    (single,), mixed = bench.singles(1), bench.mixed(5)
    plate = bench.plate([single], load=False)
    new = {one: barcodes.mint(one, 31337) for one in barcodes.PATTERNS}
    with bench.lab.database.read() as conn:
        said = {code: labels.label_of(conn, code, WORDS) for code in (single, mixed, plate, *new.values())}
    assert said[single].lines == ("单管",)
    assert said[mixed].lines == ("混采 5/5",)
    assert said[plate].lines == ("daan-2019-ncov", "96-standard")
    assert (said[plate].kind, said[new[barcodes.POOL]].kind) == ("plate", "pool")
    assert said[new[barcodes.TUBE]].lines == ()
    assert said[new[barcodes.PLATE]].lines == ("检测板",)


def test_printers_need_names_of_their_own(tmp_path):
    """Two printers of one name, or one called browser, stop the start with the reason."""
    one = {"name": "p", "host": "127.0.0.1"}
    for wrong in ([one, one], [{**one, "name": "browser"}]):
        with pytest.raises(LisError, match="printers"):
            load(tmp_path, printers=wrong)
