"""`simulate` runs a scenario once; `replicate` runs it often, on all cores, and says how sure it is."""

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from importlib.resources import files
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from sim.chain import run_chain
from sim.faults import listed, phrase
from sim.lab import run_laboratory
from sim.refusal import refused
from sim.report import Report
from sim.scenario import DAY, Scenario
from sim.statistics import enough
from sim.study import Study
from sim.warmup import PILOTS, alike, counted, daily, settled, unsettled

Progress = Callable[[int, int, float], None]
CHUNK = 4
RETRIES = 3
CLUSTER_CHUNK = 50
"""Replications of one task: enough that sending it costs little beside playing it."""

CLUSTER_SECONDS = 10


def shipped_scenarios() -> tuple[str, ...]:
    """Names of the scenarios that come with the program."""
    places = files("sim").joinpath("scenarios").iterdir()
    return tuple(sorted(place.name.removesuffix(".toml") for place in places if place.name.endswith(".toml")))


def load(scenario: Scenario | str | Path) -> Scenario:
    """A scenario from its path or the name of a shipped one.

    Raises:
        ScenarioError: `UNKNOWN_SCENARIO`, naming the shipped ones, or what is wrong in the file.
    """
    if isinstance(scenario, Scenario):
        return scenario
    path = Path(scenario)
    if path.suffix == ".toml" or path.is_file():
        if not path.is_file():
            raise refused("UNKNOWN_SCENARIO", phrase("no-scenario-file", path=path))
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            raise refused("NOT_UTF8", phrase("not-utf8", name=path.name)) from None
        return Scenario.from_toml(text, path.parent)
    known = shipped_scenarios()
    if str(scenario) not in known:
        raise refused("UNKNOWN_SCENARIO", phrase("no-scenario", name=scenario, known=listed(known)))
    return Scenario.from_toml(files("sim").joinpath(f"scenarios/{scenario}.toml").read_text("utf-8"))


def simulate(
    scenario: Scenario | str | Path,
    seed: int,
    draws: Mapping[str, Any] | None = None,
    *,
    replication: int = 0,
    record: bool = False,
) -> Report:
    """Run a scenario once; the same scenario, seed and replication give the same report anywhere.

    Args:
        scenario: a scenario, the path of its file, or the name of a shipped one.
        seed: of the run.
        draws: numbers to use instead of drawn ones: `arrivals` (minutes) and, under `service` or directly
            under the station's name, service times (minutes) in order of start.
        replication: number of the replication under this seed.
        record: keep every decision of the policies in `Report.decisions`.

    Raises:
        ScenarioError: the scenario cannot be played, or its work never ends; code and sentence say why.
    """
    plan = load(scenario)
    if plan.engine is not None:
        return run_chain(plan.name, plan.engine, seed, replication, draws)
    return run_laboratory(plan, seed, replication, draws, record=record)


def _one(
    scenario: Scenario, seed: int, numbers: Sequence[int], step: float = 0.0
) -> list[tuple[int, dict[str, Any]]]:
    """A chunk of replications in a worker; with a step (minutes) what happened over time as well.

    Of one whose warm-up is still to be found the means of its days.
    """
    found = []
    for number in numbers:
        report = simulate(scenario, seed, replication=number)
        if unsettled(scenario):
            found.append((number, {"daily": daily(report)}))
            continue
        kept = counted(scenario, report)
        traced = {"trace": report.trace(step) | kept.by_hour()} if step else {}
        left_out = int((report.arrived < (scenario.warm_up_days or 0) * DAY).sum()) + report.warmup
        found.append((number, kept.summary() | traced | {"warm_up": left_out}))
    return found


def replicate(  # noqa: PLR0913 - each is a setting of a study, given by name
    scenario: Scenario | str | Path,
    replications: int,
    seed: int,
    *,
    workers: int = 0,
    half_width: float = 0.0,
    step: float = 0.0,
    cluster: str = "",
    progress: Progress | None = None,
) -> Study:
    """Run a scenario `replications` times.

    Args:
        scenario: as for `simulate`.
        replications: how many; with `half_width` the most there may be.
        seed: the same seed gives the same numbers for every replication, whatever `workers` is.
        workers: processes; 0 for one per core, 1 for none beside this one.
        half_width: stop as soon as the 95 % interval of P95 is this narrow (hours).
        cluster: address of a Dask scheduler whose workers play the replications instead of `workers`; seeds
            go by number, so the figures are the same wherever they are played.
        step: minutes; above 0 every run also tells queues and use of stations over time in such steps.
        progress: called with (done, of, seconds) as replications come in.
    """
    plan = load(scenario)
    if replications < 1 or workers < 0 or half_width < 0:
        raise refused("BAD_STUDY", phrase("study"))
    started = time.monotonic()
    runs: dict[int, dict[str, Any]] = {}
    (plan,) = warmed([plan], seed, workers=workers, cluster=cluster)
    source = _source(plan, seed, replications, workers, cluster, step)
    stopped = False
    try:
        for number, summary in source:
            runs[number] = summary
            if progress is not None:
                progress(len(runs), replications, time.monotonic() - started)
            whole = _unbroken(runs)
            if half_width and enough([runs[n]["tat"]["p95"] for n in range(whole)], half_width):
                runs = {n: runs[n] for n in range(whole)}
                break
    except KeyboardInterrupt:
        if not runs:
            raise
        stopped = True
    finally:
        source.close()
    ordered = tuple(runs[number] for number in sorted(runs))
    return Study(plan, seed, ordered, time.monotonic() - started, stopped)


