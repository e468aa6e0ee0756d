"""Rolling positivity, and when to change between 10:1, 5:1 and single tubes.

The share of infected persons is inferred from tubes of any number of places: a tube of n is positive with
1 - (1-p)^n. A mode is left only when another is cheaper over the whole credible interval by a margin, so a
few positives more or less never turn the sampling sites round twice a day.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import exp, lgamma, log, log1p, sqrt
from statistics import NormalDist

import numpy as np

from pooling.size import PERFECT, Accuracy, PoolDesignError, break_even

JEFFREYS = 0.5
MANY_TUBES = 1_000_000
"""From this many tubes on the Wilson interval is used: it differs from the exact one by less than 1e-6."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Tubes read in one stretch of time.

    Attributes:
        at: end of the stretch.
        places: persons per tube (1, 5, 10, 20; the true number when tubes were not filled).
        tested: tubes with a result; invalid tubes are left out.
        positive: tubes not clearly negative (positive, grey or single target).
    """

    at: datetime
    places: int
    tested: int
    positive: int

    def __post_init__(self) -> None:
        if self.at.tzinfo is None:
            raise PoolDesignError("NAIVE_TIME", f"A tally has no time zone: {self.at.isoformat()}.")
        if self.places < 1 or not 0 <= self.positive <= self.tested:
            raise PoolDesignError(
                "BAD_TALLY",
                f"A tally needs places >= 1 and 0 <= positive <= tested, not {self}.",
            )


@dataclass(frozen=True, slots=True)
class Positivity:
    """Share of infected persons: posterior median and equal-tailed credible interval.

    `method` is `beta` (exact, tubes of one size), `grid` (tubes of several sizes) or `wilson` (very many
    tubes).
    """

    tested: int
    positive: int
    estimate: float
    low: float
    high: float
    method: str


@dataclass(frozen=True, slots=True)
class AdviceRules:
    """When to change the mode.

    Attributes:
        modes: places per tube the city can use, 1 among them.
        confidence: of the credible interval.
        min_tested: fewer tubes than this in the window: keep the mode.
        margin: tests per person a change must save over the whole interval.
        accuracy: of one test; its `detection` holds the dilution of each mode (by medium for tubes mixed at
            collection, see `dilution.detection`).
        grey: share of tubes without infected persons that read grey or single target.
        invalid: share of invalid tubes.
        round_hours: from reception of a tube to its reading.
        again_hours: from a tube that is not clearly negative to the reading of the single tubes: with the
            call and the second collection for tubes mixed at collection, reflex only for laboratory pools.
        recollected: the persons of a non-negative tube give a new tube (mixed at collection); False for
            laboratory pools, whose single tubes exist from the start.
    """

    modes: tuple[int, ...] = (10, 5, 1)
    confidence: float = 0.95
    min_tested: int = 200
    margin: float = 0.02
    accuracy: Accuracy = PERFECT
    grey: float = 0.0
    invalid: float = 0.0
    round_hours: float = 6.0
    again_hours: float = 24.0
    recollected: bool = True

    def __post_init__(self) -> None:
        if 1 not in self.modes or min(self.modes) < 1:
            raise PoolDesignError("BAD_RULES", f"Modes are places per tube, 1 among them: {self.modes}.")
        if not 0 < self.confidence < 1 or self.margin <= 0 or self.min_tested < 1:
            raise PoolDesignError(
                "BAD_RULES", "Advice needs 0 < confidence < 1, a margin above 0 and at least one tube."
            )
        if not (0 <= self.grey < 1 and 0 <= self.invalid < 1):
            raise PoolDesignError("BAD_RULES", "Shares of grey and invalid tubes lie between 0 and 1.")
        if min(self.round_hours, self.again_hours) < 0:
            raise PoolDesignError("BAD_RULES", "Hours cannot be below 0.")


@dataclass(frozen=True, slots=True)
class ModeCost:
    """What one mode costs and misses.

    Attributes:
        mode: persons per tube.
        tests_per_person: at the estimated prevalence; `at_low` and `at_high` at the ends of the interval.
        tubes_per_person: tubes collected, single tubes of called-back persons included.
        called_back: share of persons whose tube is not clearly negative.
        hours: mean hours from reception to a person's last reading.
        missed_per_100k: infected persons missed among 100,000 tested.
    """

    mode: int
    tests_per_person: float
    at_low: float
    at_high: float
    tubes_per_person: float
    called_back: float
    hours: float
    missed_per_100k: float

    def words(self) -> tuple[str, str]:
        """The cost in one sentence, English and Chinese."""
        missed, back = f"{self.missed_per_100k:.1f}", f"{self.called_back:.1%}"
        tests, tubes, hours = (
            f"{self.tests_per_person:.3f}",
            f"{self.tubes_per_person:.3f}",
            f"{self.hours:.1f}",
        )
        english = (
            f"{self.mode}:1 takes {tests} tests and {tubes} tubes per person and {hours} h on average, "
            f"calls back {back} and misses {missed} of 100,000 persons."
        )
        chinese = (
            f"{self.mode}:1 人均 {tests} 次检测、{tubes} 管,平均 {hours} 小时,"
            f"需复核 {back},每十万人漏检 {missed} 人。"
        )
        return english, chinese


@dataclass(frozen=True, slots=True)
class Advice:
    """The mode to use next.

    `reason` is one of `too-few`, `best`, `not-sure`, `cheaper`. `sentence` and `sentence_zh` say it to a
    person.
    """

    mode: int
    changed: bool
    reason: str
    sentence: str
    sentence_zh: str
    positivity: Positivity
    costs: tuple[ModeCost, ...]


def rolling(tallies: Sequence[Tally], now: datetime, days: float) -> tuple[Tally, ...]:
    """The tallies of the last `days` days up to and including `now`."""
    return tuple(tally for tally in tallies if now - timedelta(days=days) < tally.at <= now)


def beta_cdf(x: float, a: float, b: float) -> float:
    """Regularised incomplete beta function I_x(a, b), by its continued fraction (DLMF 8.17.22)."""
    if x <= 0:
        return 0.0
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_cdf(1 - x, b, a)
    fraction = 1.0
    for m in range(40 + int(2 * sqrt(a + b)), 0, -1):
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        fraction = 1 + even / (1 + odd / fraction)
    first = 1 - (a + b) * x / (a + 1) / fraction
    scale = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x))
    return scale / (a * first)


def beta_quantile(share: float, a: float, b: float) -> float:
    """The x with I_x(a, b) = share, by bisection to twelve digits."""
    low, high = 0.0, 1.0
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        if beta_cdf(middle, a, b) < share:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def wilson(tested: int, positive: int, confidence: float) -> tuple[float, float]:
    """Wilson score interval of a share; none and all have an end that is exactly 0 or 1."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share, spread = positive / tested, z * z / tested
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * sqrt(share * (1 - share) / tested + spread / (4 * tested))
    # Rounding must not move such an end: the tenth root of 1e-16 of the tubes is 2.5 % of the persons.
    return (middle - half if positive else 0.0), (middle + half if positive < tested else 1.0)


