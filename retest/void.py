"""A void well is no finding: which test is due again, and how urgent it is."""

from typing import Final

from retest.policy import Policy

KEPT: Final = ("singly", "second-kit", "re-extract")
"""Tests that a failed run leaves due as they were; any other one amplifies the same RNA again."""


def repeat_of_void(scope: str, test: str) -> str:
    """The test that is due after a well of ``test`` became void.

    Args:
        scope: ``run`` (the PCR controls failed) or ``extraction`` (the control of the batch failed).
        test: what the well was for: first, singly, re-amplify, re-extract or second-kit.
    """
    if scope == "extraction":
        return "singly" if test == "singly" else "re-extract"
    return test if test in KEPT else "re-amplify"


def priority_of_void(policy: Policy, persons: int, tier: str) -> int:
    """How urgent a test is that the laboratory owes: that of a retest, more for every further person."""
    held = policy.priority["per_person"] * max(persons - 1, 0)
    return policy.priority["retest"] + held + policy.tier.get(tier, 0)
