"""Files of one run put together: the Cq results and the amplification files of a CFX, or of a LightCycler.

A cycler that exports results and curves to files of their own names them alike, and only the file with
the results says which sample and target a well holds. Curves are joined to readings by well and dye;
where a dye is not said, by well, if the well has one dye.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from msgspec import structs

from instruments.errors import InstrumentError
from instruments.formats import cells

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from instruments.model import Curve, Reading, RunFile

# What the software appends to the name of a run, with - or _ between the words.
_PART = re.compile(
    r"[-_ ]*(quantification)?[-_ ]*(cq[-_ ]results|amplification[-_ ]results.*|cq)?\.[a-z]+$", re.IGNORECASE
)


def stem(name: str) -> str:
    """The part of a file name that the files of one run share.

    ``X-Quantification-Cq-Results.csv`` and ``X-Quantification-Amplification-Results_SYBR.csv`` are of X.
    """
    return _PART.sub("", name)


def combine(runs: Sequence[RunFile]) -> RunFile:
    """One run of the files of one run: one with readings, any number with curves.

    What speaks against one of the files speaks against the whole; curves of wells that have no result,
    and results without a curve, are reasons too.

    Raises:
        InstrumentError: BAD_SET without exactly one file of results, for files of different runs, or for
            a curve that two files hold.
    """
    results = [run for run in runs if run.readings]
    others = [run for run in runs if not run.readings]
    if len(results) != 1:
        raise InstrumentError(
            "BAD_SET",
            f"Of the {len(runs)} files {len(results)} hold results; of one run exactly one does. Send the Cq "
            "results with the amplification files of the same run.",
        )
    main = results[0]
    _same_run(main, others)
    places = _places(main.readings)
    joined = [_joined(curve, places) for run in others for curve in run.curves]
    curves = (*main.curves, *(curve for curve in joined if curve is not None))
    seen: set[tuple[str, str, str, str]] = set()
    for curve in curves:
        key = (curve.well, curve.target, curve.dye, curve.kind)
        if key in seen:
            raise InstrumentError(
                "BAD_SET", f"Two files hold a curve of {curve.well} {curve.target or curve.dye}."
            )
        seen.add(key)
    faults = _gaps(main, others, joined, curves)
    assumptions = tuple(dict.fromkeys(a for run in (main, *others) for a in run.assumptions))
    reasons = tuple(dict.fromkeys((*(r for run in (main, *others) for r in run.reasons), *faults)))
    return replace(
        main,
        complete=not reasons,
        reasons=reasons,
        curves=curves,
        assumptions=assumptions,
        unread=tuple(dict.fromkeys(u for run in (main, *others) for u in run.unread)),
    )


def _same_run(main: RunFile, others: Iterable[RunFile]) -> None:
    """Refuse files that say themselves that they are of different runs."""
    for other in others:
        for what in ("serial", "plate", "experiment", "run_started"):
            ours, theirs = getattr(main, what), getattr(other, what)
            if ours and theirs and ours != theirs:
                raise InstrumentError(
                    "BAD_SET",
                    f"'{other.name}' is of another run than '{main.name}': {what} {theirs}, not {ours}.",
                )


def _places(readings: Iterable[Reading]) -> Mapping[str, list[Reading]]:
    found: dict[str, list[Reading]] = defaultdict(list)
    for reading in readings:
        found[reading.well].append(reading)
    return found


def _joined(curve: Curve, places: Mapping[str, list[Reading]]) -> Curve | None:
    """The curve under the target and dye of its reading; None when that is not certain."""
    here = [r for r in places.get(curve.well, ()) if not curve.dye or r.dye == curve.dye]
    if len(here) != 1:
        return None
    return structs.replace(curve, target=here[0].target, dye=here[0].dye)


def _gaps(
    main: RunFile, others: Iterable[RunFile], joined: Sequence[Curve | None], curves: Iterable[Curve]
) -> list[str]:
    faults = []
    given = [curve for run in others for curve in run.curves]
    lost = [given[i].well for i, curve in enumerate(joined) if curve is None]
    if lost:
        faults.append(f"curves of {cells.some(lost)} belong to no result of their dye")
    have = {(curve.well, curve.target, curve.dye) for curve in curves}
    bare = [r.well for r in main.readings if given and r.key not in have]
    if bare:
        faults.append(f"the results of {cells.some(bare)} have no curve in these files")
    return faults
