"""The schema's version, and the way to the newest one (Alembic, one history for both databases)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from lis.db.refusals import translated
from lis.db.units import Database

if TYPE_CHECKING:
    from alembic.config import Config


def revision(conn: Connection) -> str:
    """The schema version this database is at."""
    return str(conn.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one())


def newest_revision() -> str:
    """The schema version this program needs."""
    from alembic.script import ScriptDirectory

    return str(ScriptDirectory.from_config(config()).get_current_head())


def config() -> Config:
    """What Alembic needs to know."""
    from alembic.config import Config

    settings = Config(stdout=sys.stdout)  # its own default is whatever stdout was when it was imported
    settings.set_main_option("script_location", "lis:migrations")
    return settings


def migrate(database: Database) -> None:
    """Bring the database to the newest schema (Alembic, one history for both databases)."""
    from alembic import command

    settings = config()
    with translated(database.dbapi), database.engine.connect() as conn:
        settings.attributes["connection"] = conn
        with conn.begin():
            command.upgrade(settings, "head")
