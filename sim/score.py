"""How good a forecast was, once it is known what happened."""

from dataclasses import dataclass

import numpy as np

from sim.now import Floats

NOTHING = float("nan")


@dataclass(frozen=True, slots=True)
class Score:
    """One forecast against what happened.

    Attributes:
        tubes: of the forecast; `reported` so many of them since.
        mape: mean of |foreseen - true turnaround| / true turnaround, receipt to report, over reported tubes:
            the measure of Tsai et al. (Clin Chem Lab Med 2022), who reached 7.35 % on a chemistry line.
        mape_left: the same over the minutes left from the moment of the forecast: a harder measure.
        bias: mean minutes by which reports came later than foreseen (the median).
        cover80, cover95: share of reported tubes inside the bands of 80 and 95 %.
        half_error, cleared_error: |foreseen - true| / true minutes until half, and all, of the tubes were
            reported; NaN while they are not.
    """

    tubes: int
    reported: int
    mape: float
    mape_left: float
    bias: float
    cover80: float
    cover95: float
    half_error: float = NOTHING
    cleared_error: float = NOTHING


def score(at: float, foreseen: Floats, began: Floats, happened: Floats, ends: tuple[float, float]) -> Score:
    """Compare a forecast with what happened; all times in minutes from one zero.

    Args:
        at: moment of the forecast.
        foreseen: quantiles 2.5, 10, 50, 90 and 97.5 % of each tube, shape (5, tubes).
        began: receipt of each tube.
        happened: report of each tube, NaN while there is none.
        ends: median minute at which half, and all, of the tubes were foreseen to be reported.
    """
    known = ~np.isnan(happened)
    least, low, middle, high, most = foreseen[:, known]
    true, start = happened[known], np.minimum(began[known], happened[known] - 1)
    off = true - middle
    return Score(
        tubes=int(happened.size),
        reported=int(known.sum()),
        mape=_mean(np.abs(off) / (true - start)),
        mape_left=_mean(np.abs(off) / np.maximum(true - at, 1.0)),
        bias=_mean(off),
        cover80=_mean((low <= true) & (true <= high)),
        cover95=_mean((least <= true) & (true <= most)),
        half_error=_end(at, ends[0], happened, 0.5),
        cleared_error=_end(at, ends[1], happened, 1.0),
    )


def _mean(values: Floats) -> float:
    return float(np.mean(values)) if len(values) else NOTHING


def _end(at: float, foreseen: float, happened: Floats, share: float) -> float:
    """Relative error of the minutes until this share of the tubes was reported."""
    done = np.sort(happened[~np.isnan(happened)])
    wanted = max(int(np.ceil(share * happened.size)), 1)
    if not happened.size or done.size < wanted:
        return NOTHING
    true = float(done[wanted - 1]) - at
    return abs(foreseen - at - true) / max(true, 1.0)


def together(scores: list[Score]) -> Score | None:
    """Many forecasts as one: tubes weigh in errors and coverage, forecasts in the ends; None without any."""
    if not scores:
        return None
    weights = np.array([one.reported for one in scores], dtype=float)

    def mean(name: str) -> float:
        values = np.array([getattr(one, name) for one in scores])
        there = ~np.isnan(values) & (weights > 0)
        return float(np.average(values[there], weights=weights[there])) if there.any() else NOTHING

    def plain(name: str) -> float:
        values = np.array([getattr(one, name) for one in scores])
        return float(np.nanmean(values)) if not np.isnan(values).all() else NOTHING

    return Score(
        tubes=sum(one.tubes for one in scores),
        reported=sum(one.reported for one in scores),
        mape=mean("mape"),
        mape_left=mean("mape_left"),
        bias=mean("bias"),
        cover80=mean("cover80"),
        cover95=mean("cover95"),
        half_error=plain("half_error"),
        cleared_error=plain("cleared_error"),
    )
