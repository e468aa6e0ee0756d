"""Who is in which tube, and who is called back."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, func, select

from lis.clock import from_text
from lis.db import Prepared, among, insert_many
from lis.queries.common import PAGE, Row, all_rows, one_row, parts
from lis.schema import person, recall, tube_person

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


_PEOPLE: Final = Prepared(
    select(tube_person.c.tube_id, tube_person.c.person_id)
    .where(among(tube_person.c.tube_id, "codes"))
    .order_by(tube_person.c.tube_id, tube_person.c.place)
)


def persons_in(conn: Connection, tube_id: str) -> list[str]:
    """Ids of the persons in a tube, by place."""
    return [person_id for _, person_id in _PEOPLE.rows(conn, codes=[tube_id])]


def people_of(conn: Connection, tube_ids: Iterable[str]) -> dict[str, list[str]]:
    """Ids of the persons in each tube, by place."""
    people: dict[str, list[str]] = defaultdict(list)
    for part in parts(tube_ids):
        for tube_id, person_id in _PEOPLE.rows(conn, codes=part):
            people[tube_id].append(person_id)
    return people


def people(conn: Connection, person_ids: Iterable[str]) -> dict[str, Row]:
    """Person rows by id."""
    found: dict[str, Row] = {}
    for part in parts(person_ids):
        rows = all_rows(conn, select(person).where(among(person.c.person_id, part)))
        found.update((row["person_id"], row) for row in rows)
    return found


_NAMES: Final = Prepared(
    select(person.c.person_id, person.c.name).where(among(person.c.person_id, "persons"))
)


def person_names(conn: Connection, person_ids: Iterable[str]) -> dict[str, str]:
    """Names of those persons who are known already."""
    found: dict[str, str] = {}
    for part in parts(person_ids):
        found.update(_NAMES.rows(conn, persons=list(part)))
    return found


def person_by_fingerprint(conn: Connection, fingerprint: str) -> Row | None:
    """The person with this keyed document hash."""
    return one_row(conn, select(person).where(person.c.document_hash == fingerprint))


def recalls_of_tube(conn: Connection, tube_id: str) -> list[Row]:
    """Who of a tube is or was called back, by person."""
    found = select(recall).where(recall.c.tube_id == tube_id).order_by(recall.c.person_id)
    return all_rows(conn, found)


def open_recalls(conn: Connection, limit: int = PAGE, tube_ids: Sequence[str] | None = None) -> list[Row]:
    """Persons to be called back, of all tubes or of these, most urgent first."""
    found = (
        select(recall, person.c.name, person.c.phone_masked, person.c.document_masked)
        .join(person, person.c.person_id == recall.c.person_id)
        .where(recall.c.closed_at.is_(None))
        .order_by(recall.c.due_at, recall.c.tube_id)
        .limit(limit)
    )
    return all_rows(conn, found if tube_ids is None else found.where(among(recall.c.tube_id, tube_ids)))


_OPEN: Final = Prepared(
    select(recall.c.person_id, recall.c.tube_id, recall.c.opened_at)
    .where(among(recall.c.person_id, "persons"), recall.c.closed_at.is_(None))
    .order_by(recall.c.tube_id)
)


def recalls_of(conn: Connection, person_ids: Iterable[str]) -> dict[str, list[str]]:
    """Person -> tubes for which a new specimen of this person is still awaited."""
    held: dict[str, list[str]] = defaultdict(list)
    for part in parts(person_ids):
        for person_id, tube_id, _ in _OPEN.rows(conn, persons=part):
            held[person_id].append(tube_id)
    return held


@dataclass(frozen=True, slots=True)
class Task:
    """One person's open re-collection: for which tube, since when."""

    tube_id: str
    opened_at: datetime


def open_tasks(conn: Connection, person_ids: Iterable[str]) -> dict[str, list[Task]]:
    """Person -> the re-collections that are still open."""
    tasks: dict[str, list[Task]] = defaultdict(list)
    for part in parts(person_ids):
        for person_id, tube_id, opened_at in _OPEN.rows(conn, persons=part):
            tasks[person_id].append(Task(tube_id, from_text(opened_at)))
    return tasks


def open_recall_counts(conn: Connection, tube_ids: Iterable[str]) -> dict[str, int]:
    """Tube -> persons whose new specimen is still awaited."""
    counts: dict[str, int] = {}
    for part in parts(tube_ids):
        found = (
            select(recall.c.tube_id, func.count())
            .where(among(recall.c.tube_id, part), recall.c.closed_at.is_(None))
            .group_by(recall.c.tube_id)
        )
        counts.update((tube_id, count) for tube_id, count in conn.execute(found))
    return counts


def insert_people(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add persons."""
    insert_many(conn, person, rows)
