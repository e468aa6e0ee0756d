import copy
import tomllib
from pathlib import Path

import pytest

from retest import EvidenceRules, Policy, RulesError

PACKAGE = Path(__file__).resolve().parents[2] / "retest"


@pytest.fixture
def content():
    """The parsed Chinese policy, to be spoilt."""
    return copy.deepcopy(tomllib.loads((PACKAGE / "policies" / "china.toml").read_text("utf-8")))


@pytest.mark.parametrize("policy_id", ["china", "china-second-kit", "cdc", "fda-swab"])
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
        (
            lambda c: c["specimens"].update(negatives_after_positive=0),
            "not-whole",
            "negatives_after_positive",
        ),
        (lambda c: c["priority"].update(per_hour=-1), "not-whole", "per_hour"),
        (lambda c: c["evidence"].update(beside_strong="pray"), "not-allowed", "pray"),
        (lambda c: c["evidence"].update(lot_cluster="recollect"), "not-allowed", "recollect"),
        (lambda c: c["evidence"].update(strong_cq=0), "number-range", "strong_cq"),
        (lambda c: c["evidence"].update(lot_rate=1.0), "number-range", "not percent"),
        (lambda c: c["evidence"].update(lot_alpha=5), "number-range", "lot_alpha"),
        (lambda c: c["evidence"].update(lot_least=0), "not-whole", "lot_least"),
        (lambda c: c["evidence"].update(other=1), "unknown-key", "other"),
        (lambda c: c["evidence"].pop("lot_rate"), "missing-key", "lot_rate"),
    ],
    ids=map(str, range(24)),
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


def test_evidence_is_read_as_written(content):
    """Every limit arrives under its own name; a delay that is not written is 0."""
    content["evidence"] = {
        "beside_strong": "re-amplify", "strong_cq": 17.5, "lot_cluster": "", "lot_rate": 0.002,
        "lot_alpha": 0.01, "lot_least": 3,
    }  # fmt: skip
    assert Policy.from_mapping(content).evidence == EvidenceRules("re-amplify", 17.5, 0.0, "", 0.002, 0.01, 3)
    content["evidence"]["later_by"] = 2.5
    assert Policy.from_mapping(content).evidence.later_by == 2.5
    del content["evidence"]
    assert Policy.from_mapping(content).evidence == EvidenceRules()


def test_the_second_kit_policy_differs_from_china_only_where_it_says(policy):
    """Confirmation, first steps and negatives after a positive; all else is the Chinese policy."""
    china, second = policy("china"), policy("china-second-kit")
    assert (china.confirm, second.confirm) == ("", "second-kit")
    assert (china.negatives_after_positive, second.negatives_after_positive) == (1, 2)
    assert second.ladder["single-target"].steps == ("second-kit", "recollect")
    for name in ("mixed_invalid", "grey_again", "priority", "tier", "hours", "evidence", "max_specimens"):
        assert getattr(china, name) == getattr(second, name)
