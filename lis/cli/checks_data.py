"""What ``lis doctor`` looks at in the database: its durability, clocks, devices, files, alarms."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lis.cli.checks_machine import FAIL, OK, WARN, Finding
from lis.errors import LisError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from lis.config import Settings
    from lis.db import Database
    from lis.queries import Row

WAL_HEADER: Final = b"\x02\x02"
"""Bytes 18 and 19 of a database file in WAL mode (sqlite.org/fileformat2.html)."""

POSTGRESQL: Final = ("fsync", "full_page_writes", "synchronous_commit", "data_checksums")
SKEW = timedelta(minutes=2)
FAR_BEHIND = timedelta(hours=1)
SOON = timedelta(days=14)
PATIENCE = timedelta(minutes=10)
"""A file that waited longer than this is not being read."""


def database(settings: Settings, now: datetime) -> Iterator[Finding]:
    """Everything that the database tells; a database that cannot be opened is one finding."""
    from lis.db import Database, default_url

    url = settings.database or default_url(settings.data)
    if url.startswith("sqlite"):
        from sqlalchemy.engine import make_url

        path = Path(make_url(url).database or "")
        if not path.is_file():
            yield Finding("database", FAIL, f"{path} does not exist. Restore a backup, or start lis serve.")
            return
        yield from _sqlite_file(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the version is a check of its own
        opened = Database(url, busy_seconds=5.0)
    try:
        yield from _opened(opened, now, settings.forecast_minutes)
    except LisError as error:
        said = f"The database cannot be read: {error.sentence} Restore the last backup into a new folder."
        yield Finding("database", FAIL, said)
    finally:
        opened.engine.dispose()  # not close(): that would checkpoint


def _opened(opened: Database, now: datetime, every: float) -> Iterator[Finding]:
    with opened.read() as conn:
        if opened.dialect == "sqlite":
            yield from _sqlite(conn)
        else:
            yield from postgresql({name: _show(conn, name) for name in POSTGRESQL})
    with opened.read() as conn:
        good, finding = _schema(conn)
        yield finding
        if good:
            for check in (_clock, _agent_clocks, _devices, _alarms, _files):
                yield from check(conn, now)
            yield _forecasts(conn, now, every)


# -- durability -----------------------------------------------------------------------------------


def _sqlite_file(path: Path) -> Iterator[Finding]:
    """What the file says before our own settings are put on."""
    from lis.db import WAL_RESET_BUG, sqlite_module

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = sqlite_module()
    first, fixed = WAL_RESET_BUG
    version = module.sqlite_version
    if first <= module.sqlite_version_info < fixed:
        said = f"SQLite {version} can corrupt a WAL database (fixed in 3.51.3). Install the pysqlite3 wheel."
        yield Finding("sqlite", FAIL, said)
    else:
        yield Finding("sqlite", OK, f"SQLite {version}.")
    with path.open("rb") as stream:
        header = stream.read(100)
    if header and header[18:20] != WAL_HEADER:
        said = (
            "The database was not in WAL mode. Opening it put that back; find out which program changed it."
        )
        yield Finding("journal", FAIL, said)


def _sqlite(conn: Connection) -> Iterator[Finding]:
    wanted = {"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"}
    found = {name: str(_pragma(conn, name)[0][0]) for name in wanted}
    wrong = [f"{name}={found[name]}" for name in wanted if found[name] != wanted[name]]
    if wrong:
        yield Finding(
            "durability", FAIL, f"Settings are not as they must be: {', '.join(wrong)}. Call the makers."
        )
    else:
        yield Finding(
            "durability", OK, "WAL, synchronous=FULL, foreign keys on: what is acknowledged is on disk."
        )
    flaws = [str(row[0]) for row in _pragma(conn, "quick_check")]
    if flaws != ["ok"]:
        said = f"quick_check: {flaws[0][:120]}. Stop the server, keep the folder, restore the last backup."
        yield Finding("integrity", FAIL, said)
        return
    orphans = _pragma(conn, "foreign_key_check")
    if orphans:
        said = f"{len(orphans)} rows of {orphans[0][0]} refer to nothing. Run lis verify-log."
        yield Finding("integrity", FAIL, said)
    else:
        yield Finding("integrity", OK, "quick_check and foreign_key_check found nothing.")


def _pragma(conn: Connection, name: str) -> list[Any]:
    return list(conn.exec_driver_sql(f"PRAGMA {name}").fetchall())


def _show(conn: Connection, name: str) -> str:
    return str(conn.exec_driver_sql(f"SHOW {name}").scalar_one())


def postgresql(found: Mapping[str, str]) -> Iterator[Finding]:
    """Judge the settings of a PostgreSQL server: name -> what SHOW says."""
    lossy = [name for name in ("fsync", "full_page_writes") if found[name] != "on"]
    if found["synchronous_commit"] in {"off", "local"}:
        lossy.append("synchronous_commit")
    if lossy:
        said = f"{', '.join(lossy)} must be on: a power failure loses what was acknowledged."
        yield Finding("durability", FAIL, f"{said} Set it in postgresql.conf and restart PostgreSQL.")
    else:
        yield Finding("durability", OK, "fsync, full_page_writes and synchronous_commit are on.")
    if found["data_checksums"] == "on":
        yield Finding("checksums", OK, "Data checksums are on.")
    else:
        said = "Data checksums are off: a failing disk goes unnoticed. Stop it, run pg_checksums --enable."
        yield Finding("checksums", WARN, said)


def _schema(conn: Connection) -> tuple[bool, Finding]:
    from sqlalchemy.exc import SQLAlchemyError

    from lis import db

    newest = db.newest_revision()
    try:
        at = db.revision(conn)
    except SQLAlchemyError:
        at = ""
    if at == newest:
        return True, Finding("schema", OK, f"The schema is at {at}, the newest.")
    said = f"The schema is at {at or 'nothing'}, and {newest} is needed: start lis serve once."
    return False, Finding("schema", FAIL, said)


# -- clocks ---------------------------------------------------------------------------------------


def _clock(conn: Connection, now: datetime) -> Iterator[Finding]:
    """The server's clock against what it wrote down; no time server is asked."""
    from lis import queries

    last = queries.last_event_at(conn)
    if last is not None and last - now > SKEW:
        said = f"This server's clock is {_span(last - now)} behind the last thing it wrote down. Set it."
        yield Finding("clock", FAIL, said)
    else:
        said = f"It is {now:%Y-%m-%d %H:%M:%S} UTC here, after all that is written. No time server was asked:"
        yield Finding("clock", OK, f"{said} compare it with a clock you trust.")


