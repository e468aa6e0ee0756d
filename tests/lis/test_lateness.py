"""Why a tube is late: what befell it, else where it stood longest."""

from __future__ import annotations

from datetime import timedelta

import pytest
from moments import NOON

from lis import events as e
from lis.ledger import Entry
from lis.services.capacity import CAUSES, GATES
from lis.services.capacity.lateness import cause
from lis.tube import TubeState
from lis.web import words
from lis.web.catalogues import LANGUAGES

RECEIVED = e.Received("R1", "A1", NOON)
PLATED = e.Plated("P1", "A1", "kit", "first")
STARTED = e.RunStarted("P1", "qs5-1")
CALLED = e.Called("run", "P1", "A1", "negative", "rule", "kit", "1", "first", "")


def history(*steps):
    """Entries at the given minutes after noon."""
    return [
        Entry(n, "T1", n, NOON + timedelta(minutes=at), "anna", fact) for n, (at, fact) in enumerate(steps)
    ]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([(0, e.Sealed(1, ""))], "slow-reception"),
        ([(0, e.Sealed(1, "")), (400, RECEIVED), (450, PLATED)], "slow-reception"),
        ([(0, e.Sealed(1, "")), (60, RECEIVED), (450, PLATED)], "slow-plating"),
        ([(0, RECEIVED), (20, e.JoinedPool("Q1", 1))], "slow-pool"),
        ([(0, RECEIVED), (20, PLATED), (430, STARTED)], "slow-preparation"),
        ([(0, RECEIVED), (20, PLATED), (100, STARTED)], "slow-cycler"),
        (
            [(0, RECEIVED), (20, PLATED), (100, STARTED), (190, CALLED), (190, e.Concluded("positive", ""))],
            "slow-review",
        ),
        ([(0, RECEIVED), (5, e.HeldDamaged("leaks")), (9, e.HoldCleared("wiped"))], "held"),
        (
            [(0, RECEIVED), (9, PLATED), (99, e.Voided("r", "P1", "A1", "run", "NTC", "first", 60))],
            "run-failed",
        ),
        (
            [(0, RECEIVED), (9, PLATED), (99, CALLED), (99, e.RetestOrdered("re-extract", "grey", 40, NOON))],
            "retested",
        ),
        ([], ""),
    ],
)
def test_the_cause_is_what_befell_it_else_the_longest_stay(steps, expected):
    """Ten hours after noon each history has the cause that a person would name."""
    found = cause(history(*steps), NOON + timedelta(minutes=500))
    assert found == expected
    assert not found or found in CAUSES


def test_every_gate_and_every_cause_is_worded():
    """A gate or a cause that a page may show has a Chinese and an English wording, and every waiting state a gate."""
    for language in LANGUAGES:
        assert set(words.wordings(language)["gate"]) == set(GATES.values())
        assert set(words.wordings(language)["cause"]) == set(CAUSES)
    ended = {"absent", "released", "resolved", "rejected", "stored", "discarded", "on_hold_unknown"}
    assert {state.value for state in TubeState} - {state.value for state in GATES} == ended
