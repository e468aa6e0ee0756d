"""A cycler that behaves like one: curves drawn from a true Cq, Cq called from the curves, export files.

Nothing is copied from the truth into the results. A curve is drawn with its own plateau, drift and
noise, and the instrument's Cq is called from that curve by :mod:`instruments.calling`, so late
wells drop out and early ones scatter as they do on a bench. Every file says that it is synthetic.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from instruments.calling import call_curves
from instruments.errors import InstrumentError
from instruments.model import canonical_well, well_index

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SYNTHETIC = "SYNTHETIC, written by the nat-lis virtual cycler"
# QuantStudio's words for the tasks of instruments.model.Reading; CFX's content words.
_QS_TASKS = {
    "unknown": "UNKNOWN",
    "ntc": "NTC",
    "standard": "STANDARD",
    "positive_control": "POSITIVE_CONTROL",
    "negative_control": "NEGATIVE_CONTROL",
    "ipc": "IPC",
    "blocked_ipc": "BlockedIPC",
}
_CFX_CONTENT = {
    "unknown": "Unkn",
    "ntc": "NTC",
    "standard": "Std",
    "positive_control": "Pos Ctrl",
    "negative_control": "Neg Ctrl",
}
_BLOCK_TYPES = {96: "96-Well Block (0.2mL)", 384: "384-Well Block"}


@dataclass(frozen=True)
class VirtualWell:
    """One well: its sample, its task, and per target the dye and the true Cq (None: no template)."""

    well: str
    sample: str
    task: str
    targets: Mapping[str, tuple[str, float | None]]


@dataclass(frozen=True)
class Chemistry:
    """How curves of an assay look; fluorescence in Rn.

    Attributes:
        efficiency: gain per cycle, 1.0 = doubling.
        threshold: ΔRn at which the true Cq is defined and the instrument calls.
        plateau: median height of the plateau; ``plateau_sd`` its spread (log-normal).
        background: Rn before amplification; ``drift`` SD of its slope per cycle.
        noise: SD of a reading.
    """

    efficiency: float = 0.95
    threshold: float = 0.1
    plateau: float = 2.5
    plateau_sd: float = 0.12
    background: float = 0.6
    drift: float = 0.0004
    noise: float = 0.003


DEFAULT_CHEMISTRY = Chemistry()


@dataclass(frozen=True)
class VirtualRun:
    """A run to be drawn: which plate on which instrument, when, and what is truly in its wells.

    Attributes:
        plate: barcode.
        instrument: the laboratory's name of the device; ``model`` what the vendor calls it.
        started: timezone-aware, like ``ended``; written in UTC, to the second.
        block: 96 or 384.
        cycles: number of cycles.
        seed: what the curves are drawn from when no generator is given, so that the Cq and the
            amplification files of one run agree.
    """

    plate: str
    instrument: str
    serial: str
    model: str
    started: datetime
    ended: datetime
    block: int
    wells: Sequence[VirtualWell]
    cycles: int = 45
    seed: int = 0
    chemistry: Chemistry = DEFAULT_CHEMISTRY


@dataclass(frozen=True)
class Reaction:
    """One target of one well."""

    well: str
    sample: str
    task: str
    target: str
    dye: str
    true_cq: float | None


@dataclass(frozen=True, eq=False)
class DrawnRun:
    """Curves of a run and what the instrument calls from them.

    Attributes:
        reactions: one per row of the arrays, wells in plate order.
        rn: reactions x cycles, rounded to six decimals as the files carry it.
        delta: reactions x cycles, baseline-corrected.
        cq: called from ``rn``; NaN for none.
        baseline: reactions x 2, the cycles the baseline was fitted through.
    """

    run: VirtualRun
    reactions: tuple[Reaction, ...]
    rn: Floats
    delta: Floats
    cq: Floats
    baseline: NDArray[np.int64]


def reactions_of(run: VirtualRun) -> tuple[Reaction, ...]:
    """Reactions of a run in plate order, row by row.

    Raises:
        InstrumentError: BAD_RUN for a well named twice, BAD_WELL for one the block lacks.
    """
    names = [canonical_well(well.well, run.block) for well in run.wells]
    if len(set(names)) < len(names):
        raise InstrumentError("BAD_RUN", f"A well of plate {run.plate} is named twice.")
    order = sorted(range(len(names)), key=lambda i: well_index(names[i], run.block))
    return tuple(
        Reaction(names[i], run.wells[i].sample, run.wells[i].task, target, dye, true_cq)
        for i in order
        for target, (dye, true_cq) in run.wells[i].targets.items()
    )


def draw(run: VirtualRun, rng: np.random.Generator | None = None) -> DrawnRun:
    """Draw the curves of a run and call their Cq.

    The template grows as P / (1 + exp(−k (n − h))) with k = ln(1 + efficiency), which doubles early
    and saturates at the plateau P; h is placed so that the noiseless curve meets the threshold at
    the true Cq. On it lie a background with a drift of its own and Gaussian reading noise.

    Raises:
        InstrumentError: BAD_RUN for a run without reactions, or a plateau below the threshold.
    """
    rng = np.random.default_rng(run.seed) if rng is None else rng
    reactions = reactions_of(run)
    if not reactions:
        raise InstrumentError("BAD_RUN", f"Plate {run.plate} has no wells to run.")
    rn = np.round(_fluorescence(reactions, run.cycles, run.chemistry, rng), 6)
    calls = call_curves(rn, method="abi", threshold=run.chemistry.threshold)
    return DrawnRun(run, reactions, rn, calls.corrected, calls.cq, calls.baseline)


def _fluorescence(
    reactions: Sequence[Reaction], cycles: int, chemistry: Chemistry, rng: np.random.Generator
) -> Floats:
    count = len(reactions)
    n = np.arange(1, cycles + 1, dtype=np.float64)
    true = np.array([np.inf if r.true_cq is None else r.true_cq for r in reactions])
    plateau = chemistry.plateau * np.exp(rng.normal(0.0, chemistry.plateau_sd, count))
    if (plateau <= chemistry.threshold).any() or chemistry.efficiency <= 0:
        raise InstrumentError(
            "BAD_RUN", "The chemistry needs an efficiency above 0 and a plateau above the threshold."
        )
    rate = np.log1p(chemistry.efficiency)
    half = true + np.log(plateau / chemistry.threshold - 1.0) / rate
    exponent = np.clip(-rate * (n - half[:, None]), -700.0, 700.0)
    signal = plateau[:, None] / (1.0 + np.exp(exponent))
    background = chemistry.background * np.exp(rng.normal(0.0, 0.05, count))[:, None]
    drift = rng.normal(0.0, chemistry.drift, count)[:, None] * n
    noise = rng.normal(0.0, chemistry.noise, (count, cycles))
    total: Floats = background + drift + signal + noise
    return total


def _clean(value: str, what: str) -> str:
    """Refuse text that would break a line or a column of the export."""
    if value != value.strip() or any(char in value for char in "\t\r\n\0") or not value.isprintable():
        raise InstrumentError(
            "BAD_RUN", f"The {what} '{value!r}' holds a character that no export can carry."
        )
    return value


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %I:%M:%S %p UTC")


def write_quantstudio(run: VirtualRun, rng: np.random.Generator | None = None) -> bytes:
    """Draw a run and write it in the layout of a QuantStudio text export.

    Header, [Sample Setup], [Amplification Data], [Results]; UTF-8, LF. Rn, ΔRn and Cq carry six
    decimals, so that the Cq can be recomputed from the file.

    Raises:
        InstrumentError: BAD_RUN when a name cannot be written, or as :func:`draw`.
    """
    drawn = draw(run, rng)
    for reaction in drawn.reactions:
        for what in ("sample", "target", "dye"):
            _clean(getattr(reaction, what), what)
    parts = [_quantstudio_header(run), _sample_setup(drawn), _amplification(drawn), _results(drawn)]
    return "\n".join((*parts, "")).encode()


def _quantstudio_header(run: VirtualRun) -> str:
    keys = {
        "Block Type": _BLOCK_TYPES[run.block],
        "Chemistry": "TAQMAN",
        "Experiment Barcode": _clean(run.plate, "plate barcode"),
        "Experiment Comment": SYNTHETIC,
        "Experiment Name": _clean(run.plate, "plate barcode"),
        "Experiment Run Start Time": _stamp(run.started),
        "Experiment Run End Time": _stamp(run.ended),
        "Experiment Type": "Presence/Absence",
        "Instrument Name": _clean(run.instrument, "instrument"),
        "Instrument Serial Number": _clean(run.serial, "serial number"),
        "Instrument Type": _clean(run.model, "model"),
        "Passive Reference": "ROX",
        "Quantification Cycle Method": "Ct",
        "Signal Smoothing On": "false",
    }
    return "\n".join((*(f"* {key} = {value}" for key, value in keys.items()), ""))


def _sample_setup(drawn: DrawnRun) -> str:
    lines = [
        "[Sample Setup]",
        "Well\tWell Position\tSample Name\tTarget Name\tTask\tReporter\tQuencher\tComments",
    ]
    for r in drawn.reactions:
        number = well_index(r.well, drawn.run.block) + 1
        task = _QS_TASKS.get(r.task, r.task)
        lines.append(f"{number}\t{r.well}\t{r.sample}\t{r.target}\t{task}\t{r.dye}\tNFQ-MGB\t")
    return "\n".join(lines)


def _amplification(drawn: DrawnRun) -> str:
    lines = ["[Amplification Data]", "Well\tCycle\tTarget Name\tRn\tDelta Rn"]
    for r, rn, delta in zip(drawn.reactions, drawn.rn.tolist(), drawn.delta.tolist(), strict=True):
        number = well_index(r.well, drawn.run.block) + 1
        lines += [
            f"{number}\t{n}\t{r.target}\t{a:.6f}\t{b:.6f}"
            for n, (a, b) in enumerate(zip(rn, delta, strict=True), 1)
        ]
    return "\n".join(lines)


_RESULT_COLUMNS = (
    "Well", "Well Position", "Omit", "Sample Name", "Target Name", "Task", "Reporter", "Quencher", "Comments",
    "Automatic Ct Threshold", "Ct Threshold", "Automatic Baseline", "Baseline Start", "Baseline End", "CT",
    "NOAMP",
)  # fmt: skip


def _results(drawn: DrawnRun) -> str:
    threshold = f"{drawn.run.chemistry.threshold:.6f}"
    lines = ["[Results]", "\t".join(_RESULT_COLUMNS)]
    for r, cq, (start, end) in zip(drawn.reactions, drawn.cq.tolist(), drawn.baseline.tolist(), strict=True):
        called = cq == cq  # noqa: PLR0124 - False for NaN
        written = (
            str(well_index(r.well, drawn.run.block) + 1), r.well, "false", r.sample, r.target,
            _QS_TASKS.get(r.task, r.task), r.dye, "NFQ-MGB", "", "false", threshold, "true",
            str(start), str(end), f"{cq:.6f}" if called else "Undetermined", "N" if called else "Y",
        )  # fmt: skip
        lines.append("\t".join(written))
    return "\n".join(lines)


_CFX_COLUMNS = (
    "", "Well", "Fluor", "Target", "Content", "Sample", "Biological Set Name", "Cq", "Cq Mean", "Cq Std. Dev",
    "Starting Quantity (SQ)", "Log Starting Quantity", "SQ Mean", "SQ Std. Dev", "Set Point", "Well Note",
)  # fmt: skip
_RFU = 2000.0  # RFU per Rn: gives the plateaus of a few thousand that CFX exports show


def write_cfx(run: VirtualRun, rng: np.random.Generator | None = None) -> dict[str, bytes]:
    """Draw a run and write it as CFX Maestro csv files: Cq results, and amplification per dye.

    Names end in ``Quantification-Cq-Results.csv`` and ``Quantification-Amplification-Results_<dye>.csv``
    and begin with ``SYNTHETIC_``; the Well Note column and the header's Notes say so too.
    Cq is called as the CFX does, by linear interpolation on the baseline-subtracted curve, and
    written with all digits. The amplification file of a dye holds one column per well, so a run
    with two targets of one dye in a well cannot be written.

    Raises:
        InstrumentError: BAD_RUN for such a run, or as :func:`draw`.
    """
    drawn = draw(run, rng)
    pairs = {(r.well, r.dye) for r in drawn.reactions}
    if len(pairs) < len(drawn.reactions):
        raise InstrumentError(
            "BAD_RUN", f"Plate {run.plate} has two targets of one dye in a well; CFX reads one."
        )
    rfu = drawn.delta * _RFU
    cq = call_curves(rfu, method="cfx", threshold=run.chemistry.threshold * _RFU).cq
    stem = f"SYNTHETIC_{_clean(run.plate, 'plate barcode')}_{run.started.astimezone(UTC):%Y-%m-%d_%H-%M-%S}"
    files = {f"{stem}-Quantification-Cq-Results.csv": _cfx_results(drawn, cq)}
    for dye in dict.fromkeys(r.dye for r in drawn.reactions):
        files[f"{stem}-Quantification-Amplification-Results_{dye}.csv"] = _cfx_amplification(drawn, rfu, dye)
    return files


def _csv(rows: Sequence[Sequence[str]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(rows)
    return out.getvalue().encode()


def _cfx_header(run: VirtualRun) -> list[list[str]]:
    stamps = [at.astimezone(UTC).strftime("%m/%d/%Y %H:%M:%S UTC") for at in (run.started, run.ended)]
    return [
        ["File Name", _clean(run.plate, "plate barcode")],
        ["Created By User", "nat-lis"],
        ["Notes", SYNTHETIC],
        ["ID", run.plate],
        ["Run Started", stamps[0]],
        ["Run Ended", stamps[1]],
        ["Instrument", _clean(run.model, "model")],
        ["Instrument Name", _clean(run.instrument, "instrument")],
        ["Base Serial Number", _clean(run.serial, "serial number")],
        ["", ""],
    ]


def _cfx_results(drawn: DrawnRun, cq: Floats) -> bytes:
    rows = [*_cfx_header(drawn.run), list(_CFX_COLUMNS)]
    for r, value in zip(drawn.reactions, cq.tolist(), strict=True):
        well = f"{r.well[0]}{int(r.well[1:]):02d}"
        written = repr(value) if value == value else "NaN"  # noqa: PLR0124 - False for NaN
        content = _CFX_CONTENT.get(r.task, r.task)
        names = [
            _clean(text, what) for text, what in ((r.dye, "dye"), (r.target, "target"), (r.sample, "sample"))
        ]
        quantities = ["NaN", "NaN", "NaN", "NaN", "60", SYNTHETIC]
        rows.append(["", well, names[0], names[1], content, names[2], "", written, "", "", *quantities])
    return _csv(rows)


def _cfx_amplification(drawn: DrawnRun, rfu: Floats, dye: str) -> bytes:
    at = [i for i, r in enumerate(drawn.reactions) if r.dye == dye]
    header = ["", "Cycle", *(drawn.reactions[i].well for i in at)]
    values = rfu[at].T.tolist()
    rows = [["", str(n), *map(repr, row)] for n, row in enumerate(values, 1)]
    return _csv([*_cfx_header(drawn.run), ["Fluor", dye], header, *rows])


def live_lines(run: VirtualRun, rng: np.random.Generator | None = None) -> Iterator[list[str]]:
    """Draw a run as it goes: for each cycle one line a dye, ``cycle,dye,value,...`` in plate order.

    These are the readings that the finished file of the same run and generator carries. A well without a
    target of the dye has an empty value.

    Raises:
        InstrumentError: BAD_RUN, as :func:`draw`.
    """
    drawn = draw(run, rng)
    places: dict[str, list[tuple[int, int]]] = {}
    for row, reaction in enumerate(drawn.reactions):
        at = well_index(reaction.well, run.block)
        places.setdefault(_clean(reaction.dye, "dye"), []).append((at, row))
    for cycle in range(run.cycles):
        lines = []
        for dye, own in places.items():
            values = [""] * run.block
            for at, row in own:
                values[at] = f"{drawn.rn[row, cycle]:.6f}"
            lines.append(f"{cycle + 1},{dye},{','.join(values)}\n")
        yield lines


def cut(data: bytes, fraction: float) -> bytes:
    """Return the first ``fraction`` (0 to 1) of a file, as a broken copy leaves it."""
    return data[: int(len(data) * fraction)]


def junk(size: int, rng: np.random.Generator) -> bytes:
    """``size`` random bytes that are no file of any format."""
    return b"\x00" + rng.bytes(max(size - 1, 0))
