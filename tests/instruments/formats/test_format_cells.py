"""Cells: numbers, Cq, tasks, dates."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruments.formats import cells


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (25.5, (25.5, "")),
        ("25.5", (25.5, "")),
        (" 25.5 ", (25.5, "")),
        ("2.55E1", (25.5, "")),
        ("Undetermined", (None, "")),
        ("UNDETERMINED", (None, "")),
        ("NaN", (None, "")),
        ("N/A", (None, "")),
        ("-", (None, "")),
        ("", (None, "")),
        (363.0, (363.0, cells.OUT_OF_RANGE)),
    ],
)
def test_cq_spellings(cell, expected):
    """Known numbers and known spellings of none are read; an absurd Cq is kept and flagged."""
    assert cells.cq(cell) == expected


@pytest.mark.parametrize(
    "cell", ["27,943", "27,9", "1_0", "0x10", "inf", "Undeterm", "27.9.1", "-3.0", "٢٧", True]
)
def test_what_is_not_understood_is_never_no_cq(cell):
    """A cell that cannot be read raises a flag, so that it cannot pass for "not detected"."""
    assert cells.cq(cell) == (None, cells.UNREAD_CQ)


def test_a_zero_cq_depends_on_the_format():
    """CFX writes 0 for none; elsewhere it is a value out of range."""
    assert cells.cq("0", zero_is_none=True) == (None, "")
    assert cells.cq("0") == (0.0, cells.OUT_OF_RANGE)


@given(st.floats(1, 60).map(lambda v: round(v, 6)))
def test_decimal_comma_and_point_never_mix(value):
    """A number is read the one way that was stated, and not at all the other way."""
    point = f"{value:.6f}"
    assert cells.number(point) == value
    assert cells.number(point.replace(".", ","), decimal=",") == value
    assert cells.number(point, decimal=",") is None
    assert cells.number(point.replace(".", ",")) is None


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("36,431.130", 36431.13),
        ("-2,551.491", -2551.491),
        ("100,000,000.000", 1e8),
        ("27,943", None),
        ("1,23.0", None),
    ],
)
def test_grouped_thousands_need_decimals(written, expected):
    """A group without decimals may be a decimal comma, so it is no number."""
    assert cells.number(written, grouped=True) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("UNKNOWN", "unknown"),
        ("Unkn-01", "unknown"),
        ("BlockedIPC", "blocked_ipc"),
        ("BLOCKED_IPC", "blocked_ipc"),
        ("NTC-12", "ntc"),
        ("Pos Ctrl-1", "positive_control"),
        ("POSITIVE_CONTROL", "positive_control"),
        ("Neg Ctrl", "negative_control"),
        ("Std-03", "standard"),
        ("IPC", "ipc"),
        ("miR-101", "miR-101"),
        ("", ""),
    ],
)
def test_tasks(written, expected):
    """Tasks of all vendors get one name; an unknown word stays as it is."""
    assert cells.task(written) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2021-01-02 08:56:35 AM VET", datetime(2021, 1, 2, 12, 56, 35, tzinfo=UTC)),
        ("2016-03-28 19:07:10 PM PDT", datetime(2016, 3, 29, 2, 7, 10, tzinfo=UTC)),
        ("2018-06-01 12:04:59 AM EDT", datetime(2018, 6, 1, 4, 4, 59, tzinfo=UTC)),
        ("2026-02-13 01:14:45 PM EST", datetime(2026, 2, 13, 18, 14, 45, tzinfo=UTC)),
        ("03/26/2020 21:20:47 UTC", datetime(2020, 3, 26, 21, 20, 47, tzinfo=UTC)),
        ("2022-12-01 08:00:00 GMT+08:00", datetime(2022, 12, 1, 0, 0, tzinfo=UTC)),
        ("2022-12-01 08:00:00 AM CST", None),
        ("2022-12-01 08:00:00", None),
        ("2022-13-01 08:00:00 UTC", None),
        ("", None),
        ("NA", None),
    ],
)
def test_times(written, expected):
    """Times become UTC; an ambiguous or missing zone gives no time rather than a wrong one."""
    assert cells.instant(written) == expected


def test_the_laboratorys_zone_settles_an_ambiguous_abbreviation():
    """CST is China Standard Time for a laboratory in China, and stays unknown where it does not fit."""
    shanghai, new_york = ZoneInfo("Asia/Shanghai"), ZoneInfo("America/New_York")
    assert cells.instant("2022-12-01 08:00:00 AM CST", shanghai) == datetime(2022, 12, 1, 0, 0, tzinfo=UTC)
    assert cells.instant("2022-12-01 08:00:00", shanghai) == datetime(2022, 12, 1, 0, 0, tzinfo=UTC)
    assert cells.instant("2022-12-01 08:00:00 AM CST", new_york) is None


def test_the_cyrillic_header_folds_to_the_latin_one():
    """The 7500 writes Cт with U+0442."""
    assert cells.fold("Cт ") == cells.fold("CT") == "ct"


def test_text_of_a_spreadsheet_number_has_no_decimal_tail():
    """A serial number read as 12345.0 is 12345."""
    assert [cells.text(cell) for cell in (12345.0, 1.5, True, " E ")] == ["12345", "1.5", "true", "E"]
