"""From a file to decided tubes: controls first, then interpretation, then what happens next.

One transaction a file. Either every tube of the plate moves, or the file is quarantined and none does.
Earlier runs are never touched: a result is a new row that points at its run.
"""

from lis.services.results.foreseeing import Foresight, LiveCurves, foresee, keep_reads, live_curves
from lis.services.results.shapes import Ingested, Parsed
from lis.services.results.taking import ingest, parsed_name

__all__ = [
    "Foresight",
    "Ingested",
    "LiveCurves",
    "Parsed",
    "foresee",
    "ingest",
    "keep_reads",
    "live_curves",
    "parsed_name",
]
