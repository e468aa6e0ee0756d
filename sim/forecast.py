"""When every waiting tube will be reported: the laboratory played on from where it stands, many times.

The stations, the line and its policies are those of the simulator (`sim.engine`, `sim.filling`,
`scheduler.judge`); only what a tube holds is not drawn but how often such tests end in such a course. A
plate is one event, a tube a place in arrays, so that 10,000 tubes are played 200 times in about a second.
Chance is keyed by tube and by station: a trial of another laboratory meets the same chance.
"""

import gc
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from sim.faults import phrase
from sim.now import POOL, Floats, Ints, Model, State
from sim.playing import Played
from sim.refusal import refused
from sim.starting import Start

LITTER = 10
"""Replications after which what they left behind is collected: a megabyte each for 10,000 tubes."""


@dataclass(frozen=True, eq=False)
class Forecast:
    """What was played.

    Attributes:
        state: what it began with.
        done: minute at which each tube that is owed a report was reported, shape (tubes, replications),
            ascending along the replications; NaN for pools, which have no report.
        cleared, half: minute at which all, and half, of these tubes were reported, shape (replications,).
        late: tubes that were late, shape (replications,).
    """

    state: State
    done: NDArray[np.float32]
    cleared: Floats
    half: Floats
    late: Floats
    late_each: Floats

    @cached_property
    def owed(self) -> Ints:
        """Places of tubes that are owed a report."""
        return np.flatnonzero(self.state.kind != POOL)

    @property
    def backlog(self) -> int:
        """Tubes that are owed a report."""
        return int(self.owed.size)

    @property
    def expected_breaches(self) -> float:
        """Tubes expected to miss their due time."""
        return float(self.late.mean()) if self.late.size else 0.0

    def quantiles(self, *shares: float) -> Floats:
        """Minutes by which a tube is reported with these probabilities; shape (shares, tubes)."""
        size = self.done.shape[1]
        places = np.clip(np.ceil(np.array(shares) * (size + 1)).astype(int) - 1, 0, size - 1)
        return self.done[:, places].T.astype(np.float64)

    @property
    def risk(self) -> Floats:
        """Probability of missing the due time, per tube."""
        return self.late_each


def forecast(
    model: Model, state: State, replications: int = 200, seed: int = 1, *, workers: int = 1
) -> Forecast:
    """Play the laboratory on from a state.

    Args:
        model: how it works.
        state: where it stands.
        replications: how often it is played.
        seed: the same seed, model and state give the same forecast, whatever `workers` is.
        workers: processes; more than one only pays for much work.

    Raises:
        ScenarioError: `BAD_STUDY`: nothing to play, or nobody to play it.
    """
    if replications < 1 or workers < 1:
        raise refused("BAD_STUDY", phrase("study-forecast"))
    # this process begins at once, the others after their start: it takes half as much again
    mine = replications if workers == 1 else int(np.ceil(replications * 1.5 / (workers + 0.5)))
    numbers: list[Ints] = [np.arange(mine)]
    if workers > 1:
        numbers += np.array_split(np.arange(mine, replications), workers - 1)
        played = np.concatenate(_shared(model, state, seed, numbers))
    else:
        played = _part(model, state, seed, numbers[0])
    owed = state.kind != POOL
    played[:, ~owed] = np.nan
    own = played[:, owed]
    half = max((own.shape[1] + 1) // 2 - 1, 0)
    late = played > state.promised
    nothing = np.full(replications, state.now)
    return Forecast(
        state=state,
        done=np.sort(np.ascontiguousarray(played.T), axis=1),
        cleared=own.max(axis=1).astype(np.float64) if own.size else nothing,
        half=np.partition(own, half, axis=1)[:, half].astype(np.float64) if own.size else nothing,
        late=late.sum(axis=1).astype(np.float64),
        late_each=late.mean(axis=0),
    )


def _shared(model: Model, state: State, seed: int, numbers: list[Ints]) -> list[NDArray[np.float32]]:
    """The parts in processes of their own; when one dies, all in this one."""
    with ProcessPoolExecutor(len(numbers) - 1, mp_context=get_context("spawn")) as pool:
        try:
            others = [pool.submit(_part, model, state, seed, own) for own in numbers[1:]]
            return [_part(model, state, seed, numbers[0]), *(one.result() for one in others)]
        except BrokenProcessPool:
            return [_part(model, state, seed, own) for own in numbers]


def _part(model: Model, state: State, seed: int, numbers: Ints) -> NDArray[np.float32]:
    """Some replications, one after the other; shape (replications, tubes).

    The collector waits meanwhile, and then looks at what these have left behind alone.
    """
    start = Start.of(model, state, seed)
    played = np.empty((numbers.size, len(state.names)), dtype=np.float32)
    collecting = gc.isenabled()
    gc.disable()
    try:
        for row, number in enumerate(numbers.tolist()):
            played[row] = Played(start, number).done
            if row % LITTER == LITTER - 1:
                gc.collect(0)
    finally:
        if collecting:
            gc.enable()
    return played
