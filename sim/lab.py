"""A laboratory on SimPy: plates move through stations, policies decide what becomes of every tube.

Retests, pools, called-back persons, voided plates, lost runs and absent staff all loop through the
events. Numbers of chance are keyed by station, tube or person, never by what happened before: a machine
more changes when things happen and nothing else.
"""

import gc
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, assert_never

import numpy as np
import simpy
from numpy.typing import NDArray
from simpy.events import Timeout

from pooling import Waiting, form_pools
from retest import Call, Conclude, Decision, Material, Recollect, Retest, TestSingly
from scheduler.shifts import windows, without
from sim.arrivals import ScenarioError
from sim.chain import given_draws
from sim.engine import Always, Lots, Rostered, Station, run_dry
from sim.fifo import fifo, fifo_rostered
from sim.filling import Filling, Firsts, Plate
from sim.report import Report, StationLog
from sim.scenario import DAY, Scenario
from sim.service import Times, stream
from sim.spec import Bench
from sim.specimens import Reader, by_day, draw_specimens
from sim.verdicts import Past, Verdicts

DRAIN_DAYS = 45
MOST_TESTS = 60
EPOCH = datetime(2022, 1, 3, tzinfo=UTC)
"""Minute 0 for policies that want a date."""

KEEPS_TEST = ("singly", "second-kit", "re-extract")


@dataclass(slots=True)
class Tube:
    """A tube that is more than one waiting for its first test.

    Attributes:
        tid: number; scheduled tubes have their place in order of arrival.
        path: (tube it began with, person, ...), the name of its numbers of chance.
        viral, control: true Cq values; NaN viral when nobody in it is infected.
        shift: of the last extraction, in cycles; NaN when it failed.
        priority: of the waiting test; the tier's counts when it is higher.
        code: what its next test will say, a place in `Verdicts.outcomes`.
        past: findings of the tube; `earlier`: of the person's other single tubes.
        members: tubes of a pool.
    """

    tid: int
    path: tuple[int, ...]
    material: Material
    persons: int
    tier: str
    due: float
    received: float
    viral: float
    control: float
    shift: float
    priority: int = 0
    test: str = "first"
    code: int = -1
    past: Past = ()
    earlier: Past = ()
    specimen: int = 1
    members: tuple[int, ...] = ()
    arrived: float = 0.0
    done: float = float("nan")
    reported: bool = False
    cq: tuple[float, ...] = ()


