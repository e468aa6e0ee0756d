"""A chain of stations without laboratory rules: how the engine is held against theory.

```toml
name = "mm8"
[engine]
items = 200_000
arrivals = { kind = "poisson", rate = 7.2 }      # a minute; or kind = "every", minutes = 2; or "at-once"
warmup = 1000                                    # items left out of the statistics
[[engine.chain]]
name = "counter"
servers = 8
service = { kind = "exponential", mean = 1.0 }
batch = [1, 1]                                   # items a run takes: least and most; left out: as they come
then = { "counter" = 0.05 }                      # feedback or branching; the rest goes on to the next station
```
"""

import gc
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import simpy
from numpy.typing import ArrayLike, NDArray

from scheduler.shifts import Rota, Shift, windows
from sim.engine import Items, Lots, Station, at_times, run_dry
from sim.faults import Both, listed, phrase
from sim.fifo import fifo, fifo_rostered
from sim.refusal import (
    ScenarioError,
    check_keys,
    check_types,
    entries,
    joined,
    made,
    named,
    refused,
    typed,
    within,
)
from sim.report import Report, StationLog
from sim.servers import Always, Rostered
from sim.service import Service, Times, stream

Minutes = NDArray[np.float64]
ARRIVALS = {"poisson": ("rate",), "every": ("minutes",), "at-once": (), "given": ("times",)}
OUT = "out"
DRAIN_DAYS = 60


@dataclass(frozen=True, slots=True)
class Link:
    """One station of a chain.

    Attributes:
        name: unique in the chain.
        servers: how many; with `rota` the rota says how many.
        service: minutes of a run.
        batch: least and most items of a run; None: lots as they come (single items at the first station).
        then: station name (or `out`) -> probability; what is left goes on to the next station.
        rota: when servers are on; None: always.
        events: whether this station goes through SimPy even where it could be solved directly.
    """

    name: str
    servers: int
    service: Service
    batch: tuple[int, int] | None = None
    then: Mapping[str, float] = field(default_factory=dict)
    rota: Rota | None = None

    def __post_init__(self) -> None:
        if self.servers < 1:
            raise refused("BAD_STATION", phrase("at-least", value=self.servers, least=1), "servers")
        if self.batch is not None and not 1 <= self.batch[0] <= self.batch[1]:
            raise refused("BAD_STATION", phrase("least-most", value=list(self.batch)), "batch")
        shares = self.then.values()
        if min(shares, default=0) < 0 or sum(shares) > 1 + 1e-9:
            raise refused("BAD_STATION", phrase("then-shares"), "then")


