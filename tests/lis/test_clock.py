"""Time: always with a zone, always sortable as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lis.clock import FixedClock, SystemClock, from_text, to_text

moments = st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2999, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(moments, moments)
def test_text_sorts_as_time_does(one: datetime, other: datetime):
    """Stored times compare as text exactly as they do as moments, and come back equal."""
    assert (to_text(one) < to_text(other)) == (one < other)
    assert from_text(to_text(one)) == one
    assert len(to_text(one)) == 27


def test_a_local_time_is_converted_and_one_without_a_zone_refused():
    """Beijing noon is stored as 04:00 UTC; a time without a zone is a guess."""
    beijing = timezone(timedelta(hours=8))
    assert to_text(datetime(2022, 12, 21, 12, 0, tzinfo=beijing)) == "2022-12-21T04:00:00.000000Z"
    with pytest.raises(ValueError, match="no time zone"):
        to_text(datetime(2022, 12, 21, 12, 0))  # noqa: DTZ001 - that is the point


def test_clocks_tell_time_with_a_zone():
    """The system's clock is in UTC; a fixed clock moves only when told to, forth or back."""
    assert SystemClock().now().tzinfo is UTC
    clock = FixedClock(datetime(2022, 12, 21, tzinfo=UTC))
    clock.advance(timedelta(hours=-1))
    assert clock.now() == datetime(2022, 12, 20, 23, tzinfo=UTC)
