"""What is sent to the pooling bench, and what it answers to a scan."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from lis.services.pools import AliquotResult, AliquotScan
from lis.web.payloads import MOST_SCANS, Code, Payload
from lis.web.words import error_zh


class PoolIn(Payload):
    """Aliquots pipetted together, in order.

    ``confirm``: true if every aliquot is to be confirmed by scan before the pool is plated; left out, the
    rules of the pooling bench say it. ``assay``: kit of the test, empty for the laboratory's default.
    """

    members: tuple[Code, ...] = Field(max_length=100)
    barcode: Code = ""
    assay: Code = ""
    confirm: bool | None = None


class PoolOrderIn(Payload):
    """One pool of several."""

    members: tuple[Code, ...] = Field(max_length=100)
    barcode: Code = ""


class PoolsIn(Payload):
    """Pools to form together on one pipetting worklist; all of them or none."""

    pools: tuple[PoolOrderIn, ...] = Field(max_length=384)
    assay: Code = ""
    confirm: bool | None = None


class AliquotIn(Payload):
    """The pool tube as scanned, the tube whose aliquot goes into it, and the well if it was scanned too."""

    pool: Code
    tube: Code
    well: Code = ""

    def data(self) -> AliquotScan:
        """As the service takes it."""
        return AliquotScan(self.pool, self.tube, self.well)


class VolumeIn(Payload):
    """Liquid left in a tube, in microlitres."""

    volume_ul: int


Aliquots = AliquotIn | Annotated[list[AliquotIn], Field(min_length=1, max_length=MOST_SCANS)]


def aliquot_json(result: AliquotResult) -> dict[str, Any]:
    """What became of the scan of one aliquot."""
    return {
        "pool": result.pool,
        "tube": result.tube,
        "outcome": result.outcome.value,
        "code": result.code,
        "sentence": result.sentence,
        "sentence_zh": error_zh(result.code, result.details),
        "left": result.left,
    }
