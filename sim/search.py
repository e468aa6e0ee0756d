"""Asking the simulator about one set of machines and people after the other, no longer than needed.

A pilot of few replications leads the way; only what the answer rests on gets all replications. A set is
given up as soon as it is certain: turnaround is never negative, so when the hours so far, spread over
all replications to come, already exceed the target, no luck can save it. What a smaller set misses by far
is claimed after fewer replications, at looks laid down before; the doubt is multiplied by their number.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sim.levers import Levels, Lever, laboratory_of, with_levels
from sim.refusal import ScenarioError
from sim.report import BIN_HOURS
from sim.run import quiet_pool, simulate
from sim.scenario import Scenario
from sim.statistics import interval, t_share
from sim.warmup import counted

Say = Callable[[str], None]
Stop = Callable[[Sequence[Mapping[str, Any]]], bool]
PILOT = 3
LOOK = 5
"""Replications before the first look at a set that may miss the target by far; each look doubles them."""

CLAIMED = 0.05
"""Most doubt with which a set is said to miss the target; with more it is too close to tell."""

SURE = 0.001
"""Doubt at which a look ends the replications of a set."""

IDLE = 6
"""Raises in a row that may bring less than 1 % before the search for more gives up."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What replications say about one set of levels.

    Attributes:
        hours: the percentile of turnaround, one value a replication; infinite where work was never done.
        meets: whether the whole 95 % interval of the mean lies at or below the target.
        waits: mean wait of every station, in hours of a part times parts: where time is lost.
        busy: server-minutes of work at every station.
        looks: how often the replications might have been ended; it multiplies the doubt that the set misses.
    """

    levels: Levels
    cost: float
    hours: tuple[float, ...]
    on_time: float
    tests_per_person: float
    meets: bool
    waits: Mapping[str, float]
    busy: Mapping[str, float]
    looks: int = 1

    @property
    def mean(self) -> float:
        """Mean of the percentile over replications, in hours."""
        return float(np.mean(self.hours))

    def doubt(self, target: float, *, meets: bool) -> float:
        """Chance of so much or more evidence if the claim (meets, or misses) were false: one-sided t-test.

        That a set misses is tested on logarithms: turnaround is skewed to the right, and a mean is never
        below its geometric mean (Jensen), so what shows the one above the target shows the other.
        """
        if not all(map(math.isfinite, self.hours)):
            return 1.0 if meets else 0.0
        if len(self.hours) < 2:
            return 1.0
        if meets or min(self.hours) <= 0:
            return _doubt(self.hours, target, above=not meets)
        return min(self.looks * _doubt(np.log(self.hours), math.log(target), above=True), 1.0)

    def misses(self, target: float) -> bool:
        """Whether it may be said that the set misses the target."""
        return self.doubt(target, meets=False) <= CLAIMED


def _doubt(values: ArrayLike, target: float, *, above: bool) -> float:
    """One-sided t-test of the claim that the mean lies above, or below, the target."""
    found = np.asarray(values)
    error = float(np.std(found, ddof=1)) / math.sqrt(found.size)
    gap = (float(np.mean(found)) - target) * (1 if above else -1)
    if error == 0:
        return 0.0 if gap > 0 else 1.0
    return 1 - t_share(gap / error, found.size - 1)


@dataclass
class Search:
    """One search; it remembers every replication it has played.

    Attributes:
        target: hours that the percentile must keep.
        replications: most per set.
        workers: processes; 1 plays in this one.
        runs: replications played, by set.
        played: how many replications in all.
    """

    scenario: Scenario
    target: float
    percentile: float
    replications: int
    seed: int
    say: Say
    levers: tuple[Lever, ...]
    workers: int = 1
    runs: dict[tuple[int, ...], list[Mapping[str, Any]]] = field(default_factory=dict)
    seen: dict[tuple[int, ...], Verdict] = field(default_factory=dict)
    played: int = 0
    began: float = field(default_factory=time.monotonic)
    _pool: Any = None

    @contextmanager
    def open(self) -> Iterator["Search"]:
        """Hold the worker processes as long as the search lasts."""
        if self.workers <= 1:
            yield self
            return
        with quiet_pool(self.workers) as pool:
            self._pool = pool
            try:
                yield self
            finally:
                self._pool = None

    def turn_to(self, scenario: Scenario) -> None:
        """Search in another scenario; what was played in the last one does not count there."""
        self.scenario = scenario
        self.runs.clear()
        self.seen.clear()

    def cost(self, levels: Levels) -> float:
        """Of all levels, for one day."""
        return sum(lever.cost * levels[lever.name] for lever in self.levers)

    @property
    def looks(self) -> tuple[int, ...]:
        """Numbers of replications at which those of a smaller set may end; the last are all of them."""
        first = [LOOK * 2**n for n in range(20) if LOOK * 2**n < self.replications]
        return (*first, self.replications)

    def ask(self, levels: Levels, most: int = 0, *, patient: bool = False, brisk: bool = False) -> Verdict:
        """A pilot of this set, or up to `most` replications; fewer when all is lost.

        Args:
            levels: of all levers.
            most: replications; 0 for a pilot.
            patient: fewer only when a look shows that the set misses by far.
            brisk: fewer as soon as the mean of so many is known to miss the target.
        """
        key = tuple(levels[lever.name] for lever in self.levers)
        wanted = min(most or PILOT, self.replications)
        runs = self.runs.setdefault(key, [])
        stop = (
            self._settled if patient else partial(self._hopeless, of=wanted if brisk else self.replications)
        )
        before = len(runs)
        self._play(with_levels(self.scenario, levels), self.seed, wanted, runs, stop)
        if len(runs) > before or key not in self.seen or patient:
            self.seen[key] = replace(self._verdict(levels, runs), looks=len(self.looks))
        if len(runs) > before:
            self._tell(self.seen[key])
        return self.seen[key]

    def fresh(self, scenario: Scenario, levels: Levels, seed: int, replications: int = 0) -> Verdict:
        """Replications of a set with another seed or in another world; nothing of it is remembered."""
        runs: list[Mapping[str, Any]] = []
        wanted = replications or self.replications
        self._play(with_levels(scenario, levels), seed, wanted, runs, lambda _: False)
        return self._verdict(levels, runs)

    def _play(
        self, scenario: Scenario, seed: int, wanted: int, runs: list[Mapping[str, Any]], stop: Stop
    ) -> None:
        while len(runs) < wanted and not stop(runs):
            batch = range(len(runs), min(len(runs) + self.workers, wanted))
            found: Sequence[Mapping[str, Any]]
            if self._pool is None:
                found = [play(scenario, seed, number, self.percentile) for number in batch]
            else:
                found = self._together(scenario, seed, batch)
            self.played += len(batch)
            # as if played one by one: how many processes there are must not change the answer
            for run in found:
                if not stop(runs):
                    runs.append(run)

    def _together(self, scenario: Scenario, seed: int, batch: range) -> list[Mapping[str, Any]]:
        """A batch in the worker processes; when one dies, here."""
        try:
            tasks = [self._pool.submit(play, scenario, seed, n, self.percentile) for n in batch]
            return [task.result() for task in tasks]
        except BrokenProcessPool:
            self._pool = None
            return [play(scenario, seed, n, self.percentile) for n in batch]

    def _hopeless(self, runs: Sequence[Mapping[str, Any]], of: int) -> bool:
        """Whether the mean of so many replications is above the target whatever those to come bring."""
        return math.fsum(run["hours"] for run in runs) > self.target * of

    def _settled(self, runs: Sequence[Mapping[str, Any]]) -> bool:
        """Whether this is the number of replications of a look, and it shows that the set misses by far."""
        if len(runs) not in self.looks:
            return False
        found = self._verdict({lever.name: 0 for lever in self.levers}, runs)
        return replace(found, looks=len(self.looks)).doubt(self.target, meets=False) <= SURE

    def _verdict(self, levels: Levels, runs: Sequence[Mapping[str, Any]]) -> Verdict:
        hours = tuple(run["hours"] for run in runs)
        _, _, high = interval(hours) if all(map(math.isfinite, hours)) else (0, 0, math.inf)
        names = runs[0]["waits"]
        return Verdict(
            levels=dict(levels),
            cost=self.cost(levels),
            hours=hours,
            on_time=float(np.mean([run["on_time"] for run in runs])),
            tests_per_person=float(np.mean([run["tests_per_person"] for run in runs])),
            meets=len(hours) > 1 and high <= self.target,
            waits={name: float(np.mean([run["waits"].get(name, 0.0) for run in runs])) for name in names},
            busy={name: float(np.mean([run["busy"].get(name, 0.0) for run in runs])) for name in names},
        )

    def _tell(self, found: Verdict) -> None:
        told = ", ".join(f"{name} {level}" for name, level in found.levels.items())
        hours = f"{found.mean:.2f} h" if math.isfinite(found.mean) else "never done"
        verdict = "in target" if found.mean <= self.target else "late"
        spent = time.monotonic() - self.began
        self.say(f"{spent:5.0f} s, {self.played} runs | {told}: {hours}, {verdict} ({len(found.hours)} runs)")

    def likely(self, levels: Levels) -> bool:
        """Whether the pilot's mean keeps the target: enough to find the way, not to stay."""
        return self.ask(levels, brisk=True).mean <= self.target

    def more(self, start: Levels, *, surely: bool = False) -> dict[str, int] | None:
        """Add where tubes wait longest until the target is met (`surely`: by all replications).

        None when everything is at its most, or when more of anything has stopped to help.
        """
        levels, best, idle = dict(start), math.inf, 0
        while idle < IDLE:
            found = self.ask(levels, self.replications if surely else 0)
            if found.meets if surely else found.mean <= self.target:
                return levels
            idle = 0 if found.mean < 0.99 * best else idle + 1
            best = min(best, found.mean)
            lever = self._worst(found, levels)
            if lever is None:
                return None
            step = 1 if surely else math.ceil(levels[lever.name] * 0.25)
            levels[lever.name] = min(levels[lever.name] + step, lever.most)
        return None

    def cheaper(self, than: float = math.inf) -> dict[str, int] | None:
        """The cheapest set tried that by all replications meets the target, if it costs less than this.

        Sets that met it in fewer are asked again, so that what is told of a set never contradicts the answer.
        """
        for one in sorted(self.seen.values(), key=lambda one: one.cost):
            if one.cost < than and one.meets and self.ask(one.levels, self.replications).meets:
                return dict(one.levels)
        return None

    def _worst(self, found: Verdict, levels: Levels) -> Lever | None:
        owner = {bench.name: bench.staff or bench.name for bench in laboratory_of(self.scenario).stations}
        waits: dict[str, float] = {}
        for name, wait in found.waits.items():
            if name in owner:
                waits[owner[name]] = waits.get(owner[name], 0.0) + wait
        room = [lever for lever in self.levers if levels[lever.name] < lever.most]
        return max(room, key=lambda lever: waits.get(lever.name, 0.0), default=None)

    def less(self, start: Levels, bound: Levels) -> dict[str, int]:
        """For every lever, the dearest first, the smallest level that by the pilot keeps the target."""
        levels = dict(start)
        for lever in sorted(self.levers, key=lambda one: -one.cost):
            low, high = min(bound[lever.name], levels[lever.name]) - 1, levels[lever.name]
            while high - low > 1:
                middle = (low + high) // 2
                if self.likely({**levels, lever.name: middle}):
                    high = middle
                else:
                    low = middle
            levels[lever.name] = high
        return levels

    def neighbours(self, levels: Levels, bound: Levels) -> Iterator[tuple[Lever, Verdict]]:
        """Every set with one less of one lever that the work alone would allow, the dearest lever first."""
        for lever in sorted(self.levers, key=lambda one: -one.cost):
            if levels[lever.name] > bound[lever.name]:
                lower = {**levels, lever.name: levels[lever.name] - 1}
                yield lever, self.ask(lower, self.replications, patient=True)