def _agent_clocks(conn: Connection, now: datetime) -> Iterator[Finding]:
    """The clock of each instrument's PC, by the dates of its last files against their arrival."""
    from instruments.wire import parse_moment
    from lis import queries

    lags: dict[str, list[timedelta]] = {}
    for one in queries.last_clocks(conn):
        produced = parse_moment(one.produced_at)
        if produced is not None and now - one.received_at < timedelta(days=7):
            lags.setdefault(one.device, []).append(one.received_at - produced)
    for name, found in sorted(lags.items()):
        yield _lag(name, min(found), len(found))


def _lag(name: str, least: timedelta, count: int) -> Finding:
    check = f"clock of {name}"
    if -least > SKEW:
        said = f"A file of {name} was dated {_span(-least)} after its arrival: the clock of its PC is ahead."
        return Finding(check, WARN, said)
    if least > FAR_BEHIND:
        said = f"All of the last {count} files of {name} arrived {_span(least)} or more after their date:"
        return Finding(check, WARN, f"{said} the clock of its PC is behind, or its files come late.")
    return Finding(check, OK, f"The last {count} files of {name} arrived soon after their date.")


def _span(span: timedelta) -> str:
    minutes = round(span.total_seconds() / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.0f} h"


# -- devices --------------------------------------------------------------------------------------


