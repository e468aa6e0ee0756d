"""What is tried, and in which order, with a tube whose first reading is not an answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from retest.checked import Section
from retest.table import Row
from retest.words import BORDERLINE_KINDS, KIND_OF_BUILT_IN, MISSING, NEXT_OF_STEP, STEPS, Call, Next


@dataclass(frozen=True, slots=True)
class Ladder:
    """The steps after a reading that is not an answer.

    Attributes:
        steps: out of ``re-amplify re-extract second-kit recollect``; ``recollect`` only at the end.
        end: what is reported when the steps are used up: ``inconclusive`` or ``invalid``. A ladder
            never ends in a positive or a negative; only a reading does.
        negatives: how many negative repeats make the specimen negative; 0: never this specimen, a
            new one is needed.
    """

    steps: tuple[str, ...]
    end: str
    negatives: int


def read_ladder(section: Section) -> Ladder:
    """Read one ``[ladder.<rule or kind>]``."""
    steps = section.texts("steps")
    for step in steps:
        if step not in STEPS:
            raise section.refuse("steps", "unknown-step", f"'{step}' is no step. Use: {', '.join(STEPS)}.")
    if not steps or "recollect" in steps[:-1]:
        sentence = "at least one step is needed, and nothing can follow 'recollect': that is a new specimen."
        raise section.refuse("steps", "bad-steps", sentence)
    ladder = Ladder(
        steps, section.choice("end", ("inconclusive", "invalid")), section.whole("negatives", 0, 1)
    )
    section.close()
    return ladder


def read_ladders(section: Section, rows: Sequence[Row]) -> Mapping[str, Ladder]:
    """Read an assay's ladders by decision id, kind or call; whatever is no answer must find one."""
    part = section.table("ladder")
    known = {row.id for row in rows} | {*BORDERLINE_KINDS, *KIND_OF_BUILT_IN, "borderline", "invalid"}
    for key in part.names():
        if key not in known:
            sentence = (
                f"no decision row and no kind is called '{key}'. Use one of: {', '.join(sorted(known))}."
            )
            raise part.refuse(key, "ladder-unknown", sentence)
    for key in ("borderline", "invalid"):
        part.raw(key)
    return {key: read_ladder(part.table(key)) for key in part.names()}


def next_of_rules(rows: Sequence[Row], ladder: Mapping[str, Ladder]) -> Mapping[str, Next]:
    """What the bench does next after a first reading by each rule."""
    nexts = {row.id: Next.conclude for row in rows}
    open_rows = [(row.id, row.kind, row.call) for row in rows if row.call in (Call.borderline, Call.invalid)]
    built_in = [
        (rule, kind, Call.invalid if rule == MISSING else Call.borderline)
        for rule, kind in KIND_OF_BUILT_IN.items()
    ]
    for rule, kind, call in open_rows + built_in:
        first = next(ladder[key].steps[0] for key in (rule, kind, call.value) if key in ladder)
        nexts[rule] = NEXT_OF_STEP[first]
    return nexts
