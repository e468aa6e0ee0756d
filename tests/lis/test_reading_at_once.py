"""A plate read in arrays: every tube gets the outcome that it would get alone."""

import json
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lis import ledger
from lis.config import Settings
from lis.ledger.rows import canonical
from lis.matching import LoadedWell, Measured
from lis.rulebook import load
from lis.services.results.judging import Bench, interpreted
from retest import Reading, ReadingError, interpret
from retest.words import CURVES

CALM = settings(max_examples=40, deadline=None)


def measured(well, target, cq, curve, omitted):
    """What a file says of one target of one well."""
    return Measured(well, target, "FAM", cq, "", curve, "", (), "", omitted)


def well_of(names):
    """Any readings of a well: whole, in another order, or with targets missing or left out."""
    one = st.tuples(
        st.sampled_from(names),
        st.none() | st.floats(1, 45) | st.just(-1.0),
        st.sampled_from(["", *CURVES]),
        st.integers(0, 9).map(lambda n: n == 0),
    )
    whole = st.tuples(
        *(st.tuples(st.just(name), st.none() | st.floats(1, 45), *[one_of_curve, no]) for name in names)
    )
    return whole | st.lists(one, max_size=3).map(tuple)


one_of_curve = st.sampled_from(["", *CURVES])
no = st.just(value=False)


@pytest.fixture(scope="module")
def assays(tmp_path_factory):
    """The rules of every assay that is shipped."""
    shipped = load(Settings(data=tmp_path_factory.mktemp("rules"))).assays
    return [shipped[name] for name in sorted(shipped)]


@CALM
@given(data=st.data())
def test_a_plate_is_read_as_each_tube_alone(assays, data):
    """Whole wells together or odd ones alone: outcome by outcome the same, and a Cq that is none refused in the same words."""
    assay = data.draw(st.sampled_from(assays))
    names = [target.name for target in assay.targets]
    drawn = data.draw(st.lists(st.lists(well_of(names), min_size=1, max_size=2), max_size=6))
    tubes, found = [], {}
    for number, many in enumerate(drawn):
        wells = [f"A{2 * number + place}" for place in range(len(many))]
        tubes.append([LoadedWell(well, f"T{number}", "", "B1", "first") for well in wells])
        for well, one in zip(wells, many, strict=True):
            found[well] = tuple(measured(well, *reading) for reading in one)
    bench = Bench(assay, "CFX96", "Somewhere")

    def alone(wells):
        readings = tuple(
            Reading(m.target, m.cq, m.curve or None) for w in wells for m in found[w.well] if not m.omitted
        )
        return interpret(readings, assay, instrument="CFX96", laboratory="Somewhere")

    assert told(lambda: interpreted(bench, tubes, found)) == told(lambda: [alone(wells) for wells in tubes])


def told(act):
    """What comes of it, an error as its words."""
    try:
        return act()
    except ReadingError as error:
        return error.code, error.where, error.sentence


LETTERS = st.characters(codec="utf-8")
VALUE = st.none() | st.text(LETTERS, max_size=8) | st.integers(-(2**63), 2**63 - 1) | st.booleans()


@CALM
@given(row=st.dictionaries(st.text(LETTERS, min_size=1, max_size=6), VALUE, max_size=8))
def test_rows_and_seals_are_plain_json_in_the_order_of_their_names(row):
    """Whoever has a JSON writer can compute every link and seal anew: no blanks, names in order, UTF-8."""
    filled = {name: value for name, value in row.items() if value is not None}
    plain = json.dumps(filled, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    assert canonical(row) == plain.encode()
    assert ledger.link("before", row) == sha256(f"before{plain}".encode()).hexdigest()
    said = {name: value for name, value in row.items() if name != "seal"}
    sealed = json.dumps(said, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    assert ledger.report_seal(row) == sha256(sealed.encode()).hexdigest()
