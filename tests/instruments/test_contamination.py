"""Splashes are found and chance is let go, on simulated plates with a known truth."""

import numpy as np
import pytest

from instruments.contamination import Signal, suspicions
from instruments.errors import InstrumentError
from instruments.model import BLOCKS, well_name


def plate(rng, block, prevalence=0.05):
    """Independent specimens: Cq normal around 27 with SD 5, two targets half a cycle apart at most."""
    cqs = np.where(rng.random(block) < prevalence, np.clip(rng.normal(27, 5, block), 12, 38), np.nan)
    return {
        well_name(i, block): {}
        if np.isnan(cq)
        else {"N": float(cq), "ORF1ab": float(cq + rng.normal(0, 0.4))}
        for i, cq in enumerate(cqs)
    }


def signals(cqs, orders=None):
    """Wells as the map takes them, extracted down the columns if not said otherwise."""
    columns = sorted(cqs, key=lambda well: (int(well[1:]), well[0]))
    usual = {well: place for place, well in enumerate(columns)}
    return [Signal(well, cq, (orders or usual)[well]) for well, cq in cqs.items()]


def flagged(found):
    """Every well in doubt."""
    return {well for one in found for well in one.wells}


def around(index, block, step=1):
    """Neighbours of a well at a distance, those that exist."""
    rows, columns = BLOCKS[block]
    row, column = divmod(index, columns)
    places = [(row + r * step, column + c * step) for r in (-1, 0, 1) for c in (-1, 0, 1) if r or c]
    return [well_name(r * columns + c, block) for r, c in places if 0 <= r < rows and 0 <= c < columns]


@pytest.mark.parametrize(("block", "plates", "stamped"), [(96, 1000, False), (384, 150, True)])
def test_chance_is_let_go(block, plates, stamped):
    """At 5 % prevalence fewer than 1 % of the wells of clean plates are flagged."""
    rng = np.random.default_rng(1)
    wells = 0
    for _ in range(plates):
        wells += len(flagged(suspicions(signals(plate(rng, block)), block, stamped=stamped)))
    assert wells / (plates * block) < 0.01


@pytest.mark.parametrize(("block", "plates", "step"), [(96, 500, 1), (384, 100, 1), (384, 100, 2)])
def test_a_splash_of_a_ten_thousandth_is_found(block, plates, step):
    """A Cq 15 well splashes 1 : 10,000 beside it, or on the plate stamped from: 90 % are found with their source."""
    rng = np.random.default_rng(2)
    found = 0
    for _ in range(plates):
        cqs = plate(rng, block)
        source = int(rng.integers(block))
        cqs[well_name(source, block)] = {"N": 15.0, "ORF1ab": 15.3}
        hit = str(rng.choice([well for well in around(source, block, step) if not cqs[well]]))
        lag = np.log2(10_000)
        cqs[hit] = {"N": 15.0 + lag + rng.normal(0, 0.5), "ORF1ab": 15.3 + lag + rng.normal(0, 0.5)}
        found += hit in flagged(suspicions(signals(cqs), block, stamped=step == 2))
    assert found / plates >= 0.9


def test_a_suspicion_names_source_reason_and_distance():
    """Whoever retests sees which well, beside which, and by how many cycles later."""
    cqs = {"A1": {"N": 15.0}, "B2": {"N": 28.5}, "D1": {}, "H12": {"N": 29.0}}
    (one,) = suspicions([Signal(well, cq) for well, cq in cqs.items()], 96)
    assert (one.reason, one.wells, one.source, one.later) == ("beside", ("B2",), "A1", 13.5)


@pytest.mark.parametrize(
    ("cq", "doubted"),
    [
        ({"N": 23.0}, True),
        ({"N": 22.9}, False),
        ({"N": 28.0, "ORF1ab": 30.0}, True),
        ({"N": 28.0, "ORF1ab": 33.0}, False),
        ({"N": 28.0, "S": 28.0}, False),
    ],
)
def test_what_a_source_cannot_have_made_is_not_laid_on_it(cq, doubted):
    """Less than 1 : 250, targets in another proportion, or a target the source lacks: another specimen."""
    wells = [Signal("A1", {"N": 15.0, "ORF1ab": 15.5}), Signal("A2", cq)]
    assert bool(suspicions(wells, 96)) is doubted


def test_only_very_strong_wells_are_sources():
    """Beside a Cq of 22.1 nothing is suspected, beside 22 a lag of 13 cycles is."""
    for cq, doubted in ((22.0, True), (22.1, False)):
        assert bool(suspicions([Signal("A1", {"N": cq}), Signal("A2", {"N": cq + 13})], 96)) is doubted


def test_carry_over_follows_the_order_of_extraction():
    """The specimen extracted next is suspected wherever it stands; the one before is not."""
    wells = [Signal("A1", {"N": 15.0}, 7), Signal("H9", {"N": 28.0}, 8), Signal("H12", {"N": 28.0}, 6)]
    (one,) = suspicions(wells, 96)
    assert (one.reason, one.wells) == ("extraction-order", ("H9",))


def test_neighbours_on_the_plate_stamped_from_count_only_when_it_was_stamped():
    """On a stamped 384-well plate A1 and A3 stood side by side on their 96-well plate."""
    wells = [Signal("A1", {"N": 15.0}), Signal("A3", {"N": 29.0}), Signal("A4", {"N": 29.0})]
    assert suspicions(wells, 384) == ()
    (one,) = suspicions(wells, 384, stamped=True)
    assert (one.reason, one.wells) == ("source-plate", ("A3",))


def test_a_crowd_of_positives_is_no_accident():
    """Six positives in a block on a plate of few: all are named, the lone one elsewhere is not."""
    crowd = {"C4", "C5", "C6", "D4", "D5", "D6"}
    names = [well_name(i, 96) for i in range(96)]
    wells = [Signal(name, {"N": 30.0} if name in {*crowd, "H1"} else {}) for name in names]
    (one,) = suspicions(wells, 96)
    assert (one.reason, set(one.wells), one.source) == ("cluster", crowd, "")
    spread = {"A1", "B7", "C3", "D10", "F5", "G12", "H8"}
    assert suspicions([Signal(name, {"N": 30.0} if name in spread else {}) for name in names], 96) == ()


def test_a_full_plate_of_positives_is_no_crowd():
    """Where most are positive, neighbours say nothing."""
    assert suspicions([Signal(well_name(i, 96), {"N": 28.0}) for i in range(96)], 96) == ()
    assert suspicions([], 96) == ()


def test_a_well_that_is_not_on_the_block_is_refused():
    """A wrong block is an error, not an empty map."""
    with pytest.raises(InstrumentError):
        suspicions([Signal("P24", {})], 96)
