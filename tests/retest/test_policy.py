import copy
import tomllib
from pathlib import Path

import pytest

from retest import Policy, RulesError

PACKAGE = Path(__file__).resolve().parents[2] / "retest"


@pytest.fixture
def content():
    """The parsed Chinese policy, to be spoilt."""
    return copy.deepcopy(tomllib.loads((PACKAGE / "policies" / "china.toml").read_text("utf-8")))


@pytest.mark.parametrize("policy_id", ["china", "cdc", "fda-swab"])
def test_shipped_policies_load_and_name_their_source(policy, policy_id):
    """Each jurisdiction has a version, a source and notes on what its sources leave open."""
    loaded = policy(policy_id)
    assert loaded.id == policy_id
    assert loaded.version
    assert loaded.source
    assert loaded.notes
    assert len(loaded.digest) == 64


@pytest.mark.parametrize(
    ("spoil", "code", "word"),
    [
        (lambda c: c.update(extra=1), "unknown-key", "extra"),
        (lambda c: c["mixed"].update(extra=1), "unknown-key", "mixed.extra"),
        (lambda c: c["mixed"].update(invalid="conclude"), "not-allowed", "conclude"),
        (lambda c: c["positive"].update(confirm="pray"), "not-allowed", "pray"),
        (lambda c: c["specimens"].update(max_tests=1), "not-whole", "max_tests"),
        (lambda c: c["grey_again"].update(unknown="negative"), "not-allowed", "unknown"),
        (lambda c: c["grey_again"].pop("flat"), "missing-key", "flat"),
        (lambda c: c["ladder"].pop("invalid"), "missing-key", "ladder.invalid"),
        (lambda c: c["ladder"].update(other={}), "unknown-key", "other"),
        (lambda c: c["priority"].update(retest=1.5), "not-whole", "retest"),
        (lambda c: c["priority"]["tier"].update(fever=-1), "not-whole", "fever"),
        (lambda c: c["hours"].update(retest=0), "number-range", "retest"),
        (lambda c: c["hours"].update(minutes=3), "unknown-key", "minutes"),
        (lambda c: c["specimens"].update(two_single_targets_positive="yes"), "not-a-flag", "two_single"),
    ],
    ids=map(str, range(14)),
)
def test_a_faulty_policy_is_refused_with_its_place(content, spoil, code, word):
    """Each fault of a policy file has a code and names the key; silence is never a rule."""
    spoil(content)
    with pytest.raises(RulesError) as caught:
        Policy.from_mapping(content, "lab.toml")
    assert caught.value.code == code
    assert word in str(caught.value)
    assert caught.value.where.startswith("lab.toml")


def test_grey_again_can_be_absent(content):
    """A jurisdiction without a rule for a second grey reading uses its ladder."""
    del content["grey_again"]
    assert Policy.from_mapping(content).grey_again == {}
