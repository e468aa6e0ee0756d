"""Moments that tests agree on."""

from datetime import UTC, datetime

NOON = datetime(2022, 12, 21, 12, 0, tzinfo=UTC)
"""Noon (UTC) of the day on which the tests play."""
