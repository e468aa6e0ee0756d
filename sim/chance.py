"""What one replication of a forecast meets: when tubes come, and what tests will say of them.

Every number of chance is keyed by its tube or its source, so that a trial of another laboratory
meets the same.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from sim.filling import Filling
from sim.lines import Lines
from sim.now import POOL, Course, Floats, Ints, left_of
from sim.ranks import FIFO, Firsts, Ranked
from sim.service import stream
from sim.starting import ENDS, Start

TESTS = 4
"""Tests of one tube with a chance of their own; later ones reuse the last."""

GOLDEN = 0.6180339887


@dataclass(frozen=True, slots=True, eq=False)
class Comers:
    """Tubes nobody has announced, in order of coming: minutes, due times, priorities."""

    came: Floats = field(default_factory=lambda: np.empty(0))
    due: Floats = field(default_factory=lambda: np.empty(0))
    priority: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    @property
    def count(self) -> int:
        """How many."""
        return self.came.size


def comers(start: Start, number: int) -> Comers:
    """When unannounced tubes come, and of which tier."""
    tide, now = start.model.tide, start.state.now
    hours = np.arange(int(now // 60), int((now + start.horizon) // 60) + 1)
    rates = np.array(tide.per_hour)[hours % 24]
    if not rates.sum():
        return Comers()
    rng = stream(start.seed, number, "tide")
    shares, priorities, due = (np.array(column) for column in zip(*tide.tiers, strict=True))
    counts = rng.poisson(rates)
    came = np.repeat(hours * 60.0, counts) + rng.uniform(0, 60, int(counts.sum()))
    # what is sealed already is known by name; unannounced is what will be sealed from now on
    came = np.sort(came[came - start.model.travel.draw(came.size, rng) > now])
    tier = rng.choice(shares.size, came.size, p=shares / shares.sum())
    return Comers(came, came + 60 * due[tier], priorities[tier].astype(np.int64))


class Fates:
    """What the tests of every tube lead to; places beyond those of the state are of unannounced tubes.

    Attributes:
        stays: whether a tube's first test is not its last, or needs a reviewer; shape (tubes + others,).
    """

    __slots__ = ("_choice", "_first", "_later", "_number", "_others", "_start", "stays")

    def __init__(self, start: Start, number: int, others: int) -> None:
        self._start, self._number, self._others = start, number, others
        self._later: list[Floats] = []
        uniform = self._uniform()
        size = len(start.state.names)
        self._choice = np.empty(uniform.size, dtype=np.int64)
        self.stays = np.empty(uniform.size, dtype=np.bool_)
        # tubes that stay are asked for one by one: their courses are looked up together
        self._first: dict[int, Course] = {}
        fates = [*start.fates, replace(start.fate_of_others, places=slice(size, None))]
        for fate in fates if others else start.fates:
            found = fate.choice(uniform[fate.places])
            self._choice[fate.places] = found
            self.stays[fate.places] = fate.stays[found]
            self._first |= fate.staying(found)
        for place, meant, shares in start.told:
            self._choice[place] = meant[int(np.searchsorted(shares, uniform[place], side="right"))]
            self._first.pop(place, None)
            ends = self.first(place).next in ENDS and start.kind[place] != POOL
            self.stays[place] = not ends

    def _uniform(self, *place: int) -> Floats:
        """A number for every tube, and for every other one."""
        start = self._start
        own = stream(start.seed, self._number, "fate", *place).random(len(start.state.names))
        if not self._others:
            return own
        others = stream(start.seed, self._number, "fate of others", *place).random(self._others)
        return np.concatenate([own, others])

    def first(self, tid: int) -> Course:
        """What the first test read of a tube leads to."""
        found = self._first.get(tid)
        if found is not None:
            return found
        start = self._start
        known = tid < len(start.kind)
        first, again, _ = start.courses[start.kind[tid] if known else 0]
        return (again if known and start.retested[tid] else first)[int(self._choice[tid])]

    def later(self, tid: int, tested: int) -> Course:
        """What a later test of a tube leads to: the one after `tested` others, at least one."""
        start = self._start
        _, again, bounds = start.courses[start.kind[tid] if tid < len(start.kind) else 0]
        chance = self._chance_of(tid, tested)
        return again[sum(chance >= bound for bound in bounds)]

    def _chance_of(self, tid: int, tested: int) -> float:
        while len(self._later) < min(tested, TESTS):
            self._later.append(self._uniform(len(self._later) + 1))
        # beyond the last row the numbers are turned by the golden ratio: still uniform, still the tube's own
        return float((self._later[min(tested, TESTS) - 1][tid] + GOLDEN * max(tested - TESTS, 0)) % 1)


def waiting(start: Start, others: Comers, number: int) -> Lines:
    """Everything that waits for a first test, or will."""
    if start.ranked is not None and not others.count:
        return Lines([Filling(start.ranked, start.model.fill)])
    state, coming = start.state, start.coming
    arrives = state.came[coming]
    if coming.size:
        uniform = stream(start.seed, number, "travel").random(len(state.names))[coming]
        left = left_of(start.travels, state.now - arrives, uniform)
        arrives = np.where(arrives > state.now, arrives, state.now + left)
    door = _door(start, number)
    arrives, others_came = door(arrives), door(others.came)
    own, extra = np.concatenate([start.static, coming]), np.zeros(others.count, dtype=np.int64)
    firsts = Firsts(
        np.concatenate([own, len(state.names) + np.arange(others.count)]),
        np.concatenate([state.came[start.static], arrives, others_came]),
        np.concatenate([state.due[own], others.due]),
        np.concatenate([state.priority[own], others.priority]),
        np.concatenate([state.persons[own], extra + round(start.model.tide.persons)]),
    )
    policy = start.model.fill.policy
    if start.lanes == 1:
        return Lines([Filling(_one_lane(firsts, start, policy), start.model.fill)])
    lane = np.concatenate([state.lane[own], extra])
    lanes = [_of_lane(firsts, np.flatnonzero(lane == n)) for n in range(start.lanes)]
    return Lines([Filling(firsts, start.model.fill) for firsts in lanes])


def _door(start: Start, number: int) -> Callable[[Floats], Floats]:
    """When tubes that stand at the door are received: at once, or as soon as somebody is at reception."""
    if start.reception is None:
        return lambda came: came
    level = start.reception.people(start.state.now, stream(start.seed, number, "duty reception"))

    def received(came: Floats) -> Floats:
        found: Floats = np.array([level.opens(at) for at in came.tolist()])
        return found

    return received


def _one_lane(firsts: Firsts, start: Start, policy: str) -> Ranked:
    """Ranked; what waits already was ranked before all replications."""
    known = start.static.size
    later = np.argsort(firsts.came[known:], kind="stable")
    by_came = np.concatenate([start.by_came, known + later])
    # whole priorities and minutes in one number; equal ones keep their order
    urgent = firsts.came if policy == FIFO else firsts.due - 1e8 * firsts.priority
    order = np.argsort(urgent, kind="stable")
    return replace(firsts, order=order, by_came=by_came).ranked(policy)


def _of_lane(firsts: Firsts, own: Ints) -> Firsts:
    """The tubes of one assay."""
    return Firsts(
        firsts.ids[own], firsts.came[own], firsts.due[own], firsts.priority[own], firsts.persons[own]
    )
