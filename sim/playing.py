"""One replication of a forecast: the laboratory played on until every tube is reported."""

from functools import reduce
from typing import Any

import numpy as np
import simpy

from sim.chance import Fates, comers, waiting
from sim.duty import DAY, Capacity, Level
from sim.engine import Lots, Station
from sim.filling import Plate
from sim.lines import Again
from sim.now import POOL, Course, Floats, Ints, left_of
from sim.servers import NEVER, Always
from sim.service import Service, Times, stream
from sim.starting import Start

NO_LIMIT = 10**9
MOST_TESTS = 60
EVEN = Service("uniform", low=0.0, high=1.0)
NOBODY: Ints = np.empty(0, dtype=np.int64)


class Played:
    """One replication; `done` says when each tube was reported."""

    def __init__(self, start: Start, number: int) -> None:
        self.start, self.model, self.state, self.number = start, start.model, start.state, number
        self.size, self.reads_at = len(self.state.names), start.model.reads_at
        self.env = simpy.Environment(initial_time=self.state.now)
        self.tests: dict[int, int] = {}
        self.due_of: dict[int, float] = {}
        # tubes whose first test was their last, plate by plate, and when; and every other tube that is done
        self.plainly: list[tuple[Ints, float]] = []
        self.ended: dict[int, float] = {}
        self.left = start.owed
        self.others = comers(start, number)
        self.fates = Fates(start, number, self.others.count)
        self.lines = waiting(start, self.others, number)
        self._stations()
        self._in_hand()
        self._play()
        self.done = self._done()

    def _stream(self, name: str, *place: int) -> np.random.Generator:
        return stream(self.start.seed, self.number, name, *place)

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
        for station in self.stations:
            station.logged = False
        before = [s.queue for s in self.stations[1 : self.reads_at + 1]]
        self.lines.behind(lambda: sum(len(queue) for queue in before))
        self.controls = Times("controls", EVEN, self._stream("controls"))
        self._delays()

    def _servers(self, number: int) -> Always | Capacity:
        """Who works at a step: all the time, or as many as are on duty or in service."""
        step, duty, now = self.model.steps[number], self.start.duties[number], self.state.now
        if not step.servers:
            return Always(NO_LIMIT)
        levels: list[Level] = []
        if duty is not None:
            people = duty.people(now, self._stream(f"duty {step.name}"))
            each = step.each or step.servers / max(duty.most, 1)
            levels.append(people.scaled(each, step.servers))
        horizon = self.start.horizon
        if step.wear:
            levels.append(step.wear.level(step.servers, now, horizon, self._stream(f"wear {step.name}")))
        for own in step.machines:
            if own.wear:
                chance = self._stream(f"wear {step.name} {own.kind}")
                levels.append(own.level(step.servers, now, horizon, chance))
        return Capacity(reduce(Level.least, levels), step.servers) if levels else Always(step.servers)

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
            on = self.start.plates[number]
            plate = Plate(-1 - number, on.first, on.again, on.key, "in work", self.env.now)
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
        if not tubes.size:
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
        if self.controls.take() < self.model.failing:
            self._void(plate)
            return
        ids = plate.first
        review: list[int] = []
        staying = ids[self.fates.stays[ids]].tolist()
        # all of them at once; those that stay are told apart when all is done
        self.plainly.append((ids, self.env.now))
        known = ids[ids < self.size] if self.others.count else ids
        self.left -= known.size
        for tid in staying:
            self.left += tid < self.size
            self._follow(tid, self._course(tid), review)
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

    def _finish(self, tid: int, at: float | None = None) -> None:
        """The laboratory is done with one tube."""
        if tid < self.size and tid not in self.ended:
            self.ended[tid] = self.env.now if at is None else at
            self.left -= self.start.kind[tid] != POOL

    def _done(self) -> Floats:
        """When each tube was reported."""
        done = np.full(self.size + self.others.count, np.nan)
        if self.plainly:
            ids, at = zip(*self.plainly, strict=True)
            done[np.concatenate(ids)] = np.repeat(at, [own.size for own in ids])
        done[self.fates.stays] = np.nan
        done[list(self.ended)] = list(self.ended.values())
        return done[: self.size]

    def _course(self, tid: int) -> Course:
        """What the test just read leads to; keyed by tube and number of the test."""
        tested = self.tests.get(tid, 0)
        self.tests[tid] = tested + 1
        return self.fates.later(tid, tested) if tested else self.fates.first(tid)

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
        return float(self.others.due[tid - self.size]), int(self.others.priority[tid - self.size])

    def _put(self, tid: int, priority: int, due: float, test: str) -> None:
        start, now = self.start, self.env.now
        self.due_of[tid] = due
        if tid < self.size:
            came, persons, lane = start.came[tid], start.persons[tid], start.lane[tid]
        else:
            came, persons, lane = float(self.others.came[tid - self.size]), round(self.model.tide.persons), 0
        self.lines.put(lane, Again(tid, priority, due, min(came, now), persons, test), now)

    def _void(self, plate: Plate) -> None:
        """The run does not count: everything on it is tested again, ahead of others."""
        for tid in [*plate.first.tolist(), *(job.tid for job in plate.again)]:
            due, own = self._due(tid)
            self._put(tid, max(own, self.model.failed_priority), due, "re-extract")
