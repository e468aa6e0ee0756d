"""Every administrative change is written down: who, when, what about whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lis import ledger

if TYPE_CHECKING:
    from lis.db import Unit


def note(unit: Unit, area: str, subject: str, act: str, detail: str = "") -> None:
    """Write an act down, in the transaction that does it.

    Args:
        unit: the transaction; its actor is who did it.
        area: ``account``, ``station``, ``site``, ``backup`` or ``rules``.
        subject: which one.
        act: what was done, a word that screens translate.
        detail: values, never a secret.
    """
    row = {"area": area, "subject": subject, "act": act, "detail": detail}
    ledger.write_acts(unit, "admin_act", [row])
