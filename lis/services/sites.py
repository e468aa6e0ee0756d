"""Collection sites: where swabs are taken, and what an account of one may touch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lis import auth, queries
from lis.errors import Forbidden, Invalid, NotFound, Refused

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from lis.auth import Identity
    from lis.db import Unit

CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
NAME_LENGTH: Final = 200


@dataclass(frozen=True, slots=True)
class Site:
    """A collection site: its code on tubes, its name in both languages, whom to call there."""

    code: str
    name_zh: str
    name_en: str
    contact: str = ""
    active: bool = True


def add_site(unit: Unit, site: Site) -> None:
    """Register a collection site.

    Raises:
        Invalid: ``SITE_CODE`` or ``SITE_NAME``. Refused: ``SITE_TAKEN``.
    """
    if not CODE.fullmatch(site.code):
        raise Invalid(
            "SITE_CODE", "The code of a site has at most 40 letters, digits, dots and hyphens: N01, gate-3."
        )
    if queries.site_row(unit.conn, site.code) is not None:
        raise Refused("SITE_TAKEN", f"There is a site {site.code} already. Choose another code.")
    row = {"code": site.code, "active": site.active, "created_at": unit.now, **_named(site)}
    queries.insert_rows(unit.conn, "collection_site", [row])
    auth.note(unit, "site", site.code, "added", f"{row['name_zh']} / {row['name_en']}")


def change_site(unit: Unit, site: Site) -> None:
    """Give a site another name or contact, close it, or open it again; tubes keep its code.

    Raises:
        NotFound: ``SITE_UNKNOWN``. Invalid: ``SITE_NAME``.
    """
    before = queries.site_row(unit.conn, site.code)
    if before is None:
        raise NotFound("SITE_UNKNOWN", f"There is no collection site {site.code[:40]}. Check the code.")
    values = {**_named(site), "active": site.active}
    changed = [
        f"{name} {before[name]!s} > {value!s}" for name, value in values.items() if before[name] != value
    ]
    if changed:
        queries.update_row(unit.conn, "collection_site", {"code": site.code}, **values)
        auth.note(unit, "site", site.code, "changed", "; ".join(changed))


def _named(site: Site) -> dict[str, str]:
    zh, en, contact = (" ".join(text.split()) for text in (site.name_zh, site.name_en, site.contact))
    if not (zh or en) or max(map(len, (zh, en, contact))) > NAME_LENGTH:
        raise Invalid("SITE_NAME", f"A site needs a name, of at most {NAME_LENGTH} characters.")
    return {"name_zh": zh or en, "name_en": en or zh, "contact": contact}


def own_site(who: Identity, given: str) -> str:
    """The site that a tube is registered for: whoever works at one registers for that one.

    Raises:
        Forbidden: ``SITE_OTHER``.
    """
    if not who.site:
        return given
    if given not in {"", who.site}:
        raise Forbidden(
            "SITE_OTHER", f"You work at site {who.site} and register its tubes only.", site=who.site
        )
    return who.site


def must_be_own(conn: Connection, who: Identity, codes: Iterable[str]) -> None:
    """Refuse tubes of other sites to those who work at one, as if the tubes were not there.

    Raises:
        NotFound: ``TUBE_UNKNOWN``.
    """
    if not who.site:
        return
    for code in codes:
        if queries.site_of_tube(conn, code) != who.site:
            raise NotFound(
                "TUBE_UNKNOWN", f"Tube {code[:40]} is not known at your site. Check the code.", tube=code
            )
