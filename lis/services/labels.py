"""Printing labels: the job is kept before anything is sent, and a label that was printed says why again."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lis import barcodes, ledger, queries
from lis.errors import Invalid, NotFound, Refused
from lis.events import TubeKind
from lis.printing.labels import Kind, Label, Stock, as_zpl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from lis.config import PrinterSettings, Settings
    from lis.db import Unit
    from lis.queries import Row

BROWSER: Final = "browser"
"""The printer of whoever sits at the screen: the page prints, and tells that it did."""

MOST_COPIES: Final = 10
MOST_LABELS: Final = 400
SECONDS: Final = 5.0
"""How long a printer may take to answer a call."""


@dataclass(frozen=True, slots=True)
class LabelOrder:
    """Labels to print; ``reason`` is needed where one of them was printed before."""

    codes: tuple[str, ...]
    printer: str = BROWSER
    copies: int = 1
    reason: str = ""


def label_of(conn: Connection, code: str, words: dict[str, str]) -> Label:
    """What the label of a code says.

    Args:
        conn: where to look.
        code: of a tube, pool or plate, in use or not.
        words: ``single``, ``mixed``, ``pool`` and ``plate`` in the language of the label.

    Raises:
        Invalid: no such code can be.
    """
    code = barcodes.parse(code, *barcodes.PATTERNS)
    if barcodes.PLATE.regex.fullmatch(code):
        row = queries.plate_row(conn, code)
        return Label(code, "plate", (row["assay"], row["template"]) if row else (words["plate"],))
    tube = ledger.tubes(conn, [code]).get(code)
    kind: Kind = "pool" if barcodes.POOL.regex.fullmatch(code) else "tube"
    if tube is None or tube.kind is TubeKind.UNKNOWN:
        return Label(code, kind, (words["pool"],) if kind == "pool" else ())
    size = "" if tube.kind is TubeKind.SINGLE else f" {tube.persons}/{tube.capacity}"
    return Label(code, kind, (words[tube.kind.value] + size,))


def order_labels(unit: Unit, settings: Settings, order: LabelOrder, words: dict[str, str]) -> list[int]:
    """Keep the jobs of labels and what is said about them; the numbers of the jobs, to be sent afterwards.

    Raises:
        Invalid: a code is malformed, too many copies. NotFound: no such printer.
        Refused: ``LABEL_REASON``: one was printed before, and nobody says why it is printed again.
    """
    # gather
    codes = [barcodes.parse(code, *barcodes.PATTERNS) for code in dict.fromkeys(order.codes)]
    labels = [label_of(unit.conn, code, words) for code in codes]
    before = queries.labels_printed(unit.conn, codes)
    # decide
    _check(order, codes)
    printer = None if order.printer == BROWSER else printer_named(settings, order.printer)
    for code in codes:
        if code in before and not order.reason.strip():
            raise Refused(
                "LABEL_REASON",
                f"The label of {code} was printed already ({before[code]['actor']}, "
                f"{before[code]['at']:%Y-%m-%d %H:%M} UTC). Say why it is printed again; two labels of one "
                "code can end on two tubes.",
                tube=code,
            )
    # apply
    numbers = queries.next_numbers(unit.conn, "print job", len(codes))
    for number, label in zip(numbers, labels, strict=True):
        content = "" if printer is None else zpl_for(printer, label, order.copies)
        _keep(unit, number, label, order, content, again=label.code in before)
    return list(numbers)


def _check(order: LabelOrder, codes: Sequence[str]) -> None:
    if not codes or len(codes) > MOST_LABELS:
        raise Invalid("LABELS", f"Name 1 to {MOST_LABELS} codes to print.")
    if not 1 <= order.copies <= MOST_COPIES:
        raise Invalid("LABEL_COPIES", f"Print 1 to {MOST_COPIES} copies of a label.")


def _keep(unit: Unit, number: int, label: Label, order: LabelOrder, content: str, *, again: bool) -> None:
    job = {
        "job_id": number,
        "at": unit.now,
        "actor": unit.actor,
        "printer": order.printer,
        "kind": label.kind,
        "code": label.code,
        "copies": order.copies,
        "content": content,
        "state": "waiting" if content else "printed",
        "tries": 0,
    }
    act = {
        "act_id": queries.next_number(unit.conn, "label act"),
        "at": unit.now,
        "actor": unit.actor,
        "code": label.code,
        "job_id": number,
        "printer": order.printer,
        "act": "again" if again else "first",
        "copies": order.copies,
        "reason": order.reason.strip(),
    }
    queries.insert_rows(unit.conn, "print_job", [job])
    queries.insert_rows(unit.conn, "label_act", [act])


def printer_named(settings: Settings, name: str) -> PrinterSettings:
    """The printer of this name.

    Raises:
        NotFound: ``PRINTER_UNKNOWN``.
    """
    for one in settings.printers:
        if one.name == name:
            return one
    known = ", ".join(one.name for one in settings.printers) or "none is set"
    raise NotFound("PRINTER_UNKNOWN", f"There is no printer {name[:40]}. Known: {known}.")


def zpl_for(printer: PrinterSettings, label: Label, copies: int) -> str:
    """A label in the language of a printer, of the size that lies in it."""
    stock = Stock(printer.width_mm, printer.height_mm, printer.symbol)
    return as_zpl(label, stock, dpi=printer.dpi, copies=copies, font=printer.font)


def send(printer: PrinterSettings, content: str) -> str:
    """Send a job to a printer; empty, or why it did not get through. Never raises."""
    try:
        with socket.create_connection((printer.host, printer.port), timeout=SECONDS) as line:
            line.sendall(content.encode())
            line.shutdown(socket.SHUT_WR)
    except OSError as error:
        return f"{printer.name} ({printer.host}:{printer.port}) does not answer: {error}"[:300]
    return ""


def told(unit: Unit, job_id: int, trouble: str) -> None:
    """Keep what became of a job that was sent."""
    row = _job(unit.conn, job_id)
    queries.update_row(
        unit.conn,
        "print_job",
        {"job_id": job_id},
        state="waiting" if trouble else "printed",
        trouble=trouble,
        tries=row["tries"] + 1,
        sent_at=None if trouble else unit.now,
    )


def waiting_job(conn: Connection, job_id: int) -> Row:
    """A job that a printer has not taken yet.

    Raises:
        NotFound: ``PRINT_JOB_UNKNOWN``. Refused: ``PRINT_JOB_DONE``: it was printed; print it again.
    """
    row = _job(conn, job_id)
    if row["state"] != "waiting":
        raise Refused(
            "PRINT_JOB_DONE",
            f"Job {job_id} was printed. To print its label again, order it anew and say why.",
        )
    return row


def _job(conn: Connection, job_id: int) -> Row:
    row = queries.print_job_row(conn, job_id)
    if row is None:
        raise NotFound("PRINT_JOB_UNKNOWN", f"There is no print job {job_id}.")
    return row
