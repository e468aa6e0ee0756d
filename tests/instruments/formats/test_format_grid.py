"""A table of text read as one array of bytes says what its cells say one by one."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instruments.formats.grid import grid_of

SIGN = st.sampled_from(["", "-"])
PLAIN = st.builds(
    lambda sign, digits, place: f"{sign}{digits[:place]}.{digits[place:]}",
    SIGN,
    st.integers(10**5, 10**12).map(str),
    st.integers(1, 5),
) | st.builds("{}{}".format, SIGN, st.integers(0, 10**16))
ODD = st.sampled_from(
    ["", "-", ".", "1.", ".5", "+1", "1e5", "nan", "1,000.5", " 1", "1_0", "--1", "1.2.3", "1-"]
)
NAME = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
CALM = settings(max_examples=40, deadline=None)


def table(rows, newline="\n"):
    """Rows of cells as text."""
    return "".join("\t".join(row) + newline for row in rows)


@CALM
@given(cells=st.lists(PLAIN, min_size=1, max_size=20))
def test_plain_numbers_are_read_to_the_last_bit(cells):
    """Whatever its sign, digits and decimals, each number is the very one that Python reads, minus zero too."""
    found = grid_of(table([("x", cell) for cell in cells]), "\n", 2).numbers(1)
    if found is None:
        assert max(len(cell) for cell in cells) > 15
        return
    expected = [float(cell) for cell in cells]
    assert found.tolist() == expected
    assert [math.copysign(1, one) for one in found] == [math.copysign(1, one) for one in expected]


@CALM
@given(cells=st.lists(PLAIN, max_size=5), odd=ODD, place=st.integers(0, 5))
def test_a_column_with_anything_else_is_left_to_others(cells, odd, place):
    """One cell that is not plainly written, and the column is not understood here at all."""
    column = [*cells[:place], odd, *cells[place:]]
    assert grid_of(table([("x", cell) for cell in column]), "\n", 2).numbers(1) is None


@CALM
@given(rows=st.lists(st.tuples(NAME, NAME, NAME), min_size=1, max_size=12))
def test_cells_and_changes_are_those_of_the_text(rows):
    """Every cell comes back as it was written; a change is told where a cell is not what it was, nowhere else."""
    rows = [row for row in rows for _ in range(1 + len(row[0]) % 3)]
    found = grid_of(table(rows), "\n", 3)
    for place in range(3):
        assert found.column(place) == [row[place] for row in rows]
    changed = found.changes([0, 2])
    last = None
    for number, row in enumerate(rows):
        assert (number in changed) == (last is None or (row[0], row[2]) != (last[0], last[2]))
        last = row
    assert found.column(1, changed) == [rows[number][1] for number in changed]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_every_line_end_is_one(newline):
    """LF, CRLF and the lone CR of old Macs end a row."""
    found = grid_of(table([("A1", "1.5"), ("A1", "-2.5")], newline), newline, 2)
    assert found.numbers(1).tolist() == [1.5, -2.5]
    assert found.changes([0]).tolist() == [0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\tb\nc\n",
        "a\tb\tc\nd\n",
        "a\nb\tc\n\td\n",
        "a\tb\rc\td\n",
        "a\tb\n\ud800\tc\n",
        "a\x01b\nc\td\n",
    ],
)
def test_a_text_that_is_no_such_table_is_none(text):
    """Nothing, uneven rows, a second kind of line end, half a character, a stray control sign: not read here."""
    assert grid_of(text, "\n", 2) is None


def test_a_cell_too_wide_is_left_to_others():
    """A cell wider than any name or number is not compared or counted here, but can be had as text."""
    found = grid_of(table([("x" * 65, "1"), ("y", "2")]), "\n", 2)
    assert found.changes([0]) is None
    assert found.numbers(0) is None
    assert found.column(0) == ["x" * 65, "y"]
    assert found.numbers(1).tolist() == [1.0, 2.0]


def test_whole_numbers_beyond_a_double_are_left_to_others():
    """Sixteen digits and more are rounded by Python itself."""
    assert grid_of(table([("9007199254740993",)]), "\n", 1).numbers(0) is None
    assert grid_of(table([("9007199254740991",)]), "\n", 1).numbers(0).tolist() == [2.0**53 - 1]
    assert grid_of(table([("0.1234567890123456",)]), "\n", 1).numbers(0) is None


@pytest.mark.parametrize("places", range(1, 15))
def test_a_number_as_wide_as_two_words_is_read_to_the_last_bit(places):
    """Fifteen digits with the dot anywhere among them, negative or not, are what Python reads."""
    cells = [f"{'123456789012345'[:-places]}.{'123456789012345'[-places:]}", "-7.5", f"-{'9' * places}.0"]
    found = grid_of(table([(cell,) for cell in cells]), "\n", 1).numbers(0)
    assert found.tolist() == [float(cell) for cell in cells]
