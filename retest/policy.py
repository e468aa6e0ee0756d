"""Jurisdiction policy: what follows from a call, apart from the kit.

The TOML format of a policy file (`retest/policies/{china,china-second-kit,cdc,fda-swab}.toml`)
===============================================================================================
::

    id = "china"
    name = "..."
    version = "1"
    source = "..."
    notes = "..."                 # what the sources leave open

    [mixed]                       # tubes mixed at collection
    invalid = "re-extract"        # once from the same tube, then re-collect; or "recollect" at once
    report_while_waiting = "under-review"   # or "presumed-positive"

    [positive]
    confirm = ""                  # "second-kit", "re-extract", "re-amplify", or "": report at once

    second_kits = ["sansure", "maccura"]   # optional; assays that check what another one found, the
                                           # preferred one first; without them any kit may be used again

    [specimens]
    max_specimens = 3             # of one person; after that the case is reported as it stands
    max_tests = 6                 # of one specimen; after that a new specimen
    two_single_targets_positive = true
    negatives_after_positive = 1  # optional; this many further specimens must be negative after one
                                  # that was positive, before a person is reported negative

    [grey_again]                  # optional: a grey repeat of a grey specimen, by its curve;
    sigmoid = "positive"          # positive, negative, recollect, or "ladder"
    flat = "negative"
    atypical = "negative"
    unknown = "recollect"         # no curve was judged; never positive or negative

    [ladder.grey]                 # and single-target, inconclusive, curve, invalid, contradictory
    steps = ["re-amplify"]        # as in the assay file
    end = "inconclusive"
    negatives = 1

    [priority]                    # whole numbers, bigger is more urgent
    retest = 40
    confirm = 60
    singly = 50
    per_person = 5                # added for every further person who waits for this tube
    recollected = 20              # added for a re-collected specimen: its person is held
    per_hour = 1                  # optional; added for every whole hour that the tube has waited
    most_for_age = 24             # optional; but no more than this

    [priority.tier]
    fever = 30

    [hours]                       # until the next step should be done
    retest = 6.0
    confirm = 6.0
    singly = 6.0
    recollect = 24.0

    [evidence]                    # optional; without it nothing outside a specimen counts
    beside_strong = "re-extract"  # before a positive beside a strong one is concluded; "": off
    strong_cq = 18.0              # a neighbour at or before this cycle is strong
    later_by = 3.0                # optional; only wells this much later than it are suspected
    lot_cluster = "second-kit"    # before a single target of a crowded lot is concluded; "": off
    lot_rate = 0.001              # share of single targets that a good lot gives
    lot_alpha = 0.001             # a lot is crowded when chance does it more rarely than this
    lot_least = 5                 # and with at least this many
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from retest.checked import Section, heading, load
from retest.evidence import EvidenceRules, read_evidence
from retest.ladder import Ladder, read_ladder

LADDER_KINDS = ("grey", "single-target", "inconclusive", "curve", "invalid", "contradictory")
_JOBS = ("retest", "confirm", "singly")
_CURVE_KEYS = ("sigmoid", "flat", "atypical", "unknown")


@dataclass(frozen=True)
class Policy:
    """The policy of one jurisdiction. Build with `from_toml`; never changed afterwards."""

    id: str
    name: str
    version: str
    source: str
    notes: str
    digest: str
    mixed_invalid: str
    report_while_waiting: str
    confirm: str
    second_kits: tuple[str, ...]
    max_specimens: int
    max_tests: int
    two_single_targets_positive: bool
    negatives_after_positive: int
    grey_again: Mapping[str, str]
    ladder: Mapping[str, Ladder]
    priority: Mapping[str, int]
    tier: Mapping[str, int]
    hours: Mapping[str, float]
    evidence: EvidenceRules

    @classmethod
    def from_toml(cls, text: str, name: str = "") -> "Policy":
        """Load from TOML text; `name` (a file name) appears in errors. Raises `RulesError`."""
        return load(text, name, cls.from_mapping)

    @classmethod
    def from_mapping(cls, content: Mapping[str, Any], name: str = "") -> "Policy":
        """Load from the parsed content. Raises `RulesError` naming key, fault and remedy."""
        section = Section(content, name or str(content.get("id", "policy")))
        mixed, positive, specimens = (section.table(key) for key in ("mixed", "positive", "specimens"))
        priority = section.table("priority")
        policy = cls(
            **heading(section, content),
            mixed_invalid=mixed.choice("invalid", ("re-extract", "recollect")),
            report_while_waiting=mixed.choice("report_while_waiting", ("under-review", "presumed-positive")),
            confirm=positive.choice("confirm", ("second-kit", "re-extract", "re-amplify", ""), ""),
            second_kits=positive.texts("second_kits"),
            max_specimens=specimens.whole("max_specimens", 1),
            max_tests=specimens.whole("max_tests", 2),
            two_single_targets_positive=specimens.flag("two_single_targets_positive"),
            negatives_after_positive=specimens.whole("negatives_after_positive", 1, 1),
            grey_again=_grey_again(section.table("grey_again")),
            ladder=_ladders(section.table("ladder")),
            tier=_tiers(priority.table("tier")),
            priority=_priority(priority),
            hours=_hours(section.table("hours")),
            evidence=read_evidence(section.table("evidence")),
        )
        for part in (mixed, positive, specimens, priority, section):
            part.close()
        return policy


def _grey_again(section: Section) -> Mapping[str, str]:
    """What a second grey reading means by its curve; empty when the jurisdiction has no such rule."""
    if not section.names():
        return {}
    allowed = ("positive", "negative", "recollect", "ladder")
    found = {key: section.choice(key, allowed[2:] if key == "unknown" else allowed) for key in _CURVE_KEYS}
    section.close()
    return found


def _ladders(section: Section) -> Mapping[str, Ladder]:
    ladders = {}
    for kind in LADDER_KINDS:
        section.raw(kind)
        ladders[kind] = read_ladder(section.table(kind))
    section.close()
    return ladders


def _tiers(section: Section) -> Mapping[str, int]:
    return {key: section.whole(key, 0) for key in section.names()}


def _priority(section: Section) -> Mapping[str, int]:
    needed = {key: section.whole(key, 0) for key in (*_JOBS, "per_person", "recollected")}
    return needed | {key: section.whole(key, 0, 0) for key in ("per_hour", "most_for_age")}


def _hours(section: Section) -> Mapping[str, float]:
    hours = {key: section.number(key) for key in (*_JOBS, "recollect")}
    section.close()
    return hours