def positivity(window: Sequence[Tally], confidence: float = 0.95) -> Positivity:
    """Infer the share of infected persons from a window of tallies (Jeffreys prior).

    Raises:
        PoolDesignError: `NO_TUBES` when nothing was read in the window.
    """
    tested, positive = sum(t.tested for t in window), sum(t.positive for t in window)
    if tested == 0:
        raise PoolDesignError("NO_TUBES", "No tube was read in this window; widen it.")
    tails = ((1 - confidence) / 2, 0.5, (1 + confidence) / 2)
    sizes = {tally.places for tally in window if tally.tested}
    if len(sizes) > 1:
        low, middle, high = _grid_quantiles(window, tails)
        return Positivity(tested, positive, middle, low, high, "grid")
    (places,) = sizes
    if tested >= MANY_TUBES:
        low, high = wilson(tested, positive, confidence)
        shares, method = (low, positive / tested, high), "wilson"
    else:
        a, b = positive + JEFFREYS, tested - positive + JEFFREYS
        low, middle, high = (beta_quantile(tail, a, b) for tail in tails)
        shares, method = (low, middle, high), "beta"
    low, middle, high = (1 - (1 - share) ** (1 / places) for share in shares)
    return Positivity(tested, positive, middle, low, high, method)


def _grid_quantiles(window: Sequence[Tally], tails: tuple[float, ...]) -> tuple[float, ...]:
    """Posterior quantiles of p on a log-odds grid: once over all of it, once where the mass is."""
    odds = np.linspace(-20.0, 20.0, 5001)
    for _ in range(2):
        log_q = -np.logaddexp(0.0, odds)
        log_p = odds + log_q
        weight = JEFFREYS * (log_p + log_q)  # Beta(1/2, 1/2) times the Jacobian p q
        for tally in window:
            clean = tally.places * log_q
            weight = (
                weight + tally.positive * np.log(-np.expm1(clean)) + (tally.tested - tally.positive) * clean
            )
        inside = np.flatnonzero(weight > weight.max() - 40)
        mass = np.cumsum(np.exp(weight - weight.max()))
        grid = odds
        first, last = max(inside[0] - 1, 0), min(inside[-1] + 1, odds.size - 1)
        odds = np.linspace(odds[first], odds[last], 8001)
    found = np.interp(tails, mass / mass[-1], grid)
    return tuple(float(value) for value in 1 / (1 + np.exp(-found)))


