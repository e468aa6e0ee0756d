"""A laboratory on each database for every flow."""

from bench import bench_fixture, embedded_fixture, make_bench_fixture

__all__ = ["bench_fixture", "embedded_fixture", "make_bench_fixture"]
