"""What dilution does to a Cq, and how many positives are still found: from measured Cqs, not a constant.

A positive alone in a laboratory pool of n appears log2(n) cycles later on average; mixed at collection only
the larger medium volume dilutes it. Real pools spread round that mean, so a specimen near the cutoff is
found with a probability, not with a yes or no.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import erf, exp, log2, pi, sqrt

import numpy as np
from numpy.typing import NDArray

from pooling.size import PoolDesignError

Cqs = NDArray[np.float64]

MEASURED_SHIFTS: tuple[tuple[int, float, str], ...] = (
    (10, 37.54 - 36.24, "PMC7454965 Table 2, pool A"),
    (10, 22.36 - 17.59, "PMC7454965 Table 2, pool E"),
    (10, 31.39 - 30.02, "PMC7454965 Table 2, pool J"),
    (10, 37.70 - 37.06, "PMC7454965 Table 2, pool EE"),
    (4, 2.38, "PMC7543567, regression at Ct 40"),
    (4, 1.90, "PMC7543567, regression at Ct 40"),
    (4, 40.0 - 37.2, "CDC-006-00019 rev 06 Appendix B Table 4, N1"),
    (4, 40.0 - 37.5, "CDC-006-00019 rev 06 Appendix B Table 4, N2"),
)
"""(pool size, cycles later than alone, source): every pool with one positive whose shift was published."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How measured shifts lie round the expected one, in cycles.

    Attributes:
        bias: mean of (shift - expected shift).
        sd: standard deviation round that mean; 0 is a hard cutoff.
        pairs: measurements behind it.
    """

    bias: float
    sd: float
    pairs: int

    def __post_init__(self) -> None:
        if not self.sd >= 0:
            raise PoolDesignError("BAD_SPREAD", f"A spread cannot be below 0 cycles: {self.sd}.")


EXACT = Spread(0.0, 0.0, 0)
"""Every positive shifts by exactly the expected cycles."""

OBSERVED = Spread(
    0.0,
    sqrt(sum((shift - log2(size)) ** 2 for size, shift, _ in MEASURED_SHIFTS) / len(MEASURED_SHIFTS)),
    len(MEASURED_SHIFTS),
)
"""Spread of the published shifts round log2(n): 1.51 cycles. Few pools; own pairs replace it."""


def lab_shift(size: int) -> float:
    """Cycles by which a positive is diluted in a laboratory pool of equal aliquots: log2(n).

    Raises:
        PoolDesignError: `BAD_SIZE` below one.
    """
    if size < 1:
        raise PoolDesignError("BAD_SIZE", f"A pool needs at least one member, not {size}.")
    return log2(size)


def medium_shift(medium_ml: float, single_ml: float) -> float:
    """Cycles by which a swab is diluted by a larger medium volume, as in a tube mixed at collection.

    12 mL against 3 mL (20-in-1): 2.00; 6 mL (10-in-1): 1.00; 5 mL (5-in-1): 0.74.

    Raises:
        PoolDesignError: `BAD_VOLUME` for a volume that is not above 0.
    """
    if not (medium_ml > 0 and single_ml > 0):
        raise PoolDesignError(
            "BAD_VOLUME", f"Medium volumes are above 0 mL, not {medium_ml} and {single_ml}."
        )
    return log2(medium_ml / single_ml)


def _below(value: float) -> float:
    """Standard normal distribution function."""
    return 0.5 * (1 + erf(value / sqrt(2)))


def detection(
    cqs: Cqs, cutoff: float, shifts: Mapping[int, float], spread: Spread = EXACT
) -> dict[int, float]:
    """Share of singly positive specimens (Cq <= cutoff) still at or below the cutoff in a pool.

    Args:
        cqs: Cq of single specimens, shape (specimens,); NaN and later than the cutoff are no positives.
        cutoff: last positive Cq.
        shifts: pool size -> expected shift in cycles.
        spread: of the real shifts round the expected one.

    Raises:
        PoolDesignError: `NO_POSITIVES`; `ALL_LOST` when a pool of some size would find nothing.
    """
    positive = cqs[cqs <= cutoff]
    if positive.size == 0:
        raise PoolDesignError("NO_POSITIVES", f"No specimen is at or below the cutoff {cutoff}.")
    room = cutoff - positive - spread.bias
    found = {}
    for size, shift in shifts.items():
        if spread.sd:
            found[size] = float(np.mean([_below(left) for left in (room - shift) / spread.sd]))
        else:
            found[size] = float(np.mean(room >= shift))
        if found[size] <= 0:
            raise PoolDesignError(
                "ALL_LOST", f"A pool of {size} would find none of the {positive.size} positives."
            )
    return found


def detection_by_size(
    cqs: Cqs, cutoff: float, sizes: Sequence[int], spread: Spread = EXACT
) -> dict[int, float]:
    """Share of positives still found alone in a laboratory pool of each size; see `detection`."""
    return detection(cqs, cutoff, {size: lab_shift(size) for size in sizes}, spread)


@dataclass(frozen=True, slots=True)
class CqEvidence:
    """What a laboratory measured.

    Attributes:
        cqs: single Cqs, shape (specimens,); NaN = undetermined.
        spread: from paired measurements; None when the file holds single Cqs only.
    """

    cqs: Cqs
    spread: Spread | None


def fit_spread(deviations: Sequence[float], lost: Sequence[float] = ()) -> Spread:
    """Bias and spread of measured shifts, with pools that read nothing counted as "later than".

    Leaving lost pools out would flatter every size. So the normal curve is fitted by maximum likelihood to
    values and lower bounds together (EM for right-censored data, 500 rounds at most).

    Args:
        deviations: shift minus expected shift of pools that were read, in cycles.
        lost: for each pool that read nothing, the deviation at which it would just have been read.

    Raises:
        PoolDesignError: `FEW_PAIRS` with fewer than three pools that were read.
    """
    if len(deviations) < 3:
        raise PoolDesignError(
            "FEW_PAIRS", f"Only {len(deviations)} pairs were read in both columns. Measure three or more."
        )
    seen, bounds = np.array(deviations), list(lost)
    mean, sd = float(seen.mean()), float(seen.std()) or 1e-6
    pairs = len(deviations) + len(bounds)
    for _ in range(500):
        hidden = [_beyond(bound, mean, sd) for bound in bounds]
        new_mean = (seen.sum() + sum(value for value, _ in hidden)) / pairs
        square = (seen * seen).sum() + sum(square for _, square in hidden)
        new_sd = sqrt(max(square / pairs - new_mean * new_mean, 1e-12))
        settled = abs(new_mean - mean) + abs(new_sd - sd) < 1e-9
        mean, sd = float(new_mean), new_sd
        if settled:
            break
    return Spread(mean, sd, pairs)


def _beyond(bound: float, mean: float, sd: float) -> tuple[float, float]:
    """Mean and mean square of a normal value known to lie beyond `bound`."""
    start = (bound - mean) / sd
    tail = 1 - _below(start)
    # Far out the ratio of density to tail tends to start + 1/start.
    hazard = exp(-start * start / 2) / sqrt(2 * pi) / tail if tail > 1e-12 else start + 1 / start
    value = mean + sd * hazard
    return value, value * value + sd * sd * (1 + start * hazard - hazard * hazard)


def read_cqs(text: str, cutoff: float) -> CqEvidence:
    """Read measured Cqs from CSV text.

    Either one Cq per line (a header is optional), or three columns with the header `single,pool,size`: the
    Cq of a positive alone, of a pool with it as the only positive, and the number of members. An empty
    field means undetermined. Lines that are empty are skipped.

    Raises:
        PoolDesignError: `CQ_FILE` with the line and what to write there.
    """
    rows = [
        (number, [cell.strip() for cell in row])
        for number, row in enumerate(csv.reader(text.lstrip("\ufeff").splitlines()), start=1)
        if any(cell.strip() for cell in row)
    ]
    if not rows:
        raise PoolDesignError("CQ_FILE", "The file holds no Cq. Write one Cq per line.")
    if len(rows[0][1]) == 1:
        start = 0 if _is_number(rows[0][1][0]) else 1
        return CqEvidence(np.array([_cq(row, 0, number, 1) for number, row in rows[start:]]), None)
    if [cell.lower() for cell in rows[0][1]] != ["single", "pool", "size"]:
        raise PoolDesignError(
            "CQ_FILE",
            f"Line {rows[0][0]}: paired Cqs need the header single,pool,size, not {','.join(rows[0][1])}.",
        )
    return _pairs(rows[1:], cutoff)


def _pairs(rows: Sequence[tuple[int, list[str]]], cutoff: float) -> CqEvidence:
    singles, deviations, lost = [], [], []
    for number, row in rows:
        single, pool, size = (_cq(row, column, number, 3) for column in range(3))
        if not (size >= 2 and size.is_integer()):
            raise PoolDesignError("CQ_FILE", f"Line {number}: the pool size is a whole number from 2.")
        singles.append(single)
        if single <= cutoff:
            expected = single + log2(size)
            if pool <= cutoff:
                deviations.append(pool - expected)
            else:  # later than the cutoff, or nothing: both are a pool that was not found
                lost.append(cutoff - expected)
    return CqEvidence(np.array(singles), fit_spread(deviations, lost))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _cq(row: Sequence[str], column: int, line: int, columns: int) -> float:
    if len(row) != columns:
        raise PoolDesignError("CQ_FILE", f"Line {line} has {len(row)} fields, {columns} are needed.")
    cell = row[column]
    if not cell:
        return float("nan")
    if not _is_number(cell) or not 0 < float(cell) < 100:
        raise PoolDesignError(
            "CQ_FILE", f"Line {line}: {cell!r} is not a Cq. Leave the field empty for undetermined."
        )
    return float(cell)
