"""Statements of the busiest paths: compiled once for each database, then given to its driver.

SQLAlchemy takes 0.2 to 0.6 ms to find a compiled statement again and to wrap its result; a tube needs
ten statements, and a city registers 56 tubes a second.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from psycopg.copy import LibpqWriter
from sqlalchemy import Boolean, Column, Connection, Executable, Table, Text, bindparam, literal
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

from lis import schema
from lis.clock import from_text, to_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Dialect

# -- a list of texts as one parameter --------------------------------------------------------------


class _Texts(TypeDecorator[list[str]]):
    """A list of texts as one parameter: an array on PostgreSQL, JSON on SQLite."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """What carries it."""
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else ARRAY(Text))

    def process_bind_param(self, value: list[str] | None, dialect: Dialect) -> Any:
        """Python to database."""
        return json.dumps(value) if dialect.name == "sqlite" else value


class _Among(FunctionElement[bool]):
    """See :func:`among`."""

    type = Boolean()
    name = "among"
    inherit_cache = True

    def self_group(self, against: Any = None) -> Any:
        """A condition already: SQLite would be told ``... = 1``, which keeps it from using an index."""
        del against
        return self


def among(column: Column[Any], values: Iterable[str] | str) -> _Among:
    """``column IN (values)`` as one parameter, so that the statement is the same for any number of them.

    An IN list is spelt out, compiled and planned anew for every length: 4 ms for 94 tubes. A name
    instead of values leaves the parameter open, for :class:`Prepared`.
    """
    if isinstance(values, str):
        return _Among(column, bindparam(values, type_=_Texts()))
    return _Among(column, literal(sorted(set(values)), _Texts()))


@compiles(_Among, "sqlite")
def _among_sqlite(element: _Among, compiler: Any, **options: Any) -> str:
    column, values = (compiler.process(part, **options) for part in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({values}))"  # noqa: S608 - compiled by SQLAlchemy


@compiles(_Among)
def _among_postgresql(element: _Among, compiler: Any, **options: Any) -> str:
    column, values = (compiler.process(part, **options) for part in element.clauses)
    return f"{column} = ANY ({values})"


# -- statements compiled once ----------------------------------------------------------------------


_Shape = tuple[tuple[str, ...], tuple[tuple[str, Callable[[Any], Any]], ...]]
_MADE: Final[dict[type, Callable[[Any], Any]]] = {schema.Moment: from_text, Boolean: bool}
"""Kinds of columns whose values drivers give as text or numbers."""


class Asked:
    """The answer to a statement that was sent, to be taken once."""

    __slots__ = ("_cursor", "_dialect", "_prepared")

    def __init__(self, cursor: Any, prepared: Prepared, dialect: Dialect) -> None:
        self._cursor = cursor
        self._prepared = prepared
        self._dialect = dialect

    def rows(self) -> list[tuple[Any, ...]]:
        """The rows found, as the driver has them."""
        try:
            found: list[tuple[Any, ...]] = self._cursor.fetchall()
            return found
        finally:
            self._cursor.close()

    def records(self) -> list[dict[str, Any]]:
        """The rows found by column name, moments and truths as Python has them."""
        names, made = self._prepared.shape(self._dialect)
        found = [dict(zip(names, row, strict=True)) for row in self.rows()]
        for name, value_of in made:
            for record in found:
                if record[name] is not None:
                    record[name] = value_of(record[name])
        return found

    def record(self) -> dict[str, Any] | None:
        """The one row found, or None.

        Raises:
            LookupError: there are more.
        """
        found = self.records()
        if len(found) > 1:
            raise LookupError(f"{len(found)} rows where one may be: {self._prepared}")
        return found[0] if found else None

    @property
    def count(self) -> int | None:
        """How many rows were changed; None while PostgreSQL has not answered."""
        count = int(self._cursor.rowcount)
        return None if count < 0 else count

    def touched(self) -> int:
        """How many rows were changed.

        Raises:
            RuntimeError: PostgreSQL has not answered: the block of :func:`under_way` has not ended.
        """
        count = self.count
        if count is None:
            raise RuntimeError("how many rows were changed is known when the block has ended")
        self._cursor.close()
        return count


class Prepared:
    """A statement compiled once for each database.

    Values are given by the names of its parameters: text, numbers, moments, lists of texts. Rows come
    back as the driver has them: moments are still text (:func:`lis.clock.from_text`).

    Args:
        statement: a SELECT, UPDATE or DELETE; its constants are kept. Lists go through :func:`among`;
            an ``in_`` is spelt out anew for each length and cannot be compiled once.
        binary: have PostgreSQL answer in its binary form: for files, which it spells out in twice as many
            letters otherwise.
    """

    def __init__(self, statement: Executable, *, binary: bool = False) -> None:
        self._statement = statement
        self._binary = binary
        self._ways: dict[str, tuple[str, Callable[[Mapping[str, Any]], Any]]] = {}
        self._shapes: dict[str, _Shape] = {}

    def rows(self, conn: Connection, **values: Any) -> list[tuple[Any, ...]]:
        """The rows found."""
        return self.ask(conn, **values).rows()

    def records(self, conn: Connection, **values: Any) -> list[dict[str, Any]]:
        """The rows found by column name, moments and truths as Python has them."""
        return self.ask(conn, **values).records()

    def record(self, conn: Connection, **values: Any) -> dict[str, Any] | None:
        """The one row found, or None."""
        return self.ask(conn, **values).record()

    def run(self, conn: Connection, **values: Any) -> int:
        """Do it; how many rows were touched."""
        return self.ask(conn, **values).touched()

    def ask(self, conn: Connection, **values: Any) -> Asked:
        """Send it; its answer is taken later. In :func:`under_way` PostgreSQL works at it meanwhile."""
        return Asked(self._execute(conn, values), self, conn.dialect)

    def run_each(self, conn: Connection, many: Sequence[Mapping[str, Any]]) -> int:
        """Do it once for each of ``many``; how many rows were touched in all."""
        text, arranged = self._way(conn.dialect)
        cursor = conn.connection.cursor()
        try:
            cursor.executemany(text, [arranged(values) for values in many])
            return int(cursor.rowcount)
        finally:
            cursor.close()

    def _execute(self, conn: Connection, values: Mapping[str, Any]) -> Any:
        text, arranged = self._way(conn.dialect)
        cursor: Any = conn.connection.cursor()
        if self._binary and conn.dialect.name != "sqlite":
            cursor.execute(text, arranged(values), binary=True)
        else:
            cursor.execute(text, arranged(values))
        return cursor

    def __str__(self) -> str:
        """The statement."""
        return str(self._statement)

    def shape(self, dialect: Dialect) -> _Shape:
        """Names of its columns, and those whose values the driver gives as text or numbers."""
        shape = self._shapes.get(dialect.name)
        if shape is None:
            columns = list(self._statement.selected_columns)  # type: ignore[attr-defined]
            made = [(c.key, _MADE[kind]) for c in columns for kind in _MADE if isinstance(c.type, kind)]
            shape = self._shapes[dialect.name] = tuple(c.key for c in columns), tuple(made)
        return shape

    def _way(self, dialect: Dialect) -> tuple[str, Callable[[Mapping[str, Any]], Any]]:
        way = self._ways.get(dialect.name)
        if way is None:
            way = self._ways[dialect.name] = _compiled(self._statement, dialect)
        return way


def _compiled(statement: Executable, dialect: Dialect) -> tuple[str, Callable[[Mapping[str, Any]], Any]]:
    """The text of a statement for a driver, and how values become the parameters it wants."""
    compiled: Any = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
    constants = {name: value for name, value in compiled.params.items() if value is not None}
    if dialect.name == "sqlite":
        order = tuple(compiled.positiontup)
        fixed = {name: _plain(value) for name, value in constants.items()}

        def positional(values: Mapping[str, Any]) -> tuple[Any, ...]:
            return tuple(_plain(values[name]) if name in values else fixed[name] for name in order)

        return str(compiled), positional

    def named(values: Mapping[str, Any]) -> dict[str, Any]:
        return constants | {name: _for_postgresql(value) for name, value in values.items()}

    return str(compiled), named


def _for_postgresql(value: Any) -> Any:
    """A value as psycopg takes it: moments as text, lists of plain texts spelt as arrays.

    Text by text the driver looks for what must be quoted, which takes longer than the query.
    """
    if isinstance(value, datetime):
        return to_text(value)
    if isinstance(value, list) and set(map(type, value)) == {str}:
        written = json.dumps(value, ensure_ascii=False)
        return value if "\\" in written else f"{{{written[1:-1]}}}"
    return value


def _plain(value: Any) -> Any:
    """A value as SQLite takes it: moments as text, lists as JSON."""
    if isinstance(value, datetime):
        return to_text(value)
    return json.dumps(value) if isinstance(value, list) else value


@contextlib.contextmanager
def under_way(conn: Connection) -> Iterator[None]:
    """PostgreSQL works at what is sent in this block while Python goes on; when it ends all is done.

    Statements that do not wait for each other's answers (:meth:`Prepared.ask`) are so one way there and
    back, not one each. The embedded database does everything at once, in this thread.
    """
    if conn.dialect.name == "sqlite":
        yield
        return
    driver: Any = conn.connection.driver_connection
    with driver.pipeline():
        yield


# -- many rows at once -----------------------------------------------------------------------------


def insert_many(conn: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add rows that all have the same columns, in as few steps as the database can."""
    if not rows:
        return
    names = tuple(rows[0])
    rest = _defaults(table, names)
    left_out = tuple(value for _, value in rest)
    insert_tuples(
        conn, table, (*names, *(name for name, _ in rest)), [(*row.values(), *left_out) for row in rows]
    )


