"""May more tubes come in, and whom would they make late."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lis import ledger
from lis.errors import Invalid, NotFound
from lis.services.capacity.attending import minute_of
from lis.services.capacity.gathering import midnight
from scheduler import ScheduleError
from sim.now import POOL, POOLED, WAITING, State
from sim.trials import Admission, admit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Connection

    from lis.rulebook import Rulebook
    from lis.services.capacity.foretelling import Situation

MODES: Final = ("pooled", "single")
MOST_TUBES: Final = 100_000
REPLICATIONS: Final = 60
GOOD: Final = 0.95
"""So many of the new tubes in time, and fewer than one waiting tube late because of them, is a yes."""

BAD: Final = 0.8
"""Fewer in time is a no."""

NOTABLE: Final = 0.05
"""A waiting tube is named when its risk rises by this much."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Tubes that ask to come in now, and by when they must be reported."""

    tubes: int
    mode: str
    by: datetime
    tier: str = "voluntary"


def check(wish: Wish, now: datetime) -> None:
    """Whether the question makes sense.

    Raises:
        Invalid: ``ADMIT_TUBES``, ``ADMIT_MODE`` or ``ADMIT_TIME``.
    """
    if not 1 <= wish.tubes <= MOST_TUBES:
        raise Invalid("ADMIT_TUBES", f"Ask for 1 to {MOST_TUBES} tubes, not {wish.tubes}.")
    if wish.mode not in MODES:
        raise Invalid("ADMIT_MODE", f"Tubes come pooled or single, not {wish.mode[:20]}.")
    if wish.by <= now:
        raise Invalid("ADMIT_TIME", "The time by which they must be reported has passed. Give a later one.")


def ask(seen: Situation, rules: Rulebook, wish: Wish) -> Admission:
    """Play the laboratory with and without these tubes, as if they were received this moment.

    Raises:
        Invalid: see :func:`check`. Refused: pools are not allowed here.
        NotFound: ``TIER_UNKNOWN``.
    """
    check(wish, seen.at)
    return admit(seen.calibration.model, seen.state, newcomers(seen, rules, wish), REPLICATIONS)


def newcomers(seen: Situation, rules: Rulebook, wish: Wish) -> State:
    """The tubes that ask; every pool they are to form is one more tube, before its members."""
    now, due = seen.state.now, minute_of(wish.by, midnight(seen.at))
    try:
        priority = rules.tiers.tier(wish.tier).priority
    except ScheduleError as error:
        raise NotFound("TIER_UNKNOWN", str(error)) from error
    if wish.mode == "single":
        names = tuple(f"new-{n}" for n in range(1, wish.tubes + 1))
        return State.of(now, names, due=due, priority=priority)
    size = rules.pooling(rules.assay(rules.default_assay)).size
    sizes = [min(size, wish.tubes - start) for start in range(0, wish.tubes, size)]
    where: list[int] = []
    kind: list[int] = []
    pool: list[int] = []
    persons: list[int] = []
    names_: list[str] = []
    for count in sizes:
        first = len(where)
        where += [WAITING] + [POOLED] * count
        kind += [POOL] + [0] * count
        pool += [-1] + [first] * count
        persons += [count] + [1] * count
        names_ += [f"new-pool-{first}", *(f"new-{first + n}" for n in range(1, count + 1))]
    return State.of(
        now, tuple(names_), due=due, priority=priority, where=where, kind=kind, pool=pool, persons=persons
    )


def answer(found: Admission, wish: Wish) -> str:
    """``yes``, ``at risk`` or ``no``."""
    if found.on_time >= GOOD and found.breaches < 1:
        return "yes"
    if found.on_time < BAD or found.breaches >= max(1.0, NOTABLE * wish.tubes):
        return "no"
    return "at risk"


def admission_json(conn: Connection, found: Admission, wish: Wish) -> dict[str, Any]:
    """The answer with its reasons: the document of ``lis admit`` and ``GET /admission``."""
    state, size = found.before.state, found.before.state.kind.size
    concerned = np.flatnonzero(np.abs(found.caused) > 0)
    tubes = ledger.tubes(conn, [state.names[place] for place in concerned])
    tiers: Counter[str] = Counter()
    for place in concerned.tolist():
        tiers[tubes[state.names[place]].tier] += float(found.caused[place])  # type: ignore[assignment]
    late = sorted(np.flatnonzero(found.caused >= NOTABLE).tolist(), key=lambda n: -float(found.caused[n]))
    return {
        "answer": answer(found, wish),
        "tubes": wish.tubes,
        "mode": wish.mode,
        "by": wish.by,
        "tier": wish.tier,
        "on_time_share": round(found.on_time, 4),
        "breaches_caused": round(found.breaches, 2),
        "breaches_by_tier": _rounded(tiers),
        "would_be_late": [
            {
                "tube": state.names[place],
                "tier": tubes[state.names[place]].tier,
                "due": tubes[state.names[place]].promised_at,
                "risk_before": round(float(found.before.risk[place]), 4),
                "risk_after": round(float(found.after.risk[place]), 4),
            }
            for place in late
        ],
        "backlog": size - int((state.kind == POOL).sum()),
    }


def _rounded(tiers: Mapping[str, float]) -> dict[str, float]:
    return {tier: round(max(value, 0.0), 2) for tier, value in sorted(tiers.items())}
