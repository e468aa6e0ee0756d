"""Putting assay rules in force: one act of a named person with a reason.

The old content stays loadable, past results keep the version they were made with, and who, when and why
stand in the append-only table of rules.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import Connection

from lis import queries
from lis.db import Unit
from lis.errors import Conflict, Invalid, Refused
from lis.rulebook import Rulebook
from retest import AssayRules

ACTIVATION = "activation"


def named(rules: AssayRules) -> str:
    """Id and version, as commands take them."""
    return f"{rules.id}@{rules.version}"


@dataclass(frozen=True, slots=True)
class Activation:
    """Who put which content in force, when and why.

    Attributes:
        replaces: the version in force before, "" for a new assay.
    """

    assay: str
    version: str
    digest: str
    replaces: str
    by: str
    reason: str
    at: str


def activate(
    unit: Unit, rules: Rulebook, text: str, name: str, *, by: str, reason: str
) -> tuple[AssayRules, Activation]:
    """Record that a person puts a rule file in force; `install` then puts the file where it is loaded.

    Args:
        unit: the transaction.
        rules: the rules in force until now.
        text: the new file.
        name: its name, for errors.
        by: the person who answers for it.
        reason: why.

    Raises:
        Invalid: ``PERSON`` or ``REASON`` is missing.
        Conflict: ``RULES_EDITED``: this version has been in force, or has spoken, with another content.
        Refused: ``ALREADY_IN_FORCE``.
        RulesError: the file is no good.
    """
    new = AssayRules.from_toml(text, name)
    _named_person(unit.conn, by)
    if not reason.strip():
        raise Invalid("REASON", "Say why these rules go in force: a report number, a lot, a decision.")
    old = rules.assays.get(new.id)
    _refuse_edited(unit.conn, new, old)
    if old is not None and old.digest == new.digest:
        raise Refused("ALREADY_IN_FORCE", f"{named(new)} is in force already. Nothing was changed.")
    if old is not None:
        _keep(unit, old, rules.texts[old.id])
    _keep(unit, new, text)
    done = Activation(
        new.id,
        new.version,
        new.digest,
        old.version if old else "",
        by.strip(),
        reason.strip(),
        unit.now.isoformat(),
    )
    row = {
        "kind": ACTIVATION,
        "name": new.id,
        "version": f"{len(history(unit.conn, new.id)) + 1:06d}",
        "digest": new.digest,
        "content": json.dumps(asdict(done), ensure_ascii=False),
        "loaded_at": unit.now,
    }
    queries.insert_rows(unit.conn, "rulebook", [row])
    return new, done


def _named_person(conn: Connection, by: str) -> None:
    if not by.strip():
        raise Invalid("PERSON", "Name the person who answers for these rules (--by).")
    account = queries.account_row(conn, by.strip())
    if account is not None and not account["active"]:
        raise Refused(
            "PERSON",
            f"The account {by.strip()} is closed. Someone who works here must answer for the rules.",
        )


def _refuse_edited(conn: Connection, new: AssayRules, old: AssayRules | None) -> None:
    known = {
        row["digest"]
        for row in queries.rule_versions(conn, "assay")
        if (row["name"], row["version"]) == (new.id, new.version)
    }
    if old is not None and old.version == new.version:
        known.add(old.digest)
    if known - {new.digest}:
        raise Conflict(
            "RULES_EDITED",
            f"{named(new)} has been in force with another content. Give the new content a new version.",
        )


def _keep(unit: Unit, rules: AssayRules, text: str) -> None:
    """Keep the content, so that this version stays loadable whatever happens to its file."""
    queries.keep_rules(unit.conn, [("assay", rules.id, rules.version, rules.digest, text)], unit.now)


def install(folder: Path, rules: AssayRules, text: str) -> Path:
    """Put the file where the laboratory's own rules are loaded, in one step; returns its path.

    Args:
        folder: the laboratory's ``rules`` folder.
        rules: what the text says.
        text: the file.
    """
    target = folder / "assays" / f"{rules.id}.toml"
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    with part.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(target)
    return target


def history(conn: Connection, assay: str = "") -> list[Activation]:
    """Every activation of an assay, or of all, oldest first."""
    rows = [row for row in queries.rule_versions(conn, ACTIVATION) if assay in ("", row["name"])]
    return [
        Activation(**json.loads(row["content"])) for row in sorted(rows, key=lambda row: row["loaded_at"])
    ]
