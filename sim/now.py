"""The laboratory as it stands: what waits, what is in work, and what is known of how it goes on from here.

Minutes count from the last midnight (of the zone in which waves are given), so that `State.now` is a
minute of the day and whatever happened yesterday lies below 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scheduler import FillRules
from sim.duty import Duty, Machines, Wear
from sim.refusal import ScenarioError
from sim.service import Service, smooth

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

COMING, WAITING, ON_PLATE, POOLED, IN_REVIEW = range(5)
"""Where a tube stands: on its way, in the line for a plate, on one, in a pool, read and not yet reported."""

KINDS = ("single", "mixed", "pool")
POOL = 2
COLUMNS = (
    *("where", "came", "due", "promised", "priority", "persons"),
    *("kind", "again", "lane", "plate", "pool"),
)
NEXT = ("report", "review", "retest", "recollect")
FORESEEN: Mapping[str, tuple[str, ...]] = {
    "conclude": ("report", "review"),
    "retest": ("retest",),
    "test-singly": ("retest",),
    "recollect": ("recollect",),
}
"""What the curves of a running plate let the rules do with a tube -> the courses that may be meant."""


@dataclass(frozen=True, slots=True)
class Step:
    """One station after the line, as far as a forecast needs to know it.

    Attributes:
        name: for people.
        service: minutes of one plate.
        servers: plates at once; 0 where nobody ever waits, so that `service` is a delay.
        reads: the cycler. Exactly one step reads; what follows it is review.
        per_positive: minutes added for every tube on the plate that a reviewer has to look at.
        duty: who works there, as planned; None where no plan says it.
        hours: 24 hours of the day, False where nobody was ever seen at work; empty for always.
        each: plates at once that one person attends to; 0 to share `servers` among the most planned.
        wear: machines out of service.
        machines: others that it cannot work without, by kind.
        blocks: minutes by parts of the day, of equal length; empty where `service` holds all day.
    """

    name: str
    service: Service
    servers: int = 0
    reads: bool = False
    per_positive: float = 0.0
    duty: Duty | None = None
    hours: tuple[bool, ...] = ()
    each: float = 0.0
    wear: Wear = field(default_factory=Wear)
    machines: tuple[Machines, ...] = ()
    blocks: tuple[Service, ...] = ()

    def more(self, servers: int) -> "Step":
        """The same with so many servers more; where people are planned, with so many more of them."""
        if self.duty is None or not self.duty.most:
            return replace(self, servers=self.servers + servers)
        each = self.each or self.servers / self.duty.most
        duty = replace(self.duty, more=self.duty.more + servers)
        return replace(self, servers=self.servers + max(round(each), 1) * servers, each=each, duty=duty)


@dataclass(frozen=True, slots=True)
class Course:
    """What may follow a test, and how often it does.

    Attributes:
        next: `report` (leaves when it is read), `review` (leaves after the reviewer), `retest` (of a pool:
            its members are tested singly), `recollect` (its persons are called back).
        share: of such tests.
        test, priority, hours: of the retest; 0 hours leave its due time alone.
    """

    next: str
    share: float
    test: str = "re-extract"
    priority: int = 0
    hours: float = 0.0

    def __post_init__(self) -> None:
        if self.next not in NEXT or not 0 <= self.share <= 1:
            raise ScenarioError("BAD_COURSE", f"A course is one of {', '.join(NEXT)}, with a share in 0..1.")


@dataclass(frozen=True, slots=True)
class Tide:
    """Tubes nobody has announced: how many come in each hour of the day, and of which tiers.

    Attributes:
        per_hour: 24 expected counts.
        tiers: (share, priority, hours until due) of what comes.
        persons: mean number in a tube.
    """

    per_hour: tuple[float, ...] = (0.0,) * 24
    tiers: tuple[tuple[float, int, float], ...] = ((1.0, 0, 24.0),)
    persons: float = 1.0


@dataclass(frozen=True)
class Model:
    """How the laboratory works.

    Attributes:
        steps: stations after the line, in order.
        courses: "KIND first" and "KIND again" -> what may follow such a test; shares add up to 1.
        fill: how plates are filled: the rules of the bench.
        failing: share of plates whose controls fail; everything on them is tested again.
        failed_priority: priority of what is tested again for that reason.
        travel: minutes from sealing to receipt.
        tide: what comes unannounced.
        retest_priority: added to every retest (a trial of "retests first").
        reception: who is planned there; while nobody is, tubes that come wait at the door. None: always open.
    """

    steps: tuple[Step, ...]
    courses: Mapping[str, tuple[Course, ...]]
    fill: FillRules
    failing: float = 0.0
    failed_priority: int = 60
    travel: Service = field(default_factory=lambda: Service("fixed", mean=60.0))
    tide: Tide = field(default_factory=Tide)
    retest_priority: int = 0
    reception: Duty | None = None

    def __post_init__(self) -> None:
        if sum(step.reads for step in self.steps) != 1:
            raise ScenarioError("BAD_MODEL", "Exactly one step reads (the cycler).")
        if not 0 <= self.failing < 1:
            raise ScenarioError("BAD_MODEL", "The share of failing plates lies between 0 and 1.")
        for name in (f"{kind} {test}" for kind in KINDS for test in ("first", "again")):
            shares = [course.share for course in self.courses.get(name, ())]
            if abs(sum(shares) - 1) > 1e-6:
                raise ScenarioError(
                    "BAD_MODEL", f"The courses after {name} tests have shares that add up to 1."
                )

    @property
    def reads_at(self) -> int:
        """Index of the step that reads."""
        return next(n for n, step in enumerate(self.steps) if step.reads)

    def with_servers(self, number: int, more: int) -> "Model":
        """The same laboratory with so many servers more at one step."""
        steps = list(self.steps)
        steps[number] = steps[number].more(more)
        return replace(self, steps=tuple(steps))


@dataclass(frozen=True, slots=True)
class InWork:
    """A plate on its way.

    Attributes:
        step: index of the step at which it stands.
        elapsed: minutes it has been there.
        waiting: it waits for that step; else it is in work there.
        left: minutes left there, when somebody knows better than the distribution.
    """

    step: int
    elapsed: float = 0.0
    waiting: bool = False
    left: float | None = None


@dataclass(frozen=True, eq=False)
class State:
    """Every tube that has no report yet, and every plate on its way; arrays of shape (tubes,).

    Attributes:
        now: minute of the day.
        names: barcodes.
        where: `COMING` .. `IN_REVIEW`.
        came: minute since which it stands there. Of a coming tube: when it was sealed, or, above `now`,
            when it will be there.
        due: minute at which its next step is due, by which it is scheduled.
        promised: minute at which its report was promised; what is reported later is late.
        priority, persons: as the scheduler sees them.
        kind: index into `KINDS`; a pool is a tube among others, its members follow it with `pool`.
        again: whether the test it waits for, or has, is a retest.
        lane: number of its assay; a plate holds one.
        plate: index into `plates`, -1 for none.
        pool: index of its pool, -1 for none.
        plates: plates on their way.
        told: place -> a key of `FORESEEN`: what the curves of a running plate let the rules do with it.
    """

    now: float
    names: tuple[str, ...]
    where: Ints
    came: Floats
    due: Floats
    promised: Floats
    priority: Ints
    persons: Ints
    kind: Ints
    again: NDArray[np.bool_]
    lane: Ints
    plate: Ints
    pool: Ints
    plates: tuple[InWork, ...] = ()
    told: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        size = len(self.names)
        for name in COLUMNS:
            if getattr(self, name).shape != (size,):
                raise ScenarioError("BAD_STATE", f"State: {name} has one value a tube, {size} in all.")
        if ((self.where == ON_PLATE) & ((self.plate < 0) | (self.plate >= len(self.plates)))).any():
            raise ScenarioError("BAD_STATE", "State: a tube on a plate names that plate.")
        if ((self.where == POOLED) & ((self.pool < 0) | (self.pool >= size))).any():
            raise ScenarioError("BAD_STATE", "State: a tube in a pool names that pool.")

    @classmethod
    def of(
        cls, now: float, names: tuple[str, ...], plates: tuple[InWork, ...] = (), **given: object
    ) -> "State":
        """A state from what is not usual: else single tubes of one assay that wait, due in a day."""
        size = len(names)
        usual = {"where": WAITING, "came": now, "due": now + 1440.0, "priority": 0, "persons": 1, "kind": 0}
        usual |= {"again": False, "lane": 0, "plate": -1, "pool": -1}
        made: dict[str, Any] = {name: np.full(size, value) for name, value in usual.items()}
        for name in ("came", "due"):
            made[name] = made[name].astype(np.float64)
        for name in given.keys() - {"promised"}:
            made[name] = _filled(given[name], made[name])
        made["promised"] = _filled(given.get("promised", made["due"]), made["due"])
        return cls(now, names, plates=plates, **made)

    def joined(self, other: "State") -> "State":
        """This state with the tubes of another one behind, of the same minute and without plates."""
        made: dict[str, Any] = {
            name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in COLUMNS
        }
        moved = np.where(other.pool >= 0, other.pool + len(self.names), -1)
        made["pool"] = np.concatenate([self.pool, moved])
        return replace(self, names=self.names + other.names, **made)


def _filled(value: Any, like: NDArray[Any]) -> NDArray[Any]:
    """One value for all tubes, or one for each."""
    found = np.asarray(value, dtype=like.dtype)
    return np.full(like.shape, found) if not found.ndim else found


DRAWN = 2000
"""Values that stand for a distribution where what is left of it is asked."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Values that stand for the minutes of a work.

    Attributes:
        values: ascending.
        measured: they are all that is known, not drawn from a distribution that is.
    """

    values: Floats
    measured: bool = False

    @classmethod
    def of(cls, service: Service, rng: np.random.Generator) -> "Seen":
        """Those that were measured, or drawn ones."""
        values = np.asarray(service.values) if service.values else service.draw(DRAWN, rng)
        return cls(np.sort(values.astype(np.float64)), measured=service.kind == "smoothed")


def left_of(seen: Seen, elapsed: Floats, uniform: Floats) -> Floats:
    """Minutes left of works that have lasted `elapsed` minutes: the distribution beyond that point.

    Oakley, Onggo & Worthington (HCMS 2020, 10.1007/s10729-019-09485-1) start simulations from a live
    state in this way. Work that lasts longer than (nearly) everything seen before has lost its
    distribution: what is left is then taken as exponential with a tenth of the mean. Of measured values
    the gaps count as well as the values (`sim.service.smooth`).

    Args:
        seen: what stands for the distribution.
        elapsed: of each work.
        uniform: a number between 0 and 1 for each work.
    """
    values = seen.values
    done = np.maximum(elapsed, 0.0)
    first = np.where(done > 0, np.searchsorted(values, done, side="right"), 0)
    longer = values.size - first
    tail = -max(0.1 * float(values.mean()), 1.0) * np.log1p(-uniform)
    if seen.measured:
        known: Floats = smooth(values, uniform, first, done) - done
        return np.where(longer == 0, tail, known)
    place = np.minimum(first + (uniform * longer).astype(np.int64), values.size - 1)
    left: Floats = np.where(longer < max(3, values.size // 100), tail, values[place] - done)
    return left