@lru_cache(maxsize=256)
def _defaults(table: Table, names: tuple[str, ...]) -> tuple[tuple[str, Any], ...]:
    """The columns left out of ``names`` that have a value by default."""
    return tuple(
        (column.name, column.default.arg)  # type: ignore[attr-defined]
        for column in table.c
        if column.name not in names and column.default is not None
    )


TOGETHER: Final = (96, 12, 1)
"""Rows in one statement on the embedded database: most of what a statement costs is paid once for them, and
after each the writer waits for its turn among the threads."""


FEW: Final = 8
"""Up to so many rows PostgreSQL is given as values, which may be :func:`under_way`, and bytes as they are.
More are copied, which is two ways there and back, five times as fast a row, and cannot be under way."""


def insert_tuples(
    conn: Connection,
    table: Table,
    names: tuple[str, ...],
    rows: Sequence[tuple[Any, ...]],
    *,
    plain: bool = False,
) -> None:
    """Add rows given as values of ``names``; moments may be datetimes or, in ``plain`` rows, are text."""
    if not rows:
        return
    moments = () if plain else _moments(table, names)
    values = [_stored(row, moments) for row in rows] if moments else rows
    sqlite = conn.dialect.name == "sqlite"
    cursor = conn.connection.cursor()
    try:
        if sqlite:
            done = 0
            for many in TOGETHER:
                while len(values) - done >= many:
                    together = list(chain.from_iterable(values[done : done + many]))
                    cursor.execute(_insert_text(table.name, names, "?", many), together)
                    done += many
        elif len(values) <= FEW or cursor.connection.pgconn.pipeline_status:
            for start in range(0, len(values), FEW):
                some = values[start : start + FEW]
                together = list(chain.from_iterable(some))
                cursor.execute(_insert_text(table.name, names, "%s", len(some)), together)
        else:
            _copy(cursor, table.name, names, values)
    finally:
        cursor.close()