def play(scenario: Scenario, seed: int, number: int, percentile: float) -> dict[str, Any]:
    """One replication, as small as it can be sent back; work nobody can ever do counts as infinite hours."""
    try:
        run = counted(scenario, simulate(scenario, seed, replication=number)).summary()
    except ScenarioError as error:
        if error.code != "NEVER_ENDS":
            raise
        lost: dict[str, Any] = {"hours": math.inf, "on_time": 0.0, "tests_per_person": 0.0}
        return lost | {"waits": {}, "busy": {}}
    room = len(laboratory_of(scenario).fill.template.sample_wells("column"))
    return {
        "hours": percentile_of(run, percentile),
        "on_time": run["on_time_share"],
        "tests_per_person": run["tests_per_person"],
        "waits": {
            name: one["queue_mean"] * (1 if one["unit"] == "tube" else room)
            for name, one in run["stations"].items()
        },
        "busy": dict(run["busy"]),
    }


def percentile_of(run: Mapping[str, Any], percentile: float) -> float:
    """A percentile of turnaround (hours) of one run; others than p50, p90, p95, p99 are rounded up."""
    name = f"p{percentile:g}"
    if name in run["tat"]:
        return float(run["tat"][name])
    reached = np.cumsum(run["histogram"]) / max(int(np.sum(run["histogram"])), 1)
    return (int(np.searchsorted(reached, percentile / 100)) + 1) * BIN_HOURS
