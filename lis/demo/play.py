"""A laboratory day, played through the services: a small staff, two cyclers, drawn truth.

Every act goes through the same services as at the bench. What is true about a specimen is drawn before
(:mod:`sim.truth`) and reaches the laboratory only as curves in a cycler's file.
"""

from __future__ import annotations

import queue
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import simpy

from lis import barcodes, ledger, queries
from lis.clock import FixedClock
from lis.demo import cyclers as machines
from lis.demo.cyclers import Cycler
from lis.demo.people import person
from lis.errors import LisError, Refused
from lis.events import TubeKind
from lis.laboratory import Laboratory
from lis.services import plates, pools, receiving, reports
from lis.services.plates import PlateOrder
from lis.services.receiving import Scan, TubeData
from lis.services.results import Ingested
from lis.tube import Tube, TubeState
from sim.truth import Day, control_cq, person_cq, pool_cq, reading_rng, tube_cq

TICK = 15.0
"""Minutes between two rounds through the laboratory."""

PREPARE = 75.0
"""Minutes for extraction and pipetting of a plate."""

CYCLING = 95.0
"""Minutes of a run."""

RETURN = (90.0, 240.0)
"""Minutes until a person who was called back gives a new specimen."""

PATIENCE = timedelta(minutes=90)
"""After this a technician plates what waits, however few."""

LONGEST = 72 * 60.0
ANSWER_SECONDS = 60.0
TECHNICIAN, FIRST_REVIEWER, SECOND_REVIEWER = "chen", "li", "wang"
UNFINISHED = (TubeState.REGISTERED, *queries.UNREPORTED, TubeState.AWAITING_RECOLLECTION)


@dataclass(frozen=True, slots=True)
class Origin:
    """What is true of a tube: its number in the drawn day, or the person who was called back."""

    tube: int = -1
    person: int = -1


@dataclass
class Stage:
    """Everything on the stage of the played day.

    Attributes:
        done: what the bridge's reader reports, file by file.
        say: called with (local time, sentence) for the audience.
        live: whether cyclers show their curves while they run.
    """

    lab: Laboratory
    clock: FixedClock
    day: Day
    seed: int
    cyclers: list[Cycler]
    done: queue.Queue[Ingested]
    say: Callable[[datetime, str], None]
    start: datetime
    live: bool = False
    origin: dict[str, Origin] = field(default_factory=dict)
    pooled: set[str] = field(default_factory=set)
    arrived: deque[str] = field(default_factory=deque)
    recalled: set[tuple[str, str]] = field(default_factory=set)
    numbers: Counter[str] = field(default_factory=Counter)

    def at(self, minute: float) -> datetime:
        """The moment of a minute of the played day; the clock of the laboratory is set to it."""
        moment = self.start + timedelta(minutes=minute)
        self.clock.moment = max(self.clock.moment, moment)
        return moment

    def number(self, name: str) -> int:
        """The next serial number of a kind."""
        self.numbers[name] += 1
        return self.numbers[name]


def play(stage: Stage, env: simpy.Environment) -> None:
    """Play the day until every tube is finished."""
    env.process(_collection(stage, env))
    env.process(_rounds(stage, env))
    env.run(until=env.process(_until_finished(stage, env)))


def _until_finished(stage: Stage, env: simpy.Environment) -> Generator[Any, Any, None]:
    expected = stage.day.tubes
    while env.now < LONGEST:
        yield env.timeout(TICK)
        with stage.lab.database.read() as conn:
            counts = queries.state_counts(conn)
        everybody_came = len(stage.origin) >= expected + len(stage.recalled)
        if everybody_came and not any(counts.get(state) for state in UNFINISHED):
            return


# -- collection and reception ---------------------------------------------------------------------


def _collection(stage: Stage, env: simpy.Environment) -> Generator[Any, Any, None]:
    """Register every tube when its swab is taken; it reaches the laboratory after its way."""
    day = stage.day
    sampled = sorted((float(day.arrival[i]) - day.source(i).delay, i) for i in range(day.tubes))
    for minute, i in sampled:
        yield env.timeout(max(minute - env.now, 0))
        stream = day.source(i)
        mixed = stream.mode == "mixed"
        code = _new_code(stage)
        stage.origin[code] = Origin(tube=i)
        if stream.lab_pool:
            stage.pooled.add(code)
        people = tuple(person(number) for number in day.people(i))
        order = TubeData(
            barcode=code,
            kind=TubeKind.MIXED if mixed else TubeKind.SINGLE,
            places=stream.places,
            tier=stream.tier,
            site=stream.site,
            persons=people,
            sealed=True,
            reason="nobody else was in the queue" if len(people) < stream.places else "",
        )
        _register(stage, env, order)
        env.process(_travel(stage, env, code, stream.delay))


