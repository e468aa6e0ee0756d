"""Files that are known and not read: each is refused by name, with what to export instead."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from instruments.errors import InstrumentError
from instruments.formats import cells
from instruments.formats.experiment import refuse_genotyping
from instruments.formats.workbook import header_row, keys_of, results_sheet

if TYPE_CHECKING:
    from instruments.formats.source import Source

_ALLELES = re.compile(r"\b(allele ?[12xy]\b|rnx\b|allelic discrimination|delta rn \(?allele)", re.IGNORECASE)
_END_POINT = re.compile(r"\b(end rfu|rfu1|rfu2)\b", re.IGNORECASE)

ENTRIES = (
    (
        ".pcrd (Bio-Rad CFX)",
        "encrypted by CFX Maestro",
        "open it there, use Export > Export All Data Sheets (csv), send the Cq and the amplification files",
    ),
    ("workbooks and archives under a password", "closed", "export the results without a password"),
    (
        "genotyping (SNP, allelic discrimination) and end-point exports",
        "they hold allele calls or one reading per well, and no Cq",
        "export a presence/absence or standard-curve run with its results",
    ),
    (
        "a zip of several exports",
        "a result must come from a file of its own",
        "unpack it and send the files one by one",
    ),
    (
        "gzip, 7z and rar archives",
        "no cycler writes them",
        "unpack it and send the file inside",
    ),
)
"""What is refused, why, and what to export instead: the table of ``docs/formats.md``."""


def refuse(source: Source) -> None:
    """Raise for a file that is known and not read; return for any other.

    Raises:
        InstrumentError: NOT_A_QUANTIFICATION for genotyping and end-point exports, UNKNOWN_FORMAT for
            packed files.
    """
    if source.data.startswith((b"\x1f\x8b", b"7z\xbc\xaf\x27\x1c", b"Rar!")):
        raise InstrumentError(
            "UNKNOWN_FORMAT", "This is a packed file. Unpack it and send the file inside.", file=source.name
        )
    if source.kind == "text":
        _refuse_text(source)
    elif source.sheet_names:
        _refuse_book(source)


def _refuse_text(source: Source) -> None:
    head = source.text.first(80)
    names = [line for line in head if line.count("\t") + line.count(",") + line.count(";") > 2]
    if any("Experiment Type" in line and "genotyp" in line.lower() for line in head) or any(
        _ALLELES.search(line) for line in names
    ):
        raise refuse_genotyping(source)
    if any(_END_POINT.search(line) for line in names) and not any("Cq" in line for line in names):
        raise InstrumentError(
            "NOT_A_QUANTIFICATION",
            "This is an end-point or allelic-discrimination export: one reading per well and no "
            "Cq. Export the Quantification Cq results.",
            file=source.name,
        )


def _refuse_book(source: Source) -> None:
    sheet = results_sheet(source)
    if sheet is None:
        return
    rows = source.rows(sheet)
    kind = cells.text(keys_of(rows).get("Experiment Type", "")).lower()
    top = header_row(rows)
    header = " | ".join(cells.text(cell) for cell in rows[top]) if top is not None else ""
    if "genotyp" in kind or _ALLELES.search(header):
        raise refuse_genotyping(source)
