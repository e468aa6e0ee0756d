"""The walk to fetch tubes: no rack is visited twice, no row walked back, nothing forgotten."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.walk import Stop, walk

PLACES = st.sampled_from(["A1", "A12", "B1", "B2", "H7", "a3", "1", "17", "", "Z", "top", " a1 "])
STOPS = st.lists(
    st.builds(Stop, st.integers(0, 99).map(str), st.sampled_from(["", "R1", "R2", "R10", "F-3"]), PLACES),
    max_size=20,
    unique=True,
)


def test_a_rack_is_walked_in_serpentine():
    """Row A from the left, row B from the right, row C from the left; racks by number; what has no rack last."""
    places = ["B2", "A1", "C1", "A10", "B11", "A2", "C3"]
    stops = [Stop(f"T{n}", "R2", place) for n, place in enumerate(places)]
    stops += [Stop("X", "R10", "A1"), Stop("Y", "", "A1"), Stop("Z", "R1", "H12")]
    walked = walk(stops)
    assert [stop.position for stop in walked if stop.rack == "R2"] == [
        "A1",
        "A2",
        "A10",
        "B11",
        "B2",
        "C1",
        "C3",
    ]
    assert [stop.rack for stop in walked] == ["R1", *["R2"] * 7, "R10", ""]


def test_numbered_places_and_places_that_say_nothing():
    """Numbers count as numbers; a place without a meaning comes after them, an empty one last."""
    walked = walk([Stop(place, "R1", place) for place in ("", "10", "9", "top", "B1", "A01")])
    assert [stop.position for stop in walked] == ["A01", "B1", "9", "10", "top", ""]


@given(STOPS)
@settings(max_examples=40)
def test_a_walk_forgets_nothing_and_returns_to_no_rack(stops: list[Stop]):
    """Every stop is walked past once, the stops of a rack follow each other, and the order in which they came is no matter."""
    walked = walk(stops)
    assert sorted(walked) == sorted(stops)
    racks = [stop.rack for stop in walked]
    assert len([n for n, rack in enumerate(racks) if n == 0 or racks[n - 1] != rack]) == len(set(racks))
    assert walk(reversed(stops)) == walked
