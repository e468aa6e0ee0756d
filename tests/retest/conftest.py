"""Shipped rule files and small synthetic ones for the tests of `retest`."""

import copy
import tomllib
from pathlib import Path

import pytest

from retest import AssayRules, CaseRules, Policy, ReleaseRules

PACKAGE = Path(__file__).resolve().parents[2] / "retest"
SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"

# A synthetic kit with everything in it: two targets with a grey band, an internal control, an override.
SYNTHETIC = """
id = "synthetic"
name = "Synthetic two-target kit"
version = "7"
source = "made for the tests"

[[target]]
name = "A"
role = "target"
aliases = ["gene A"]
curve = "sigmoid"
detected = { op = "<", ct = 37.0 }
grey = { low = 37.0, low_inclusive = true, high = 40.0, high_inclusive = false }
negative = { op = ">=", ct = 40.0 }

[[target]]
name = "B"
role = "target"
detected = { op = "<=", ct = 38.0 }

[[target]]
name = "IC"
role = "internal_control"
detected = { op = "<=", ct = 35.0 }

[[override]]
target = "B"
instruments = ["Cycler X"]
detected = { op = "<", ct = 30.0 }
source = "made for the tests"

[[decision]]
id = "both"
detected = "all"
call = "positive"

[[decision]]
id = "single-target"
detected = 1
grey = 0
call = "borderline"
kind = "single-target"

[[decision]]
id = "grey"
signal = ">=1"
call = "borderline"
kind = "grey"

[[decision]]
id = "none"
signal = 0
ic = "detected"
call = "negative"

[[decision]]
id = "no-control"
ic = "not-detected"
call = "invalid"

[ladder.borderline]
steps = ["re-amplify", "re-extract"]
end = "inconclusive"

[ladder.invalid]
steps = ["re-extract", "recollect"]
end = "invalid"

[[control]]
kind = "NTC"
aliases = ["NC"]
scope = "run"
min = 1
[control.expect]
A = "absent"
B = { state = "absent", tolerate_from = 40.0 }
IC = "any"

[[control]]
kind = "PC"
scope = "run"
min = 1
[control.expect]
A = { state = "detected", least = 20.0, most = 33.0 }
B = "detected"
IC = "any"

[[control]]
kind = "EC"
aliases = ["HSC"]
scope = "extraction"
min = 1
[control.expect]
A = "absent"
B = "absent"
IC = "detected"

[pooling]
max_n = 5
modes = ["single", "pool"]
"""


def shipped_assays():
    """The paths of all shipped assay files."""
    return sorted((PACKAGE / "assays").glob("*.toml"))


@pytest.fixture(scope="session")
def assay():
    """Load a shipped assay by id."""

    def load(assay_id):
        path = PACKAGE / "assays" / f"{assay_id}.toml"
        return AssayRules.from_toml(path.read_text("utf-8"), path.name)

    return load


@pytest.fixture(scope="session")
def policy():
    """Load a shipped policy by id."""

    def load(policy_id):
        path = PACKAGE / "policies" / f"{policy_id}.toml"
        return Policy.from_toml(path.read_text("utf-8"), path.name)

    return load


@pytest.fixture(scope="session")
def china(assay, policy):
    """A Chinese two-target kit under the Chinese policy."""
    return CaseRules(assay("kinghawk"), policy("china"))


@pytest.fixture(scope="session")
def cdc(assay, policy):
    """The CDC panel under the CDC policy."""
    return CaseRules(assay("cdc-2019-ncov-n1n2rp"), policy("cdc"))


@pytest.fixture(scope="session")
def release_content():
    """The parsed release file."""
    return tomllib.loads((PACKAGE / "policies" / "release.toml").read_text("utf-8"))


@pytest.fixture(scope="session")
def release(release_content):
    """The shipped release rules."""
    return ReleaseRules.from_mapping(release_content, "release.toml")


@pytest.fixture(scope="session")
def synthetic():
    """The synthetic kit."""
    return AssayRules.from_toml(SYNTHETIC, "synthetic.toml")


@pytest.fixture(scope="session")
def synthetic_text():
    """The synthetic kit as the text of a file."""
    return SYNTHETIC


@pytest.fixture
def content():
    """The parsed synthetic kit, to be spoilt by a test."""
    return copy.deepcopy(tomllib.loads(SYNTHETIC))


@pytest.fixture(scope="session")
def shared():
    """The folder of real instrument files, or a visible skip."""
    if not SHARED.is_dir():
        pytest.skip("the real instrument files are not beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def assay_files():
    """The paths of all shipped assay files."""
    return shipped_assays()
