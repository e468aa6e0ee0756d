"""What leaves the laboratory on paper: the report of one person, the sheets of a plate and of its pools.

Everything here is a pure function of a view: the same view gives the same bytes, on any day, on any
machine with the same versions of the font and the PDF writer.
"""

from __future__ import annotations

from lis.printing.poolsheet import as_pool_sheet
from lis.printing.report import as_json, as_pdf
from lis.printing.typeface import unprintable
from lis.printing.views import Batch, PlateView, PoolBlock, PoolSheetView, ReportView, WellText
from lis.printing.worksheet import as_worksheet
from lis.text import Language

__all__ = [
    "Batch",
    "Language",
    "PlateView",
    "PoolBlock",
    "PoolSheetView",
    "ReportView",
    "WellText",
    "as_json",
    "as_pdf",
    "as_pool_sheet",
    "as_worksheet",
    "unprintable",
]
