"""Reports and work sheets on paper. All persons, tubes and plates here are made up."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from io import BytesIO
from itertools import pairwise
from string import ascii_uppercase

import pytest
import segno
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfReader

from lis import text
from lis.errors import Invalid
from lis.printing import PlateView, ReportView, as_json, as_pdf, as_worksheet, typeface, unprintable
from lis.printing import page as paper
from lis.printing.views import SHAPES, local_text, place_of
from lis.printing.worksheet import tails

RARE = "\U00020bb7"  # CJK Extension B: a surname character that the font does not have
LOW_LOAD_EN = (
    "Individual specimens with low viral loads may not be detected due to the decreased sensitivity "
    "or increased interference when tested with pooled testing."
)
LOW_LOAD_ZH = "病毒载量低的个体标本可能无法检出"
LANGUAGES = ("zh", "en", "both")
RESULTS = {
    "negative": ("阴性", "Negative"),
    "positive": ("阳性", "Positive"),
    "inconclusive": ("不确定", "Inconclusive"),
    "invalid": ("无效", "Invalid"),
}
REPORT = ReportView(
    report_id="R20221221-000017",
    version=1,
    laboratory="Example Nucleic Acid Laboratory",
    laboratory_zh="示例市核酸检测实验室",
    person_name="欧阳晓燕",
    document_type="resident_id",
    document_masked="4419**********1234",
    tube_id="440700000019",
    mode="single",
    places=1,
    result="negative",
    assay="Two-target kit",
    assay_version="2022.3",
    issued_at=datetime(2022, 12, 21, 8, 5, tzinfo=UTC),
    sampled_at=datetime(2022, 12, 21, 1, 2, tzinfo=UTC),
    received_at=datetime(2022, 12, 21, 3, 40, tzinfo=UTC),
    signed_by=("fang", "lina"),
    signed_names=("王芳", "Li Na"),
    verify_url="https://lab.example/verify/R20221221-000017?s=0123456789abcdef",
    seal="0123456789abcdef" * 4,
)
AMENDED = replace(
    REPORT,
    version=2,
    amends="R20221221-000011",
    reason="加样时与邻孔颠倒，复核后更正。Two tubes were exchanged while loading.",
    original_result="negative",
    result="positive",
    targets=(("ORF1ab", 31.204), ("N", None)),
)


@cache
def printed(view: ReportView | PlateView, language: str = "both") -> bytes:
    """The document of a view, made once for all the tests that look at it."""
    return as_pdf(view, language) if isinstance(view, ReportView) else as_worksheet(view, language)


@cache
def squeezed(pdf: bytes) -> str:
    """The text of a PDF without white space: wrapped lines join again."""
    return "".join("".join(page.extract_text() for page in PdfReader(BytesIO(pdf)).pages).split())


def holds(pdf: bytes, *phrases: str) -> bool:
    """Whether the PDF prints every one of the phrases."""
    found = squeezed(pdf)
    missing = [phrase for phrase in phrases if "".join(phrase.split()) not in found]
    assert not missing, f"{missing} not in {found}"
    return True


@cache
def rectangles(pdf: bytes) -> list[tuple[float, float, float, float]]:
    """Every filled rectangle of the first page as (x, y, width, height) in millimetres from the top left."""
    page = PdfReader(BytesIO(pdf)).pages[0]
    top = float(page.mediabox.height)
    scale = 25.4 / 72
    operations = page.get_contents().operations
    return [
        (float(x) * scale, (top - float(y)) * scale, float(w) * scale, -float(h) * scale)
        for (operands, operator), (_, after) in pairwise(operations)
        if operator == b"re" and after == b"f"
        for x, y, w, h in [operands]
    ]


def drawn_qr(pdf: bytes, x: float, y: float, side: float, modules: int) -> list[list[int]]:
    """The module matrix read back from the rectangles drawn inside a square."""
    unit = side / modules
    matrix = [[0] * modules for _ in range(modules)]
    for left, above, wide, high in rectangles(pdf):
        if abs(high - unit) < 0.02 and x - 0.01 <= left <= x + side and y - 0.01 <= above <= y + side:
            row, column = round((above - y) / unit), round((left - x) / unit)
            for step in range(round(wide / unit)):
                matrix[row][column + step] = 1
    return matrix


def plate(size: int = 96, **changes: object) -> PlateView:
    """A full made-up plate with every kind of well and two extraction batches."""
    rows, columns = SHAPES[size]
    places = [f"{ascii_uppercase[row]}{column + 1}" for column in range(columns) for row in range(rows)]
    kinds = ("tube", "tube", "pool", "mixed")
    wells = [(places[0], "NTC", "control"), (places[1], "PC", "control"), (places[2], "EC1", "control")]
    wells += [
        (
            well,
            f"L{number * 7919:010d}" if kinds[number % 4] == "pool" else f"4407{number * 7919:08d}",
            kinds[number % 4],
        )
        for number, well in enumerate(places[3:-2])
    ]
    half = len(wells) // 2
    batches = tuple(
        (f"EB-{n}", tuple(w for w, _, _ in part)) for n, part in enumerate((wells[:half], wells[half:]), 1)
    )
    view = PlateView(
        plate_id="P00000018",
        assay="Two-target kit 2022.3",
        template="standard-94",
        created_at=REPORT.issued_at,
        size=size,
        wells=tuple(wells),
        extraction_batches=batches,
    )
    return replace(view, **changes)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_report_prints_every_fact(language):
    """Whatever the language, no fact of the view is left out of the paper."""
    assert holds(
        printed(REPORT, language),
        *("欧阳晓燕", "4419**********1234", "440700000019", "Two-target kit", "2022.3", "R20221221-000017"),
        *("2022-12-21 09:02 (UTC+08:00)", "2022-12-21 11:40 (UTC+08:00)", "2022-12-21 16:05 (UTC+08:00)"),
        *("王芳", "Li Na", "0123456789abcdef"),
    )


def test_both_languages_stand_side_by_side():
    """The default report can be read by a reader of either language."""
    assert holds(
        printed(REPORT),
        *("示例市核酸检测实验室", "Example Nucleic Acid Laboratory"),
        *("新型冠状病毒核酸检测报告", "SARS-CoV-2 nucleic acid test report"),
        *("居民身份证", "Resident identity card", "单管检测", "Single tube"),
        *("本报告仅对所接收的标本负责", "This report answers only for the specimen received"),
        *("第1页／共1页", "Page 1/1", "版本 Version 1", "扫码核验", "Scan to verify"),
    )


@pytest.mark.parametrize(("result", "words"), RESULTS.items())
def test_every_result_has_its_word_in_both_languages(result, words):
    """A result is printed with its own word and with no other result's word, per language."""
    view = replace(REPORT, result=result)
    for position, language in enumerate(("zh", "en")):
        found = squeezed(printed(view, language))
        assert words[position] in found
        assert not any(other[position] in found for name, other in RESULTS.items() if name != result)
    assert holds(printed(view), *words)


