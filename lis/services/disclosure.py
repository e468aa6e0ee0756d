"""Personal data shown in clear: never without a row that says who, when, whom and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from lis import ledger
from lis.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lis.db import Unit

Act = Literal["unmask", "contact", "search", "report"]
LONGEST_REASON = 500


def disclose(unit: Unit, act: Act, subject: str, reason: str, person_ids: Sequence[str] = ()) -> None:
    """Write down that somebody sees persons in clear, before the data leave.

    Args:
        unit: the transaction; its actor is who sees them.
        act: how: ``unmask`` on a screen, ``contact`` to call, ``search`` by document, ``report`` as issued.
        subject: where: a tube, a report, what was searched.
        reason: why.
        person_ids: whom; nobody found is written down too.

    Raises:
        Invalid: ``DISCLOSURE_REASON``: unmasking needs a reason.
    """
    why = " ".join(reason.split())[:LONGEST_REASON]
    if act == "unmask" and not why:
        raise Invalid("DISCLOSURE_REASON", "Say why you need to see the person. It is kept with your name.")
    rows = [
        {
            "act": act,
            "person_id": person_id,
            "subject": subject[:80],
            "reason": why,
        }
        for person_id in person_ids or ("",)
    ]
    ledger.write_acts(unit, "disclosure", rows)
