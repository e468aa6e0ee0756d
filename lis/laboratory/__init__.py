"""One open laboratory: its settings, database, key and rules, and the acts that chain several stations.

Services never call each other; where one act leads to the next (a file is kept, then read, then its
negatives are released) the chain stands here.
"""

from __future__ import annotations

import gc
import hashlib
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from zoneinfo import ZoneInfo

from sqlalchemy.engine import make_url

from instruments import InstrumentError, read
from instruments.apart import read_and_judge
from lis import config, ledger, queries, rulebook
from lis.clock import Clock, SystemClock, to_text
from lis.config import Settings
from lis.db import GENESIS, Database, Head, Unit, default_url, migrate
from lis.errors import Damaged, LisError, NotFound
from lis.privacy import Vault
from lis.services import capacity, inbox, pools, reports, results
from lis.services.reports import Held, Issued
from lis.services.results import Foresight, Ingested, Parsed
from retest import AssayRules

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection

    from instruments.tracing import Trace
    from lis.config import Settings
    from lis.rulebook import Rulebook
    from lis.services.inbox import Delivery, Stored


@dataclass(frozen=True)
class Laboratory:
    """Everything that is open while the laboratory works. Use as a context manager, or :meth:`close`."""

    settings: Settings
    database: Database
    vault: Vault
    rules: Rulebook

    def __enter__(self) -> Self:
        """Open already."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the database."""
        self.close()

    @property
    def zone(self) -> ZoneInfo:
        """The zone of printed times."""
        return ZoneInfo(self.settings.timezone)

    def close(self) -> None:
        """Close the database."""
        self.database.close()


def open_laboratory(settings: Settings, clock: Clock | None = None) -> Laboratory:
    """Open the laboratory of ``settings``: database at its newest schema, key, rules.

    Raises:
        LisError: settings, key or a rule file are wrong; the sentence says which.
    """
    settings.data.mkdir(parents=True, exist_ok=True)
    key = config.secret_key(settings.data)
    rules = rulebook.load(settings)
    database = Database(settings.database or default_url(settings.data), clock or SystemClock())
    try:
        migrate(database)
        return Laboratory(settings, database, Vault(key), _with_history(database, rules))
    except BaseException:
        database.close()
        raise


def _with_history(database: Database, rules: Rulebook) -> Rulebook:
    """The rules together with every version that spoke before."""
    old: dict[tuple[str, str], AssayRules] = {}
    with database.read() as conn:
        for row in queries.rule_versions(conn, "assay"):
            now = rules.assays.get(row["name"])
            if now is not None and now.version == row["version"]:
                _refuse_edited(row["name"], row["version"], now.digest, row["digest"])
                continue
            old[row["name"], row["version"]] = AssayRules.from_toml(
                row["content"], f"{row['name']} {row['version']}"
            )
        for kind, name, version, digest, _ in rules.pool_files():
            _refuse_edited(name, version, digest, queries.rule_digest(conn, kind, name, version))
    return replace(rules, old=old)


def _refuse_edited(name: str, version: str, digest: str, spoken: str | None) -> None:
    if spoken not in {None, digest}:
        raise LisError(
            "RULES_EDITED",
            f"Rule file {name} was edited in place: version {version} has been "
            "used with another content. Give the new content a new version.",
        )


def masked_url(url: str) -> str:
    """A database URL without its password, for screens and logs."""
    return make_url(url).render_as_string(hide_password=True)


def foreseen(unit: Unit, rules: Rulebook) -> list[Foresight]:
    """What the plates that are read live make likely, the one that ends first at the head. For planning."""
    found = (results.foresee(unit, rules, plate) for plate in queries.live_plates(unit.conn))
    return sorted((one for one in found if one), key=lambda one: (one.ends_at, one.plate_id))


def foretold(lab: Laboratory, order: capacity.Order, actor: str) -> int:
    """Forecast when every tube will be reported, and store it; the number of the forecast.

    The laboratory is played on between a reading and a writing transaction: nobody waits meanwhile.

    Raises:
        Invalid: ``FORECAST_TIME``.
    """
    made = capacity.foretell(_situation(lab, order), order)
    with lab.database.write(actor) as unit:
        return capacity.keep(unit, made)


