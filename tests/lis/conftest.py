"""The laboratory of the flow tests serves the tests of its parts too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "flows"))

from bench import bench_fixture, embedded_fixture, make_bench_fixture

__all__ = ["bench_fixture", "embedded_fixture", "make_bench_fixture"]
