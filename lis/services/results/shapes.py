"""What a file, a plate and a judged tube are while a result is taken over."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec import Struct

from lis.events import TubeKind
from lis.matching import LoadedWell
from retest import Material

if TYPE_CHECKING:
    from collections.abc import Mapping

    from instruments import InstrumentError, RunFile
    from lis.tube import Tube
    from retest import AssayRules, Decision, Outcome

MATERIAL = {TubeKind.SINGLE: Material.single, TubeKind.MIXED: Material.mixed, TubeKind.POOL: Material.pool}


@dataclass(frozen=True, slots=True)
class Parsed:
    """A file after its reader: a run, or why there is none.

    Attributes:
        curves: (well, target, dye) -> curve verdict; empty where the file holds no curves.
    """

    run: RunFile | None
    code: str = ""
    sentence: str = ""
    curves: Mapping[tuple[str, str, str], str] = field(default_factory=dict)

    @classmethod
    def failed(cls, error: InstrumentError) -> Parsed:
        """A file that no reader could use."""
        return cls(None, error.code, str(error))


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of a file. ``decisions`` counts tubes by what happens to them next.

    Attributes:
        pools: pools that were read, or of which a member was, and that are not cleared up.
        undecided: what the case rules say of these pools, and of members that read negative; the decoding
            of the pools decides about them.
        after: the tubes as they were written.
    """

    file_id: str
    state: str
    code: str = ""
    sentence: str = ""
    plate_id: str = ""
    run_id: str = ""
    tubes: tuple[str, ...] = ()
    decisions: Mapping[str, int] = field(default_factory=dict)
    pools: frozenset[str] = frozenset()
    undecided: Mapping[str, Decision] = field(default_factory=dict)
    after: Mapping[str, Tube] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plate:
    """A plate with everything that is asked about it."""

    plate_id: str
    assay: AssayRules
    wells: tuple[LoadedWell, ...]
    tubes: Mapping[str, Tube]
    instrument: str
    lot: str = ""


class Judged(Struct, frozen=True):
    """A tube of the plate with its reading and what the rules make of it."""

    tube: Tube
    well: LoadedWell
    outcome: Outcome
    curve: str
    decision: Decision
    alone: str = ""


def loaded(row: Mapping[str, str | None]) -> LoadedWell:
    """A row of a plate map."""
    targets = row["targets"] or ""
    return LoadedWell(
        well=row["well"] or "",
        tube=row["tube_id"] or "",
        control=row["control"] or "",
        batch=row["batch"] or "",
        test=row["test"] or "",
        targets=tuple(name for name in targets.split(",") if name),
    )
