"""What a run came to: one turnaround per tube, and what every station saw."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.engine import Station
from sim.servers import Always, Rostered, spent

Minutes = NDArray[np.float64]
SHARES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
DAY = 1440
BIN_HOURS = 0.05
BINS = 20 * 24 * 10


@dataclass(frozen=True, slots=True, eq=False)
class StationLog:
    """What one station saw, part by part (a part is a tube or a plate: `unit`).

    Attributes:
        entered, started: minutes of every part, in order of start.
        begun, ended: minutes of every run of a server.
        busy: server-minutes of work.
        on: server-minutes on duty from 0 up to each of some minutes.
    """

    name: str
    entered: Minutes
    started: Minutes
    begun: Minutes
    ended: Minutes
    busy: float
    on: Callable[[Minutes], Minutes]
    unit: str = "item"

    @classmethod
    def of(cls, station: Station, unit: str = "item") -> "StationLog":
        """From a station after its run."""
        log = station.log
        entered = np.concatenate(log.entered) if log.entered else np.empty(0)
        begun, ended = np.asarray(log.started, dtype=float), np.asarray(log.ended, dtype=float)
        started = np.repeat(begun, np.asarray(log.sizes, dtype=int))
        entered = np.asarray(entered, dtype=float)
        return cls(station.name, entered, started, begun, ended, log.busy, station.servers.until, unit)

    @classmethod
    def direct(
        cls,
        name: str,
        entered: Minutes,
        started: Minutes,
        minutes: Minutes,
        on: Always | Rostered,
        unit: str = "item",
    ) -> "StationLog":
        """Of a station that was solved without events."""
        return cls(name, entered, started, started, started + minutes, float(minutes.sum()), on.until, unit)

    def between(self, start: float, end: float) -> "StationLog":
        """Of the parts that came, and the work that was done, between two minutes; minute 0 is `start`."""
        came = (self.entered >= start) & (self.entered < end)
        run = (self.begun >= start) & (self.begun < end)
        work = spent(np.array([start, end]), self.begun, self.ended)
        total = float((self.ended - self.begun).sum())
        return replace(
            self,
            entered=self.entered[came] - start,
            started=self.started[came] - start,
            begun=self.begun[run] - start,
            ended=self.ended[run] - start,
            busy=self.busy * float(work[1] - work[0]) / total if total > 0 else 0.0,
            on=lambda minutes: self.on(minutes + start) - self.on(np.array([start])),
        )

    def summary(self, end: float) -> dict[str, Any]:
        """Utilisation, waits and work (hours) and queue from minute 0 to one minute of the run."""
        waits = (self.started - self.entered) / 60
        on = float(self.on(np.array([end]))[0])
        come, go = np.sort(self.entered), np.sort(self.started)
        queue = np.arange(1, come.size + 1) - np.searchsorted(go, come, side="right")
        return {
            "unit": self.unit,
            "utilisation": self.busy / on if on > 0 else 0.0,
            "wait_h_mean": float(waits.mean()) if waits.size else 0.0,
            "wait_h_p95": float(np.quantile(waits, 0.95)) if waits.size else 0.0,
            "work_h_mean": float((self.ended - self.begun).mean()) / 60 if self.begun.size else 0.0,
            "queue_max": int(max(queue.max(), 0)) if queue.size else 0,
            "queue_mean": float(waits.sum() * 60 / end) if end > 0 else 0.0,
            "served": int(waits.size),
        }

    def trace(self, edges: Minutes) -> dict[str, Minutes]:
        """Queue at the end, and share of the time on duty that was work, of every stretch between edges."""
        come, go = np.sort(self.entered), np.sort(self.started)
        queue = np.searchsorted(come, edges, side="right") - np.searchsorted(go, edges, side="right")
        work, on = np.diff(spent(edges, self.begun, self.ended)), np.diff(self.on(edges))
        used = np.divide(work, on, out=np.zeros_like(work), where=on > 0)
        return {"queue": queue[1:].astype(float), "used": np.minimum(used, 1.0)}


@dataclass(frozen=True, slots=True)
class PlateLog:
    """One plate of a recorded run.

    Attributes:
        formed: minute at which it was closed, and why; `read` when its run was read.
        started: minute at which it was put into the cycler.
        tubes: their numbers; below 0 for pools.
        valid: whether its controls were good.
    """

    formed: float
    closed_by: str
    tubes: tuple[int, ...]
    read: float
    valid: bool
    started: float = float("nan")


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """One run of a scenario.

    Attributes:
        scenario, seed: what was run.
        arrived: minute at which each tube reached the laboratory, in order of arrival.
        turnaround: minutes from arrival until the laboratory was done with the tube (report or call-back),
            in order of arrival; tubes of persons who came again are among them.
        due: minute at which each was due; NaN without a deadline.
        group: index into `groups`, the (tier, mode) of each tube.
        reported: whether the tube ended in a report (else its persons were called back).
        persons: persons of each tube.
        stations: what the stations saw.
        counts: tests, plates, retests, recollections and what else was counted.
        decisions: (minute, tube, test, outcome, decision) of every decision, when asked for; the outcome is a
            place in `outcomes`.
        outcomes: (call, rule, Cq values that give it) of every outcome, when asked for.
        plates: every plate, when asked for, in order of reading.
        warmup: tubes left out of means and quantiles.
        window: minutes of arrival between which the tubes of this report came; None for all.
    """

    scenario: str
    seed: int
    arrived: Minutes
    turnaround: Minutes
    due: Minutes
    group: NDArray[np.int64]
    reported: NDArray[np.bool_]
    persons: NDArray[np.int64]
    groups: tuple[tuple[str, str], ...]
    stations: Mapping[str, StationLog]
    counts: Mapping[str, Any] = field(default_factory=dict)
    decisions: tuple[Any, ...] = ()
    outcomes: tuple[tuple[str, str, tuple[float, ...]], ...] = ()
    plates: tuple[PlateLog, ...] = ()
    warmup: int = 0
    window: tuple[float, float] | None = None

    def between(self, start: float, end: float) -> "Report":
        """Of the tubes that came between two minutes, and of the stations in that time.

        Counts (plates, tests, retests, call-backs) stay those of the whole run: they belong to no minute.
        """
        own = (self.arrived >= start) & (self.arrived < end)
        return replace(
            self,
            arrived=self.arrived[own],
            turnaround=self.turnaround[own],
            due=self.due[own],
            group=self.group[own],
            reported=self.reported[own],
            persons=self.persons[own],
            stations={name: log.between(start, end) for name, log in self.stations.items()},
            warmup=0,
            window=(start, end),
        )

    @classmethod
    def of_chain(
        cls,
        name: str,
        seed: int,
        arrived: Minutes,
        turnaround: Minutes,
        logs: Sequence[StationLog],
        warmup: int,
    ) -> "Report":
        """The report of a chain without laboratory rules."""
        size = arrived.size
        return cls(
            scenario=name,
            seed=seed,
            arrived=arrived,
            turnaround=turnaround,
            due=np.full(size, np.nan),
            group=np.zeros(size, dtype=np.int64),
            reported=np.ones(size, dtype=np.bool_),
            persons=np.ones(size, dtype=np.int64),
            groups=(("", "item"),),
            stations={log.name: log for log in logs},
            counts={"tests": size, "scheduled": size, "first_persons": size},
            warmup=warmup,
        )

    @property
    def hours(self) -> Minutes:
        """Turnaround in hours after the warm-up."""
        kept: Minutes = self.turnaround[self.warmup :] / 60
        return kept

    @property
    def end(self) -> float:
        """Minute at which the last tube was done."""
        return float(np.max(self.arrived + self.turnaround, initial=0.0))

    @property
    def late(self) -> NDArray[np.bool_]:
        """Whether each tube was done after it was due."""
        late: NDArray[np.bool_] = self.arrived + self.turnaround > self.due
        return late

    @property
    def on_time_share(self) -> float:
        """Share of tubes done by their due time."""
        return 1 - float(self.late[self.warmup :].mean()) if self.hours.size else 1.0

    def summary(self) -> dict[str, Any]:
        """The numbers of this run that replications are compared by; small and without arrays of tubes."""
        hours = self.hours
        quantiles = np.quantile(hours, list(SHARES.values())) if hours.size else np.zeros(len(SHARES))
        persons = int(self.persons.sum())
        counts = dict(self.counts)
        length = self.end if self.window is None else self.window[1] - self.window[0]
        return {
            "tubes": int(hours.size),
            "reports": int(self.reported[self.warmup :].sum()),
            "on_time_share": self.on_time_share,
            "late": int(self.late.sum()),
            "tat": {
                "mean": float(hours.mean()) if hours.size else 0.0,
                **{name: float(value) for name, value in zip(SHARES, quantiles, strict=True)},
                "max": float(hours.max(initial=0.0)),
            },
            "histogram": np.bincount(np.minimum((hours / BIN_HOURS).astype(int), BINS - 1), minlength=BINS),
            "stations": {name: log.summary(length) for name, log in self.stations.items()},
            "busy": {name: log.busy for name, log in self.stations.items()},
            "groups": self._by_group(),
            "days": self._by_day(),
            "retests": counts.get("retests", {}),
            "retest_share": counts.get("retested", 0) / max(counts.get("scheduled", hours.size), 1),
            "recollections": counts.get("recollections", 0),
            "no_shows": counts.get("no_shows", 0),
            "plates": counts.get("plates", 0),
            "failed_plates": counts.get("failed_plates", 0),
            "wells_empty": counts.get("wells_empty", 0),
            "tests": counts.get("tests", 0),
            "tests_per_person": counts.get("tests", 0) / max(counts.get("first_persons", persons), 1),
        }

    def trace(self, step: float) -> dict[str, Any]:
        """Over time: queues and use of every station, and by hour of arrival the tubes and the late ones.

        Args:
            step: minutes of one stretch.
        """
        edges = np.arange(0.0, self.end + step, step)
        stations = {name: log.trace(edges) for name, log in self.stations.items()}
        return {"step": step, "stations": stations, **self.by_hour()}

    def by_hour(self) -> dict[str, Any]:
        """Tubes, and late ones, by hour of arrival."""
        hour = (self.arrived % DAY // 60).astype(int)
        return {
            "hour_tubes": np.bincount(hour, minlength=24),
            "hour_late": np.bincount(hour, weights=self.late, minlength=24),
        }

    def _by_group(self) -> dict[str, dict[str, float]]:
        found = {}
        for number, (tier, mode) in enumerate(self.groups):
            own = self.group == number
            if own.any() and (tier or mode != "item"):
                hours = self.turnaround[own] / 60
                found[f"{tier} {mode}"] = {
                    "tubes": int(own.sum()),
                    "on_time_share": 1 - float(self.late[own].mean()),
                    "p50": float(np.quantile(hours, 0.5)),
                    "p95": float(np.quantile(hours, 0.95)),
                }
        return found

    def _by_day(self) -> list[dict[str, float]]:
        """By day of arrival; only for runs with deadlines."""
        if np.isnan(self.due).all():
            return []
        day = (self.arrived // DAY).astype(int)
        late, found = self.late, []
        first = 0 if self.window is None else int(self.window[0] // DAY)
        for number in range(first, int(day.max(initial=-1)) + 1):
            own = day == number
            tubes = int(own.sum())
            found.append(
                {
                    "day": number,
                    "tubes": tubes,
                    "on_time_share": 1 - float(late[own].mean()) if tubes else 1.0,
                    "p95": float(np.quantile(self.turnaround[own], 0.95)) / 60 if tubes else 0.0,
                }
            )
        return found
