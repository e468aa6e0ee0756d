"""Rules on their way into force: one person proposes them, a second one looks and activates or withdraws."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lis import auth, queries
from lis.errors import Conflict, Invalid, NotFound, Refused
from retest import AssayRules

if TYPE_CHECKING:
    from lis.db import Unit
    from lis.queries import Row
    from lis.rulebook import Rulebook


def propose(unit: Unit, rules: Rulebook, text: str, name: str, reason: str) -> AssayRules:
    """Ask that a rule file be put in force.

    Raises:
        Invalid: ``REASON``. Conflict: ``RULES_EDITED``. Refused: ``ALREADY_IN_FORCE`` or ``DRAFT_KNOWN``.
        RulesError: the file is no good.
    """
    new = AssayRules.from_toml(text, name)
    why = " ".join(reason.split())
    if not why:
        raise Invalid("REASON", "Say why these rules go in force: a report number, a lot, a decision.")
    old = rules.assays.get(new.id)
    if old is not None and old.digest == new.digest:
        raise Refused("ALREADY_IN_FORCE", f"{new.id}@{new.version} is in force already. Nothing was changed.")
    if old is not None and old.version == new.version:
        raise Conflict(
            "RULES_EDITED",
            f"{new.id}@{new.version} has been in force with another content. Give it a new version.",
        )
    known = queries.draft_row(unit.conn, new.digest)
    if known is not None and known["closed_at"] is None:
        raise Refused(
            "DRAFT_KNOWN", f"{known['proposed_by']} proposed these rules already. Look at them below."
        )
    row = {
        "assay": new.id,
        "version": new.version,
        "content": text,
        "reason": why,
        "proposed_at": unit.now,
        "proposed_by": unit.actor,
        "closed_at": None,
        "closed_by": "",
        "outcome": "",
    }
    if known is None:
        queries.insert_rows(unit.conn, "rule_draft", [{"digest": new.digest, **row}])
    else:
        queries.update_row(unit.conn, "rule_draft", {"digest": new.digest}, **row)
    auth.note(unit, "rules", f"{new.id}@{new.version}", "proposed", why)
    return new


def open_draft(unit: Unit, digest: str) -> Row:
    """A proposal that nobody has closed.

    Raises:
        NotFound: ``DRAFT_UNKNOWN``.
    """
    row = queries.draft_row(unit.conn, digest)
    if row is None or row["closed_at"] is not None:
        raise NotFound("DRAFT_UNKNOWN", "There is no such open proposal. Load the page again.")
    return row


def second_look(unit: Unit, digest: str) -> Row:
    """Close a proposal as activated, by somebody who did not make it.

    Raises:
        NotFound: ``DRAFT_UNKNOWN``. Refused: ``SECOND_PERSON``.
    """
    row = open_draft(unit, digest)
    if row["proposed_by"] == unit.actor:
        raise Refused(
            "SECOND_PERSON",
            "You proposed these rules yourself. Another person must look at them and activate them.",
        )
    _close(unit, row, "activated")
    return row


def withdraw(unit: Unit, digest: str) -> None:
    """Give a proposal up.

    Raises:
        NotFound: ``DRAFT_UNKNOWN``.
    """
    _close(unit, open_draft(unit, digest), "withdrawn")


def _close(unit: Unit, row: Row, outcome: str) -> None:
    queries.update_row(
        unit.conn,
        "rule_draft",
        {"digest": row["digest"]},
        closed_at=unit.now,
        closed_by=unit.actor,
        outcome=outcome,
    )
    auth.note(unit, "rules", f"{row['assay']}@{row['version']}", outcome)
