"""What the lists of the laboratory hold and how they are sifted: for the screen and for line lists alike."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import Depends, Query

from lis import barcodes, queries
from lis.clock import from_text
from lis.privacy import last_digits
from lis.queries import Sieve
from lis.services import actions
from lis.tube import Tube
from lis.web.payloads import masked_name
from scheduler.walk import Stop, walk

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from lis.web.commands import Caller

RISK: Final = 0.2
"""A tube with at least this risk of missing its promise is about to be late."""

QC_DAYS: Final = timedelta(days=14)
"""How far back failed runs are listed."""

MOST: Final = 1000
PLATE: Final = 94
"""Tubes of one plate beside its controls."""


@dataclass(frozen=True, slots=True)
class Filters:
    """What a person wants to see of a list, as the address says it."""

    tier: str = ""
    state: str = ""
    kind: str = ""
    site: str = ""
    age: str = ""
    q: str = ""

    def sieve(self, now: datetime) -> Sieve:
        """As the database is asked."""
        before = now - timedelta(hours=float(self.age)) if self.age else None
        return Sieve(self.tier, self.state, self.kind, self.site, before, barcodes.clean(self.q))

    def query(self, **more: object) -> str:
        """As part of an address; what is empty is left out."""
        named = {field.name: getattr(self, field.name) for field in fields(self)} | more
        return urlencode({name: value for name, value in named.items() if value not in {"", None}})

    def __bool__(self) -> bool:
        """Whether anything is left out of the list."""
        return any(getattr(self, field.name) for field in fields(self))


def _filters(
    tier: Annotated[str, Query(max_length=32, description="Tier of the promise, as `fever`.")] = "",
    state: Annotated[str, Query(max_length=32, description="Where the tube stands, as `received`.")] = "",
    kind: Annotated[str, Query(max_length=16, description="`single`, `mixed` or `pool`.")] = "",
    site: Annotated[str, Query(max_length=200, description="Collection site, exactly.")] = "",
    age: Annotated[
        str,
        Query(
            max_length=8,
            pattern=r"^(\d{1,4}(\.\d{1,2})?)?$",
            description="Sampled at least so many hours ago.",
        ),
    ] = "",
    q: Annotated[
        str, Query(max_length=80, description="Begins the code, or is the rack, plate or pool.")
    ] = "",
) -> Filters:
    return Filters(tier, state, kind, site, age, q.strip())


Filtered = Annotated[Filters, Depends(_filters)]


def picked(caller: Caller, conn: Connection, wanted: Filters, count: int = PLATE) -> list[Tube]:
    """The most urgent tubes to fetch for a retest, in the order in which a person walks past them."""
    found = queries.pick(conn, count, wanted.sieve(caller.lab.database.clock.now()))
    named = {tube.tube_id: tube for tube in found}
    return [named[stop.tube] for stop in walk(Stop(one.tube_id, one.rack, one.position) for one in found)]


def endangered(
    caller: Caller,
    conn: Connection,
    wanted: Filters,
    limit: int | None = None,
    after: queries.DangerPlace | None = None,
) -> list[queries.Danger]:
    """Tubes that are late or about to be, as the newest forecast sees them; all of them without a limit."""
    now = as_of(caller, after)
    return queries.endangered(conn, _newest(conn), now, RISK, wanted.sieve(now), limit, after)


def as_of(caller: Caller, after: queries.DangerPlace | None) -> datetime:
    """The moment that the pages of one list speak of: that of the first one."""
    return from_text(after.as_of) if after is not None else caller.lab.database.clock.now()


def endangered_count(caller: Caller, conn: Connection, wanted: Filters) -> int:
    """How many tubes are late or about to be, however many."""
    now = caller.lab.database.clock.now()
    return queries.endangered_count(conn, _newest(conn), now, RISK, wanted.sieve(now))


def _newest(conn: Connection) -> int | None:
    found = queries.forecast_row(conn)
    return found["forecast_id"] if found else None


# -- persons to call ------------------------------------------------------------------------------


def calls(conn: Connection, limit: int = MOST, *, full: bool = False) -> list[dict[str, Any]]:
    """Persons to call back with every try to reach them; masked, but with their names if ``full``."""
    found = queries.open_recalls(conn, limit)
    tries = queries.contact_tries(conn, {row["tube_id"] for row in found})
    return [
        {
            **row,
            "name": row["name"] if full else masked_name(row["name"]),
            "document_masked": row["document_masked"] if full else last_digits(row["document_masked"]),
            "phone_masked": row["phone_masked"] if full else last_digits(row["phone_masked"]),
            "tries": tries.get((row["tube_id"], row["person_id"]), []),
        }
        for row in found
    ]


# -- everything else ------------------------------------------------------------------------------


def failed_runs(caller: Caller, conn: Connection) -> list[dict[str, Any]]:
    """Runs of the last fortnight whose controls failed, with the corrective actions about them."""
    since = caller.lab.database.clock.now() - QC_DAYS
    about: dict[str, list[actions.Action]] = {}
    for one in actions.actions(conn, MOST):
        about.setdefault(one.subject.partition("/")[0], []).append(one)
    return [
        {**row, "actions": [*about.get(row["run_id"], ()), *about.get(row["plate_id"], ())]}
        for row in queries.failed_runs(conn, since)
    ]