def warmed(plans: Sequence[Scenario], seed: int, *, workers: int = 0, cluster: str = "") -> list[Scenario]:
    """Scenarios to be compared; those that go on with their warm-up, found by pilots, the longest for all.

    Raises:
        ScenarioError: `NOT_SETTLED`.
    """
    found = []
    for plan in plans:
        if unsettled(plan):
            pilots = dict(_source(plan, seed, PILOTS, workers, cluster, 0.0))
            found.append(settled(plan, [pilots[number]["daily"] for number in range(PILOTS)]))
        else:
            found.append(plan)
    return alike(found)


def step_of(scenario: Scenario) -> float:
    """Minutes of one stretch that show a scenario over time without drowning in points."""
    days = scenario.laboratory.days if scenario.laboratory is not None else 30
    return 15.0 if days <= 2 else 30.0 if days <= 5 else 60.0


def _unbroken(runs: Mapping[int, Any]) -> int:
    """How many replications are there without a gap, so that the stop does not depend on who was faster."""
    count = 0
    while count in runs:
        count += 1
    return count


Pieces = Iterator[tuple[int, dict[str, Any]]]


def _source(plan: Scenario, seed: int, replications: int, workers: int, cluster: str, step: float) -> Any:
    """Where the replications are played: on a cluster, in processes of this machine, or here."""
    count = min(workers or os.cpu_count() or 1, replications)
    if cluster:
        return _on_cluster(plan, seed, replications, cluster, step)
    if count > 1:
        return _in_pool(plan, seed, replications, count, step)
    return _serially(plan, seed, replications, step)


def _serially(plan: Scenario, seed: int, replications: int, step: float) -> Any:
    for number in range(replications):
        yield from _one(plan, seed, [number], step)


def _in_pool(plan: Scenario, seed: int, replications: int, workers: int, step: float) -> Any:
    """Chunks in worker processes; when a worker dies its chunks are run again in a new pool."""
    size = max(1, min(CHUNK, replications // (2 * workers)))
    waiting = [list(range(a, min(a + size, replications))) for a in range(0, replications, size)]
    for _ in range(RETRIES):
        lost: list[list[int]] = []
        with quiet_pool(workers) as pool:
            futures = {pool.submit(_one, plan, seed, chunk, step): chunk for chunk in waiting}
            for future, chunk in _completed(futures):
                try:
                    found = future.result()
                except BrokenProcessPool:
                    lost.append(chunk)
                    continue
                yield from found
        if not lost:
            return
        waiting = sorted(lost)
    raise refused("WORKERS_DIE", phrase("workers-die"))


def _on_cluster(plan: Scenario, seed: int, replications: int, address: str, step: float) -> Any:
    """Chunks on the workers of a Dask scheduler; a chunk whose worker dies is played again by another."""
    try:
        from distributed import Client, as_completed
    except ImportError as error:
        raise refused("NO_CLUSTER", phrase("no-dask")) from error
    try:
        client = Client(address, timeout=CLUSTER_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise refused("NO_CLUSTER", phrase("no-scheduler", address=address)) from error
    with client:
        lanes = max(sum(client.nthreads().values()), 1)
        size = max(1, min(CLUSTER_CHUNK, replications // (2 * lanes)))
        chunks = [list(range(a, min(a + size, replications))) for a in range(0, replications, size)]
        futures = [
            client.submit(_one, plan, seed, chunk, step, pure=False, retries=RETRIES) for chunk in chunks
        ]
        try:
            for _, found in as_completed(futures, with_results=True, loop=client.loop):
                yield from found
        finally:
            client.cancel(futures)


@contextmanager
def quiet_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Worker processes that leave Ctrl-C to this one; what is not begun at the end is never begun."""
    pool = ProcessPoolExecutor(
        workers,
        mp_context=get_context("spawn"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    )
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _completed(futures: Mapping[Future[Any], list[int]]) -> Iterable[tuple[Future[Any], list[int]]]:
    left = set(futures)
    while left:
        done, left = wait(left, return_when=FIRST_COMPLETED)
        for future in sorted(done, key=lambda one: futures[one]):
            yield future, futures[future]


def scaled(scenario: Scenario, factor: float) -> Scenario:
    """The same scenario with `factor` times as many tubes."""
    streams = tuple(replace(source, tubes=round(source.tubes * factor)) for source in scenario.streams)
    return replace(scenario, streams=streams)