class Floor:
    """One run of a laboratory."""

    def __init__(self, scenario: Scenario, seed: int, replication: int, draws: Any, *, record: bool) -> None:
        if scenario.laboratory is None:
            raise ScenarioError(
                "NO_LABORATORY", f"{scenario.name} has no stations; nothing can be simulated."
            )
        self.scenario, self.lab = scenario, scenario.laboratory
        self.seed, self.replication = seed, replication
        self.env = simpy.Environment()
        arrivals, self.given = given_draws(draws)
        self.tubes = draw_specimens(
            scenario, self.lab, seed, replication, None if arrivals is None else np.asarray(arrivals, float)
        )
        self.reader = Reader.of(self.lab, scenario.chemistry)
        self.verdicts = Verdicts(self.lab.rules)
        self.size = self.tubes.arrival.size
        self.days = int(self.tubes.arrival.max(initial=0) // DAY) + 1 + DRAIN_DAYS
        self.counts: Counter[str] = Counter()
        self.retests: Counter[str] = Counter()
        self.record: list[Any] | None = [] if record else None
        self.special: dict[int, Tube] = {}
        self.more: list[Tube] = []
        self.done = np.full(self.size, np.nan)
        self.reported = np.zeros(self.size, dtype=np.bool_)
        self.logs: list[StationLog] = []
        self._tiers()
        self._reception()
        self._first_tests()
        self._stations()

    # -- what is known before the first event -----------------------------------------------------

    def _tiers(self) -> None:
        """Due time and priority of every tube, by the tier of its stream."""
        streams, index = self.scenario.streams, self.tubes.stream
        tiers = [self.lab.tiers.tier(source.tier) for source in streams]
        self.tier = [tier.id for tier in tiers]
        self.priority = np.array([tier.priority for tier in tiers])[index]
        self.hours = np.array([tier.hours for tier in tiers])[index]
        self.by_receipt = np.array([tier.clock == "receipt" for tier in tiers])[index]
        self.delay = np.array([source.delay for source in streams])[index]

    def _reception(self) -> None:
        """Reception is solved directly: nothing comes back to it."""
        bench, at = self.lab.stations[0], self.tubes.arrival
        minutes = self._times(bench).many(self.size)
        if bench.staff:
            on = self._rostered(bench)
            starts = fifo_rostered(at, minutes, on.windows)
        else:
            starts = fifo(at, minutes, bench.servers)
        servers: Always | Rostered = on if bench.staff else Always(bench.servers)
        self.came = starts + minutes
        clock = np.where(self.by_receipt, self.came, at - self.delay)
        self.due = clock + 60 * self.hours
        self.logs.append(StationLog.direct(bench.name, at, starts, float(minutes.sum()), servers, "tube"))

    def _first_tests(self) -> None:
        """What every first test will say, and which of them end with it."""
        self.codes = self.verdicts.classify(self.tubes.readings)
        plain = np.zeros((len(self.scenario.streams), len(self.verdicts.outcomes)), dtype=np.bool_)
        for number, source in enumerate(self.scenario.streams):
            material = Material.mixed if source.places > 1 else Material.single
            for code, outcome in enumerate(self.verdicts.outcomes):
                if outcome.call is Call.negative:
                    found = self.verdicts.decide(material, ((1, code, "first"),), source.places, source.tier)
                    plain[number, code] = isinstance(found, Conclude) and found.result == "negative"
        self.plain = plain[self.tubes.stream, self.codes]

    def _stations(self) -> None:
        pooled = np.array([source.lab_pool > 0 for source in self.scenario.streams])[self.tubes.stream]
        own = np.flatnonzero(~pooled)
        firsts = Firsts(own, self.came[own], self.due[own], self.priority[own], self.tubes.persons[own])
        self.filling = Filling(firsts, self.lab.fill)
        self.pooled = np.flatnonzero(pooled)
        self.pooled = self.pooled[np.argsort(self.came[self.pooled], kind="stable")]
        self.stations: list[Station] = []
        for number, bench in enumerate(self.lab.stations[1:], start=1):
            queue = Lots(*bench.plates, bench.patience) if number > 1 else self.filling
            added = self._reading_positives(bench) if bench.per_positive else None
            servers = self._rostered(bench) if bench.staff or bench.down else Always(bench.servers)
            done = self._passed(number, bench)
            self.stations.append(
                Station(self.env, bench.name, queue, servers, self._times(bench), done, added)
            )
        desk = Always(self.lab.recall.desks)
        times = Times("desk", self.lab.stations[0].service, stream(self.seed, self.replication, "desk"))
        self.desk = Station(self.env, "re-reception", Lots(), desk, times, self._received)
        self.controls = stream(self.seed, self.replication, "controls")
        self.pool_rng = stream(self.seed, self.replication, "pools")
        self.good = self.verdicts.plate(self.lab.fill.template, contaminated=False)
        self.bad = self.verdicts.plate(self.lab.fill.template, contaminated=True)

    def _times(self, bench: Bench) -> Times:
        rng = stream(self.seed, self.replication, bench.name)
        return Times(bench.name, bench.service, rng, self.given.get(bench.name))

    def _rostered(self, bench: Bench) -> Rostered:
        """Servers with their windows: staff without the absent, machines without their days out of order."""
        rng = stream(self.seed, self.replication, f"duty {bench.name}")
        if not bench.staff:
            always = ((0.0, float(self.days * DAY)),)
            found = []
            for _ in range(bench.servers):
                out = np.flatnonzero(rng.uniform(size=self.days) < bench.down) * float(DAY)
                found.append(without(always[0:1], [(day, day + DAY) for day in out.tolist()]))
            return Rostered(found)
        staff = self.lab.staff[bench.staff]
        absent = set()
        for position in range(staff.rota.positions):
            drawn = rng.uniform(size=(len(staff.rota.shifts), self.days + 1))
            for number, shift in enumerate(staff.rota.shifts):
                for day in range(-1, self.days):
                    there = (1 - staff.absence) * by_day(staff.present, max(day, 0), 1.0)
                    if drawn[number, day + 1] >= there:
                        absent.add((day, shift.name, position))
        return Rostered(windows(staff.rota, self.days, absent), staff.rota.ending)

    # -- plates -----------------------------------------------------------------------------------

    def run(self) -> None:
        """Run until every tube is done.

        Raises:
            ScenarioError: `NEVER_ENDS`, naming the stations that hold work nobody can take.
        """
        if self.pooled.size:
            Timeout(self.env, float(self.came[self.pooled[0]])).callbacks.append(self._pool)
        collecting = gc.isenabled()
        gc.disable()
        try:
            self.stations[0].poke()
            stuck = run_dry(self.env, [*self.stations, self.desk])
        finally:
            if collecting:
                gc.enable()
        if stuck or np.isnan(self.done).any():
            raise ScenarioError(
                "NEVER_ENDS", f"Work is left at {', '.join(stuck) or 'the bench'} and nobody can take it."
            )

    def _passed(self, number: int, bench: Bench) -> Callable[[list[Plate]], None]:
        """What happens to plates when a station is done with them."""
        if number > self.lab.reads_at:
            return lambda plates: self._reviewed(number, plates)
        chance = stream(self.seed, self.replication, f"failure {bench.name}") if bench.failure else None

        def passed(plates: list[Plate]) -> None:
            if chance is not None and chance.uniform() < bench.failure:
                self._lost(number, bench, plates)
            elif bench.reads:
                for plate in plates:
                    self._read(plate)
                self.stations[0].poke()
            else:
                for plate in plates:
                    self._put(number + 1, plate)

        return passed

    def _put(self, number: int, plate: Plate) -> None:
        station = self.stations[number - 1]
        station.queue.put(plate, self.env.now, plate.key)  # type: ignore[attr-defined]
        station.poke()

    def _lost(self, number: int, bench: Bench, plates: list[Plate]) -> None:
        """A run broke off: its tubes queue again and the machine is out for repair."""
        self.counts["lost_runs"] += 1
        for plate in plates:
            self._void(plate)
        station = self.stations[number - 1]
        taken = station.servers.take(self.env.now, bench.repair)
        if taken is not None:
            back = Timeout(self.env, max(taken[1] - self.env.now, 0.0), taken[0])
            back.callbacks.append(lambda event: self._repaired(station, event.value))
        self.stations[0].poke()

    @staticmethod
    def _repaired(station: Station, server: int) -> None:
        station.servers.give(server)
        station.poke()

    @staticmethod
    def _reading_positives(bench: Bench) -> Callable[[list[Plate]], float]:
        return lambda plates: bench.per_positive * sum(plate.positives for plate in plates)

    def _read(self, plate: Plate) -> None:
        """Controls first, then every tube."""
        self.counts["plates"] += 1
        self.counts["tests"] += plate.size
        self.counts["wells_empty"] += len(self.lab.fill.template.sample_wells("column")) - plate.size
        contaminated = self.controls.uniform() < self.lab.control_failure
        verdict = self.bad if contaminated else self.good
        if not verdict.run_valid:
            self.counts["failed_plates"] += 1
            self._void(plate)
            return
        now, plain = self.env.now, self.plain[plate.first]
        review: list[Tube] = []
        for tid in plate.first[~plain].tolist():
            tube = self._special(tid)
            tube.code = int(self.codes[tid])
            self._judge(tube, review)
        for tube in plate.again:
            self._judge(tube, review)
        if self.record is not None:
            self.record += [
                (now, tid, "first", int(self.codes[tid]), "Conclude") for tid in plate.first[plain].tolist()
            ]
        plate.positives = sum(
            self.verdicts.outcomes[tube.past[-1][1]].call is not Call.negative for tube in review
        )
        early = plate.first[plain]
        if self.lab.auto_release:
            self.done[early] = now
            self.reported[early] = True
            early = early[:0]
        last = len(self.lab.stations) - 1
        if self.lab.reads_at == last:
            self._release(review, early)
        elif review or early.size:
            plate.review = (review, early)
            self._put(self.lab.reads_at + 1, plate)

    def _reviewed(self, number: int, plates: list[Plate]) -> None:
        for plate in plates:
            if number < len(self.lab.stations) - 1:
                self._put(number + 1, plate)
            else:
                self._release(*plate.review)

    def _release(self, review: list[Tube], early: NDArray[np.int64]) -> None:
        self.done[early] = self.env.now
        self.reported[early] = True
        for tube in review:
            self._finish(tube, reported=True)

    def _finish(self, tube: Tube, *, reported: bool) -> None:
        if tube.tid < self.size:
            self.done[tube.tid], self.reported[tube.tid] = self.env.now, reported
        tube.done, tube.reported = self.env.now, reported

    # -- tubes ------------------------------------------------------------------------------------

    def _special(self, tid: int) -> Tube:
        """A scheduled tube that is more than its first test."""
        if tid not in self.special:
            tubes, number = self.tubes, int(self.tubes.stream[tid])
            source = self.scenario.streams[number]
            self.special[tid] = Tube(
                tid=tid,
                path=(tid,),
                material=Material.mixed if source.places > 1 else Material.single,
                persons=int(tubes.persons[tid]),
                tier=source.tier,
                due=float(self.due[tid]),
                received=float(self.came[tid]),
                viral=float(tubes.viral[tid]),
                control=float(tubes.control[tid]),
                shift=float(tubes.shift[tid]),
                cq=tuple(tubes.own(tid).tolist()),
            )
        return self.special[tid]

    def _judge(self, tube: Tube, review: list[Tube]) -> None:
        """Add the finding, ask the policy, do what it says."""
        tube.past = (*tube.past, (tube.specimen, tube.code, tube.test))
        if len(tube.past) > MOST_TESTS:
            raise ScenarioError(
                "NEVER_ENDS", f"Tube {tube.tid} is tested again without end under these rules."
            )
        decision = self.verdicts.decide(tube.material, tube.past, tube.persons, tube.tier, tube.earlier)
        if self.record is not None:
            self.record.append((self.env.now, tube.tid, tube.test, tube.code, type(decision).__name__))
        if tube.material is Material.pool:
            self._resolve(tube, decision, review)
            return
        match decision:
            case Conclude():
                if tube.past == ((tube.specimen, tube.code, "first"),) and self._leaves(tube):
                    self._finish(tube, reported=True)
                else:
                    review.append(tube)
            case Retest():
                self._again(tube, decision.kind, decision.reason, decision.priority, decision.hours)
            case TestSingly():
                self._again(tube, "re-extract", decision.reason, decision.priority, decision.hours)
            case Recollect():
                self._recall(tube)
            case _:
                assert_never(decision)

    def _leaves(self, tube: Tube) -> bool:
        return self.lab.auto_release and self.verdicts.outcomes[tube.code].call is Call.negative

    def _again(self, tube: Tube, test: str, reason: str, priority: int, hours: float) -> None:
        """Queue a tube for another test; what that will say is keyed by tube and number of the test."""
        self.retests[reason] += 1
        tier = self.lab.tiers.tier(tube.tier).priority
        tube.priority = max(priority, tier)
        tube.due = min(tube.due, self.env.now + 60 * hours) if hours > 0 else tube.due
        tube.test = test
        rng = stream(self.seed, self.replication, "retest", *tube.path, len(tube.past))
        if test != "re-amplify":
            tube.shift = float(rng.normal(0, self.scenario.chemistry.extraction_noise))
        viral, control, shift = (np.array([value]) for value in (tube.viral, tube.control, tube.shift))
        tube.code = int(self.verdicts.classify(self.reader.read(viral, control, shift, rng))[0])
        self._queue(tube)

    def _queue(self, tube: Tube) -> None:
        self.filling.put(tube, self.env.now)

    def _void(self, plate: Plate) -> None:
        """The run does not count: everything on it is tested again, ahead of others."""
        rules = self.lab.rules.policy
        for tube in [*(self._special(tid) for tid in plate.first.tolist()), *plate.again]:
            if tube.code < 0:
                tube.code = int(self.codes[tube.tid])
            tube.test = tube.test if tube.test in KEEPS_TEST else "re-amplify"
            wanted = rules.priority["retest"] + rules.priority["per_person"] * max(tube.persons - 1, 0)
            tube.priority = max(
                tube.priority, wanted + rules.tier.get(tube.tier, 0), self._tier_priority(tube)
            )
            self.retests["run-failed"] += 1
            self._queue(tube)
        if self.counts["failed_plates"] + self.counts["lost_runs"] > MOST_TESTS * (self.size + 1):
            raise ScenarioError("NEVER_ENDS", "Plates fail without end; lower control_failure or failure.")

    def _tier_priority(self, tube: Tube) -> int:
        return self.lab.tiers.tier(tube.tier).priority

    def _resolve(self, pool: Tube, decision: Decision, review: list[Tube]) -> None:
        """A decided pool hands its members on: negative ones are concluded, all others tested singly."""
        negative = isinstance(decision, Conclude) and decision.result == "negative"
        pool.done = self.env.now
        for tid in pool.members:
            tube = self._special(tid)
            if negative:
                if self.lab.auto_release:
                    self._finish(tube, reported=True)
                else:
                    tube.past = ((tube.specimen, pool.code, "first"),)
                    review.append(tube)
            elif isinstance(decision, (TestSingly, Retest)):
                self._again(tube, "singly", decision.reason, decision.priority, decision.hours)
            else:
                self._again(tube, "singly", decision.reason, tube.priority, 0.0)

    # -- pools and called-back persons ------------------------------------------------------------

    def _pool(self, event: Any) -> None:
        """Every so often the pooling bench asks which waiting tubes form pools."""
        del event
        now, rules = self.env.now, self.lab.pool
        there = self.pooled[self.came[self.pooled] <= now]
        later = self.pooled[there.size :]
        forming = form_pools(
            [self._waiting(tid) for tid in there.tolist()], rules, EPOCH + timedelta(minutes=now)
        )
        kept = []
        for waiting, reason in forming.kept:
            tid = int(waiting.tube)
            if reason == "waiting":
                kept.append(tid)
            else:
                tube = self._special(tid)
                tube.code, tube.priority = int(self.codes[tid]), self._tier_priority(tube)
                self._queue(tube)
        self._make_pools([tuple(int(name) for name in plan.members) for plan in forming.pools])
        kept.sort(key=lambda tid: self.came[tid])
        self.pooled = np.concatenate([np.array(kept, dtype=np.int64), later])
        if self.pooled.size:
            wait = self.lab.pool_every
            if not kept:
                wait = max(wait, float(self.came[self.pooled[0]]) - now)
            Timeout(self.env, wait).callbacks.append(self._pool)
        self.stations[0].poke()

    def _waiting(self, tid: int) -> Waiting:
        source = self.scenario.streams[int(self.tubes.stream[tid])]
        due, came = (EPOCH + timedelta(minutes=float(at)) for at in (self.due[tid], self.came[tid]))
        return Waiting(f"{tid:09d}", "single", due, came, source.tier, source.site)

    def _make_pools(self, groups: list[tuple[int, ...]]) -> None:
        if not groups:
            return
        tubes, now = self.tubes, self.env.now
        loads = np.where(np.isnan(tubes.viral), 0.0, np.exp2(-tubes.viral))
        load = np.array([loads[list(group)].sum() for group in groups])
        sizes = np.array([len(group) for group in groups])
        with np.errstate(divide="ignore"):
            viral = np.where(load > 0, np.log2(sizes) - np.log2(load), np.nan)
        control = np.array([-np.log2(np.mean(np.exp2(-tubes.control[list(group)]))) for group in groups])
        shift = self.pool_rng.normal(0, self.scenario.chemistry.extraction_noise, len(groups))
        codes = self.verdicts.classify(self.reader.read(viral, control, shift, self.pool_rng))
        for number, group in enumerate(groups):
            urgent = min(group, key=lambda tid: (self.due[tid], tid))
            tier = self.tier[int(tubes.stream[urgent])]
            self.counts["pools"] += 1
            pool = Tube(
                tid=-self.counts["pools"],
                path=(),
                material=Material.pool,
                persons=len(group),
                tier=tier,
                due=float(self.due[urgent]),
                received=now,
                viral=float(viral[number]),
                control=float(control[number]),
                shift=float(shift[number]),
                priority=self.lab.tiers.tier(tier).priority,
                code=int(codes[number]),
                members=group,
            )
            self._queue(pool)

    def _recall(self, tube: Tube) -> None:
        """Every person of the tube is called back; who comes gives a single specimen."""
        self._finish(tube, reported=False)
        recall, chemistry = self.lab.recall, self.scenario.chemistry
        rng = stream(self.seed, self.replication, "recall", *tube.path, tube.specimen)
        count = tube.persons
        shown = rng.uniform(size=count) < recall.show_up
        delays = recall.delay.draw(count, rng)
        viral = np.full(count, np.nan)
        viral[: len(tube.cq)] = tube.cq
        control = chemistry.draw_controls(count, rng)
        shift = rng.normal(0, chemistry.extraction_noise, count)
        codes = self.verdicts.classify(self.reader.read(viral, control, shift, rng))
        self.counts["recollections"] += int(shown.sum())
        self.counts["no_shows"] += int(count - shown.sum())
        earlier = (*tube.earlier, *tube.past) if tube.material is Material.single else ()
        for person in np.flatnonzero(shown).tolist():
            infected = person < len(tube.cq)
            sampled = self.env.now + float(delays[person])
            came = Tube(
                tid=self.size + len(self.more),
                path=(*tube.path, person),
                material=Material.single,
                persons=1,
                tier=recall.tier,
                due=sampled,
                received=0.0,
                viral=float(viral[person]),
                control=float(control[person]),
                shift=float(shift[person]),
                code=int(codes[person]),
                earlier=earlier,
                specimen=tube.specimen + 1,
                arrived=sampled + recall.travel,
                cq=tube.cq[person : person + 1] if infected else (),
            )
            self.more.append(came)
            Timeout(self.env, came.arrived - self.env.now, came).callbacks.append(self._arrived)

    def _arrived(self, event: Any) -> None:
        self.desk.queue.put(event.value, self.env.now)  # type: ignore[attr-defined]
        self.desk.poke()

    def _received(self, tubes: list[Tube]) -> None:
        """A re-collected tube was scanned and waits for its plate."""
        for tube in tubes:
            tier = self.lab.tiers.tier(tube.tier)
            tube.received, tube.priority = self.env.now, tier.priority
            sampled = tube.due
            tube.due = (tube.received if tier.clock == "receipt" else sampled) + 60 * tier.hours
            self._queue(tube)
        self.stations[0].poke()


def run_laboratory(
    scenario: Scenario, seed: int, replication: int = 0, draws: Any = None, *, record: bool = False
) -> Report:
    """Run a laboratory scenario once."""
    floor = Floor(scenario, seed, replication, draws, record=record)
    floor.run()
    return _report(floor)


def _report(floor: Floor) -> Report:
    scenario, tubes, more = floor.scenario, floor.tubes, floor.more
    groups = {(s.tier, s.mode): None for s in scenario.streams} | {
        (floor.lab.recall.tier, "re-collected"): None
    }
    names = tuple(groups)
    place = np.array([names.index((source.tier, source.mode)) for source in scenario.streams])
    arrived = np.concatenate([tubes.arrival, [tube.arrived for tube in more]])
    done = np.concatenate([floor.done, [tube.done for tube in more]])
    due = np.concatenate([floor.due, [_own_due(floor, tube) for tube in more]])
    last = np.full(len(more), names.index((floor.lab.recall.tier, "re-collected")), dtype=np.int64)
    group = np.concatenate([place[tubes.stream], last])
    reported = np.concatenate([floor.reported, np.array([tube.reported for tube in more], dtype=np.bool_)])
    persons = np.concatenate([tubes.persons, np.ones(len(more), dtype=np.int64)])
    order = np.argsort(arrived, kind="stable")
    logs = [
        *floor.logs,
        *(StationLog.of(s, "tube" if s is floor.stations[0] else "plate") for s in floor.stations),
    ]
    if more:
        logs.append(StationLog.of(floor.desk, "tube"))
    again = sum(1 for tube in floor.special.values() if len(tube.past) > 1)
    counts = {
        **floor.counts,
        "retests": dict(sorted(floor.retests.items())),
        "retested": again,
        "scheduled": floor.size,
        "first_persons": int(tubes.persons.sum()),
    }
    return Report(
        scenario=scenario.name,
        seed=floor.seed,
        arrived=arrived[order],
        turnaround=(done - arrived)[order],
        due=due[order],
        group=group[order],
        reported=reported[order],
        persons=persons[order],
        groups=names,
        stations={log.name: log for log in logs},
        counts=counts,
        decisions=tuple(floor.record or ()),
    )


def _own_due(floor: Floor, tube: Tube) -> float:
    """When a re-collected tube was due by its tier; a retest's shorter hours are the laboratory's own aim."""
    tier = floor.lab.tiers.tier(tube.tier)
    start = tube.received if tier.clock == "receipt" else tube.arrived - floor.lab.recall.travel
    return start + 60 * tier.hours
