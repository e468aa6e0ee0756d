"""Pure interpretation and retest policy.

Readings and rules in, decisions out: no clock, no file, no database. `interpret` reads one specimen,
`judge_plate` its controls, `decide` says what happens next, `auto_verify` what may be released,
`discharge` whether isolation may end. `retest.batch` reads arrays, `retest.load` expects the work,
`retest.evidence` watches neighbours and lots, `retest.sheet` and `retest.page` put rules on paper.
"""

from retest.controls import ControlFailure, ControlReading, PlateVerdict, judge_plate
from retest.decide import (
    Case,
    CaseError,
    CaseRules,
    Conclude,
    Decision,
    Finding,
    Recollect,
    Retest,
    TestSingly,
    decide,
)
from retest.discharge import Discharge, DischargeRules, DischargeTest, discharge
from retest.evidence import Evidence, EvidenceRules, LotCount, beside_strong, lot_clusters
from retest.outcome import Outcome, Reading, ReadingError, interpret
from retest.policy import Policy
from retest.reasons import REASONS
from retest.release import Blocked, ReleaseFacts, ReleaseRule, ReleaseRules, auto_verify, signatures_needed
from retest.rules import AssayRules, RulesError
from retest.words import Call, Material, Next

__all__ = [
    "REASONS",
    "AssayRules",
    "Blocked",
    "Call",
    "Case",
    "CaseError",
    "CaseRules",
    "Conclude",
    "ControlFailure",
    "ControlReading",
    "Decision",
    "Discharge",
    "DischargeRules",
    "DischargeTest",
    "Evidence",
    "EvidenceRules",
    "Finding",
    "LotCount",
    "Material",
    "Next",
    "Outcome",
    "PlateVerdict",
    "Policy",
    "Reading",
    "ReadingError",
    "Recollect",
    "ReleaseFacts",
    "ReleaseRule",
    "ReleaseRules",
    "Retest",
    "RulesError",
    "TestSingly",
    "auto_verify",
    "beside_strong",
    "decide",
    "discharge",
    "interpret",
    "judge_plate",
    "lot_clusters",
    "signatures_needed",
]
