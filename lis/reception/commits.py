"""Deliveries that wait together are committed together: one sync of the disk serves them all."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lis.db.refusals import busy
from lis.errors import Invalid, LisError
from lis.services import inbox

if TYPE_CHECKING:
    from lis.laboratory import Laboratory
    from lis.services.inbox import Delivery, Stored

TOGETHER: Final = 64
"""Deliveries of one transaction at most."""


@dataclass(slots=True)
class _Ticket:
    """A delivery that waits for its commit, and what came of it."""

    delivery: Delivery
    stored: Stored | None = None
    error: Exception | None = None


class GroupCommit:
    """Keeps deliveries of many devices in few transactions: one sync of the disk serves all that wait.

    Whoever comes first commits for everybody who came while the last commit was under way; nobody waits
    for company.
    """

    def __init__(self, lab: Laboratory) -> None:
        self._lab = lab
        self._waiting: list[_Ticket] = []
        self._joining = threading.Lock()
        self._leading = threading.Lock()

    def keep(self, delivery: Delivery) -> Stored:
        """Commit a delivery; when this returns it is durable.

        Raises:
            Invalid: the delivery itself is wrong; the others of its group are not touched by it.
            LisError: the database could not take it; nothing of it is kept.
        """
        ticket = _Ticket(delivery)
        _ = delivery.digest, delivery.packed  # while others write
        with self._joining:
            self._waiting.append(ticket)
        with self._leading:
            if ticket.stored is None and ticket.error is None:
                with self._joining:
                    group, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
                self._commit(group)
        if ticket.stored is None:
            raise ticket.error or busy()
        return ticket.stored

    def _commit(self, group: list[_Ticket]) -> None:
        kept: list[Stored | Exception] = []
        try:
            with self._lab.database.receive("bridge") as unit:
                for ticket in group:
                    try:
                        kept.append(inbox.accept(unit, ticket.delivery))
                    except Invalid as error:  # raised before anything of it was written
                        kept.append(error)
        except LisError as error:
            # One of them may be what the database refuses: each on its own then.
            if len(group) > 1:
                for ticket in group:
                    self._commit([ticket])
            else:
                group[0].error = error
            return
        for ticket, one in zip(group, kept, strict=True):
            if isinstance(one, Exception):
                ticket.error = one
            else:
                ticket.stored = one
