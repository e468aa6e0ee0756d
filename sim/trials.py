"""What would help, and what may still come in: the same chance, another laboratory or more tubes."""

from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context

import numpy as np

from scheduler import FillRules
from sim.forecast import Forecast, forecast
from sim.now import COMING, POOL, WAITING, Floats, Ints, Model, State
from sim.service import Service
from sim.statistics import interval

TRIALS = 40
"""Replications of a trial: paired with the same ones of the forecast, so that few are enough."""

AHEAD = 1000
"""Added to the priority of retests when they go before everything else."""


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing that could be done now, against leaving things as they are.

    Attributes:
        code: `server`, `close-now`, `retests-first` or `review-now`; `step` names the station of a server.
        fewer_late: fewer late tubes, a mean over paired replications with its 95 % interval.
        sooner: minutes by which the backlog is cleared earlier.
    """

    code: str
    step: str
    fewer_late: float
    low: float
    high: float
    sooner: float


def trials(model: Model, impatient: FillRules) -> Iterable[tuple[str, str, Model]]:
    """(code, station, laboratory) of everything that could be done at once.

    Args:
        model: the laboratory as it is.
        impatient: the filling rules of somebody who waits for no more tubes.
    """
    for number, step in enumerate(model.steps):
        if step.servers:
            yield "server", step.name, model.with_servers(number, 1)
    if model.fill != impatient:
        yield "close-now", "", replace(model, fill=impatient)
    yield "retests-first", "", replace(model, retest_priority=AHEAD)
    last = model.steps[-1]
    if not last.reads and not last.servers:
        prompt = replace(last, service=Service("fixed", mean=0.0))
        yield "review-now", last.name, replace(model, steps=(*model.steps[:-1], prompt))


def advise(
    model: Model, base: Forecast, impatient: FillRules, seed: int = 1, *, workers: int = 1
) -> list[Advice]:
    """What could be done, the most helpful first; only what makes fewer tubes late, or clears sooner.

    The replications meet the chance of the first ones of `base`, which must have been made with the same
    `seed`: what differs is the laboratory alone. The advice is the same whatever `workers` (processes) is.
    """
    count = min(TRIALS, base.late.size)
    many = list(trials(model, impatient))
    found = []
    played = _tried([other for _, _, other in many], base.state, count, seed, workers)
    for (code, step, _), (late, cleared) in zip(many, played, strict=True):
        fewer = base.late[:count] - late
        mean, low, high = interval(fewer) if count > 1 else (float(fewer.mean()), np.nan, np.nan)
        sooner = float((base.cleared[:count] - cleared).mean())
        found.append(Advice(code, step, mean, low, high, sooner))
    helps = [one for one in found if one.fewer_late > 0 or (one.fewer_late == 0 and one.sooner >= 1)]
    return sorted(helps, key=lambda one: (-one.fewer_late, -one.sooner, one.code, one.step))


def _tried(
    models: list[Model], state: State, count: int, seed: int, workers: int
) -> list[tuple[Floats, Floats]]:
    """Late tubes and the minute of the last one, of each laboratory; shared between processes."""
    mine = -(-len(models) // workers)
    if workers == 1 or mine == len(models):
        return [_ends(model, state, count, seed) for model in models]
    with ProcessPoolExecutor(workers - 1, mp_context=get_context("spawn")) as pool:
        try:
            others = [pool.submit(_ends, model, state, count, seed) for model in models[mine:]]
            own = [_ends(model, state, count, seed) for model in models[:mine]]
            return [*own, *(one.result() for one in others)]
        except BrokenProcessPool:
            return [_ends(model, state, count, seed) for model in models]


def _ends(model: Model, state: State, count: int, seed: int) -> tuple[Floats, Floats]:
    found = forecast(model, state, count, seed)
    return found.late, found.cleared


@dataclass(frozen=True, eq=False)
class Admission:
    """What more tubes would do.

    Attributes:
        on_time: share of the new tubes that would be reported in time.
        mine: places of the new tubes in `after.state`.
        before, after: the laboratory without and with them.
        caused: how much likelier each waiting tube is late, shape (waiting tubes,).
    """

    on_time: float
    mine: Ints
    before: Forecast
    after: Forecast
    caused: Floats

    @property
    def breaches(self) -> float:
        """How many more of the waiting tubes are expected to be late."""
        return max(float(self.caused.sum()), 0.0)


def admit(model: Model, state: State, more: State, replications: int = 100, seed: int = 1) -> Admission:
    """Play the laboratory with and without more tubes under the same chance.

    While nobody is planned at reception, the tubes stand at its door and wait until it opens.

    Args:
        model: how it works.
        state: where it stands.
        more: the tubes that ask to come in, of the same minute.
        replications: how often each is played.
        seed: of both.
    """
    before = forecast(model, state, replications, seed)
    if model.reception is not None and not model.reception.people().at(more.now):
        waits = more.where == WAITING
        came = np.where(waits, np.nextafter(more.now, np.inf), more.came)
        more = replace(more, where=np.where(waits, COMING, more.where), came=came)
    after = forecast(model, state.joined(more), replications, seed)
    size = len(state.names)
    mine = size + np.flatnonzero(more.kind != POOL)
    on_time = 1 - float(after.risk[mine].mean()) if mine.size else 1.0
    return Admission(on_time, mine, before, after, after.risk[:size] - before.risk)
