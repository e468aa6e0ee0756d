"""The report of one person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lis.clock import to_text
from lis.printing import page
from lis.printing.page import GREY, INK, RULE, Style, write
from lis.printing.typeface import unprintable
from lis.printing.views import ReportView, local_text
from lis.text import Language, check_language, parts, say

if TYPE_CHECKING:
    from fpdf import FPDF

LEFT, WIDTH, BOTTOM = 20.0, 170.0, 264.0
_LABEL = 52.0
_QR = 27.0
AUTO = "auto-verification"
"""Account under which the written rules sign."""


def as_json(view: ReportView) -> dict[str, Any]:
    """The report as plain values: UTC times beside the local text, both languages of every word."""
    document: dict[str, Any] = {
        name: getattr(view, name)
        for name in (
            *("report_id", "version", "amends", "reason", "original_result", "laboratory", "laboratory_zh"),
            *("person_name", "document_type", "document_masked", "tube_id", "mode", "places", "result"),
            *("assay", "assay_version", "timezone", "verify_url", "seal"),
        )
    }
    for name in ("sampled_at", "received_at", "issued_at"):
        moment = getattr(view, name)
        document[name] = to_text(moment) if moment else None
        document[f"{name}_local"] = local_text(moment, view.timezone) if moment else None
    document["mode_text"] = _both(f"mode.{view.mode}", n=view.places)
    document["result_text"] = _both(view.result)
    document["targets"] = [{"name": name, "cq": cq} for name, cq in _targets(view)]
    document["statements"] = [
        *([dict(zip(("zh", "en"), view.pool_statement, strict=True))] if _required(view, "both") else []),
        *(_both(key, n=view.places) for key in (*_pooling(view), "answers")),
    ]
    document["signed_by"] = list(view.signed_by)
    document["signed_names"] = list(view.signed_names or view.signed_by)
    document["unprintable"] = list(unprintable(view))
    return document


def as_pdf(view: ReportView, language: Language = "both") -> bytes:
    """The report on A4; the same view and language give the same bytes.

    Raises:
        Invalid: ``LANGUAGE``, or ``QR_TOO_LONG`` for an address that fits no QR code.
    """
    check_language(language)
    pdf = page.open_pdf(view, "portrait", f"{view.report_id} v{view.version}", view.issued_at)
    pdf.add_page()
    y = _head(pdf, view, language)
    if view.amends:
        y = _banner(pdf, view, language, y)
    for label, value in _facts(view, language):
        y = _row(pdf, y, label, value)
    y = _result(pdf, view, language, y + 4)
    for label, value in _target_rows(view, language):
        y = _row(pdf, y, label, value)
    y = _small_print(pdf, view, language, y + 4)
    _closing(pdf, view, language, y + 4)
    _feet(pdf, view, language)
    return bytes(pdf.output())


def _both(key: str, **values: object) -> dict[str, str]:
    zh, en = parts(key, "both", **values)
    return {"zh": zh, "en": en}


def _pooling(view: ReportView) -> tuple[str, ...]:
    """Keys of the statements that a person tested together with others must read."""
    if view.mode == "single":
        return ()
    return (f"statement.{view.mode}", *(() if view.result == "negative" else (f"follow.{view.mode}",)))


def _required(view: ReportView, language: Language) -> tuple[str, ...]:
    """What the jurisdiction wants a person tested together with others to read, unless it is said anyway."""
    if view.mode == "single":
        return ()
    said = " ".join(parts(f"statement.{view.mode}", "both", n=view.places))
    chinese, english = view.pool_statement
    wanted = {"zh": (chinese,), "en": (english,), "both": (chinese, english)}[language]
    return () if english in said else tuple(wanted)


def _targets(view: ReportView) -> tuple[tuple[str, float | None], ...]:
    return view.targets if view.result in ("positive", "inconclusive") else ()


def _head(pdf: FPDF, view: ReportView, language: Language) -> float:
    names = {
        "zh": (view.laboratory_zh,),
        "en": (view.laboratory,),
        "both": (view.laboratory_zh, view.laboratory),
    }
    y = 16.0
    for number, name in enumerate(names[language]):
        y = write(pdf, LEFT, y, WIDTH, name, Style(9.5, GREY) if number else Style(14, INK, bold=True))
    page.rule(pdf, LEFT, y + 1.5, WIDTH, 0.6, INK)
    y += 7
    for number, title in enumerate(parts("title", language)):
        y = write(
            pdf,
            LEFT,
            y,
            WIDTH,
            title,
            Style(11.5, GREY, align="C") if number else Style(19, bold=True, align="C"),
        )
    return y + 5


def _banner(pdf: FPDF, view: ReportView, language: Language, y: float) -> float:
    """Say that this report corrects another one, why, and what the other one said."""
    lines = [(text, Style(11.5, bold=True)) for text in parts("amended", language, amends=view.amends)]
    lines.append((f"{say('reason', language)}: {view.reason}", Style(9.5)))
    if view.original_result is not None:
        original = f"{say('original', language)}: {say(view.original_result, language)}"
        lines.append((original, Style(9.5, bold=True)))
    return _box(pdf, y, lines, (253, 245, 230), (140, 82, 0)) + 4


def _box(pdf: FPDF, y: float, lines: list[tuple[str, Style]], tint: page.Colour, edge: page.Colour) -> float:
    """Lines on a tinted ground with a coloured edge; the ground goes on over as many pages as they need."""
    inner, pad = WIDTH - 12, 2.5
    folded = [(line, style) for text, style in lines for line in page.fold(pdf, text, inner, style.size)]
    for number, (line, style) in enumerate(folded):
        above, below = pad * (number == 0), pad * (number == len(folded) - 1)
        high = above + page.height(1, style.size) + below
        y = _room(pdf, y, high)
        pdf.set_fill_color(*tint)
        pdf.rect(LEFT, y, WIDTH, high + 0.05, style="F")  # a trace of overlap: no seam between two lines
        pdf.set_fill_color(*edge)
        pdf.rect(LEFT, y, 1.6, high + 0.05, style="F")
        write(pdf, LEFT + 6, y + above, inner, line, style)
        y += high
    return y


def _facts(view: ReportView, language: Language) -> list[tuple[str, str]]:
    moments = [("sampled", view.sampled_at), ("received", view.received_at), ("issued", view.issued_at)]
    return [
        (say("name", language), view.person_name),
        (say("document", language), f"{_document(view, language)}  {view.document_masked}".strip()),
        (say("tube", language), view.tube_id),
        (say("mode", language), say(f"mode.{view.mode}", language, n=view.places)),
        *(
            (say(key, language), local_text(moment, view.timezone) if moment else say("unrecorded", language))
            for key, moment in moments
        ),
    ]


def _document(view: ReportView, language: Language) -> str:
    known = ("resident_id", "passport", "permit", "other")
    return say(view.document_type, language) if view.document_type in known else view.document_type


def _target_rows(view: ReportView, language: Language) -> list[tuple[str, str]]:
    return [
        (say("target", language, name=name), say("undetected", language) if cq is None else f"Cq {cq:.2f}")
        for name, cq in _targets(view)
    ]


def _row(pdf: FPDF, y: float, label: str, value: str) -> float:
    inner = WIDTH - _LABEL - 4
    lines = max(len(page.fold(pdf, value, inner, 10.5)), 1)
    high = max(page.height(lines, 10.5), page.height(len(page.fold(pdf, label, _LABEL - 2, 9)), 9)) + 2
    y = _room(pdf, y, high)
    write(pdf, LEFT, y + 1.3, _LABEL - 2, label, Style(9, GREY))
    write(pdf, LEFT + _LABEL, y + 1, inner, value, Style(10.5))
    page.rule(pdf, LEFT, y + high, WIDTH)
    return y + high


def _result(pdf: FPDF, view: ReportView, language: Language, y: float) -> float:
    y = _room(pdf, y, 24)
    colour = page.RESULT_INK[view.result]
    pdf.set_fill_color(*page.RESULT_TINT[view.result])
    pdf.set_draw_color(*colour)
    pdf.set_line_width(0.5)
    pdf.rect(LEFT, y, WIDTH, 22, style="DF")
    page.result_mark(pdf, view.result, LEFT + 6, y + 4, 14)
    write(pdf, LEFT + 26, y + 8, _LABEL - 22, say("result", language), Style(10.5, GREY))
    words = say(view.result, language)
    write(pdf, LEFT + 62, y + 11 - page.height(1, 25) / 2, WIDTH - 64, words, Style(25, colour, bold=True))
    return y + 24


def _small_print(pdf: FPDF, view: ReportView, language: Language, y: float) -> float:
    """The method, what pooling means for this result, and characters that could not be printed."""
    method = parts("method", language, assay=view.assay, version=view.assay_version)
    y = _paragraphs(pdf, y, method, Style(9, GREY))
    pooling = [text for key in _pooling(view) for text in parts(key, language, n=view.places)]
    pooling[:0] = _required(view, language)
    if pooling:
        y = _box(pdf, y + 2, [(text, Style(9)) for text in pooling], (240, 243, 247), (60, 92, 130)) + 1
    lost = unprintable(view)
    if lost:
        y = _paragraphs(pdf, y + 2, parts("missing", language, codes=", ".join(lost)), Style(8, GREY))
    return y


def _paragraphs(pdf: FPDF, y: float, texts: tuple[str, ...], style: Style) -> float:
    for text in texts:
        y = _room(pdf, y, page.height(len(page.fold(pdf, text, WIDTH, style.size)), style.size))
        y = write(pdf, LEFT, y, WIDTH, text, style)
    return y


def _closing(pdf: FPDF, view: ReportView, language: Language, y: float) -> None:
    """Signers on the left, the code to verify on the right, at the foot of the last page if there is room."""
    inner = WIDTH - _QR - 14
    names = ("、" if language == "zh" else ", ").join(_signers(view, language))
    y = max(_room(pdf, y, _QR + 8), BOTTOM - _QR - 8)
    at = write(pdf, LEFT, y + 2, inner, say("signed", language), Style(9, GREY))
    at = write(pdf, LEFT, at, inner, names or "－", Style(11))
    page.rule(pdf, LEFT, at + 1, inner - 20, 0.3, INK)
    if view.verify_url:
        page.draw_qr(pdf, view.verify_url, LEFT + WIDTH - _QR - 2, y, _QR)
        caption = say("verify", language)
        write(pdf, LEFT + WIDTH - _QR - 14, y + _QR + 1.2, _QR + 24, caption, Style(7.5, GREY, align="C"))


def _signers(view: ReportView, language: Language) -> list[str]:
    """Full names of who signed; the written rules by what they are."""
    pairs = zip(view.signed_by, view.signed_names or view.signed_by, strict=True)
    return [say("automatic", language, gap=" ") if account == AUTO else name for account, name in pairs]


def _room(pdf: FPDF, y: float, high: float) -> float:
    """``y`` if a block of this height still fits the page, else the top of a new page."""
    if y + high <= BOTTOM:
        return y
    pdf.add_page()
    return 22.0


def _feet(pdf: FPDF, view: ReportView, language: Language) -> None:
    """Under every page: whose report this is, which version, its seal, and which page of how many."""
    pages = pdf.pages_count
    identity = "   ".join(
        (
            f"{say('report', language, gap=' ')} {view.report_id}",
            f"{say('version', language, gap=' ')} {view.version}",
            f"{say('tube', language, gap=' ')} {view.tube_id}",
            f"{say('seal', language, gap=' ')} {view.seal[:16] or '－'}",
        )
    )
    for number in range(1, pages + 1):
        pdf.page = number
        if pages > 1:
            person = page.fold(pdf, f"{say('name', language)}  {view.person_name}", WIDTH, 9)[0]
            write(pdf, LEFT, 10, WIDTH, person, Style(9, GREY))
        page.rule(pdf, LEFT, 272, WIDTH, 0.3, RULE)
        write(pdf, LEFT, 273.5, WIDTH - 40, say("answers", language), Style(8, GREY))
        count = say("page", language, page=number, pages=pages)
        write(pdf, LEFT + WIDTH - 40, 273.5, 40, count, Style(8, GREY, align="R"))
        write(pdf, LEFT, 278.5, WIDTH, identity, Style(7.5, INK))
