"""The three modes of pooling, as types that cannot be confused.

A laboratory pool is made of `Individual` tubes and of nothing else: a tube mixed at collection, the shared
tube of two swabs, a retained tube and a pool are other types, refused by the type checker and again when
the pool is made ("30-in-1" was never validated and loses positives: NHC clinical laboratory centre,
2022-06-09).
"""

from dataclasses import dataclass
from enum import StrEnum

from pooling.dilution import lab_shift, medium_shift
from pooling.size import PoolDesignError

SINGLE_ML = 3.0
"""Medium of a single tube, against which a larger medium dilutes (3 / 5 / 6 / 12 mL for 1 / 5 / 10 / 20)."""


class Mode(StrEnum):
    """Where persons are mixed, and so what is left of each of them."""

    MIXED = "mixed"
    POOL = "pool"
    DUAL = "dual"


class Resolution(StrEnum):
    """How a pool that is not clearly negative is resolved."""

    RECOLLECT = "recollect"
    TEST_SINGLY = "test-singly"


@dataclass(frozen=True, slots=True)
class Individual:
    """A tube with the material of one person, the only thing a laboratory pool is made of."""

    tube: str
    person: str = ""


@dataclass(frozen=True, slots=True)
class Retained:
    """The second swab of a person, kept for the single test after the shared tube; never pooled."""

    tube: str
    person: str = ""


@dataclass(frozen=True, slots=True)
class MixedTube:
    """Swabs of several persons in one tube (mode `mixed`): no individual tube exists.

    Attributes:
        tube: barcode.
        persons: everybody whose swab is in it.
        medium_ml: medium in the tube.
        single_ml: medium of a single tube of the same kind.
    """

    tube: str
    persons: tuple[str, ...]
    medium_ml: float = 6.0
    single_ml: float = SINGLE_ML

    def __post_init__(self) -> None:
        _distinct(self.tube, self.persons, "person", 1)
        medium_shift(self.medium_ml, self.single_ml)

    @property
    def shift(self) -> float:
        """Expected dilution in cycles: by the medium only."""
        return medium_shift(self.medium_ml, self.single_ml)


@dataclass(frozen=True, slots=True)
class DualSwab:
    """One swab of each person in a shared tube, one kept in an own tube (mode `dual`).

    Attributes:
        tube: barcode of the shared tube.
        retained: the own tubes, one per person.
        medium_ml: medium in the shared tube.
        single_ml: medium of an own tube.
    """

    tube: str
    retained: tuple[Retained, ...]
    medium_ml: float = 5.0
    single_ml: float = SINGLE_ML

    def __post_init__(self) -> None:
        for member in self.retained:
            if type(member) is not Retained:
                raise PoolDesignError(
                    "NOT_RETAINED", f"Shared tube {self.tube}: {member} is not a retained tube of one person."
                )
        _distinct(self.tube, tuple(member.tube for member in self.retained), "retained tube", 1)
        medium_shift(self.medium_ml, self.single_ml)

    @property
    def shift(self) -> float:
        """Expected dilution in cycles: by the medium only."""
        return medium_shift(self.medium_ml, self.single_ml)


@dataclass(frozen=True, slots=True)
class LabPool:
    """Equal aliquots of single tubes, mixed in the laboratory (mode `pool`).

    Attributes:
        tube: barcode of the pool.
        members: the tubes whose aliquot is really in it: their number is the true n.
    """

    tube: str
    members: tuple[Individual, ...]

    def __post_init__(self) -> None:
        for member in self.members:
            if type(member) is not Individual:
                raise PoolDesignError(
                    "NESTED_POOL",
                    f"Pool {self.tube}: {member} is not the tube of one person and is never pooled. "
                    "Test it as it is.",
                )
        _distinct(self.tube, tuple(member.tube for member in self.members), "tube", 2)

    @property
    def shift(self) -> float:
        """Expected dilution in cycles: log2 of the true number of members."""
        return lab_shift(len(self.members))


Pooled = MixedTube | DualSwab | LabPool


def mode(pooled: Pooled) -> Mode:
    """The mode of a pooled tube."""
    if isinstance(pooled, MixedTube):
        return Mode.MIXED
    return Mode.DUAL if isinstance(pooled, DualSwab) else Mode.POOL


def resolution(of: Mode) -> Resolution:
    """What follows a non-negative tube: re-collection where nothing is retained, else single tests."""
    return Resolution.RECOLLECT if of is Mode.MIXED else Resolution.TEST_SINGLY


def _distinct(tube: str, names: tuple[str, ...], what: str, least: int) -> None:
    if len(names) < least:
        raise PoolDesignError("TOO_FEW_MEMBERS", f"Tube {tube} needs at least {least} {what}(s).")
    for name in names:
        if names.count(name) > 1:
            raise PoolDesignError(
                "DUPLICATE_TUBE", f"Tube {tube}: {what} {name} is named twice. Each belongs in it once."
            )
        if name == tube:
            raise PoolDesignError("DUPLICATE_TUBE", f"Tube {tube} cannot be a member of itself.")
