"""Who may do what: one table of permissions, and who is asking."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from lis.errors import Forbidden


class Role(StrEnum):
    """What kind of work an account does."""

    TECHNICIAN = "technician"
    REVIEWER = "reviewer"
    MANAGER = "manager"
    QUALITY = "quality"
    ADMINISTRATOR = "administrator"
    COLLECTION = "collection"
    INSTRUMENT = "instrument"


_BENCH = frozenset({Role.TECHNICIAN, Role.REVIEWER, Role.MANAGER})
_SIGNS = frozenset({Role.REVIEWER, Role.MANAGER})
_RULES = frozenset({Role.MANAGER, Role.QUALITY})

PERMISSIONS: Final[dict[str, frozenset[Role]]] = {
    "signed-in": frozenset(Role),
    "look": _BENCH | {Role.QUALITY, Role.ADMINISTRATOR},
    "register": _BENCH | {Role.COLLECTION},
    "receive": _BENCH,
    "undo": _BENCH | {Role.COLLECTION},
    "pool": _BENCH,
    "plate": _BENCH,
    "upload": _BENCH | {Role.INSTRUMENT},
    "hold": _BENCH,
    "call": _SIGNS | {Role.COLLECTION},
    "person": _SIGNS,
    "unmask": _BENCH,
    "quarantine": _SIGNS,
    "review": _SIGNS,
    "release": _SIGNS,
    "amend": _SIGNS,
    "discard": _SIGNS,
    "quality": _SIGNS | {Role.QUALITY},
    "duty": frozenset({Role.MANAGER, Role.ADMINISTRATOR}),
    "attend": _BENCH,
    "simulate": frozenset({Role.MANAGER}),
    "export": frozenset({Role.MANAGER, Role.ADMINISTRATOR}),
    "lots": _BENCH | {Role.QUALITY},
    "override-lot": frozenset({Role.MANAGER}),
    "correct": _BENCH | {Role.QUALITY},
    "wall": frozenset({Role.MANAGER, Role.ADMINISTRATOR}),
    "disclosures": _RULES,
    "rules": _RULES,
    "administration": _RULES | {Role.ADMINISTRATOR},
    "accounts": frozenset({Role.ADMINISTRATOR}),
    "devices": frozenset({Role.ADMINISTRATOR}),
    "sites": frozenset({Role.MANAGER, Role.ADMINISTRATOR}),
    "backup": frozenset({Role.ADMINISTRATOR}),
}
"""Action -> roles that may do it."""

PROVED: Final = frozenset({"review", "release", "amend", "rules", "accounts", "devices"})
"""What a browser does only if its person gave password or PIN within :data:`FRESH`."""

FRESH: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is asking. ``csrf`` must come back with every change made from a browser.

    Attributes:
        purpose: ``session`` of a person, or ``token`` of a program.
        site: the collection site that this account sees, for those who work at one.
        proved_at: when the person last gave password or PIN.
        must_change: the password was set by somebody else; nothing but changing it is possible.
        locked: the screen is covered: nothing is possible until password or PIN was given.
        station: digest of the station at which this sign-in was made, empty elsewhere.
    """

    name: str
    full_name: str
    role: Role
    csrf: str = ""
    purpose: str = "session"
    site: str = ""
    proved_at: datetime | None = None
    must_change: bool = False
    locked: bool = False
    station: str = ""

    def may(self, action: str) -> bool:
        """Whether this role may do ``action``."""
        return self.role in PERMISSIONS[action]

    def must(self, action: str) -> None:
        """Raise ``Forbidden`` unless this role may do ``action``."""
        if not self.may(action):
            who = ", ".join(sorted(PERMISSIONS[action]))
            raise Forbidden("ROLE", f"{self.name} is a {self.role} and may not do this. It needs: {who}.")

    def must_have_proved(self, action: str, now: datetime) -> None:
        """Raise ``Forbidden`` (``REAUTH``) if ``action`` needs a password or PIN given just now.

        Programs have no password to give: their tokens are not asked.
        """
        if self.purpose != "session" or action not in PROVED:
            return
        if self.proved_at is None or now - self.proved_at > FRESH:
            raise Forbidden(
                "REAUTH",
                "Show that it is you: give your password or PIN, then repeat. Nothing was recorded yet.",
            )