def _register(stage: Stage, env: simpy.Environment, order: TubeData) -> None:
    stage.at(env.now)
    with stage.lab.database.write(f"site {order.site}") as unit:
        receiving.register(unit, stage.lab.vault, stage.lab.rules, [order])


def _new_code(stage: Stage) -> str:
    return barcodes.mint(barcodes.TUBE, 44_070_000_000 + stage.number("tube"))


def _travel(stage: Stage, env: simpy.Environment, code: str, minutes: float) -> Generator[Any, Any, None]:
    yield env.timeout(minutes)
    stage.arrived.append(code)


def _rounds(stage: Stage, env: simpy.Environment) -> Generator[Any, Any, None]:
    """Every quarter of an hour: receive, pool, plate, review."""
    free = simpy.Store(env)
    free.items = list(stage.cyclers)
    while True:
        yield env.timeout(TICK)
        stage.at(env.now)
        _receive(stage)
        _pool(stage)
        while free.items and (plate := _plate(stage)):
            cycler = yield free.get()
            env.process(_run(stage, env, plate, cycler, free))
        _review(stage)
        _call_back(stage, env)


def _receive(stage: Stage) -> None:
    if not stage.arrived:
        return
    rack = f"R{stage.number('rack'):03d}"
    scans = [
        Scan(code, rack, f"{'ABCDEFGH'[i % 8]}{i // 8 % 12 + 1}")
        for i, code in enumerate(list(stage.arrived)[:96])
    ]
    with stage.lab.database.write(TECHNICIAN) as unit:
        results = receiving.receive(unit, stage.lab.rules, scans)
    for _ in scans:
        stage.arrived.popleft()
    outcomes = Counter(result.outcome.value for result in results)
    told = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
    stage.say(stage.clock.moment, f"reception: rack {rack}, {told}")


def _pool(stage: Stage) -> None:
    """Pool what came for pooling, five at a time; a lone tube goes onto a plate by itself."""
    with stage.lab.database.write(TECHNICIAN) as unit:
        waiting = [
            t for t in queries.tubes_in_state(unit.conn, TubeState.RECEIVED) if t.tube_id in stage.pooled
        ]
        groups = [waiting[i : i + 5] for i in range(0, len(waiting), 5)]
        made = [
            pools.form(unit, stage.lab.rules, [t.tube_id for t in group])
            for group in groups
            if len(group) > 2
        ]
    if made:
        sizes = "+".join(str(pool.persons) for pool in made)
        stage.say(stage.clock.moment, f"pooling: {len(made)} pools of {sizes} tubes")


def _plate(stage: Stage) -> str:
    """Make the next plate if the policy, or a technician's patience, wants one."""
    with stage.lab.database.write(TECHNICIAN) as unit:
        jobs = plates.jobs(unit, stage.lab.rules)
        impatient = any(unit.now - job.received > PATIENCE for job in jobs)
        try:
            code = plates.create(unit, stage.lab.rules, PlateOrder(now_whatever=impatient))
        except Refused:
            return ""
        wells = queries.wells(unit.conn, code)
    stage.say(stage.clock.moment, f"plate {code}: {sum(1 for well in wells if well['tube_id'])} tubes")
    return code


# -- runs -----------------------------------------------------------------------------------------


def _run(
    stage: Stage, env: simpy.Environment, plate: str, cycler: Cycler, free: simpy.Store
) -> Generator[Any, Any, None]:
    """Extract, load, cycle, let the cycler write its file, wait for the laboratory's answer."""
    yield env.timeout(PREPARE)
    stage.at(env.now)
    with stage.lab.database.write(TECHNICIAN) as unit:
        plates.load(unit, plate, plate, cycler.name)
    number = stage.number("run")
    truth, controls = _truth(stage, plate, number)
    assay = stage.lab.rules.assay(stage.lab.rules.default_assay)
    times = (stage.clock.moment, stage.start + timedelta(minutes=env.now + CYCLING))
    run = machines.run_of(cycler, plate, assay, truth, controls, times, stage.seed * 1000 + number)
    if stage.live:
        for _ in machines.write_live(cycler, run):
            yield env.timeout(CYCLING / run.cycles)
            stage.at(env.now)
    else:
        yield env.timeout(CYCLING)
    stage.at(env.now)
    machines.write_run(cycler, run)
    _wait_for(stage, plate)
    yield free.put(cycler)


