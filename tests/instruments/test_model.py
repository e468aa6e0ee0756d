"""Wells, readings and runs."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruments import InstrumentError
from instruments.model import Reading, RunFile, canonical_well, well_index, well_name

BLOCKS = st.sampled_from([96, 384])


@given(BLOCKS, st.data())
def test_index_and_name_are_one_to_one(block, data):
    """Every well of a block has one name and one index, and they agree."""
    index = data.draw(st.integers(0, block - 1))
    assert well_index(well_name(index, block), block) == index


@given(BLOCKS, st.data())
def test_every_spelling_of_a_well_is_the_same_well(block, data):
    """A1, A01, a1, padded, and the number with or without .0 name one well."""
    index = data.draw(st.integers(0, block - 1))
    name = well_name(index, block)
    letter, column = name[0], int(name[1:])
    spellings = [f"{letter}{column:02d}", name.lower(), f"      {name} ", str(index + 1), f"{index + 1}.0"]
    assert {canonical_well(spelling, block) for spelling in spellings} == {name}


def test_numbers_run_row_by_row():
    """Well 13 is B1 on 96 wells and A13 on 384, as the instruments count."""
    assert canonical_well("13", 96) == "B1"
    assert canonical_well("13", 384) == "A13"
    assert (well_name(95, 96), well_name(383, 384)) == ("H12", "P24")


@pytest.mark.parametrize(
    ("text", "block"),
    [
        ("I1", 96),
        ("A13", 96),
        ("97", 96),
        ("0", 96),
        ("Q1", 384),
        ("A25", 384),
        ("", 96),
        ("A0", 96),
        ("A1x", 96),
        ("1.5", 96),
        ("-1", 96),
        ("AA1", 96),
        ("5", 0),
        ("Q1", 0),
        ("A1", 48),
        ("A１", 96),
    ],
)
def test_an_impossible_well_is_refused(text, block):
    """A well the block does not have is an error, never another well."""
    with pytest.raises(InstrumentError) as caught:
        canonical_well(text, block)
    assert caught.value.code == "BAD_WELL"


@pytest.mark.parametrize(("index", "block"), [(-1, 96), (96, 96), (384, 384), (0, 0)])
def test_an_impossible_index_is_refused(index, block):
    """An index outside the block has no name."""
    with pytest.raises(InstrumentError) as caught:
        well_name(index, block)
    assert caught.value.code == "BAD_WELL"


def reading(well="A1", target="N", dye="FAM", cq=20.0):
    """One reading."""
    return Reading(well, "S", "unknown", target, dye, cq, str(cq), "", ())


def test_json_has_the_agreed_shape_and_utc_times():
    """`lis read --json` prints these keys, times with Z, and counts curves."""
    at = datetime(2022, 12, 1, 16, 0, tzinfo=timezone(timedelta(hours=8)))
    run = RunFile("a.txt", "00", "f", readings=(reading(),), run_ended=at.astimezone(UTC), reasons=("x",))
    document = json.loads(json.dumps(run.as_json()))
    assert {
        "format",
        "instrument",
        "serial",
        "run_started",
        "run_ended",
        "complete",
        "reasons",
        "wells",
        "curves",
        "unread",
    } <= set(document)
    assert (document["run_started"], document["run_ended"]) == (None, "2022-12-01T08:00:00Z")
    assert set(document["wells"][0]) == {
        "well",
        "sample",
        "task",
        "target",
        "dye",
        "cq",
        "raw_cq",
        "call",
        "flags",
    }
    assert document["complete"] is False


def test_confirming_settles_only_what_was_assumed():
    """The plate map completes a run whose only doubt was its end, and nothing else."""
    doubt = "no end mark"
    run = RunFile("a", "0", "f", reasons=(doubt,), assumptions=(doubt,), readings=(reading(),))
    assert run.confirmed([("A01", "N")]).complete
    assert run.confirmed([("A1", "FAM")]).complete
    broken = RunFile("a", "0", "f", reasons=(doubt, "two rows"), assumptions=(doubt,), readings=(reading(),))
    assert broken.confirmed([("A1", "N")]).reasons == ("two rows",)
    assert not broken.confirmed([("A1", "N")]).complete


def test_a_loaded_reaction_without_a_reading_is_named():
    """However well a file ends, a loaded well it lacks makes the run incomplete."""
    run = RunFile("a", "0", "f", complete=True, readings=(reading(),)).confirmed([("A1", "N"), ("B1", "N")])
    assert not run.complete
    assert "B1 N" in run.reasons[0]
