"""Files of one run put together: CFX results with their amplification files."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec import structs

import instruments
from instruments.formats import sets
from instruments.virtual import VirtualRun, VirtualWell, write_cfx

DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "instruments" / "biorad_cfx"
real = pytest.mark.skipif(not DATA.is_dir(), reason="the folder of real exports is not on this machine")
RUNS = {"*GAPDH*": 96, "*cGAS*": 96, "*VIPERIN*": 78, "sam_2024-03-25*": 68}


@real
@pytest.mark.parametrize("pattern", RUNS)
def test_results_and_curves_of_a_real_run_are_joined(pattern):
    """Every reaction gets its curve with the target of its result, split files included."""
    paths = sorted(DATA.glob(f"{pattern}.csv"))
    runs = [instruments.read(path.name, path.read_bytes()) for path in paths]
    whole = sets.combine(runs)
    assert len({sets.stem(path.name) for path in paths}) == 1
    assert whole.curve_count == len(whole.readings) == RUNS[pattern]
    assert {(c.well, c.target, c.dye) for c in whole.curves} == {r.key for r in whole.readings}
    assert not any("curve" in reason for reason in whole.reasons), whole.reasons


WELLS = [
    VirtualWell("A1", "T-1", "unknown", {"N": ("FAM", 20.0), "RP": ("HEX", 25.0)}),
    VirtualWell("B1", "", "ntc", {"N": ("FAM", None), "RP": ("HEX", None)}),
]
AT = datetime(2022, 12, 1, 8, 0, tzinfo=UTC)


@pytest.fixture
def parts():
    """The three files of a synthetic duplex run."""
    run = VirtualRun("P-1", "CFX", "S1", "CFX96", AT, AT, 96, WELLS)
    return [instruments.read(name, data) for name, data in write_cfx(run).items()]


def test_a_duplex_is_joined_by_dye(parts):
    """Two dyes of a well keep their own curves, in whatever order the files come."""
    whole = sets.combine(parts[::-1])
    assert {(c.well, c.target, c.dye) for c in whole.curves} == {r.key for r in whole.readings}
    assert whole.plate == "P-1"
    assert whole.reasons == whole.assumptions[:1]
    assert whole.confirmed([(w.well, t) for w in WELLS for t in w.targets]).complete


def test_a_missing_curve_file_or_reading_is_a_reason(parts):
    """Results without a curve and curves without a result are both said."""
    assert any("have no curve" in r for r in sets.combine(parts[:2]).reasons)
    fewer = replace(parts[0], readings=parts[0].readings[:1])
    assert any("belong to no result" in r for r in sets.combine([fewer, *parts[1:]]).reasons)
    assert sets.combine(parts[:1]).reasons == parts[0].reasons


def test_files_of_different_runs_are_not_joined(parts):
    """Another serial number, no results, two files of results, or one curve twice are errors."""
    with pytest.raises(instruments.InstrumentError, match="serial") as caught:
        sets.combine([parts[0], replace(parts[1], serial="S2")])
    assert caught.value.code == "BAD_SET"
    for wrong in (parts[1:], [parts[0], parts[0]]):
        with pytest.raises(instruments.InstrumentError, match="exactly one"):
            sets.combine(wrong)
    with pytest.raises(instruments.InstrumentError, match="Two files"):
        sets.combine([parts[0], parts[1], parts[1]])


def test_a_curve_without_a_dye_in_a_duplex_is_not_guessed(parts):
    """Which of two targets it belongs to cannot be known."""
    nameless = replace(parts[1], curves=tuple(structs.replace(c, dye="") for c in parts[1].curves))
    whole = sets.combine([parts[0], nameless])
    assert whole.curves == ()
    assert any("belong to no result" in reason for reason in whole.reasons)
