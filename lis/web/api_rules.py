"""The API of assay rules: what is loaded, what another version would change, in force by two people."""

from __future__ import annotations

import difflib
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from lis import queries
from lis.errors import Invalid, LisError
from lis.services import rule_drafts, rule_force, rule_lab
from lis.web.commands import Asked, Caller, reply
from lis.web.payloads import Code, Payload, Words
from retest import AssayRules, RulesError

router = APIRouter(prefix="/api/v1", tags=["administration"])

MOST_SHOWN = 200
Text = Annotated[str, Field(max_length=200_000)]


class CompareIn(Payload):
    """What to compare: an id, ``id@version`` or the digest of a proposal; or the text of a new file."""

    old: Code
    new: Code = ""
    text: Text = ""
    period: Code = "all"


class DraftIn(Payload):
    """A rule file somebody wants in force, and why."""

    text: Text
    name: Code = "rules.toml"
    reason: Words


class LookedIn(Payload):
    """What the second person looked at, typed by hand: ``id@version``."""

    version: Code


@router.get("/assays")
def list_assays(asked: Asked) -> Response:
    """The assay rules that are loaded."""
    return asked.read("look", lambda conn: {"assays": assays_document(asked, conn)})


def assays_document(asked: Caller, conn: Any) -> list[dict[str, Any]]:
    """Every loaded assay: version, digest, since when and by whom in force, earlier versions."""
    done = {(one.assay, one.version): one for one in rule_force.history(conn)}
    spoke: dict[str, list[str]] = {}
    for row in queries.rule_versions(conn, "assay"):
        spoke.setdefault(row["name"], []).append(row["version"])
    found = []
    for rules in asked.lab.rules.assays.values():
        one = done.get((rules.id, rules.version))
        known = sorted({*spoke.get(rules.id, ())} - {rules.version})
        about = {"id": rules.id, "name": rules.name, "version": rules.version, "hash": rules.digest}
        more = {
            "targets": [target.name for target in rules.targets],
            "off": dict(rules.off),
            "source": rules.source,
        }
        found.append(about | more | {"earlier": known, "activation": asdict(one) if one else None})
    return sorted(found, key=lambda one: str(one["id"]))


@router.post("/assays/compare")
def compare(order: CompareIn, asked: Asked) -> Response:
    """What differs between two versions, line by line, and which past readings would be called otherwise."""
    asked.identity.must("rules")
    return reply(comparison(asked, order.old, order.new, order.text, order.period))


def comparison(asked: Caller, old: str, new: str, text: str, period: str) -> dict[str, Any]:
    """Lines that differ, and past readings that would be called otherwise. Nothing is written.

    Raises:
        Invalid: ``RULES_FILE``: the text is no good. NotFound: no such rules or proposal.
    """
    rules = asked.lab.rules
    with asked.lab.database.read() as conn:
        draft = queries.draft_row(conn, new) if new and not text else None
        content = text or (draft["content"] if draft else "")
        before = rules.assay(*_split(old))
        after = parsed(content, "rules.toml") if content else rules.assay(*_split(new))
        lines = _lines(_text_of(asked, conn, before), content or _text_of(asked, conn, after))
        found = rule_lab.diff(conn, rules, before, after, rule_lab.period(period, asked.lab.zone))
    return {
        "old": found.old,
        "new": found.new,
        "digest": after.digest,
        "period": period,
        "runs": found.runs,
        "specimens": found.specimens,
        "changes": len(found.changes),
        "changed": [change.as_json() for change in found.changes[:MOST_SHOWN]],
        "lines": lines,
    }


def _split(name: str) -> tuple[str, str]:
    assay, _, version = name.partition("@")
    return assay, version


def parsed(text: str, name: str) -> AssayRules:
    """Rules from a text that somebody sent.

    Raises:
        Invalid: ``RULES_FILE``, with the place and what is wrong.
    """
    try:
        return AssayRules.from_toml(text, name)
    except (RulesError, ValueError) as error:
        raise Invalid("RULES_FILE", f"These rules cannot be used: {error}", why=str(error)) from error


def _text_of(asked: Caller, conn: Any, rules: AssayRules) -> str:
    now = asked.lab.rules.assays.get(rules.id)
    if now is not None and now.version == rules.version:
        return asked.lab.rules.texts[rules.id]
    return queries.rule_text(conn, "assay", rules.id, rules.version) or ""


def _lines(old: str, new: str) -> list[dict[str, str]]:
    """Lines that went (-) and came (+), with a line around them."""
    found = difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=1)
    shown = [line for line in found if not line.startswith(("---", "+++"))]
    return [{"sign": line[:1] if line[:1] in "+-@" else " ", "text": line[1:]} for line in shown]


@router.post("/assays/drafts", status_code=201)
def propose_rules(order: DraftIn, asked: Asked) -> Response:
    """Ask that a rule file be put in force; another person must look at it."""
    text = order.text.strip() + "\n"
    parsed(text, order.name)

    def act(unit: Any) -> dict[str, str]:
        new = rule_drafts.propose(unit, asked.lab.rules, text, order.name, order.reason)
        return {"digest": new.digest, "assay": new.id, "version": new.version}

    return asked.write("rules", act, 201)


@router.post("/assays/drafts/{digest}/activate")
def activate_rules(digest: str, order: LookedIn, asked: Asked) -> Response:
    """Put proposed rules in force after a second look; a running server takes them at its next start."""
    kept: list[tuple[AssayRules, str]] = []

    def act(unit: Any) -> dict[str, Any]:
        row = rule_drafts.second_look(unit, digest)
        if order.version.strip() != f"{row['assay']}@{row['version']}":
            wanted = f"{row['assay']}@{row['version']}"
            raise Invalid("RULES_OTHER", f"Type {wanted} to say which rules you looked at.", wanted=wanted)
        reason = f"{row['reason']} (proposed by {row['proposed_by']})"
        rules, done = rule_force.activate(
            unit, asked.lab.rules, row["content"], f"{row['assay']}.toml", by=unit.actor, reason=reason
        )
        kept.append((rules, row["content"]))
        return asdict(done) | {"restart": True}

    answer = asked.write("rules", act)
    for rules, text in kept:
        _install(asked, rules, text)
    return answer


def _install(asked: Caller, rules: AssayRules, text: str) -> None:
    try:
        rule_force.install(asked.lab.settings.data / "rules", rules, text)
    except OSError as error:
        raise LisError(
            "RULES_NOT_INSTALLED",
            f"{rules.id}@{rules.version} is recorded, but its file could not be written ({error.strerror}). "
            "Mend the disk and activate it again with `lis assays activate`.",
        ) from error


@router.post("/assays/drafts/{digest}/withdraw")
def withdraw_rules(digest: str, asked: Asked) -> Response:
    """Give a proposal up."""

    def act(unit: Any) -> dict[str, str]:
        rule_drafts.withdraw(unit, digest)
        return {"digest": digest}

    return asked.write("rules", act)
