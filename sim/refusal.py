"""Why a scenario is refused: the key that is wrong, the reason, and what to write instead."""

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from types import UnionType
from typing import Any, Self, Union, get_args, get_origin, get_type_hints

from pooling import PoolDesignError
from retest import RulesError
from scheduler import ScheduleError

BARE = re.compile(r"[A-Za-z0-9_-]+")
WANTED = {
    int: "a whole number, such as 4",
    float: "a number, such as 12.5",
    str: 'a text in quotes, such as "pcr"',
    bool: "true or false",
    list: "a list in brackets",
    dict: "a table of keys and values",
}
WANTED_ZH = {
    int: "整数，如 4",
    float: "数字，如 12.5",
    str: '带引号的文字，如 "pcr"',
    bool: "true 或 false",
    list: "方括号中的列表",
    dict: "键值表",
}


class ScenarioError(ValueError):
    """A scenario that cannot be played.

    Attributes:
        code: machine code of the error.
        key: path of the key that is wrong, such as `station.pcr.servers`; empty where there is none.
        reason: what is wrong and what to write instead.
        zh: the same in Chinese; empty where nobody wrote it.
    """

    def __init__(self, code: str, reason: str, key: str = "", zh: str = "") -> None:
        super().__init__(code, reason, key, zh)  # all in args: it comes back whole from a worker process
        self.code, self.reason, self.key, self.zh = code, reason, key, zh

    def __str__(self) -> str:
        """Key and reason."""
        return f"{self.key}: {self.reason}" if self.key else self.reason

    def under(self, place: str) -> Self:
        """The same error, seen from the table around it."""
        return type(self)(self.code, self.reason, joined(place, self.key), self.zh)


def joined(*parts: str) -> str:
    """A key path out of parts that may be empty."""
    return ".".join(part for part in parts if part)


def named(table: str, entry: Any, number: int) -> str:
    """The path of one entry of an array of tables: by its name, else by its place, from 1 up."""
    name = entry.get("name") if isinstance(entry, Mapping) else None
    if not isinstance(name, str) or not name:
        return f"{table}[{number}]"
    return joined(table, name if BARE.fullmatch(name) else f'"{name}"')


@contextmanager
def within(place: str) -> Iterator[None]:
    """Errors raised inside name their keys from `place` on; those of the policy packages become refusals."""
    try:
        yield
    except ScenarioError as error:
        raise error.under(place) from error
    except (ScheduleError, RulesError, PoolDesignError) as error:
        raise ScenarioError(error.code.upper().replace("-", "_"), str(error), place) from error


def check_keys(facts: Any, needed: Collection[str], allowed: Collection[str]) -> None:
    """Refuse what is no table, has a key too few, or one that nobody reads.

    Raises:
        ScenarioError: `BAD_TYPE` or `BAD_KEYS`.
    """
    if not isinstance(facts, Mapping):
        raise ScenarioError(
            "BAD_TYPE", f"this is {shown(facts)}; write a table of keys and values.", zh="须为键值表。"
        )
    known = sorted({*needed, *allowed})
    for key in sorted(set(facts) - set(known)):
        near = get_close_matches(key, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"write one of: {', '.join(known)}."
        near_zh = f"是否应为 {near[0]}？" if near else f"可用的键：{', '.join(known)}。"
        raise ScenarioError("BAD_KEYS", f"there is no such key; {hint}", key, f"没有此键；{near_zh}")
    for key in sorted(set(needed) - set(facts)):
        raise ScenarioError("BAD_KEYS", "this key is missing; add it.", key, "缺少此键，请补上。")


def check_types(facts: Mapping[str, Any], kind: type) -> None:
    """Refuse values that are not what the fields of a frozen dataclass are; nested tables check themselves.

    Raises:
        ScenarioError: `BAD_TYPE`.
    """
    hints = get_type_hints(kind)
    for key, value in facts.items():
        if key in hints:
            wanted = _wanted(value, hints[key])
            if wanted:
                raise ScenarioError("BAD_TYPE", f"this is {shown(value)}; write {wanted}.", key)


def typed(kind: type, key: str, value: Any) -> Any:
    """The value of one key, refused like those of a table when its type is wrong."""
    if not _fits(value, kind):
        raise ScenarioError(
            "BAD_TYPE", f"this is {shown(value)}; write {WANTED[kind]}.", key, f"须为{WANTED_ZH[kind]}。"
        )
    return value


def entries(facts: Mapping[str, Any], table: str) -> Sequence[Mapping[str, Any]]:
    """The tables of an array `[[table]]`."""
    found = facts.get(table, ())
    if isinstance(found, Mapping) or not isinstance(found, Sequence) or isinstance(found, str):
        raise ScenarioError("BAD_TYPE", f"this is one table or value; write [[{table}]] for each.", table)
    return found


def made(kind: Any, facts: Mapping[str, Any], needed: Collection[str] = ()) -> Any:
    """A frozen value from a table: keys and types are checked, lists become tuples.

    Raises:
        ScenarioError: with the key below this table. When a rule of the value itself refuses, the key is
            the one without which it would not.
    """
    check_keys(facts, needed, kind.__dataclass_fields__)
    check_types(facts, kind)
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()}
    try:
        return kind(**values)
    except ScenarioError:
        raise
    except (ScheduleError, PoolDesignError) as error:
        raise ScenarioError(error.code, str(error), _culprit(kind, values)) from error


def _culprit(kind: Any, values: Mapping[str, Any]) -> str:
    """The one key that is at fault: without it the value can be made."""
    for key in values:
        try:
            kind(**{name: value for name, value in values.items() if name != key})
        except (ValueError, TypeError):
            continue
        return key
    return ""


def shown(value: Any) -> str:
    """A value as it stands in the file, and what it is."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'the text "{value[:40]}"'
    if isinstance(value, Mapping):
        return "a table"
    return "a list" if isinstance(value, (list, tuple)) else f"{value}"


def _fits(value: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)


def _wanted(value: Any, hint: Any) -> str:
    """What should stand here instead; empty when the value fits, or when its own reader checks it."""
    if get_origin(hint) in (Union, UnionType):
        hint = next(one for one in get_args(hint) if one is not type(None))
    if hint in WANTED:
        return "" if _fits(value, hint) else WANTED[hint]
    if get_origin(hint) is not tuple or get_args(hint)[0] not in WANTED:
        return ""
    inner, *rest = get_args(hint)
    size = len(rest) + 1 if rest and rest[0] is not ... else None
    good = isinstance(value, (list, tuple)) and all(_fits(one, inner) for one in value)
    if good and size in (None, len(value)):
        return ""
    return f"a list of {size or 'any number of'} values, each {WANTED[inner]}"
