"""What is remembered of files: their few short words, and nothing that grows with them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from instruments.formats import cells, places
from instruments.model import canonical_well, well_index
from instruments.remembering import LONGEST, remembered


@given(
    st.lists(
        st.text(max_size=2 * LONGEST) | st.floats(allow_nan=False) | st.none() | st.booleans(), max_size=30
    )
)
def test_what_is_remembered_is_what_would_be_answered(asked: list[object]):
    """Asked in any order and as often as one likes, the answer is that of the function itself."""

    @remembered(4)
    def kind(what: object, number: int) -> tuple[type, object, int]:
        return type(what), what, number

    for what in asked + asked:
        answer = kind(what, len(asked))
        assert answer[0] is type(what)
        assert answer[1] == what


def test_only_short_texts_stay():
    """A text at the limit is remembered, one letter more is not."""
    seen = []
    kind = remembered(8)(lambda text: seen.append(text) or len(text))
    for length in (LONGEST, LONGEST + 1):
        assert kind("x" * length) == kind("x" * length) == length
    assert [len(text) for text in seen] == [LONGEST, LONGEST + 1, LONGEST + 1]


def test_wells_of_megabytes_do_not_fill_the_memory():
    """Spellings that differ only in a million blanks or zeros are read, and forgotten."""
    kept = [
        one.known.cache_info().currsize
        for one in (canonical_well, well_index, places._contradict, cells._task)
    ]
    for number in range(3):
        long = " " * (1_000_000 + number)
        assert canonical_well(f"{long}A1", 96) == canonical_well(f"A{'0' * len(long)}1", 96) == "A1"
        assert well_index(f"{long}b2", 96) == 13
        assert not places._contradict(long, "A1", (12,))
        assert cells.task(f"x{long}y") == f"x{long}y"
    now = [
        one.known.cache_info().currsize
        for one in (canonical_well, well_index, places._contradict, cells._task)
    ]
    assert [after - before for before, after in zip(kept, now, strict=True)] == [0, 0, 0, 0]


def test_a_spelling_is_looked_at_once():
    """The same word in the next row costs nothing."""
    canonical_well(" h07 ", 96)
    before = canonical_well.known.cache_info().misses
    assert canonical_well(" h07 ", 96) == "H7"
    assert canonical_well.known.cache_info().misses == before
