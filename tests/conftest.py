"""What the tests share: both databases, a clock that stands still, the folder of real exports."""

from __future__ import annotations

import gc
import os
import shutil
import sys
from pathlib import Path

import pytest
from bench import bench_fixture, embedded_fixture, make_bench_fixture  # noqa: F401 - fixtures
from disks import small_disk_fixture  # noqa: F401 - fixture
from hypothesis import HealthCheck, settings
from moments import NOON
from postgres import Cluster, running
from screens import browser_fixture, keep_pictures  # noqa: F401 - fixture
from statements import share
from web_bench import quick_hashes_fixture  # noqa: F401 - fixture

from lis.clock import FixedClock
from lis.db import Database, migrate

# The suite starts dozens of programs: let each module be compiled once, also where images forbid it.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

share()
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
settings.load_profile("suite")

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real cycler exports, which is not part of the project."""
    if not SHARED.is_dir():
        pytest.skip("the folder of real exports (../shared/data) is not beside this checkout")
    return SHARED


@pytest.fixture
def clock() -> FixedClock:
    """A clock that stands at noon until it is moved."""
    return FixedClock(NOON)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty embedded database to copy from."""
    path = tmp_path_factory.mktemp("template") / "lis.db"
    database = Database(f"sqlite:///{path}")
    migrate(database)
    database.close()
    return path


@pytest.fixture(scope="session")
def cluster():
    """A real PostgreSQL server."""
    with running() as found:
        yield found


@pytest.fixture(scope="session")
def postgresql(cluster: Cluster):
    """A function that makes migrated, empty databases on a real PostgreSQL server, which are kept."""
    return lambda: cluster.url(cluster.lend())


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path):
    """The URL of a fresh, migrated database of each kind."""
    if request.param == "sqlite":
        target = tmp_path / "lis.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), target)
        yield f"sqlite:///{target}"
        return
    cluster: Cluster = request.getfixturevalue("cluster")
    name = cluster.lend()
    yield cluster.url(name)
    cluster.give_back(name)


@pytest.fixture
def database(database_url: str, clock: FixedClock):
    """A fresh database of each kind under the clock of the test."""
    opened = Database(database_url, clock)
    yield opened
    opened.close()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Pictures of screens are kept without being asked where that is what a test is run for."""
    keep_pictures(item)


def pytest_collection_finish() -> None:
    """Thousands of collected tests live to the end: the garbage collector need not visit them every time."""
    gc.collect()
    gc.freeze()