def admission(lab: Laboratory, wish: capacity.Wish) -> dict[str, Any]:
    """Whether more tubes may come in: the document of ``lis admit`` and ``GET /admission``.

    Raises:
        Invalid: the question makes no sense. Refused: pools are not allowed here.
    """
    capacity.check(wish, lab.database.clock.now())
    found = capacity.ask(_situation(lab, capacity.Order()), lab.rules, wish)
    with lab.database.read() as conn:
        return capacity.admission_json(conn, found, wish)


def _situation(lab: Laboratory, order: capacity.Order) -> capacity.Situation:
    """What a forecast begins with; running plates end when their live curves say, if it is of now."""
    now = lab.database.clock.now()
    with lab.database.read() as conn:
        if order.at is None:
            unit = Unit(conn, now, "forecast", Head(0, GENESIS))
            order = order.knowing(foreseen(unit, lab.rules))
        return capacity.look(conn, lab.rules, order, now, lab.zone)


def alarms(lab: Laboratory, conn: Connection, limit: int = queries.PAGE) -> list[dict[str, Any]]:
    """Alarms nobody has cleared, the latest first; before them the one that cannot be recorded.

    A full disk takes no alarm: as long as it refuses every write its alarm is this one, without a number.
    """
    found = [dict(row) for row in queries.open_alarms(conn, limit)]
    trouble = lab.database.trouble
    if trouble is None:
        return found
    told = {"alarm_id": 0, "at": trouble.since, "code": trouble.code}
    told |= {"subject": "", "sentence": trouble.sentence}
    return [told, *found][:limit]


# -- a file, from its bytes to its reports --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Handled:
    """What became of a delivery, up to the reports it led to."""

    stored: Stored
    ingested: Ingested
    issued: Issued
    held: tuple[Held, ...] = ()


def parse(lab: Laboratory, name: str, data: bytes) -> Parsed:
    """Read a cycler's file without touching the laboratory; a Cq that its curve contradicts is flagged."""
    try:
        run, curves = read_and_judge(name, data, lab.rules.tables, zone=lab.zone)
    except InstrumentError as error:
        return Parsed.failed(error)
    return Parsed(run, curves=curves)


def drawn(lab: Laboratory, file_id: str) -> tuple[Trace, ...]:
    """The curves of a file that was taken over; empty where it holds none.

    Raises:
        NotFound: ``FILE_UNKNOWN``.
    """
    from instruments.tracing import traces

    with lab.database.read() as conn:
        row = queries.file_row(conn, file_id)
    if row is None:
        raise NotFound("FILE_UNKNOWN", "No such file was received.")
    try:
        return traces(read(row["name"], row["content"], lab.rules.tables, zone=lab.zone))
    except InstrumentError:  # read by an older version, or a message that is no file
        return ()


def keep(lab: Laboratory, delivery: Delivery) -> Stored:
    """Commit a delivery; after this returns it may be acknowledged."""
    _ = delivery.digest, delivery.packed  # while others write
    with lab.database.receive(delivery.device) as unit:
        return inbox.accept(unit, delivery)


def process(
    lab: Laboratory, file_id: str, actor: str, parsed: Parsed | None = None, *, explain: bool = False
) -> tuple[Ingested, Issued, tuple[Held, ...]]:
    """Read a kept file, decide its tubes, release what the rules release. Safe to repeat.

    Args:
        lab: the laboratory.
        file_id: of the kept file.
        actor: who is recorded with what follows.
        parsed: the file where somebody read it before; it is read here if not.
        explain: see `settle`.
    """
    with _uncollected():
        found = parsed or _parsed(lab, file_id)
        with lab.database.write(actor) as unit:
            return settle(unit, lab.rules, file_id, found, explain=explain)


def _parsed(lab: Laboratory, file_id: str) -> Parsed:
    """A kept file as its reader sees it; one that is not what was kept has no reader, and says so."""
    try:
        with lab.database.read() as conn:
            row = queries.file_row(conn, file_id)
    except Damaged as error:
        return Parsed(None, error.code, error.sentence)
    if row is None:
        raise NotFound("FILE_UNKNOWN", "No such file was received.")
    return parse(lab, row["name"], row["content"])


