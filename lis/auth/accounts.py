"""Accounts: opened, changed, closed; passwords, badges and PINs set. Every act is written down.

Hashes are made by the caller outside the transaction (:func:`lis.auth.hash_password` is slow on purpose).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lis import barcodes, queries
from lis.auth.acts import note
from lis.auth.passwords import check_password, hash_password
from lis.auth.roles import Role
from lis.auth.throttle import NAME, PIN, forgive
from lis.errors import Invalid, NotFound, Refused

if TYPE_CHECKING:
    from lis.db import Unit
    from lis.queries import Row

PASSWORD_ONLY: Final = frozenset({Role.ADMINISTRATOR, Role.INSTRUMENT})
"""Roles that a badge and a PIN never open."""
BADGE_LENGTHS: Final = (6, 64)
NAME_LENGTH: Final = 80


@dataclass(frozen=True, slots=True)
class AccountData:
    """An account to open. ``site`` is the code of the collection site, for those who work at one."""

    name: str
    full_name: str
    role: str
    site: str = ""


def create_account(
    unit: Unit, name: str, full_name: str, role: str, password: str, *, site: str = "", laboratory: str = ""
) -> None:
    """Add an account with a password that its person knows; it is made of no name, nor of ``laboratory``.

    Raises:
        Invalid: the name, role, site or password is not acceptable. Refused: the name is taken.
    """
    check_password(password, (name, full_name, laboratory))
    open_account(unit, AccountData(name, full_name, role, site), hash_password(password))


def open_account(unit: Unit, data: AccountData, hashed: str, *, must_change: bool = False) -> None:
    """Add an account; ``must_change``: its person chooses a password at the first sign-in.

    Raises:
        Invalid: ``ACCOUNT_NAME``, ``ROLE`` or ``SITE``. Refused: ``ACCOUNT_TAKEN``.
    """
    name = data.name
    plain = name.isidentifier() or name.replace("-", "").replace(".", "").isalnum()
    if not plain or len(name) > NAME_LENGTH:
        raise Invalid("ACCOUNT_NAME", "An account name has letters, digits, dots and hyphens.")
    _check_role(unit, data.role, data.site)
    if queries.account_row(unit.conn, name) is not None:
        raise Refused("ACCOUNT_TAKEN", f"An account {name} exists already. Choose another name.")
    row = {
        "name": name,
        "full_name": " ".join(data.full_name.split()) or name,
        "role": data.role,
        "password": hashed,
        "active": True,
        "created_at": unit.now,
        "site": data.site,
        "must_change": must_change,
    }
    queries.insert_rows(unit.conn, "account", [row])
    note(unit, "account", name, "added", f"{data.role} {data.site}".strip())


def _check_role(unit: Unit, role: str, site: str) -> None:
    if role not in set(Role):
        raise Invalid("ROLE", f"A role is one of {', '.join(Role)}.")
    if role == Role.COLLECTION and queries.site_row(unit.conn, site) is None:
        raise Invalid("SITE", "Who works at a collection site needs that site: name one that is registered.")
    if role != Role.COLLECTION and site:
        raise Invalid("SITE", "Only accounts of a collection site have a site. Leave it empty.")


def known_account(unit: Unit, name: str) -> Row:
    """An account.

    Raises:
        NotFound: ``ACCOUNT_UNKNOWN``.
    """
    row = queries.account_row(unit.conn, name)
    if row is None:
        raise NotFound("ACCOUNT_UNKNOWN", f"There is no account {name[:NAME_LENGTH]}. Check the name.")
    return row


def change_account(unit: Unit, data: AccountData) -> None:
    """Give an account another full name, role or site; its sign-ins end when its role changes.

    Raises:
        NotFound: ``ACCOUNT_UNKNOWN``. Invalid: ``ROLE`` or ``SITE``. Refused: ``LAST_ADMINISTRATOR``.
    """
    before = known_account(unit, data.name)
    _check_role(unit, data.role, data.site)
    full_name = " ".join(data.full_name.split()) or data.name
    values: dict[str, Any] = {"full_name": full_name, "role": data.role, "site": data.site}
    changed = [name for name, value in values.items() if before[name] != value]
    if not changed:
        return
    if "role" in changed:
        _keep_an_administrator(unit, before)
    if data.role in PASSWORD_ONLY:
        values |= {"badge": None, "pin": ""}
    queries.update_row(unit.conn, "account", {"name": data.name}, **values)
    for name in changed:
        note(unit, "account", data.name, name, f"{values[name] or '-'}, before {before[name] or '-'}")
    if {"role", "site"} & set(changed):
        end_sessions(unit, data.name)


def set_active(unit: Unit, name: str, *, active: bool) -> None:
    """Close an account, with all its sign-ins and tokens, or open it again.

    Raises:
        NotFound: ``ACCOUNT_UNKNOWN``. Refused: ``LAST_ADMINISTRATOR``.
    """
    before = known_account(unit, name)
    if before["active"] == active:
        return
    if not active:
        _keep_an_administrator(unit, before)
        end_sessions(unit, name)
    queries.update_row(unit.conn, "account", {"name": name}, active=active)
    note(unit, "account", name, "enabled" if active else "disabled")


def _keep_an_administrator(unit: Unit, row: Row) -> None:
    if row["role"] == Role.ADMINISTRATOR and queries.administrators(unit.conn) == [row["name"]]:
        raise Refused(
            "LAST_ADMINISTRATOR",
            f"{row['name']} is the only administrator. Give somebody else this role first.",
        )


# -- secrets --------------------------------------------------------------------------------------


def set_password(unit: Unit, name: str, hashed: str, *, must_change: bool = False, keep: str = "") -> None:
    """Replace the password of an account; every sign-in but ``keep`` (a digest) ends.

    ``must_change``: somebody else set it, its person must choose another at the next sign-in.

    Raises:
        NotFound: ``ACCOUNT_UNKNOWN``.
    """
    known_account(unit, name)
    queries.update_row(unit.conn, "account", {"name": name}, password=hashed, must_change=must_change)
    note(unit, "account", name, "reset" if must_change else "password")
    forgive(unit, NAME, name)
    end_sessions(unit, name, keep=keep)


def set_pin(unit: Unit, name: str, hashed: str) -> None:
    """Replace the PIN of an account; empty: it has none from now on.

    Raises:
        NotFound: ``ACCOUNT_UNKNOWN``.
    """
    _refuse_badge(known_account(unit, name))
    queries.update_row(unit.conn, "account", {"name": name}, pin=hashed)
    forgive(unit, PIN, name)
    note(unit, "account", name, "pin" if hashed else "pin-removed")


def _refuse_badge(row: Row) -> None:
    if row["role"] in PASSWORD_ONLY:
        raise Refused(
            "PASSWORD_ONLY",
            "Administrators and instruments have no badge and no PIN: that is too little for their rights.",
        )


def check_badge(code: str) -> str:
    """The code on a badge, without blanks.

    Raises:
        Invalid: ``BADGE``: too short, too long, or the code of a tube, plate or rack.
    """
    text = barcodes.clean(code)
    shortest, longest = BADGE_LENGTHS
    if not shortest <= len(text) <= longest:
        raise Invalid("BADGE", f"A badge has {shortest} to {longest} characters. Scan the badge again.")
    if is_of_the_bench(text):
        raise Invalid("BADGE", "This is the code of a tube or a plate, not of a badge. Scan the badge.")
    return text


def is_of_the_bench(text: str) -> bool:
    """Whether this is the code of a tube, a pool or a plate of this laboratory."""
    try:
        barcodes.parse(text, *barcodes.PATTERNS)
    except Invalid:
        return False
    return True


def bind_badge(unit: Unit, name: str, badge: str | None) -> None:
    """Bind a badge, known by its keyed hash, to an account; None takes it away.

    Raises:
        NotFound: ``ACCOUNT_UNKNOWN``. Refused: ``BADGE_TAKEN``.
    """
    _refuse_badge(known_account(unit, name))
    if badge is not None:
        other = queries.account_of_badge(unit.conn, badge)
        if other is not None and other["name"] != name:
            raise Refused(
                "BADGE_TAKEN",
                f"This badge belongs to {other['name']}. Take it away there first.",
                who=other["name"],
            )
    queries.update_row(unit.conn, "account", {"name": name}, badge=badge)
    note(unit, "account", name, "badge" if badge else "badge-removed")


def unlock(unit: Unit, name: str) -> None:
    """Let somebody who gave too many wrong passwords or PINs try again at once.

    Raises:
        NotFound: ``ACCOUNT_UNKNOWN``.
    """
    known_account(unit, name)
    forgive(unit, NAME, name)
    forgive(unit, PIN, name)
    note(unit, "account", name, "unlocked")


def end_sessions(unit: Unit, name: str, *, keep: str = "", only: str = "", tokens: bool = False) -> int:
    """End the sign-ins of an account, and how many there were.

    Args:
        unit: the transaction.
        name: the account.
        keep: digest of the one that stays.
        only: beginning of the digest of the one that ends, of whatever purpose; empty = all.
        tokens: end access tokens of programs too.
    """
    found = [
        row["digest"]
        for row in queries.tickets_of(unit.conn, name, unit.now)
        if row["digest"] != keep
        and (row["digest"].startswith(only) if only else tokens or row["purpose"] == "session")
    ]
    for one in found:
        queries.delete_rows(unit.conn, "ticket", {"digest": one})
    if found:
        note(unit, "account", name, "revoked", str(len(found)))
    return len(found)
