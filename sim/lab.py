"""A laboratory on SimPy: plates move through stations, policies decide what becomes of every tube.

Retests, pools, called-back persons, voided plates, lost runs and absent staff all loop through the
events. Numbers of chance are keyed by station, tube or person, never by what happened before: a machine
more changes when things happen and nothing else.
"""

import gc
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray
from simpy.events import Timeout

from retest import Call, Conclude, Material
from sim import pools
from sim.account import report
from sim.chain import given_draws
from sim.crew import crew
from sim.engine import Lots, Station, run_dry
from sim.faults import listed, phrase
from sim.fifo import fifo, fifo_rostered
from sim.filling import Filling, Plate
from sim.judging import judge, void
from sim.ranks import Firsts
from sim.recall import received
from sim.refusal import refused
from sim.report import PlateLog, Report, StationLog
from sim.scenario import DAY, Scenario
from sim.servers import Always, Rostered
from sim.service import Times, stream
from sim.specimens import Reader, draw_specimens
from sim.stations import Bench
from sim.tube import Tube
from sim.verdicts import Verdicts

DRAIN_DAYS = 20


class Floor:
    """One run of a laboratory."""

    def __init__(self, scenario: Scenario, seed: int, replication: int, draws: Any, *, record: bool) -> None:
        if scenario.laboratory is None:
            raise refused("NO_LABORATORY", phrase("not-simulated", name=scenario.name))
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
        self.plates: list[PlateLog] = []
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
        """Tier and priority of every tube, by its stream."""
        tiers = [self.lab.tiers.tier(source.tier) for source in self.scenario.streams]
        self.tier = [tier.id for tier in tiers]
        self.priority = np.array([tier.priority for tier in tiers])[self.tubes.stream]

    def _due_by_tier(self) -> NDArray[np.float64]:
        """Due time of every tube: its tier's hours from receipt, or from sampling."""
        streams, index = self.scenario.streams, self.tubes.stream
        tiers = [self.lab.tiers.tier(source.tier) for source in streams]
        by_receipt = np.array([tier.clock == "receipt" for tier in tiers])[index]
        delay = np.array([source.delay for source in streams])[index]
        clock = np.where(by_receipt, self.came, self.tubes.arrival - delay)
        due: NDArray[np.float64] = clock + 60 * np.array([tier.hours for tier in tiers])[index]
        return due

    def _reception(self) -> None:
        """Reception is solved directly: nothing comes back to it."""
        bench, at = self.lab.stations[0], self.tubes.arrival
        minutes = self._times(bench).many(self.size)
        servers: Always | Rostered = Always(bench.servers)
        if bench.always:
            starts = fifo(at, minutes, bench.servers)
        else:
            servers = self._rostered(bench)
            starts = fifo_rostered(at, minutes, servers.windows)
        self.came = starts + minutes
        self.due = self._due_by_tier()
        self.logs.append(StationLog.direct(bench.name, at, starts, minutes, servers, "tube"))

    def _first_tests(self) -> None:
        """What every first test will say, and which of them end with it."""
        self.codes = self.verdicts.classify(self.tubes.readings)
        # what was read is known by its outcome from here on
        self.tubes = replace(self.tubes, readings=np.empty((0, 0)))
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
            added = self._added(bench) if bench.reads or bench.per_positive else None
            servers = Always(bench.servers) if bench.always else self._rostered(bench)
            done = self._passed(number, bench)
            self.stations.append(
                Station(self.env, bench.name, queue, servers, self._times(bench), done, added)
            )
        desk = Always(self.lab.recall.desks)
        times = Times("desk", self.lab.stations[0].service, stream(self.seed, self.replication, "desk"))
        before = [s.queue for s in self.stations[1 : self.lab.reads_at] if isinstance(s.queue, Lots)]
        self.filling.queued = lambda: sum(len(queue) for queue in before)
        self.desk = Station(
            self.env, "re-reception", Lots(), desk, times, lambda tubes: received(self, tubes)
        )
        self.controls = stream(self.seed, self.replication, "controls")
        self.pool_rng = stream(self.seed, self.replication, "pools")
        self.good = self.verdicts.plate(self.lab.fill.template, contaminated=False)
        self.bad = self.verdicts.plate(self.lab.fill.template, contaminated=True)

    def _times(self, bench: Bench) -> Times:
        rng = stream(self.seed, self.replication, bench.name)
        return Times(bench.name, bench.service, rng, self.given.get(bench.name))

    def _rostered(self, bench: Bench) -> Rostered:
        rng = stream(self.seed, self.replication, f"duty {bench.name}")
        return crew(bench, self.lab, self.days, rng)

    # -- plates -----------------------------------------------------------------------------------

    def run(self) -> None:
        """Run until every tube is done.

        Raises:
            ScenarioError: `NEVER_ENDS`, naming the stations that hold work nobody can take.
        """
        if self.pooled.size:
            Timeout(self.env, float(self.came[self.pooled[0]])).callbacks.append(lambda _: pools.form(self))
        collecting = gc.isenabled()
        gc.disable()
        try:
            self.stations[0].poke()
            stuck = run_dry(self.env, [*self.stations, self.desk])
        finally:
            if collecting:
                gc.enable()
        if stuck or np.isnan(self.done).any():
            what = phrase("work-left", stations=listed(stuck)) if stuck else phrase("work-left-bench")
            raise refused("NEVER_ENDS", what)

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
            void(self, plate)
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

    def _added(self, bench: Bench) -> Callable[[list[Plate]], float]:
        """Minutes added for positives; the cycler also notes when a plate was put into it."""

        def added(plates: list[Plate]) -> float:
            for plate in plates if bench.reads else ():
                plate.started = self.env.now
            return bench.per_positive * sum(plate.positives for plate in plates)

        return added

    def _read(self, plate: Plate) -> None:
        """Controls first, then every tube."""
        self.counts["plates"] += 1
        self.counts["tests"] += plate.size
        self.counts["wells_empty"] += len(self.lab.fill.template.sample_wells("column")) - plate.size
        contaminated = self.controls.uniform() < self.lab.control_failure
        verdict = self.bad if contaminated else self.good
        if self.record is not None:
            tubes = (*plate.first.tolist(), *(tube.tid for tube in plate.again))
            self.plates.append(
                PlateLog(plate.formed, plate.closed_by, tubes, self.env.now, verdict.run_valid, plate.started)
            )
        if not verdict.run_valid:
            self.counts["failed_plates"] += 1
            void(self, plate)
            return
        now, plain = self.env.now, self.plain[plate.first]
        review: list[Tube] = []
        for tid in plate.first[~plain].tolist():
            tube = self.special_tube(tid)
            tube.code = int(self.codes[tid])
            judge(self, tube, review)
        for tube in plate.again:
            judge(self, tube, review)
        if self.record is not None:
            plainly = plate.first[plain].tolist()
            self.record += [(now, tid, "first", int(self.codes[tid]), "Conclude") for tid in plainly]
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
            self.finish(tube, reported=True)

    def finish(self, tube: Tube, *, reported: bool) -> None:
        """The laboratory is done with a tube: reported, or its persons are called back."""
        if tube.tid < self.size:
            self.done[tube.tid], self.reported[tube.tid] = self.env.now, reported
        tube.done, tube.reported = self.env.now, reported

    # -- tubes ------------------------------------------------------------------------------------

    def special_tube(self, tid: int) -> Tube:
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

    def queue(self, tube: Tube) -> None:
        """Let a tube wait for a plate."""
        self.filling.put(tube, self.env.now)

    def tier_priority(self, tube: Tube) -> int:
        """The priority of the tube's tier."""
        return self.lab.tiers.tier(tube.tier).priority


def run_laboratory(
    scenario: Scenario, seed: int, replication: int = 0, draws: Any = None, *, record: bool = False
) -> Report:
    """Run a laboratory scenario once."""
    floor = Floor(scenario, seed, replication, draws, record=record)
    floor.run()
    return report(floor)
