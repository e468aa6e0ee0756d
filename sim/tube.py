"""A tube that is more than one waiting for its first test."""

from dataclasses import dataclass

from retest import Material
from sim.verdicts import Past


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
