"""What the tests themselves stand on: databases are as new, helpers have one name, caches are harmless."""

from __future__ import annotations

import ast
from pathlib import Path

import psycopg
from bench import open_bench
from postgres import Cluster

from lis.clock import FixedClock

TESTS = Path(__file__).resolve().parent


def test_a_database_that_was_used_is_lent_again_as_new(cluster: Cluster, tmp_path: Path, clock: FixedClock):
    """After a day of work nothing is left in a database that is given back: the same day begins with the same rows."""
    name = cluster.lend()
    counts = []
    for number in range(2):
        bench = open_bench(tmp_path / str(number), cluster.url(name), clock)
        assert bench.count() == bench.count("person") == bench.count("alarm") == 0
        bench.cycle(bench.singles(3), {"PC": {"N": None}})
        counts.append(
            [bench.count(table) for table in ("event", "person", "file", "run", "alarm", "reading")]
        )
        bench.lab.close()
        assert cluster.give_back(name)
        assert cluster.lend() == name
    assert counts[0] == counts[1]
    assert min(counts[0]) > 0
    assert cluster.give_back(name)


def test_a_database_whose_guards_were_taken_down_is_never_lent_again(cluster: Cluster):
    """A table without its trigger, or with another column, cannot be lent: the next test would prove nothing."""
    for spoil in (
        "ALTER TABLE event DISABLE TRIGGER USER",
        "ALTER TABLE alarm ADD COLUMN note text",
        "ALTER DATABASE {name} SET work_mem = '1MB'",
        "CREATE TABLE another (a int)",
    ):
        name = cluster.lend()
        with psycopg.connect(cluster.server.get_uri(name), autocommit=True) as conn:
            conn.execute(spoil.format(name=name))
        assert not cluster.give_back(name)
        assert name not in cluster.empty


def test_no_test_imports_a_conftest():
    """There are several modules of that name, and which one an import finds depends on the files that are run."""
    found = [
        path.name
        for path in TESTS.rglob("*.py")
        if "conftest" in (text := path.read_text(encoding="utf-8"))
        for node in ast.walk(ast.parse(text))
        if (isinstance(node, ast.ImportFrom) and node.module == "conftest")
        or (isinstance(node, ast.Import) and any(name.name == "conftest" for name in node.names))
    ]
    assert found == []


def test_every_module_of_the_tests_has_a_name_of_its_own():
    """Test folders are not packages: two files of one name would be one module, whichever came first."""
    names = [path.name for path in TESTS.rglob("*.py") if path.name != "conftest.py"]
    assert sorted({name for name in names if names.count(name) > 1}) == []
