"""Where Alembic meets the database: always on a connection that was handed over."""

from typing import Any, Literal

from alembic import context

from lis.schema import Moment, metadata


def _as_plain_type(kind: str, item: object, _: object) -> str | Literal[False]:
    """A migration must not depend on today's code: our types are written as what they are stored as."""
    return "sa.String(length=27)" if kind == "type" and isinstance(item, Moment) else False


def _is_made_here(item: Any, name: str | None, kind: str, reflected: bool, compared: Any) -> bool:
    """Whether the database at hand is to have this; what only one kind of database has says so."""
    del name, kind, reflected, compared
    here = connection.dialect.name
    return bool(item.info.get("only", here) == here)


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=True,
    compare_type=True,
    render_item=_as_plain_type,
    include_object=_is_made_here,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
