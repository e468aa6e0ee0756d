"""A job: one tube that wants a well."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class ScheduleError(ValueError):
    """A fact or a rule the scheduler cannot work with.

    Attributes:
        code: machine code of the error.
        zh: the sentence in Chinese; empty where only a programmer or a file that comes with the program can
            be the cause.
    """

    def __init__(self, code: str, sentence: str, zh: str = "") -> None:
        super().__init__(sentence)
        self.code, self.zh = code, zh


class Stage(StrEnum):
    """Where a job enters the line: from the tube, or from RNA already extracted."""

    EXTRACT = "extract"
    RE_AMPLIFY = "re-amplify"


def check_aware(name: str, moment: datetime) -> None:
    """Raise `ScheduleError` (`NAIVE_TIME`) for a time without a zone."""
    if moment.tzinfo is None:
        raise ScheduleError("NAIVE_TIME", f"{name} has no time zone: {moment.isoformat()}.")


@dataclass(frozen=True, slots=True)
class Job:
    """A tube, pool or mixed tube that waits for a plate.

    Attributes:
        tube: barcode.
        assay: assay id; one assay per plate.
        due: when its report must be out.
        received: since when the job waits (receipt of the tube; for a retest, when it was ordered).
        priority: a higher one goes first, whatever is due.
        reason: `first`, or why the tube is tested again.
        step: `extract` (also re-extraction) or `re-amplify`.
        persons: persons who wait for this well.
        tier: turnaround tier.
        kit: reagent kit when it is not the assay's usual one; one kit per plate.
    """

    tube: str
    assay: str
    due: datetime
    received: datetime
    priority: int = 0
    reason: str = "first"
    step: str = Stage.EXTRACT
    persons: int = 1
    tier: str = ""
    kit: str = ""

    def __post_init__(self) -> None:
        check_aware(f"Job of tube {self.tube}: due", self.due)
        check_aware(f"Job of tube {self.tube}: received", self.received)
        if self.step not in set(Stage):
            raise ScheduleError(
                "BAD_STEP", f"Job of tube {self.tube}: step is one of {', '.join(Stage)}, not {self.step!r}."
            )
        if self.persons < 1:
            raise ScheduleError(
                "BAD_PERSONS", f"Job of tube {self.tube}: at least one person waits, not {self.persons}."
            )


@dataclass(frozen=True, slots=True)
class Expected:
    """Jobs that are likely to come, foreseen from plates still running; never plated, only waited for.

    Attributes:
        assay: their assay.
        count: how many wells they will want.
        at: when they are likely to be there.
    """

    assay: str
    count: int
    at: datetime

    def __post_init__(self) -> None:
        check_aware(f"Expected jobs of {self.assay}: at", self.at)
        if self.count < 1:
            raise ScheduleError("BAD_COUNT", f"Expected jobs of {self.assay}: at least 1, not {self.count}.")
