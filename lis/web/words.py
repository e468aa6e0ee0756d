"""Every word on screen, in Chinese and English, read from ``words.toml`` beside this file."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Final, Literal

from lis.services.receiving import ScanResult
from retest import REASONS

Language = Literal["zh", "en"]
LANGUAGES: Final[tuple[Language, ...]] = ("zh", "en")

_INDEX = {"zh": 0, "en": 1}


@lru_cache(maxsize=1)
def table() -> dict[str, dict[str, tuple[str, str]]]:
    """Section -> key -> (Chinese, English)."""
    text = resources.files("lis.web").joinpath("words.toml").read_text(encoding="utf-8")
    return {
        section: {key: (pair[0], pair[1]) for key, pair in entries.items()}
        for section, entries in tomllib.loads(text).items()
    }


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
    wording = table()[section][name][_INDEX[language]]
    return wording.format(**values) if values else wording


@lru_cache(maxsize=len(LANGUAGES))
def for_scripts(language: str) -> str:
    """What the scripts of a page say, in its language: JSON that may stand in a ``script`` element."""
    words = {key: pair[_INDEX[language]] for key, pair in table()["script"].items()}
    text = json.dumps(words, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def label(section: str, value: str, language: str) -> str:
    """The word for a value such as a state or a tier; the value itself if it has none (a code)."""
    pair = table()[section].get(value)
    return pair[_INDEX[language]] if pair else value


def error_zh(code: str, details: Mapping[str, str]) -> str:
    """What happened and what to do next, in Chinese."""
    found = table()["error"].get(code)
    if found is None:
        return f"操作未完成（{code}），未作任何更改。请核对后重试，或联系管理员。"
    named = _Known(details)
    if "state" in details:
        named["state"] = label("state", details["state"], "zh")
    return found[0].format_map(named)


def fault_zh(code: str) -> str:
    """What is wrong with a scenario, in Chinese, where the refusal itself has only English words."""
    faults = table()["scenario_fault"]
    return (faults.get(code) or faults["OTHER"])[0]


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
    if colon and head in table()["reason"]:
        rest = "；".join(reason_text(part, language) for part in tail.split(", "))
        return (
            f"{label('reason', head, language)}：{rest}"
            if language == "zh"
            else f"{label('reason', head, language)}: {rest}"
        )
    return label("reason", reason, language) if language == "en" else _in_chinese(reason)


def _in_chinese(text: str) -> str:
    """A stored English text with every sentence of the rules put into Chinese."""
    pair = table()["reason"].get(text)
    if pair:
        return pair[0]
    for en, zh in REASONS.values():
        text = text.replace(en, zh)
    return text