def _devices(conn: Connection, now: datetime) -> Iterator[Finding]:
    from lis import queries

    codes = {row["device"]: row["expires_at"] for row in queries.open_codes(conn, now)}
    rows = queries.devices(conn)
    if not any(row["revoked_at"] is None for row in rows):
        yield Finding(
            "devices", WARN, "No instrument is enrolled. lis device add NAME prints a code for its PC."
        )
    for row in rows:
        if row["revoked_at"] is None:
            yield _device(row, codes.get(row["name"]), now)


def _device(row: Row, code_until: datetime | None, now: datetime) -> Finding:
    from instruments.agent import VERSION

    name, until = row["name"], row["key_until"]
    check, again = f"device {name}", f"lis device rotate {name}"
    if row["public_key"] is None:
        if code_until is None:
            return Finding(
                check, WARN, f"{name} never enrolled and its code has ended: {again} prints a new one."
            )
        return Finding(
            check, WARN, f"{name} has not enrolled yet; its code ends {code_until:%Y-%m-%d %H:%M} UTC."
        )
    if until is not None and until <= now:
        return Finding(
            check, FAIL, f"The key of {name} ended on {until:%Y-%m-%d %H:%M} UTC; it is refused: {again}"
        )
    if until is not None and until - now < SOON:
        return Finding(check, WARN, f"The key of {name} ends on {until:%Y-%m-%d %H:%M} UTC: {again}")
    if row["last_seen_at"] is None:
        return Finding(
            check, WARN, f"{name} has never connected. Is its agent running, and the server reachable?"
        )
    seen = f"last heard {row['last_seen_at']:%Y-%m-%d %H:%M} UTC with agent {row['agent']}"
    if row["agent"] != VERSION:
        return Finding(
            check, WARN, f"{name}: {seen}; {VERSION} is current. Copy the new agent.py and wire.py to it."
        )
    return Finding(check, OK, f"{name}: {seen}.")


# -- what waits -----------------------------------------------------------------------------------


def _alarms(conn: Connection, now: datetime) -> Iterator[Finding]:
    from lis import queries

    del now
    count = queries.queue_depths(conn)["alarms"]
    if count:
        newest = queries.open_alarms(conn, 1)[0]
        said = (
            f"{count} alarms are open; the newest: {newest['code']}, {newest['sentence'][:160]} See to them."
        )
        yield Finding("alarms", WARN, said)
    else:
        yield Finding("alarms", OK, "No alarm is open.")


def _files(conn: Connection, now: datetime) -> Iterator[Finding]:
    from lis import queries

    depths, oldest = queries.queue_depths(conn), queries.waiting_since(conn)
    if oldest is not None and now - oldest > PATIENCE:
        said = f"{depths['waiting']} files were kept and not read, the oldest for {_span(now - oldest)}."
        yield Finding("files", FAIL, f"{said} Start the server again; they are read then.")
    elif depths["quarantined"]:
        said = f"{depths['quarantined']} files are in quarantine and wait for a person (Instruments page)."
        yield Finding("files", WARN, said)
    else:
        yield Finding("files", OK, f"{depths['waiting']} files wait to be read, none is in quarantine.")


def _forecasts(conn: Connection, now: datetime, every: float) -> Finding:
    """How old the last forecast is; while tubes wait, the server makes one every so many minutes."""
    from lis import queries

    last, waits = queries.forecast_row(conn), queries.anybody_waits(conn)
    age = None if last is None else now - last["made_at"]
    told = "No forecast was made yet." if age is None else f"The last forecast is {_span(age)} old."
    if not every:
        return Finding("forecasts", OK, f"{told} The server makes none by itself (forecast_minutes = 0).")
    if waits and (age is None or age > 3 * timedelta(minutes=every)):
        said = f"{told} Tubes wait, and one is due every {every:g} min: is lis serve running? See its log."
        return Finding("forecasts", WARN, said)
    return Finding("forecasts", OK, told)
