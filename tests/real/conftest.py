"""Fixtures of the tests on real exports."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from exports import Bench


@pytest.fixture
def bench(tmp_path: Path):
    """A fresh laboratory on the embedded database."""
    made = Bench(tmp_path / "data")
    yield made
    made.close()
