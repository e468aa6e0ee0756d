"""The few words that every part of the policy shares."""

from enum import StrEnum
from typing import Final


class Call(StrEnum):
    """What one test of one tube says. Borderline and invalid are never mixed."""

    positive = "positive"
    negative = "negative"
    borderline = "borderline"  # grey zone, single target or inconclusive: the rule id tells which
    invalid = "invalid"


class Next(StrEnum):
    """What the bench does next with a tube that was read once."""

    conclude = "conclude"
    retest = "retest"
    re_extract = "re-extract"
    recollect = "recollect"
    test_singly = "test-singly"


class Material(StrEnum):
    """What is in the tube: one person, several mixed at collection, or a pool of aliquots."""

    single = "single"
    mixed = "mixed"
    pool = "pool"


DETECTED: Final = "detected"
GREY: Final = "grey"
NOT_DETECTED: Final = "not-detected"
PARTIAL: Final = "partial"  # some replicates of a target gave a signal, others did not
ABSENT: Final = "absent"  # the assay has no internal control

# States a decision table cannot hold, because the number and the curve (or the replicates)
# contradict each other. Each is its own rule id and leads to a borderline call.
CURVE_FLAT: Final = "curve-flat"
CURVE_ATYPICAL: Final = "curve-atypical"
CURVE_WITHOUT_CQ: Final = "curve-without-cq"
REPLICATES: Final = "replicates-discordant"
MISSING: Final = "missing-target"
RULE_OFF: Final = "rule-off"  # the row that would have spoken is switched off

BORDERLINE_KINDS: Final = ("single-target", "inconclusive", "curve", "grey")
KIND_OF_BUILT_IN: Final = {
    CURVE_FLAT: "curve",
    CURVE_ATYPICAL: "curve",
    CURVE_WITHOUT_CQ: "curve",
    REPLICATES: "inconclusive",
    MISSING: "invalid",
    RULE_OFF: "inconclusive",
}
CURVES: Final = ("sigmoid", "flat", "atypical")
STEPS: Final = ("re-amplify", "re-extract", "second-kit", "recollect")
NEXT_OF_STEP: Final = {
    "re-amplify": Next.retest,
    "second-kit": Next.retest,
    "re-extract": Next.re_extract,
    "recollect": Next.recollect,
}