def test_results_differ_in_shape_not_only_in_colour():
    """In black and white the four marks are still four different drawings."""
    drawings = set()
    for result in RESULTS:
        page = PdfReader(BytesIO(printed(replace(REPORT, result=result), "en"))).pages[0]
        names = [operator for _, operator in page.get_contents().operations]
        drawings.add(tuple(names[: names.index(b"Tr")]) + tuple(map(names.count, (b"c", b"l", b"re"))))
        assert {"negative": "−", "positive": "＋", "inconclusive": "?", "invalid": "×"}[
            result
        ] in page.extract_text()
    assert len(drawings) == 4


@pytest.mark.parametrize(("mode", "places"), [("mixed", 10), ("mixed", 7), ("pool", 5)])
def test_a_pooled_result_says_so_with_the_true_number(mode, places):
    """A person tested together with others reads it, with n and with what it costs in sensitivity."""
    view = replace(REPORT, mode=mode, places=places)
    assert holds(printed(view, "en"), "Pooled testing was used", f"n = {places}", LOW_LOAD_EN)
    assert holds(printed(view, "zh"), LOW_LOAD_ZH, f"n = {places}")
    assert holds(printed(view), LOW_LOAD_EN, LOW_LOAD_ZH)
    assert LOW_LOAD_EN in as_json(view)["statements"][0]["en"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_jurisdictions_statement_is_printed_on_every_pooled_report(language: str):
    """Paper and JSON say in the report's language what the policy wants said, whatever the result."""
    wanted = ("本结果用于人群筛查。", "The result serves screening.")
    view = replace(REPORT, mode="mixed", places=10, pool_statement=wanted)
    shown = squeezed(as_pdf(view, language))
    for own, text_ in zip(("zh", "en"), wanted, strict=True):
        assert ("".join(text_.split()) in shown) is (language in (own, "both"))
    assert as_json(view)["statements"][0] == {"zh": wanted[0], "en": wanted[1]}


def test_a_statement_that_is_said_anyway_is_not_printed_twice():
    """FDA's sentence about low viral loads is part of what every pooled report says."""
    view = replace(REPORT, mode="pool", places=5, pool_statement=(LOW_LOAD_ZH, LOW_LOAD_EN))
    assert as_json(view)["statements"] == as_json(replace(view, pool_statement=("", "")))["statements"]
    assert squeezed(as_pdf(view, "en")).count("".join(LOW_LOAD_EN.split())) == 1


def test_a_single_tube_carries_no_pooling_statement():
    """The statement on pooled testing would be false on a report of a single tube."""
    found = squeezed(printed(REPORT))
    assert "pooled" not in found.lower()
    assert "混合检测" not in found
    assert [statement["zh"] for statement in as_json(REPORT)["statements"]] == [
        "本报告仅对所接收的标本负责。"
    ]


@pytest.mark.parametrize(
    ("mode", "follow"), [("mixed", "new single-tube specimen"), ("pool", "tested again by itself")]
)
def test_a_pooled_result_that_is_not_negative_says_what_follows(mode, follow):
    """Such a result belongs to the whole tube or pool, and the reader is told what happens next."""
    view = replace(REPORT, mode=mode, places=5, result="inconclusive")
    assert holds(printed(view), follow, "不代表个人结果")
    assert "".join(follow.split()) not in squeezed(printed(replace(view, result="negative")))


@pytest.mark.parametrize("mode", ["mixed", "pool"])
def test_nobody_is_reported_positive_by_a_pooled_tube(mode):
    """A positive signal shared by several persons cannot be printed as one person's result."""
    with pytest.raises(Invalid) as refused:
        replace(REPORT, mode=mode, places=5, result="positive")
    assert refused.value.code == "REPORT_POOLED_POSITIVE"


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_amended_report_shows_what_it_corrects(language):
    """The corrected report, the reason and the original result stay visible beside the new result."""
    pdf = printed(AMENDED, language)
    assert holds(pdf, "R20221221-000011", "加样时与邻孔颠倒", "Two tubes were exchanged while loading.")
    if language != "zh":
        assert holds(
            pdf, "Amended report: corrects report R20221221-000011", "Original result", "Negative", "Positive"
        )
    if language != "en":
        assert holds(pdf, "更正报告", "原报告结果", "阴性", "阳性")
    assert "Amended" not in squeezed(printed(REPORT))


def test_targets_are_shown_only_where_they_explain_the_result():
    """Cq values stand on positive and inconclusive reports; a negative one does not suggest a signal."""
    assert holds(printed(AMENDED), "ORF1ab", "Cq 31.20", "Not detected", "未检出")
    assert as_json(AMENDED)["targets"] == [{"name": "ORF1ab", "cq": 31.204}, {"name": "N", "cq": None}]
    quiet = replace(AMENDED, result="negative", original_result="positive")
    assert "Cq" not in squeezed(printed(quiet))
    assert as_json(quiet)["targets"] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_report_names_people_not_accounts(language):
    """Who signed is printed by full name; the written rules are called what they are, an account never is."""
    shown = squeezed(as_pdf(REPORT, language))
    assert "王芳" in shown
    assert "LiNa" in shown
    assert "lina" not in shown
    ruled = replace(REPORT, signed_by=("auto-verification",), signed_names=("auto-verification",))
    shown = squeezed(as_pdf(ruled, language))
    assert "auto-verification" not in shown
    assert ("自动审核规则" in shown) == (language != "en")
    assert ("automaticverification" in shown) == (language != "zh")
    old = replace(REPORT, signed_by=("fang",), signed_names=())
    assert "fang" in squeezed(as_pdf(old, language))
    assert as_json(old)["signed_names"] == ["fang"]


def test_json_says_when_in_utc_and_in_local_time():
    """Machines read UTC; people read the same moment in their own zone, named."""
    document = as_json(replace(REPORT, sampled_at=None))
    assert document["issued_at"] == "2022-12-21T08:05:00.000000Z"
    assert document["issued_at_local"] == "2022-12-21 16:05 (UTC+08:00)"
    assert document["sampled_at"] is document["sampled_at_local"] is None
    assert document["result_text"] == {"zh": "阴性", "en": "Negative"}
    assert document["signed_by"] == ["fang", "lina"]
    assert document["signed_names"] == ["王芳", "Li Na"]
    assert holds(printed(replace(REPORT, sampled_at=None)), "未记录", "Not recorded")


def test_json_keys_are_stable():
    """Readers of the JSON report find the same keys for every mode and result."""
    views = (REPORT, AMENDED, replace(REPORT, mode="mixed", places=10, result="invalid", sampled_at=None))
    assert len({tuple(as_json(view)) for view in views}) == 1


@pytest.mark.parametrize(
    ("zone", "shown"),
    [
        ("Asia/Shanghai", "2022-12-21 16:05 (UTC+08:00)"),
        ("Asia/Kolkata", "2022-12-21 13:35 (UTC+05:30)"),
        ("America/St_Johns", "2022-12-21 04:35 (UTC-03:30)"),
        ("UTC", "2022-12-21 08:05 (UTC+00:00)"),
    ],
)
def test_local_time_names_its_offset(zone, shown):
    """Also where the offset is negative or not a whole hour."""
    assert local_text(REPORT.issued_at, zone) == shown


@given(st.integers(946_684_800, 4_102_444_800), st.integers(-840, 840))
def test_local_time_is_the_same_moment(seconds, minutes):
    """Read back with its printed offset, the local text is the UTC moment, to the minute."""
    aware = datetime.fromtimestamp(seconds, timezone(timedelta(minutes=minutes)))
    shown = local_text(aware, "Asia/Shanghai")
    back = datetime.strptime(shown, "%Y-%m-%d %H:%M (UTC%z)")
    assert back == aware.astimezone(back.tzinfo).replace(second=0, microsecond=0)


def test_the_same_view_gives_the_same_bytes():
    """A report printed twice is one document: the creation date is the date of issue, not of printing."""
    assert as_pdf(AMENDED) == as_pdf(AMENDED)
    assert as_worksheet(plate()) == as_worksheet(plate())
    created = PdfReader(BytesIO(as_pdf(REPORT))).metadata.creation_date
    assert created == REPORT.issued_at


def test_earlier_documents_leave_no_trace_in_later_ones():
    """What is cached between documents changes no byte of the next one."""
    before = as_pdf(REPORT)
    as_pdf(replace(REPORT, person_name="龘靐齉爩" + RARE))
    as_worksheet(plate(384))
    assert as_pdf(REPORT) == before


def test_the_font_is_free_embedded_and_cut_down():
    """Every font of every document is the Noto face, embedded as a subset; the file stays small."""
    for pdf in (printed(AMENDED), printed(plate(384))):
        assert len(pdf) < 200_000
        reader = PdfReader(BytesIO(pdf))
        fonts = {ref for page in reader.pages for ref in page["/Resources"]["/Font"].values()}
        assert len(fonts) == 1
        descendant = fonts.pop().get_object()["/DescendantFonts"][0].get_object()
        descriptor = descendant["/FontDescriptor"].get_object()
        assert descriptor["/FontName"].endswith("+NotoSansSC-Regular")
        assert 1_000 < len(descriptor["/FontFile2"].get_object().get_data()) < 100_000


def test_nothing_that_is_printed_lacks_a_glyph(caplog):
    """The writer of the PDF finds a glyph for every character of every document and language."""
    for language in LANGUAGES:
        for result in RESULTS:
            as_pdf(replace(REPORT, result=result), language)
        as_pdf(
            replace(
                REPORT, mode="mixed", places=10, result="invalid", signed_by=(), signed_names=(), seal=""
            ),
            language,
        )
        as_pdf(replace(REPORT, mode="pool", places=5, document_type="work_pass"), language)
        as_pdf(AMENDED, language)
        as_worksheet(plate(), language)
    assert caplog.text == ""


@pytest.mark.parametrize("rare", [RARE, "\U0002a6d6", "\u200b", "\U000e0100"])
def test_a_character_without_a_glyph_is_marked_and_named(rare, caplog):
    """A name with a rare or invisible character prints a mark in its place, and says which one it was."""
    view = replace(REPORT, person_name=f"{rare}田")
    code = f"U+{ord(rare):04X}"
    assert unprintable(view) == (code,)
    assert as_json(view)["person_name"] == f"{rare}田"
    assert as_json(view)["unprintable"] == [code]
    assert holds(as_pdf(view), "〓田", code, "请以系统记录为准")
    assert code in caplog.text
    assert "missing" not in caplog.text


def test_line_breaks_in_facts_are_blanks():
    """A line break in a name is white space, not a lost character."""
    view = replace(REPORT, person_name="Anna\nMaria\tLi")
    assert unprintable(view) == ()
    assert holds(printed(view), "AnnaMariaLi")


def test_long_facts_wrap_and_run_onto_a_second_page():
    """Nothing is cut off: a long reason pushes the rest on, every page says whose it is."""
    reason = "样本与邻孔颠倒 exchanged-with-its-neighbour " * 90
    pdf = printed(replace(AMENDED, reason=reason, person_name="长" * 120))
    pages = PdfReader(BytesIO(pdf)).pages
    assert len(pages) >= 2
    found = squeezed(pdf)
    assert found.count("exchanged-with-its-neighbour") == 90
    for number, page in enumerate(pages, start=1):
        shown = "".join(page.extract_text().split())
        assert f"Page{number}/{len(pages)}" in shown
        assert all(fact in shown for fact in (AMENDED.report_id, AMENDED.tube_id, "长" * 30)), shown
    assert "Amendedreport" in "".join(pages[0].extract_text().split())


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_leaves_the_page(language):
    """Every piece of text starts inside the margins."""
    long = replace(
        AMENDED, person_name="Wolfeschlegelsteinhausenbergerdorff" * 4, laboratory="Very Long Name " * 12
    )
    for pdf in (
        printed(long, language),
        printed(plate(384, assay="A" * 90, plate_id="P" * 60), language),
    ):
        for page in PdfReader(BytesIO(pdf)).pages:
            spots = []
            page.extract_text(
                visitor_text=lambda found, _, at, *rest, s=spots: s.append((found, at[4], at[5]))
            )
            shown = [(x, y) for found, x, y in spots if found.strip() and (x, y) != (0, 0)]
            assert shown
            assert all(20 < x < float(page.mediabox.width) - 20 for x, _ in shown)
            assert all(20 < y < float(page.mediabox.height) - 20 for _, y in shown)


@given(st.text(st.sampled_from("ab 核酸，。（）-\n"), max_size=60), st.integers(2, 20))
def test_wrapping_loses_nothing_and_fits(words, width):
    """Lines hold all characters in order, none is wider than allowed."""
    lines = paper.wrap(words, width, len)
    assert "".join("".join(lines).split()) == "".join(words.split())
    assert all(len(line) <= width for line in lines)


def test_lines_do_not_begin_with_closing_punctuation():
    """Chinese punctuation stays with the character before it, an opening bracket with the one after."""
    lines = paper.wrap("核酸检测，报告（阴性）。", 5, len)
    assert not any(line[0] in "，。）" or line[-1] == "（" for line in lines)


def test_the_qr_code_on_the_report_is_the_address():
    """Read back from the drawing, the modules are those of the code that carries the address."""
    expected = segno.make(REPORT.verify_url, error="m", micro=False)
    side = len(expected.matrix)
    found = drawn_qr(printed(REPORT), 161, 229, 27, side)
    assert found == [list(row) for row in expected.matrix]


def test_the_qr_code_on_a_work_sheet_is_the_plate():
    """A scanner reads the code of the plate from its sheet."""
    expected = segno.make("P00000018", error="m", micro=False)
    found = drawn_qr(printed(plate()), 261, 9, 24, len(expected.matrix))
    assert found == [list(row) for row in expected.matrix]


def test_a_report_without_an_address_has_no_code():
    """No code is drawn that leads nowhere."""
    bare = printed(replace(REPORT, verify_url=""))
    assert len(rectangles(bare)) < 5
    assert "Scan to verify".replace(" ", "") not in squeezed(bare)


def test_an_address_too_long_for_a_code_is_refused():
    """Better no report than one whose code is silently cut."""
    with pytest.raises(Invalid) as refused:
        as_pdf(replace(REPORT, verify_url="https://lab.example/" + "x" * 4000))
    assert refused.value.code == "QR_TOO_LONG"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"mode": "batch"}, "REPORT_MODE"),
        ({"result": "detected"}, "REPORT_RESULT"),
        ({"person_name": " "}, "REPORT_PERSON_NAME"),
        ({"tube_id": ""}, "REPORT_TUBE_ID"),
        ({"places": 0}, "REPORT_PLACES"),
        ({"places": 2}, "REPORT_PLACES"),
        ({"version": 0}, "REPORT_VERSION"),
        ({"signed_by": ("fang",)}, "REPORT_SIGNERS"),
        ({"version": 2}, "REPORT_AMENDMENT"),
        ({"amends": "R1"}, "REPORT_AMENDMENT"),
        ({"reason": "because"}, "REPORT_AMENDMENT"),
        ({"original_result": "negative"}, "REPORT_AMENDMENT"),
        ({"original_result": "nothing"}, "REPORT_RESULT"),
        ({"timezone": "Asia/Nowhere"}, "PRINT_ZONE"),
        ({"timezone": "../etc"}, "PRINT_ZONE"),
        ({"issued_at": datetime.fromisoformat("2022-12-21T08:05")}, "PRINT_TIME"),
        ({"sampled_at": datetime.fromisoformat("2022-12-21T08:05")}, "PRINT_TIME"),
    ],
)
def test_facts_that_would_print_a_false_statement_are_refused(changes, code):
    """A view that contradicts itself never becomes a document."""
    with pytest.raises(Invalid) as refused:
        replace(REPORT, **changes)
    assert refused.value.code == code