def _truth(stage: Stage, plate: str, number: int) -> tuple[machines.Truth, dict[str, str]]:
    """What is really in each well of a plate."""
    assay = stage.lab.rules.assay(stage.lab.rules.default_assay)
    targets = [target.name for target in assay.targets]
    with stage.lab.database.read() as conn:
        wells = queries.wells(conn, plate)
        tubes = ledger.tubes(conn, [well["tube_id"] for well in wells if well["tube_id"]])
        members = queries.pool_members(conn, tubes)
    truth: dict[str, tuple[str, dict[str, float | None]]] = {}
    for place, well in enumerate(sorted(wells, key=lambda row: row["well"])):
        rng = reading_rng(stage.seed, number, place)
        if well["control"]:
            found = control_cq(stage.day, well["control"], number - 1, targets, rng)
        else:
            found = _reading(stage, tubes[well["tube_id"]], members.get(well["tube_id"], []), targets, rng)
        truth[well["well"]] = (well["tube_id"] or well["control"], dict(found))
    return truth, {well["well"]: well["control"] for well in wells if well["control"]}


def _reading(
    stage: Stage, tube: Tube, members: Iterable[str], targets: list[str], rng: np.random.Generator
) -> dict[str, float | None]:
    test = tube.test if tube.test in {"first", "re-amplify"} else "re-extract"
    if tube.kind is TubeKind.POOL:
        return pool_cq(stage.day, [stage.origin[code].tube for code in members], targets, rng, test=test)
    origin = stage.origin[tube.tube_id]
    if origin.person >= 0:
        return person_cq(stage.day, origin.person, targets, rng)
    return tube_cq(stage.day, origin.tube, targets, rng, test=test)


def _wait_for(stage: Stage, plate: str) -> None:
    """Wait until the plate's file has come through agent, bridge and reader."""
    while True:
        try:
            done = stage.done.get(timeout=ANSWER_SECONDS)
        except queue.Empty:
            raise LisError(
                "NO_ANSWER",
                f"The file of plate {plate} did not come through the bridge within {ANSWER_SECONDS:.0f} s. "
                "Look into the agent logs beside the database.",
            ) from None
        told = done.code or ", ".join(f"{count} {name}" for name, count in done.decisions.items())
        stage.say(stage.clock.moment, f"result of {done.plate_id or 'a file'}: {done.state}, {told}")
        if done.plate_id == plate or done.state != "read":
            return


# -- review and re-collection ---------------------------------------------------------------------


def _review(stage: Stage) -> None:
    """Two reviewers look at what the rules did not release."""
    lab = stage.lab
    with lab.database.read() as conn:
        waiting = queries.tubes_in_state(conn, TubeState.IN_REVIEW)
    for reviewer in (FIRST_REVIEWER, SECOND_REVIEWER):
        for tube in waiting:
            if reviewer == FIRST_REVIEWER or tube.result == "positive":
                with lab.database.write(reviewer) as unit:
                    reports.review(unit, lab.rules, tube.tube_id, "accept", "seen")
    if waiting:
        with lab.database.write(SECOND_REVIEWER) as unit:
            issued = reports.release(unit, lab.rules)
        stage.say(stage.clock.moment, f"review: {len(issued.reports)} tubes signed and released")


def _call_back(stage: Stage, env: simpy.Environment) -> None:
    """Persons who were called back come again after a while."""
    with stage.lab.database.read() as conn:
        open_recalls = queries.open_recalls(conn, limit=100_000)
        members = queries.people_of(conn, {row["tube_id"] for row in open_recalls})
        tubes = ledger.tubes(conn, members)
    for row in open_recalls:
        key = (row["tube_id"], row["person_id"])
        if key in stage.recalled:
            continue
        stage.recalled.add(key)
        place = members[row["tube_id"]].index(row["person_id"])
        origin = stage.origin[row["tube_id"]]
        number = origin.person if origin.person >= 0 else stage.day.people(origin.tube)[place]
        env.process(_return(stage, env, int(number), tubes[row["tube_id"]]))


def _return(stage: Stage, env: simpy.Environment, number: int, old: Tube) -> Generator[Any, Any, None]:
    low, high = RETURN
    yield env.timeout(low + (high - low) * (number * 0.618 % 1))
    code = _new_code(stage)
    stage.origin[code] = Origin(person=number)
    order = TubeData(code, TubeKind.SINGLE, 1, "yellow", old.site, persons=(person(number),), sealed=True)
    _register(stage, env, order)
    env.process(_travel(stage, env, code, 30.0))
