"""Every word on screen, in Chinese and English, from the gettext catalogues (``lis.web.catalogues``)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache

from lis.services.receiving import ScanResult
from lis.web.catalogues import catalogue, worded
from retest import REASONS


@cache
def wordings(language: str) -> dict[str, dict[str, str]]:
    """Section -> key -> wording in one language, read once; what nobody has worded is not in it."""
    return worded(catalogue(language))


class _Known(dict[str, str]):
    """Details of an error; those it does not name read as an ellipsis."""

    def __missing__(self, key: str) -> str:
        return "…"


def say(key: str, language: str, **values: object) -> str:
    """The wording of ``section.key``.

    Raises:
        KeyError: nobody has worded this; a test keeps that from happening.
    """
    section, _, name = key.partition(".")
    wording = wordings(language)[section][name]
    return wording.format(**values) if values else wording


@cache
def for_scripts(language: str) -> str:
    """What the scripts of a page say, in its language: JSON that may stand in a ``script`` element."""
    text = json.dumps(wordings(language)["script"], ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def label(section: str, value: str, language: str) -> str:
    """The word for a value such as a state or a tier; the value itself if it has none (a code)."""
    return wordings(language)[section].get(value, value)


def error_zh(code: str, details: Mapping[str, str]) -> str:
    """What happened and what to do next, in Chinese."""
    found = wordings("zh")["error"].get(code)
    if found is None:
        return f"操作未完成（{code}），未作任何更改。请核对后重试，或联系管理员。"
    named = _Known(details)
    if "state" in details:
        named["state"] = label("state", details["state"], "zh")
    return found.format_map(named)


def outcome_zh(result: ScanResult) -> str:
    """What became of a scan, in Chinese."""
    tube = result.tube
    known = {
        "barcode": result.barcode,
        "tube": result.barcode,
        "rack": result.rack,
        "position": result.position,
    }
    if tube is not None:
        known |= {"state": tube.state.value, "hold": str(tube.hold_number), "who": result.who}
        known["place"] = f"{tube.rack} {tube.position}".strip() or "未登记位置"
        known["at"] = f"{tube.received_at:%Y-%m-%d %H:%M:%S} UTC" if tube.received_at else ""
    code = "TUBE_HELD" if result.code == "TUBE_UNKNOWN" and result.outcome == "held" else result.code
    return error_zh(code, known)


def reason_text(reason: str, language: str) -> str:
    """A stored reason in the language of the screen; what a person typed stays as it was typed."""
    head, colon, tail = reason.partition(": ")
    if reason in REASONS:
        en, zh = REASONS[reason]
        return zh if language == "zh" else en
    if colon and head in wordings(language)["reason"]:
        rest = "；".join(reason_text(part, language) for part in tail.split(", "))
        return (
            f"{label('reason', head, language)}：{rest}"
            if language == "zh"
            else f"{label('reason', head, language)}: {rest}"
        )
    return label("reason", reason, language) if language == "en" else _in_chinese(reason)


def _in_chinese(text: str) -> str:
    """A stored English text with every sentence of the rules put into Chinese."""
    found = wordings("zh")["reason"].get(text)
    if found:
        return found
    for en, zh in REASONS.values():
        text = text.replace(en, zh)
    return text