def test_an_unknown_language_is_refused():
    """Nothing is printed in a language that has no words."""
    for attempt in (lambda: as_pdf(REPORT, "fr"), lambda: as_worksheet(plate(), "fr")):
        with pytest.raises(Invalid) as refused:
            attempt()
        assert refused.value.code == "LANGUAGE"


@pytest.mark.parametrize("size", [96, 384])
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_work_sheet_shows_every_well(size, language):
    """Every code and control on the plate is on the sheet, in full, with the plate and its facts."""
    view = plate(size)
    found = squeezed(printed(view, language))
    assert all(code in found for _, code, _ in view.wells)
    assert holds(printed(view, language), "P00000018", "standard-94", "2022-12-21 16:05 (UTC+08:00)", "EB-2")
    assert len(PdfReader(BytesIO(printed(view, language))).pages) == 1


@pytest.mark.parametrize("size", [96, 384])
def test_every_well_is_printed_in_its_own_place(size):
    """Where the big end of a code stands on the paper is the well that it was given."""
    view = plate(size)
    rows, columns = SHAPES[size]
    wide, high = 266 / columns, 132 / rows
    page = PdfReader(BytesIO(printed(view, "en"))).pages[0]
    spots = {}

    def note(found, _, at, *rest):
        x, y = at[4] * 25.4 / 72 - 19, 210 - at[5] * 25.4 / 72 - 44
        if found.strip() and 0 <= x < 266 and 0 <= y < 132:
            spots.setdefault(found.strip(), set()).add((int(y // high), int(x // wide)))

    page.extract_text(visitor_text=note)
    for well, code, _ in view.wells:
        assert place_of(well, size) in spots[code], f"{code} is not printed in {well}: {spots[code]}"
        assert len(spots[code]) == 1


def test_a_work_sheet_counts_its_wells():
    """The counts under the grid are those of the plate, so that a missing tube shows."""
    view = plate()
    kinds = [kind for _, _, kind in view.wells]
    found = squeezed(printed(view, "en"))
    names = {"tube": "Tube", "pool": "Labpool", "mixed": "Mixedtube", "control": "Control"}
    assert all(f"{name}{kinds.count(kind)}" in found for kind, name in names.items())
    assert f"Empty{96 - len(view.wells)}" in found


def test_an_empty_plate_prints():
    """A sheet can be printed before anything is placed."""
    assert holds(printed(plate(wells=(), extraction_batches=())), "Empty 96")


def test_many_extraction_batches_stay_above_the_signatures():
    """However many batches, their list is printed whole and on one page."""
    wells = plate().wells
    batches = tuple((f"EB-2022-12-21-{n:02d}", (well,)) for n, (well, _, _) in enumerate(wells[:30]))
    pdf = printed(plate(extraction_batches=batches))
    assert holds(pdf, *(name for name, _ in batches), "Loaded by")
    assert len(PdfReader(BytesIO(pdf)).pages) == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"wells": (("A1", "440700000019", "tube"), ("A01", "440700000027", "tube"))}, "PLATE_WELL_TWICE"),
        ({"wells": (("I1", "440700000019", "tube"),)}, "PLATE_WELL"),
        ({"wells": (("A13", "440700000019", "tube"),)}, "PLATE_WELL"),
        ({"wells": (("A0", "440700000019", "tube"),)}, "PLATE_WELL"),
        ({"wells": (("A1", "", "tube"),)}, "PLATE_WELL"),
        ({"wells": (("A1", "NTC", "blank"),)}, "PLATE_WELL"),
        ({"extraction_batches": (("EB-1", ("A1",)), ("EB-2", ("A01",)))}, "PLATE_WELL_TWICE"),
        ({"timezone": "Mars/Base"}, "PRINT_ZONE"),
    ],
)
def test_a_plate_that_cannot_exist_is_refused(changes, code):
    """A well named twice or outside the plate never reaches the bench."""
    with pytest.raises(Invalid) as refused:
        plate(**changes)
    assert refused.value.code == code