@dataclass(frozen=True, slots=True)
class Chain:
    """What comes in, and the stations it passes.

    Attributes:
        items: how many come.
        arrivals: kind and its values, as in the module's example.
        chain: the stations in order.
        warmup: items left out of means and quantiles, the first ones.
        continuing: it never stands empty: the warm-up is found (in whole days) and left out.
        solve: `direct` solves leading first-come-first-served stations without events; `events` never does.
    """

    items: int
    arrivals: Mapping[str, Any]
    chain: tuple[Link, ...]
    warmup: int = 0
    solve: str = "direct"
    continuing: bool = False

    def __post_init__(self) -> None:
        names = [link.name for link in self.chain]
        if not names or len(set(names)) < len(names) or OUT in names:
            raise refused("BAD_CHAIN", phrase("chain-names"), "chain")
        for number, link in enumerate(self.chain):
            unknown = sorted(set(link.then) - set(names) - {OUT})
            if unknown:
                place = joined(named("chain", {"name": link.name}, number), "then", unknown[0])
                raise refused(
                    "UNKNOWN_STATION", phrase("no-such-station", known=listed([*names, OUT])), place
                )
        self._check_arrivals()
        for wrong, key, what in (
            (self.items < 1, "items", phrase("at-least", value=self.items, least=1)),
            (not 0 <= self.warmup < self.items, "warmup", phrase("warmup-few")),
            (
                bool(self.warmup) and self.continuing,
                "warmup",
                phrase("warmup-found"),
            ),
            (self.solve not in ("direct", "events"), "solve", phrase("solve")),
        ):
            if wrong:
                raise refused("BAD_CHAIN", what, key)

    def _check_arrivals(self) -> None:
        kind = self.arrivals.get("kind")
        if kind not in ARRIVALS or set(self.arrivals) - {"kind"} != set(ARRIVALS[kind]):
            kinds = Both(
                "; ".join(" with ".join([name, *more]) for name, more in ARRIVALS.items()),
                "；".join(
                    f"{name}（{'、'.join(more)}）" if more else name for name, more in ARRIVALS.items()
                ),
            )
            raise refused("BAD_ARRIVAL", phrase("arrival-kinds", kinds=kinds), "arrivals")
        for key in ("rate", "minutes"):
            if key in self.arrivals and typed(float, f"arrivals.{key}", self.arrivals[key]) <= 0:
                what = phrase("above-zero", value=self.arrivals[key])
                raise refused("NEGATIVE_RATE", what, f"arrivals.{key}")

    @classmethod
    def read(cls, facts: Mapping[str, Any]) -> "Chain":
        """From the `[engine]` table of a scenario."""
        check_keys(facts, {"chain"}, {"items", "arrivals", "warmup", "solve", "continuing"})
        arrivals = typed(dict, "arrivals", facts.get("arrivals", {"kind": "at-once"}))
        for time in typed(list, "arrivals.times", arrivals.get("times", [])):
            typed(float, "arrivals.times", time)
        return cls(
            items=typed(int, "items", facts.get("items", len(arrivals.get("times", ())) or 1)),
            arrivals=arrivals,
            chain=tuple(_link(entry, n) for n, entry in enumerate(entries(facts, "chain"), start=1)),
            warmup=typed(int, "warmup", facts.get("warmup", 0)),
            solve=typed(str, "solve", facts.get("solve", "direct")),
            continuing=typed(bool, "continuing", facts.get("continuing", False)),
        )

    def arrive(self, rng: np.random.Generator) -> Minutes:
        """Arrival times in minutes, ascending."""
        kind = self.arrivals["kind"]
        if kind == "poisson":
            return np.cumsum(rng.exponential(1 / self.arrivals["rate"], self.items))
        if kind == "every":
            return np.arange(self.items, dtype=np.float64) * float(self.arrivals["minutes"])
        if kind == "given":
            return np.array(self.arrivals["times"], dtype=np.float64)
        return np.zeros(self.items)


def _link(facts: Any, number: int) -> Link:
    with within(named("chain", facts, number)):
        check_keys(
            facts, {"name", "service"}, {"servers", "batch", "then", "shift", "ending", "spell", "rest"}
        )
        rota = read_rota(facts) if "shift" in facts else None
        batch = facts.get("batch")
        if batch is not None and (
            len(typed(list, "batch", batch)) != 2 or not all(type(n) is int for n in batch)
        ):
            raise refused("BAD_STATION", phrase("pair-wanted"), "batch")
        for name, share in typed(dict, "then", facts.get("then", {})).items():
            typed(float, joined("then", name), share)
        with within("service"):
            service = Service.read(facts["service"])
        return Link(
            name=typed(str, "name", facts["name"]),
            servers=typed(int, "servers", facts.get("servers", rota.positions if rota else 1)),
            service=service,
            batch=(batch[0], batch[1]) if batch else None,
            then=dict(facts.get("then", {})),
            rota=rota,
        )


def read_rota(facts: Mapping[str, Any]) -> Rota:
    """A rota from a table with `shift` entries and, optionally, `spell`, `rest`, `ending`."""
    shifts = tuple(_shift(entry, n) for n, entry in enumerate(entries(facts, "shift"), start=1))
    more = {key: facts[key] for key in ("spell", "rest", "ending") if key in facts}
    check_types(more, Rota)
    with within("shift"):
        Rota(shifts)
    found: Rota = made(Rota, {"shifts": shifts, **more})
    return found


