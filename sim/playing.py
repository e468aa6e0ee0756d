"""One replication of a forecast: the laboratory played on until every tube is reported."""

from bisect import bisect_right
from dataclasses import replace
from typing import Any

import numpy as np
import simpy

from sim.duty import DAY, Capacity, Level
from sim.engine import Lots, Station
from sim.filling import Filling, Plate
from sim.ranks import Firsts
from sim.lines import Again, Lines
from sim.now import KINDS, POOL, Course, Floats, Ints, left_of
from sim.servers import NEVER, Always
from sim.service import Times, stream
from sim.starting import Start

NO_LIMIT = 10**9
TESTS = 4
"""Tests of one tube with a chance of their own; later ones reuse the last."""

MOST_TESTS = 60
ENDS = ("report", "recollect")
"""Courses with which the laboratory is done with a tube as soon as it is read."""

NOBODY: Ints = np.empty(0, dtype=np.int64)


class Played:
    """One replication; `done` says when each tube was reported."""

    def __init__(self, start: Start, number: int) -> None:
        self.start, self.model, self.state, self.number = start, start.model, start.state, number
        self.size, self.reads_at = len(self.state.names), start.model.reads_at
        self.env = simpy.Environment(initial_time=self.state.now)
        self.done = np.full(self.size, np.nan)
        self.tests: dict[int, int] = {}
        self.due_of: dict[int, float] = {}
        self.ended: set[int] = set()
        self.left = int((self.state.kind != POOL).sum())
        self._chance()
        self._line()
        self._stations()
        self._in_hand()
        self._play()

    def _stream(self, name: str, *place: int) -> np.random.Generator:
        return stream(self.start.seed, self.number, name, *place)

    # -- what this replication meets -----------------------------------------------------------------

    def _chance(self) -> None:
        """Unannounced tubes, and what the first test of every tube will lead to."""
        self._tide()
        state, kinds = self.state, np.concatenate([self.state.kind, np.zeros(self.extra, dtype=np.int64)])
        uniform = self._stream("fate").random(self.size)
        uniform = np.concatenate([uniform, self._stream("fate of others").random(self.extra)])
        self.choice = np.zeros(kinds.size, dtype=np.int64)
        # whether its first test is its last, without a reviewer
        self.leaves = np.zeros(kinds.size, dtype=np.bool_)
        again = np.concatenate([state.again, np.zeros(self.extra, dtype=np.bool_)])
        for kind in np.unique(kinds).tolist():
            for later, test in ((False, "first"), (True, "again")):
                own = np.flatnonzero((kinds == kind) & (again == later))
                courses = self.model.courses[f"{KINDS[kind]} {test}"]
                found = np.searchsorted(
                    self.start.bounds[f"{KINDS[kind]} {test}"], uniform[own], side="right"
                )
                self.choice[own] = found
                ends = np.array([course.next in ENDS for course in courses])
                self.leaves[own] = ends[found] & (kind != POOL)
        for place, meant, shares in self.start.told:
            self.choice[place] = meant[int(np.searchsorted(shares, uniform[place], side="right"))]
            self.leaves[place] = self._first_course(place).next in ENDS and self.state.kind[place] != POOL
        self.stays = ~self.leaves
        self._later: list[Floats] = []

    def _tide(self) -> None:
        """When unannounced tubes come, and of which tier."""
        tide, now = self.model.tide, self.state.now
        hours = np.arange(int(now // 60), int((now + self.start.horizon) // 60) + 1)
        rates = np.array(tide.per_hour)[hours % 24]
        rng = self._stream("tide")
        if not rates.sum():
            self.extra, self.extra_came = 0, np.empty(0)
            self.extra_due, self.extra_priority = np.empty(0), np.empty(0, dtype=np.int64)
            return
        counts = rng.poisson(rates)
        came = np.repeat(hours * 60.0, counts) + rng.uniform(0, 60, int(counts.sum()))
        # what is sealed already is known by name; unannounced is what will be sealed from now on
        came = np.sort(came[came - self.model.travel.draw(came.size, rng) > now])
        shares, priorities, due = (np.array(column) for column in zip(*tide.tiers, strict=True))
        tier = rng.choice(shares.size, came.size, p=shares / shares.sum())
        self.extra, self.extra_came = came.size, came
        self.extra_due, self.extra_priority = came + 60 * due[tier], priorities[tier].astype(np.int64)

    def _line(self) -> None:
        """Everything that waits for a first test, or will."""
        state, start = self.state, self.start
        coming = start.coming
        arrives = state.came[coming]
        left = left_of(start.travels, state.now - arrives, self._stream("travel").random(self.size)[coming])
        arrives = np.where(arrives > state.now, arrives, state.now + left)
        ids = np.concatenate([start.static, coming, self.size + np.arange(self.extra)])
        came = np.concatenate([state.came[start.static], arrives, self.extra_came])
        extra = np.zeros(self.extra, dtype=np.int64)
        firsts = Firsts(
            ids,
            came,
            np.concatenate([state.due[start.static], state.due[coming], self.extra_due]),
            np.concatenate([state.priority[start.static], state.priority[coming], self.extra_priority]),
            np.concatenate(
                [state.persons[start.static], state.persons[coming], extra + round(self.model.tide.persons)]
            ),
        )
        lane = np.concatenate([state.lane[start.static], state.lane[coming], extra])
        own = [self._of_lane(firsts, np.flatnonzero(lane == number)) for number in range(start.lanes)]
        self.lines = Lines([Filling(firsts, self.model.fill) for firsts in own])

    def _of_lane(self, firsts: Firsts, own: Ints) -> Firsts:
        """The tubes of one assay, ranked; what waits already was ranked before all replications."""
        if self.start.lanes > 1:
            return Firsts(
                firsts.ids[own], firsts.came[own], firsts.due[own], firsts.priority[own], firsts.persons[own]
            )
        known = self.start.static.size
        later = np.argsort(firsts.came[known:], kind="stable")
        by_came = np.concatenate([self.start.by_came, known + later])
        # whole priorities and minutes in one number; equal ones keep their order
        urgent = firsts.due - 1e8 * firsts.priority
        order = np.argsort(firsts.came if self.model.fill.policy == "fifo-full" else urgent, kind="stable")
        return replace(firsts, order=order, by_came=by_came)

    def _stations(self) -> None:
        self.stations: list[Station] = []
        for number, step in enumerate(self.model.steps):
            queue: Any = Lots() if number else self.lines
            times = Times(step.name, step.service, self._stream(step.name))
            servers = self._servers(number)
            added = self._reading_positives(step.per_positive) if step.per_positive else None
            self.stations.append(
                Station(self.env, step.name, queue, servers, times, self._passed(number), added)
            )
        before = [s.queue for s in self.stations[1 : self.reads_at + 1]]
        self.lines.behind(lambda: sum(len(queue) for queue in before))
        self.controls = self._stream("controls")
        self._delays()

    def _servers(self, number: int) -> Always | Capacity:
        """Who works at a step: all the time, or as many as are on duty or in service."""
        step, duty, now = self.model.steps[number], self.start.duties[number], self.state.now
        if not step.servers:
            return Always(NO_LIMIT)
        if duty is not None:
            people = duty.people(now, self._stream(f"duty {step.name}"))
            each = step.each or step.servers / max(duty.most, 1)
            return Capacity(people.scaled(each, step.servers), step.servers)
        if step.wear:
            level = step.wear.level(step.servers, now, self.start.horizon, self._stream(f"wear {step.name}"))
            return Capacity(level, step.servers)
        return Always(step.servers)

    def _delays(self) -> None:
        """Review without a queue: minutes, by parts of the day, with somebody there."""
        last, duty = self.model.steps[-1], self.start.duties[-1]
        self.delays: list[Times] = []
        self.there: Level | None = None
        if len(self.model.steps) == self.reads_at + 2 and not last.servers and not last.per_positive:
            self.delays = [self.stations[-1].times]
        if self.delays and last.blocks:
            parts = enumerate(last.blocks)
            self.delays = [Times(last.name, own, self._stream(last.name, part)) for part, own in parts]
        if self.delays and duty is not None:
            self.there = duty.people(self.state.now, self._stream(f"duty {last.name}"))

    @staticmethod
    def _reading_positives(minutes: float) -> Any:
        return lambda plates: minutes * sum(plate.positives for plate in plates)

    def _in_hand(self) -> None:
        """Retests that wait, plates on their way, what waits for the reviewer."""
        state = self.state
        for tid in self.start.again.tolist():
            self._put(
                tid, int(state.priority[tid]) + self.model.retest_priority, float(state.due[tid]), "again"
            )
        left = self._left()
        for number, work in enumerate(state.plates):
            plate = self._plate(number, self.start.on[number])
            if work.step > self.reads_at:
                plate.review = self.start.on[number].tolist()
            if work.waiting:
                self.stations[work.step].queue.put(plate, self.env.now, plate.key)  # type: ignore[attr-defined]
            else:
                self.stations[work.step].resume([plate], left[number])
        self._in_review()

    def _in_review(self) -> None:
        """Every tube that was read leaves when its own review ends."""
        tubes, last = self.start.reviewed, len(self.model.steps) - 1
        if last == self.reads_at:
            for tid in tubes.tolist():
                self._finish(tid)
            return
        uniform = self._stream("review").random(self.size)[tubes]
        now, came = self.state.now, self.state.came[tubes]
        waited = now - came
        if self.there is not None:
            waited = np.array([self.there.worked(at, now) for at in came.tolist()])
        left = left_of(self.start.seen[last], waited, uniform)
        for tid, minutes in zip(tubes.tolist(), left.tolist(), strict=True):
            if self.delays:
                self._leave([tid], minutes)
                continue
            plate = Plate(-1, NOBODY, [], (0.0, 0.0), "in work", review=[tid])
            self.stations[last].resume([plate], minutes)

    def _left(self) -> list[float]:
        """Minutes left at its station of every plate in work."""
        works = self.state.plates
        uniform = self._stream("left").random(len(works))
        left = np.zeros(len(works))
        for step, seen in enumerate(self.start.seen):
            own = [n for n, work in enumerate(works) if work.step == step]
            left[own] = left_of(seen, np.array([works[n].elapsed for n in own]), uniform[own])
        pairs = zip(left.tolist(), works, strict=True)
        return [minutes if work.left is None else max(work.left, 0.0) for minutes, work in pairs]

    def _plate(self, number: int, tubes: Ints) -> Plate:
        state = self.state
        jobs = [
            Again(t, int(state.priority[t]), float(state.due[t]), float(state.came[t]), int(state.persons[t]))
            for t in tubes[state.again[tubes]].tolist()
        ]
        key = (-float(state.priority[tubes].max(initial=0)), float(state.due[tubes].min(initial=NEVER)))
        return Plate(-1 - number, tubes[~state.again[tubes]], jobs, key, "in work", self.env.now)

    # -- events ------------------------------------------------------------------------------------

    def _play(self) -> None:
        env = self.env
        for station in self.stations:
            station.poke()
        for _ in range(len(self.stations) + 2):
            while self.left > 0 and env.peek() < NEVER:
                env.step()
            if self.left <= 0:
                return
            for station in self.stations:
                station.queue.flush()
                station.poke()

    def _passed(self, number: int) -> Any:
        """What happens to plates when a station is done with them."""
        if number == self.reads_at:
            return self._all_read
        last = len(self.model.steps) - 1

        def passed(plates: list[Plate]) -> None:
            for plate in plates:
                if number < last:
                    self._pass_on(number + 1, plate)
                else:
                    for tid in plate.review:
                        self._finish(tid)

        return passed

    def _all_read(self, plates: list[Plate]) -> None:
        for plate in plates:
            self._read(plate)
        self.stations[0].poke()

    def _read(self, plate: Plate) -> None:
        if self.controls.random() < self.model.failing:
            self._void(plate)
            return
        ids = plate.first
        review: list[int] = []
        staying = ids[self.stays[ids]]
        if staying.size:
            self._report(ids[self.leaves[ids]])
            for tid in staying.tolist():
                self._follow(tid, self._course(tid), review)
        else:
            self._report(ids)
        for job in plate.again:
            self._follow(job.tid, self._course(job.tid), review)
        plate.positives = len(review)
        if self.reads_at == len(self.stations) - 1:
            for tid in review:
                self._finish(tid)
        elif review and self.delays:
            part = int(self.env.now % DAY * len(self.delays) / DAY)
            self._leave(review, self.delays[part].take())
        elif review:
            plate.review = review
            self._pass_on(self.reads_at + 1, plate)

    def _leave(self, tubes: list[int], minutes: float) -> None:
        """Tubes that leave after minutes in which nobody waits for anybody: no event is needed."""
        now = self.env.now
        at = now + minutes if self.there is None else self.there.after(now, minutes)
        for tid in tubes:
            self._finish(tid, at)

    def _pass_on(self, number: int, plate: Plate) -> None:
        station = self.stations[number]
        station.queue.put(plate, self.env.now, plate.key)  # type: ignore[attr-defined]
        station.poke()

    def _report(self, ids: Ints) -> None:
        """Tubes whose first test ends their case leave now."""
        known = ids[ids < self.size] if self.extra else ids
        self.done[known] = self.env.now
        self.left -= known.size

    def _finish(self, tid: int, at: float | None = None) -> None:
        """The laboratory is done with one tube."""
        if tid < self.size and tid not in self.ended:
            self.ended.add(tid)
            self.done[tid] = self.env.now if at is None else at
            self.left -= int(self.start.kind[tid] != POOL)

    def _course(self, tid: int) -> Course:
        """What the test just read leads to; keyed by tube and number of the test."""
        tested = self.tests.get(tid, 0)
        self.tests[tid] = tested + 1
        known = tid < self.size
        if not tested:
            return self._first_course(tid)
        _, again, bounds = self.start.courses[self.start.kind[tid] if known else 0]
        return again[bisect_right(bounds, self._chance_of(tid, tested))]

    def _first_course(self, tid: int) -> Course:
        known = tid < self.size
        first, again, _ = self.start.courses[self.start.kind[tid] if known else 0]
        return (again if known and self.start.retested[tid] else first)[int(self.choice[tid])]

    def _chance_of(self, tid: int, tested: int) -> float:
        """The uniform number of a later test of a tube."""
        while len(self._later) < min(tested, TESTS):
            number = len(self._later)
            own = self._stream("fate", number + 1).random(self.size)
            others = self._stream("fate of others", number + 1).random(self.extra)
            self._later.append(np.concatenate([own, others]))
        # beyond the last row the numbers are turned by the golden ratio: still uniform, still the tube's own
        return float((self._later[min(tested, TESTS) - 1][tid] + 0.6180339887 * max(tested - TESTS, 0)) % 1)

    def _follow(self, tid: int, course: Course, review: list[int]) -> None:
        if tid < self.size and self.start.kind[tid] == POOL:
            self._resolve(tid, course, review)
        elif course.next == "review":
            review.append(tid)
        elif course.next == "retest" and self.tests.get(tid, 0) < MOST_TESTS:
            self._again(tid, course)
        else:
            self._finish(tid)

    def _resolve(self, pool: int, course: Course, review: list[int]) -> None:
        """A negative pool reports its members; any other has them tested singly."""
        self._finish(pool)
        for tid in self.start.members.get(pool, NOBODY).tolist():
            if course.next == "report":
                self._finish(tid)
            elif course.next == "review":
                review.append(tid)
            else:
                self.tests[tid] = max(self.tests.get(tid, 0), 1)
                self._again(tid, course)

    def _again(self, tid: int, course: Course) -> None:
        now = self.env.now
        due, own = self._due(tid)
        due = min(due, now + 60 * course.hours) if course.hours > 0 else due
        self._put(tid, max(course.priority, own) + self.model.retest_priority, due, course.test)

    def _due(self, tid: int) -> tuple[float, int]:
        if tid < self.size:
            return self.due_of.get(tid, self.start.due[tid]), self.start.priority[tid]
        return float(self.extra_due[tid - self.size]), int(self.extra_priority[tid - self.size])

    def _put(self, tid: int, priority: int, due: float, test: str) -> None:
        start, now = self.start, self.env.now
        self.due_of[tid] = due
        if tid < self.size:
            came, persons, lane = start.came[tid], start.persons[tid], start.lane[tid]
        else:
            came, persons, lane = float(self.extra_came[tid - self.size]), round(self.model.tide.persons), 0
        self.lines.put(lane, Again(tid, priority, due, min(came, now), persons, test), now)

    def _void(self, plate: Plate) -> None:
        """The run does not count: everything on it is tested again, ahead of others."""
        for tid in [*plate.first.tolist(), *(job.tid for job in plate.again)]:
            due, own = self._due(tid)
            self._put(tid, max(own, self.model.failed_priority), due, "re-extract")
