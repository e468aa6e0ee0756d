"""What is due after a failed control, for the laboratory and for its twin alike."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lis.rulebook import files
from retest import Policy
from retest.void import priority_of_void, repeat_of_void

TESTS = ("first", "singly", "second-kit", "re-extract", "re-amplify")
CHINA = Policy.from_toml(dict(files("policies"))["china"], "china")


@pytest.mark.parametrize(
    ("scope", "test", "due"),
    [
        ("run", "first", "re-amplify"),
        ("run", "singly", "singly"),
        ("run", "second-kit", "second-kit"),
        ("run", "re-extract", "re-extract"),
        ("run", "re-amplify", "re-amplify"),
        ("extraction", "first", "re-extract"),
        ("extraction", "singly", "singly"),
        ("extraction", "second-kit", "re-extract"),
        ("extraction", "re-extract", "re-extract"),
        ("extraction", "re-amplify", "re-extract"),
    ],
)
def test_what_is_repeated_after_a_failed_control(scope, test, due):
    """A failed run amplifies again, a failed extraction extracts again; singly and second kit are kept by a run."""
    assert repeat_of_void(scope, test) == due


@given(st.sampled_from(TESTS), st.sampled_from(("run", "extraction")))
def test_a_second_failure_asks_for_nothing_else(test, scope):
    """However often the same control fails, the same test stays due."""
    due = repeat_of_void(scope, test)
    assert repeat_of_void(scope, due) == due


@given(st.integers(1, 50), st.sampled_from(["voluntary", "fever", ""]))
def test_more_persons_wait_more_urgently(persons, tier):
    """Each further person who waits for the tube makes its repeat more urgent, and no tier less so."""
    more = priority_of_void(CHINA, persons + 1, tier) - priority_of_void(CHINA, persons, tier)
    assert more == CHINA.priority["per_person"]
    assert priority_of_void(CHINA, persons, tier) >= CHINA.priority["retest"]


def test_the_priority_of_a_test_that_is_owed():
    """It is that of a retest, five more for every further person, and that of the tier."""
    retest, each = CHINA.priority["retest"], CHINA.priority["per_person"]
    assert each > 0
    for persons, further in ((0, 0), (1, 0), (2, 1), (10, 9)):
        assert priority_of_void(CHINA, persons, "") == retest + each * further
        for tier, more in CHINA.tier.items():
            assert priority_of_void(CHINA, persons, tier) == retest + each * further + more
    assert priority_of_void(CHINA, 1, "no such tier") == retest
