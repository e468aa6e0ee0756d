"""What administrators change and look after: acts, disclosures of personal data, sites, proposed rules."""

from __future__ import annotations

from sqlalchemy import Connection, Subquery, func, literal, select, union_all

from lis.queries.common import PAGE, Row, all_rows, one_row
from lis.schema import (
    admin_act,
    collection_site,
    disclosure,
    export_act,
    person,
    recall,
    rule_draft,
    tube,
)


def admin_acts(conn: Connection, area: str = "", subject: str = "", limit: int = PAGE) -> list[Row]:
    """What was changed in an area, about one subject or all, newest first."""
    found = select(admin_act).order_by(admin_act.c.act_id.desc()).limit(limit)
    if area:
        found = found.where(admin_act.c.area == area)
    return all_rows(conn, found.where(admin_act.c.subject == subject) if subject else found)


def _shown() -> Subquery:
    """Disclosures, and lists taken out, as one table; what a search by name found stands in both."""
    seen = select(
        disclosure.c.at,
        disclosure.c.actor,
        disclosure.c.act,
        disclosure.c.person_id,
        disclosure.c.subject,
        disclosure.c.reason,
        disclosure.c.disclosure_id.label("number"),
        literal(1).label("rows"),
    )
    taken = select(
        export_act.c.at,
        export_act.c.actor,
        export_act.c.act,
        literal("").label("person_id"),
        export_act.c.what,
        export_act.c.filters,
        export_act.c.act_id,
        export_act.c.row_count,
    ).where(export_act.c.act == "export")
    return union_all(seen, taken).subquery()


def disclosures(
    conn: Connection, *, actor: str = "", person_id: str = "", limit: int = PAGE, after: int = 0
) -> list[Row]:
    """Who saw personal data in clear, or took lists out (``rows`` of them), newest first."""
    shown = _shown()
    found = select(shown).order_by(shown.c.at.desc(), shown.c.number.desc()).limit(limit).offset(after)
    if actor:
        found = found.where(shown.c.actor == actor)
    return all_rows(conn, found.where(shown.c.person_id == person_id) if person_id else found)


def disclosure_count(conn: Connection, actor: str = "") -> int:
    """How many disclosures and exports there are, of one account or of all."""
    shown = _shown()
    found = select(func.count()).select_from(shown)
    return conn.execute(found.where(shown.c.actor == actor) if actor else found).scalar_one()


def sites(conn: Connection, *, active: bool = False) -> list[Row]:
    """Collection sites by code; ``active``: only those that still work."""
    found = select(collection_site).order_by(collection_site.c.code)
    return all_rows(conn, found.where(collection_site.c.active.is_(True)) if active else found)


def site_row(conn: Connection, code: str) -> Row | None:
    """A collection site, or None."""
    return one_row(conn, select(collection_site).where(collection_site.c.code == code))


def site_of_tube(conn: Connection, tube_id: str) -> str | None:
    """The site that a tube came from, or None for a tube that nobody registered."""
    return conn.execute(select(tube.c.site).where(tube.c.tube_id == tube_id)).scalar_one_or_none()


def waiting_at(conn: Connection, site: str, person_id: str) -> bool:
    """Whether this person is to be called back for a tube of this site ("" = any)."""
    found = select(recall.c.tube_id).join(tube, tube.c.tube_id == recall.c.tube_id)
    found = found.where(recall.c.person_id == person_id, recall.c.closed_at.is_(None))
    found = found.where(tube.c.site == site) if site else found
    return conn.execute(found.limit(1)).first() is not None


def recalls_of_site(conn: Connection, site: str, limit: int = PAGE) -> list[Row]:
    """Persons whose tube came from a site ("" = any) and who are to be called back, most urgent first."""
    found = (
        select(recall, person.c.name, person.c.phone_masked, person.c.document_masked, tube.c.site)
        .join(person, person.c.person_id == recall.c.person_id)
        .join(tube, tube.c.tube_id == recall.c.tube_id)
        .where(recall.c.closed_at.is_(None))
        .order_by(recall.c.due_at, recall.c.tube_id, recall.c.person_id)
        .limit(limit)
    )
    return all_rows(conn, found.where(tube.c.site == site) if site else found)


def drafts(conn: Connection, limit: int = PAGE) -> list[Row]:
    """Rules proposed to be put in force: the open ones first, then the newest."""
    order = (rule_draft.c.closed_at.is_not(None), rule_draft.c.proposed_at.desc(), rule_draft.c.digest)
    return all_rows(conn, select(rule_draft).order_by(*order).limit(limit))


def draft_row(conn: Connection, digest: str) -> Row | None:
    """Proposed rules by the digest of their content, or None."""
    return one_row(conn, select(rule_draft).where(rule_draft.c.digest == digest))