@settings(max_examples=200)
@given(st.sets(st.text("0123456789", min_size=4, max_size=6), max_size=30))
def test_the_big_ends_of_two_codes_never_look_the_same(codes):
    """What a technician reads aloud names one tube of the plate only; it is always the end of the code."""
    whole = {f"44{code:0>6}" for code in codes}
    shown = tails(sorted(whole))
    assert set(shown) == whole
    assert len(set(shown.values())) == len(whole)
    assert all(code.endswith(tail) and len(tail) >= 4 for code, tail in shown.items())


def test_every_wording_exists_in_both_languages():
    """No entry of the word table is empty, and both sides ask for the same values."""
    for key, (zh, en) in text.WORDS.items():
        assert zh.strip(), key
        assert en.strip(), key
        names = [sorted({part.split("}")[0] for part in side.split("{")[1:]}) for side in (zh, en)]
        assert names[0] == names[1], key


def test_a_plate_of_another_size_is_refused():
    """Only plates that the laboratory has can be drawn."""
    with pytest.raises(Invalid) as refused:
        replace(plate(), size=48)
    assert refused.value.code == "PLATE_SIZE"


def test_documents_can_be_made_by_several_threads_from_a_cold_start():
    """The font is read once for all; four web requests at once get the same bytes as one alone."""
    alone = as_pdf(AMENDED)
    for cached in (typeface._source, typeface._names, typeface._glyphs, typeface._outline):
        cached.cache_clear()
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(as_pdf, [AMENDED] * 4))
    assert together == [alone] * 4


def test_an_amended_report_without_the_original_result_names_none():
    """If the earlier result is not given, the banner invents none."""
    found = squeezed(printed(replace(AMENDED, original_result=None)))
    assert "Amendedreport" in found
    assert "Originalresult" not in found