@contextmanager
def _uncollected() -> Iterator[None]:
    """A plate is tens of thousands of objects and no cycle; Python would look for cycles again and again."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def settle(
    unit: Unit, rules: Rulebook, file_id: str, parsed: Parsed, *, explain: bool = True
) -> tuple[Ingested, Issued, tuple[Held, ...]]:
    """Decide the tubes of a kept and parsed file and release what the rules release, in one transaction.

    Where every result waits for a person anyway, what else holds each tube is gathered only for somebody
    who asked (``explain``): whoever reviews it asks again, hours later.
    """
    ingested = results.ingest(unit, rules, file_id, parsed)
    if ingested.state != "read":
        return ingested, Issued({}), ()
    pools.settle_pools(unit, rules, ingested.pools, ingested.undecided)
    if not (rules.auto_release or explain):
        return ingested, Issued({}), ()
    members = queries.pool_members(unit.conn, ingested.pools)
    concerned = {*ingested.tubes, *(tube for many in members.values() for tube in many)}
    known = {} if ingested.pools else ingested.after  # the decoding of pools moves tubes again
    issued, held = reports.release_ready(unit, rules, concerned, known)
    return ingested, issued, held


def handle(lab: Laboratory, delivery: Delivery, parsed: Parsed | None = None) -> Handled:
    """Keep and process a delivery in one go: an upload, or a USB stick.

    ``parsed`` is the file where somebody read it before.
    """
    stored = keep(lab, delivery)
    return Handled(stored, *process(lab, stored.file_id, delivery.device, parsed, explain=True))


def catch_up(lab: Laboratory, actor: str = "restart") -> list[Ingested]:
    """Process what was kept but not read when the server last stopped."""
    with lab.database.read() as conn:
        waiting = queries.waiting_files(conn)
    return [process(lab, file_id, actor)[0] for file_id in waiting]


def run_key(name: str, data: bytes, parsed: Parsed) -> str:
    """Which run a file without an agent's header is of: what the cycler calls it, else its content."""
    run = parsed.run
    if run is not None and (run.experiment or run.run_started):
        started = run.run_started.isoformat() if run.run_started else ""
        return "|".join((run.serial or run.instrument, run.experiment or Path(name).stem, started))
    return f"{Path(name).stem}|{hashlib.sha256(data).hexdigest()[:12]}"


def handled_json(lab: Laboratory, handled: Handled) -> dict[str, Any]:
    """What became of a delivery, tube by tube: the document of ``lis import`` and ``POST /runs``."""
    done = handled.ingested
    with lab.database.read() as conn:
        calls = queries.calls(conn, done.tubes)
        found = ledger.tubes(conn, done.tubes)
    tubes = [
        {
            "tube": code,
            "kind": tube.kind.value,
            "outcome": tube.outcome,
            "rule": tube.rule,
            "assay_version": run_version(lab, calls.get(code, ())),
            "state": tube.state.value,
            "test": tube.test,
            "reason": tube.reason,
            "result": tube.result,
            "reports": list(handled.issued.reports.get(code, ())),
        }
        for code, tube in found.items()
    ]
    return {
        "status": handled.stored.status,
        "file_id": done.file_id,
        "state": done.state,
        "code": done.code,
        "reason": done.sentence,
        "plate": done.plate_id,
        "run_id": done.run_id,
        "decisions": dict(done.decisions),
        "tubes": tubes,
        "held": [
            {"tube": one.tube, "rules": [blocked.rule for blocked in one.blocked]} for one in handled.held
        ],
    }


def run_version(lab: Laboratory, calls: Sequence[queries.CallRow]) -> str:
    """Version of the rules that made the last of these calls; empty if there is none."""
    return lab.rules.assay(calls[-1].assay).version if calls else ""


def advice_json(lab: Laboratory, conn: Connection, by: str = "tier") -> dict[str, Any]:
    """How many persons a tube should hold, stream by stream: the document of ``lis pool advise``.

    Raises:
        Invalid: ``STREAM``.
    """
    rules, now = lab.rules, lab.database.clock.now()
    return {
        "at": to_text(now),
        "by": by,
        "window_days": rules.pool.window_days,
        "rules": {"id": rules.pool.id, "version": rules.pool.version},
        "policy": {"id": rules.pool_policy.id, "version": rules.pool_policy.version},
        "streams": [pools.stream_json(one) for one in pools.advice(conn, rules, now, by)],
    }
