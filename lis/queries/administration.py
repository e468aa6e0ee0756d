"""What administrators change and look after: acts, disclosures of personal data, sites, proposed rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, func, select

from lis.queries.common import PAGE, Row, all_rows, one_row
from lis.schema import admin_act, collection_site, disclosure, person, recall, rule_draft, tube

if TYPE_CHECKING:
    from datetime import datetime


def admin_acts(conn: Connection, area: str = "", subject: str = "", limit: int = PAGE) -> list[Row]:
    """What was changed in an area, about one subject or all, newest first."""
    found = select(admin_act).order_by(admin_act.c.act_id.desc()).limit(limit)
    if area:
        found = found.where(admin_act.c.area == area)
    return all_rows(conn, found.where(admin_act.c.subject == subject) if subject else found)


def disclosures(
    conn: Connection, *, actor: str = "", person_id: str = "", limit: int = PAGE, after: int = 0
) -> list[Row]:
    """Who saw or took out personal data, newest first."""
    found = select(disclosure).order_by(disclosure.c.disclosure_id.desc()).limit(limit).offset(after)
    if actor:
        found = found.where(disclosure.c.actor == actor)
    return all_rows(conn, found.where(disclosure.c.person_id == person_id) if person_id else found)


def disclosures_by(conn: Connection, since: datetime) -> list[Row]:
    """Account, act and how often since a moment, the most frequent first."""
    many = func.count().label("times")
    found = select(disclosure.c.actor, disclosure.c.act, many).where(disclosure.c.at >= since)
    grouped = found.group_by(disclosure.c.actor, disclosure.c.act)
    return all_rows(conn, grouped.order_by(many.desc(), disclosure.c.actor, disclosure.c.act))


def disclosure_count(conn: Connection, actor: str = "") -> int:
    """How many disclosures there are, of one account or of all."""
    found = select(func.count()).select_from(disclosure)
    return conn.execute(found.where(disclosure.c.actor == actor) if actor else found).scalar_one()


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
