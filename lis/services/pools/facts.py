"""What is known about tubes that may be, or were, pooled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lis import queries
from lis.events import TubeKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from lis.rulebook import Rulebook
    from lis.tube import Tube


@dataclass(frozen=True, slots=True)
class Marks:
    """What befell a tube beside its moves.

    Attributes:
        volume_ul: left in it, in microlitres: measured, or what a full tube holds, less its aliquots.
    """

    volume_ul: float
    lost: bool = False
    withdrawn: bool = False


def marks(conn: Connection, rules: Rulebook, tube_ids: Iterable[str]) -> dict[str, Marks]:
    """Volume, loss and withdrawal of each tube."""
    wanted = list(tube_ids)
    kinds = ("VolumeMeasured", "JoinedPool", "Lost", "Found", "Withdrawn")
    events = queries.facts_of(conn, wanted, *kinds)
    found = {}
    for code in wanted:
        volume, lost, withdrawn = rules.pool.tube_ul, False, False
        for row in events.get(code, ()):
            if row["kind"] == "VolumeMeasured":
                volume = float(row["volume_ul"])
            elif row["kind"] == "JoinedPool":
                volume -= rules.pool.pool.aliquot_ul
            elif row["kind"] == "Withdrawn":
                withdrawn = True
            else:
                lost = row["kind"] == "Lost"
        found[code] = Marks(max(volume, 0.0), lost, withdrawn)
    return found


def recalled(conn: Connection, tubes: Iterable[Tube]) -> set[str]:
    """Tubes of persons who are held for this very specimen."""
    people = queries.people_of(conn, [tube.tube_id for tube in tubes if tube.kind is TubeKind.SINGLE])
    held = queries.recalls_of(conn, [person for many in people.values() for person in many])
    return {code for code, many in people.items() if any(person in held for person in many)}