@lru_cache(maxsize=256)
def _moments(table: Table, names: tuple[str, ...]) -> tuple[int, ...]:
    """Which of ``names`` are moments."""
    return tuple(i for i, name in enumerate(names) if isinstance(table.c[name].type, schema.Moment))


@lru_cache(maxsize=256)
def _insert_text(table: str, names: tuple[str, ...], mark: str, rows: int = 1) -> str:
    marks = ", ".join([f"({', '.join([mark] * len(names))})"] * rows)
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES {marks}"  # noqa: S608 - our own names


COPIED_AT_ONCE: Final = 2**20
"""Bytes of rows that are sent together."""


def _copy(cursor: Any, table: str, names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """PostgreSQL's COPY, refused by the same constraints as INSERT."""
    statement = f"COPY {table} ({', '.join(names)}) FROM STDIN"
    with cursor.copy(statement, writer=_AtOnce(cursor)) as copy:
        for row in rows:
            copy.write_row(row)


class _AtOnce(LibpqWriter):
    """Sends rows a mebibyte at once: PostgreSQL would be woken for every few, and sleep again."""

    def __init__(self, cursor: Any) -> None:
        super().__init__(cursor)
        self._held = bytearray()

    def write(self, data: Any) -> None:
        """Hold a piece back until there are enough."""
        self._held += data
        if len(self._held) > COPIED_AT_ONCE:
            self._send()

    def finish(self, exc: BaseException | None = None) -> None:
        """Send the rest; nothing after an error."""
        if exc is None:
            self._send()
        super().finish(exc)

    def _send(self) -> None:
        held, self._held = bytes(self._held), bytearray()
        super().write(held)


def _stored(row: tuple[Any, ...], moments: Sequence[int]) -> tuple[Any, ...]:
    """A row as the database keeps it: moments as text."""
    values = list(row)
    for i in moments:
        if isinstance(values[i], datetime):
            values[i] = to_text(values[i])
    return tuple(values)
