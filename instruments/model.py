"""What a cycler's file says, whatever the file looked like: wells, readings, curves, a run.

Nothing here interprets. A Cq is the instrument's, a task is the instrument's, an empty cell
stays empty; the laboratory's own rules read these values elsewhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from instruments.errors import InstrumentError
from instruments.remembering import remembered

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np
    from numpy.typing import NDArray

# Rows and columns of the blocks that real-time cyclers have; 0 stands for "the file does not say".
BLOCKS: dict[int, tuple[int, int]] = {96: (8, 12), 384: (16, 24), 0: (16, 24)}
_NAME = re.compile(r"([A-Za-z])0*([1-9][0-9]?)")
_NUMBER = re.compile(r"0*([1-9][0-9]{0,2})(?:\.0+)?")

CurveKind = Literal["rn", "drn", "rfu"]
FlagScope = Literal["target", "well"]


def _impossible(text: str, block: int) -> InstrumentError:
    size = f"a {block}-well block" if block else "a block of unknown size"
    return InstrumentError(
        "BAD_WELL", f"'{text}' is not a well of {size}. Check the well column of the export."
    )


def _shape(block: int) -> tuple[int, int]:
    if block not in BLOCKS:
        raise InstrumentError(
            "BAD_WELL", f"A block of {block} wells is not known; blocks have 96 or 384 wells."
        )
    return BLOCKS[block]


def well_name(index: int, block: int) -> str:
    """Name of the well at ``index`` (from 0, row by row): 0 is A1, 12 is B1 on 96 wells, A13 on 384.

    Raises:
        InstrumentError: BAD_WELL when the block has no such well or the block size is not given.
    """
    rows, columns = _shape(block)
    if not block or not 0 <= index < rows * columns:
        raise _impossible(str(index + 1), block)
    return f"{chr(65 + index // columns)}{index % columns + 1}"


@remembered(4096)
def canonical_well(text: str, block: int) -> str:
    """Bring the spellings of a well (``A01``, ``a1``, `` A1``, ``1``, ``1.0``) to ``A1``.

    Numbers count from 1, row by row, and need the block size. With ``block`` 0 names up to P24 are
    accepted and numbers refused.

    Raises:
        InstrumentError: BAD_WELL for a well the block does not have.
    """
    rows, columns = _shape(block)
    stripped = text.strip()
    if found := _NAME.fullmatch(stripped):
        row, column = ord(found[1].upper()) - 65, int(found[2])
        if row < rows and column <= columns:
            return f"{chr(65 + row)}{column}"
    elif block and (number := _NUMBER.fullmatch(stripped)):
        return well_name(int(number[1]) - 1, block)
    raise _impossible(text, block)


@remembered(4096)
def well_index(well: str, block: int) -> int:
    """Position of a well from 0, row by row; the reverse of :func:`well_name`.

    Raises:
        InstrumentError: BAD_WELL for a well the block does not have.
    """
    name = canonical_well(well, block)
    return (ord(name[0]) - 65) * _shape(block)[1] + int(name[1:]) - 1


class Reading(Struct, frozen=True):
    """One target (or dye) of one well, as the instrument called it.

    Attributes:
        well: canonical name, ``A1``.
        sample: what the file calls the sample, stripped; often empty for controls.
        task: ``unknown ntc nac nrt positive_control negative_control standard ipc blocked_ipc
            empty``, or the file's own word where it is none of these; "" when the file has none.
        target: target name, stripped; "" where the file names only dyes.
        dye: reporter or fluor; "" where the file names only targets.
        cq: instrument Cq in cycles, None when the instrument gave none.
        raw_cq: the cell as written.
        call: the instrument software's own call, "" when it makes none.
        flags: names of raised quality flags. ``OMIT``: left out by the operator. ``UNREAD_CQ``: the
            cell could not be read, so ``cq`` None does not mean "not detected" (the run is then not
            complete). ``CQ_OUT_OF_RANGE``: beyond any number of cycles.
        threshold: threshold the Cq was read at, None when not given or a known placeholder.
        baseline: first and last baseline cycle, None when not given or a known placeholder.
    """

    well: str
    sample: str
    task: str
    target: str
    dye: str
    cq: float | None
    raw_cq: str
    call: str
    flags: tuple[str, ...]
    threshold: float | None = None
    baseline: tuple[int, int] | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """What must be unique in a run: well, target, dye."""
        return (self.well, self.target, self.dye)


class Curve(Struct, frozen=True, eq=False):
    """One amplification curve. ``rn`` is normalised, ``drn`` baseline-corrected, ``rfu`` raw or CFX units.

    ``cycles`` (int) and ``values`` (float) are read-only arrays of one length.
    """

    well: str
    target: str
    dye: str
    kind: CurveKind
    cycles: NDArray[np.int64]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class RunFile:
    """One run as one file tells it.

    ``complete`` means: the file itself proves that nothing was cut off. ``reasons`` say why not.
    ``assumptions`` name what a format cannot prove, a csv without an end mark for example; those
    that put a well or a Cq at stake also stand in ``reasons`` and are settled from outside by
    :meth:`confirmed` with the wells that were loaded.

    Attributes:
        instrument: the model as the file names it; ``device`` the laboratory's name for it.
        plate: barcode written in the file, "" if none.
        run_started: UTC; None when absent or when its time zone is ambiguous (then in ``unread``).
        run_ended: UTC; None as for ``run_started``.
        block: 96, 384, or 0 when the file does not say.
        method: ``ct``, ``crt`` (relative threshold; never comparable with Ct), or "" when not said.
        flags_scope: ``well`` where the flags belong to the well and are repeated on each target.
        unread: columns, sections, sheets and keys kept by name but not understood.
        thresholds: one threshold per target where all its wells share one.
    """

    name: str
    sha256: str
    format: str
    instrument: str = ""
    serial: str = ""
    software: str = ""
    operator: str = ""
    plate: str = ""
    experiment: str = ""
    run_started: datetime | None = None
    run_ended: datetime | None = None
    block: int = 0
    complete: bool = False
    reasons: tuple[str, ...] = ()
    readings: tuple[Reading, ...] = ()
    curves: tuple[Curve, ...] = ()
    unread: tuple[str, ...] = ()
    thresholds: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    assumptions: tuple[str, ...] = ()
    device: str = ""
    method: str = ""
    flags_scope: FlagScope = "target"

    @property
    def curve_count(self) -> int:
        """Number of amplification curves; Rn and ΔRn of one well and target are one curve."""
        return len({(curve.well, curve.target, curve.dye) for curve in self.curves})

    def confirmed(self, loaded: Iterable[tuple[str, str]]) -> RunFile:
        """Settle the assumptions with what was loaded: (well, target or dye) of every reaction.

        A reaction without a reading is named in ``reasons`` and the run is not complete, however
        well the file ends. If nothing is missing and nothing but assumptions spoke against the
        file, it becomes complete.
        """
        present = {(r.well, name) for r in self.readings for name in (r.target, r.dye)}
        missing = [f"{well} {name}" for well, name in loaded if (_place(well), name) not in present]
        rest = tuple(reason for reason in self.reasons if reason not in self.assumptions)
        if missing:
            shown = ", ".join(missing[:5]) + (" ..." if len(missing) > 5 else "")
            rest += (f"{len(missing)} loaded reactions have no result in the file: {shown}",)
        return replace(
            self, complete=not rest, reasons=rest, assumptions=() if not rest else self.assumptions
        )

    def as_json(self) -> dict[str, Any]:
        """Return the document that ``lis read --json`` prints; dates in ISO 8601 with Z."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "format": self.format,
            "instrument": self.instrument,
            "serial": self.serial,
            "device": self.device,
            "software": self.software,
            "operator": self.operator,
            "plate": self.plate,
            "experiment": self.experiment,
            "run_started": _iso(self.run_started),
            "run_ended": _iso(self.run_ended),
            "block": self.block,
            "method": self.method,
            "flags_scope": self.flags_scope,
            "complete": self.complete,
            "reasons": list(self.reasons),
            "assumptions": list(self.assumptions),
            "wells": [_reading_json(reading) for reading in self.readings],
            "curves": self.curve_count,
            "unread": list(self.unread),
        }


def _place(well: str) -> str:
    """A well as readings name it: canonical on a plate, as written on a rotor or a chip."""
    return canonical_well(well, 0) if _NAME.fullmatch(well.strip()) else well.strip()


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _reading_json(reading: Reading) -> dict[str, Any]:
    names = ("well", "sample", "task", "target", "dye", "cq", "raw_cq", "call")
    return {name: getattr(reading, name) for name in names} | {"flags": list(reading.flags)}