def _shift(facts: Any, number: int) -> Shift:
    with within(named("shift", facts, number)):
        check_keys(facts, {"start", "end", "people"}, Shift.__dataclass_fields__)
        pauses = typed(list, "breaks", facts.get("breaks", []))
        if not all(isinstance(pause, list) and len(pause) == 2 for pause in pauses):
            raise refused("BAD_TYPE", phrase("breaks"), "breaks")
        breaks = tuple((typed(float, "breaks", a), typed(float, "breaks", b)) for a, b in pauses)
        found: Shift = made(Shift, {"name": f"shift {number}", **facts, "breaks": breaks})
    return found


def given_draws(draws: Any) -> tuple[ArrayLike | None, Mapping[str, ArrayLike]]:
    """Arrivals and service times per station out of the `draws` argument.

    Takes `{"arrivals": [...], "service": {station: [...]}}`; the service times may also stand beside
    `arrivals` under the names of the stations.
    """
    if draws is None:
        return None, {}
    if not isinstance(draws, Mapping):
        raise ScenarioError("BAD_DRAWS", "draws is a mapping with `arrivals` and service times per station.")
    services: dict[str, ArrayLike] = {}
    for key, value in draws.items():
        if key in ("service", "services"):
            services.update(value)
        elif key != "arrivals":
            services[key] = value
    return draws.get("arrivals"), services


def run_chain(name: str, chain: Chain, seed: int, replication: int = 0, draws: Any = None) -> Report:
    """Run a chain once; the report's turnaround is in order of arrival."""
    arrivals, services = given_draws(draws)
    unknown = sorted(set(services) - {link.name for link in chain.chain})
    if unknown:
        raise refused("UNKNOWN_STATION", phrase("draws-stations", unknown=listed(unknown)))
    times = {
        link.name: Times(
            link.name, link.service, stream(seed, replication, link.name), services.get(link.name)
        )
        for link in chain.chain
    }
    came = (
        chain.arrive(stream(seed, replication, "arrivals"))
        if arrivals is None
        else np.asarray(arrivals, dtype=float)
    )
    order = np.argsort(came, kind="stable")
    if came.size and not (np.all(np.isfinite(came)) and came.min() >= 0):
        raise ScenarioError("BAD_DRAWS", "Arrival times are finite and not below 0.")
    left, logs = _run(chain, came[order], times, lambda station: stream(seed, replication, station, 1))
    turnaround = np.empty_like(came)
    turnaround[order] = left - came[order]
    return Report.of_chain(name, seed, came, turnaround, logs, chain.warmup if arrivals is None else 0)


def _prefix(chain: Chain) -> int:
    """How many leading stations can be solved directly."""
    if chain.solve == "events":
        return 0
    fed = {name for link in chain.chain for name in link.then}
    count = 0
    for link in chain.chain:
        plain = link.batch in (None, (1, 1)) and not link.then and link.name not in fed
        if not plain or (link.rota is not None and link.rota.ending != "overrun"):
            break
        count += 1
    return count


