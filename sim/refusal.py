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
from sim.faults import Phrase, listed, phrase

BARE = re.compile(r"[A-Za-z0-9_-]+")
WANTED: Mapping[type, Phrase] = {
    kind: phrase(f"want-{kind.__name__}") for kind in (int, float, str, bool, list, dict)
}


class ScenarioError(ValueError):
    """A scenario that cannot be played.

    Attributes:
        code: machine code of the error.
        key: path of the key that is wrong, such as `station.pcr.servers`; empty where there is none.
        reason: what is wrong and what to write instead.
        zh: the same in Chinese; empty where only a programmer can be the cause.
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


def refused(code: str, what: Phrase, key: str = "") -> ScenarioError:
    """The error that says `what` in both languages."""
    return ScenarioError(code, what.en, key, what.zh)


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
    except (ScheduleError, PoolDesignError) as error:
        raise ScenarioError(error.code, str(error), place, error.zh) from error
    except RulesError as error:
        code = error.code.upper().replace("-", "_")
        zh = f"规则文件 {error.where} 不合规（{code}），请联系管理员。"
        raise ScenarioError(code, str(error), place, zh) from error


def check_keys(facts: Any, needed: Collection[str], allowed: Collection[str]) -> None:
    """Refuse what is no table, has a key too few, or one that nobody reads.

    Raises:
        ScenarioError: `BAD_TYPE` or `BAD_KEYS`.
    """
    if not isinstance(facts, Mapping):
        raise refused("BAD_TYPE", phrase("no-table", value=shown(facts)))
    known = sorted({*needed, *allowed})
    for key in sorted(set(facts) - set(known)):
        near = get_close_matches(key, known, 1)
        what = phrase("key-near", near=near[0]) if near else phrase("key-unknown", known=listed(known))
        raise refused("BAD_KEYS", what, key)
    for key in sorted(set(needed) - set(facts)):
        raise refused("BAD_KEYS", phrase("key-missing"), key)


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
                raise refused("BAD_TYPE", phrase("wrong-type", value=shown(value), wanted=wanted), key)


def typed(kind: type, key: str, value: Any) -> Any:
    """The value of one key, refused like those of a table when its type is wrong."""
    if not _fits(value, kind):
        raise refused("BAD_TYPE", phrase("wrong-type", value=shown(value), wanted=WANTED[kind]), key)
    return value


def entries(facts: Mapping[str, Any], table: str) -> Sequence[Mapping[str, Any]]:
    """The tables of an array `[[table]]`."""
    found = facts.get(table, ())
    if isinstance(found, Mapping) or not isinstance(found, Sequence) or isinstance(found, str):
        raise refused("BAD_TYPE", phrase("one-table", table=table), table)
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
        raise ScenarioError(error.code, str(error), _culprit(kind, values), error.zh) from error


def _culprit(kind: Any, values: Mapping[str, Any]) -> str:
    """The one key that is at fault: without it the value can be made."""
    for key in values:
        try:
            kind(**{name: value for name, value in values.items() if name != key})
        except (ValueError, TypeError):
            continue
        return key
    return ""


def shown(value: Any) -> Phrase:
    """A value as it stands in the file, and what it is."""
    if isinstance(value, bool):
        return phrase("value", value=str(value).lower())
    if isinstance(value, str):
        return phrase("text", value=value[:40])
    if isinstance(value, Mapping):
        return phrase("table")
    return phrase("list") if isinstance(value, (list, tuple)) else phrase("value", value=value)


def _fits(value: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)


def _wanted(value: Any, hint: Any) -> Phrase | None:
    """What should stand here instead; None when the value fits, or when its own reader checks it."""
    if get_origin(hint) in (Union, UnionType):
        hint = next(one for one in get_args(hint) if one is not type(None))
    if hint in WANTED:
        return None if _fits(value, hint) else WANTED[hint]
    if get_origin(hint) is not tuple or get_args(hint)[0] not in WANTED:
        return None
    inner, *rest = get_args(hint)
    size = len(rest) + 1 if rest and rest[0] is not ... else None
    good = isinstance(value, (list, tuple)) and all(_fits(one, inner) for one in value)
    if good and size in (None, len(value)):
        return None
    if size is None:
        return phrase("want-any-many", wanted=WANTED[inner])
    return phrase("want-so-many", size=size, wanted=WANTED[inner])
