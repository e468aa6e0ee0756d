"""What is tried, and in which order, with a tube whose first reading is not an answer."""

from dataclasses import dataclass

from retest.checked import Section
from retest.words import STEPS


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