def _run(
    chain: Chain, came: Minutes, times: Mapping[str, Times], routing: Callable[[str], np.random.Generator]
) -> tuple[Minutes, list[StationLog]]:
    logs, ids, at = [], np.arange(came.size), came
    first = _prefix(chain)
    last_day = int(came[-1] // 1440) + DRAIN_DAYS if came.size else 1
    for link in chain.chain[:first]:
        minutes = times[link.name].many(at.size)
        if link.rota is None:
            starts = fifo(at, minutes, link.servers)
        else:
            starts = fifo_rostered(at, minutes, windows(link.rota, last_day))
        on = Always(link.servers) if link.rota is None else Rostered(windows(link.rota, last_day))
        logs.append(StationLog.direct(link.name, at, starts, minutes, on))
        ends = starts + minutes
        order = np.argsort(ends, kind="stable")
        ids, at = ids[order], ends[order]
    left = np.empty_like(came)
    left[ids] = at
    if first < len(chain.chain):
        net = _Net(chain.chain[first:], times, routing, last_day)
        collecting = gc.isenabled()
        gc.disable()  # nothing here makes cycles worth collecting during the run
        try:
            left = net.run(ids, at)
        finally:
            if collecting:
                gc.enable()
        logs += [StationLog.of(station) for station in net.stations]
    return left, logs


class _Net:
    """The stations that need events. A lot is an item number, or an array of item numbers."""

    def __init__(
        self,
        links: Sequence[Link],
        times: Mapping[str, Times],
        routing: Callable[[str], np.random.Generator],
        days: int,
    ) -> None:
        self.env = simpy.Environment()
        self.left: Minutes = np.empty(0)
        self.stations = []
        self.place = {link.name: number for number, link in enumerate(links)}
        self.fed = {name for link in links for name in link.then}
        after: dict[str, str] = {a.name: b.name for a, b in pairwise(links)}
        for link in links:
            queue = Lots() if link.batch is None else Items(*link.batch)
            servers = (
                Always(link.servers)
                if link.rota is None
                else Rostered(windows(link.rota, days), link.rota.ending)
            )
            onward = self._onward(after.get(link.name, OUT))
            if link.then:
                onward = self._split(link, onward, routing(link.name))
            self.stations.append(Station(self.env, link.name, queue, servers, times[link.name], onward))

    def run(self, ids: NDArray[np.int64], at: Minutes) -> Minutes:
        """Feed items at ascending times; returns when each left."""
        self.left = np.full(ids.size, np.nan)
        first = self.stations[0]
        if isinstance(first.queue, Items) and first.name not in self.fed:
            first.queue.foresee(ids, at)
            first.poke()
        else:
            enter = self._enter(0)
            numbers = ids.tolist()
            at_times(self.env, at.tolist(), lambda number: enter(numbers[number]))
        stuck = run_dry(self.env, self.stations)
        if stuck:
            raise refused("NEVER_ENDS", phrase("work-left", stations=listed(stuck)))
        return self.left

    def _enter(self, place: int) -> Callable[[Any], None]:
        env = self.env

        def enter(lot: Any) -> None:
            station = self.stations[place]
            if isinstance(station.queue, Items):
                station.queue.put(np.atleast_1d(lot), env.now)
            else:
                station.queue.put(lot, env.now)  # type: ignore[attr-defined]
            station.poke()

        return enter

    def _onward(self, name: str) -> Callable[[Any], None]:
        if name == OUT:

            def leave(batch: Any) -> None:
                for lot in batch if isinstance(batch, list) else [batch]:
                    self.left[lot] = self.env.now

            return leave
        enter = self._enter(self.place[name])

        def go_on(batch: Any) -> None:
            for lot in batch if isinstance(batch, list) else [batch]:
                enter(lot)

        return go_on

    def _split(
        self, link: Link, onward: Callable[[Any], None], rng: np.random.Generator
    ) -> Callable[[Any], None]:
        """Each item goes its own way."""
        ways = [self._enter(self.place[name]) if name != OUT else self._onward(OUT) for name in link.then]
        edges = np.cumsum(list(link.then.values())).tolist()
        drawn: list[float] = []

        def branch(batch: Any) -> None:
            for lot in batch if isinstance(batch, list) else [batch]:
                for item in [lot] if isinstance(lot, int) else lot.tolist():
                    if not drawn:
                        drawn.extend(rng.uniform(size=1024)[::-1].tolist())
                    way = bisect_right(edges, drawn.pop())
                    (ways[way] if way < len(ways) else onward)(item)

        return branch