def mode_costs(seen: Positivity, rules: AdviceRules) -> tuple[ModeCost, ...]:
    """Tests, tubes, hours and missed positives of every mode, largest tubes first.

    A tube of n comes back with (1-iv)[1 - (1-p)^n (1-g)] + iv (grey g, invalid iv; positives are read with
    the pool's sensitivity), and every tube sent back adds n single tests and, mixed at collection, n tubes.
    """
    modes = sorted(set(rules.modes), reverse=True)
    return tuple(_mode_cost(mode, seen, rules) for mode in modes)


def _sent_back(mode: int, prevalence: float, rules: AdviceRules) -> float:
    """Share of tubes with so many places that are not clearly negative."""
    clean = (1 - prevalence) ** mode
    wrong = 1 - rules.accuracy.specificity * (1 - rules.grey)
    read = rules.accuracy.pool_sensitivity(mode) * (1 - clean) + wrong * clean
    return (1 - rules.invalid) * read + rules.invalid


def _mode_cost(mode: int, seen: Positivity, rules: AdviceRules) -> ModeCost:
    def tests(share: float) -> float:
        # A single tube that is not clearly negative is repeated in every mode alike: not counted.
        return 1.0 if mode == 1 else 1 / mode + _sent_back(mode, share, rules)

    single, accuracy = mode == 1, rules.accuracy
    back = 0.0 if single else _sent_back(mode, seen.estimate, rules)
    found = accuracy.sensitivity * (1.0 if single else accuracy.pool_sensitivity(mode))
    return ModeCost(
        mode=mode,
        tests_per_person=tests(seen.estimate),
        at_low=tests(seen.low),
        at_high=tests(seen.high),
        tubes_per_person=1.0 if single or not rules.recollected else 1 / mode + back,
        called_back=back,
        hours=rules.round_hours + back * rules.again_hours,
        missed_per_100k=1e5 * seen.estimate * (1 - found),
    )


def advise(window: Sequence[Tally], current: int, rules: AdviceRules) -> Advice:
    """Keep or change the number of persons per tube.

    The cheapest mode at the estimate is advised when it beats the current one by `margin` tests per person
    at the estimate and at both ends of the credible interval; otherwise the current mode stays. 10:1 stops
    saving at 20.57 % positivity, and above 30.66 % nothing but single tubes is advised.

    Raises:
        PoolDesignError: `BAD_MODE` when the current mode is not among the rules' modes; `NO_TUBES`.
    """
    if current not in rules.modes:
        raise PoolDesignError("BAD_MODE", f"The current mode {current}:1 is not among {rules.modes}.")
    seen = positivity(window, rules.confidence)
    costs = mode_costs(seen, rules)
    by_mode = {cost.mode: cost for cost in costs}
    best, now = min(costs, key=lambda cost: cost.tests_per_person), by_mode[current]
    reason = _reason(seen, best, now, rules)
    mode = best.mode if reason == "cheaper" else current
    english, chinese = _words(reason, seen, now, best)
    return Advice(mode, mode != current, reason, english, chinese, seen, costs)


def _reason(seen: Positivity, best: ModeCost, now: ModeCost, rules: AdviceRules) -> str:
    if seen.tested < rules.min_tested:
        return "too-few"
    if best.mode == now.mode:
        return "best"
    gains = (
        now.tests_per_person - best.tests_per_person,
        now.at_low - best.at_low,
        now.at_high - best.at_high,
    )
    return "cheaper" if min(gains) >= rules.margin else "not-sure"


def _words(reason: str, seen: Positivity, now: ModeCost, best: ModeCost) -> tuple[str, str]:
    share = f"{seen.estimate:.2%} ({seen.low:.2%}-{seen.high:.2%})"
    if reason == "too-few":
        return (
            f"Only {seen.tested} tubes were read; keep {now.mode}:1.",
            f"窗口内仅 {seen.tested} 管有结果,维持 {now.mode}:1。",
        )
    if reason == "best":
        return (
            f"At a positivity of {share}, {now.mode}:1 is the cheapest; keep it.",
            f"阳性率 {share},{now.mode}:1 用检最少,维持。",
        )
    costs = f"{best.tests_per_person:.3f} / {now.tests_per_person:.3f}"
    if reason == "not-sure":
        return (
            f"Positivity {share}: {best.mode}:1 may need fewer tests ({costs}); not sure, keep {now.mode}:1.",
            f"阳性率 {share},{best.mode}:1 可能少于 {now.mode}:1(人均 {costs}),但把握不足,维持。",
        )
    limit = "" if now.mode == 1 else f" {now.mode}:1 saves nothing above {break_even(now.mode):.2%}."
    return (
        f"Positivity {share}: change from {now.mode}:1 to {best.mode}:1 ({costs} tests per person).{limit}",
        f"阳性率 {share},建议由 {now.mode}:1 改为 {best.mode}:1(人均 {costs} 次)。",
    )
