"""Reading a rule file key by key, so that nothing in it is guessed, dropped or left over."""

import difflib
import hashlib
import json
import math
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

Rules = TypeVar("Rules")
_PART: Final = re.compile(r"[^.\[\]]+(?:\[[^\]]*\])?")
_HEAD: Final = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]")
_ASSIGNED: Final = re.compile(r"""\s*"?([\w -]+?)"?\s*=\s*"?([^"]*)"?""")
_INNER: Final = re.compile(r"""[{,]\s*"?([\w-]+)"?\s*=""")


class RulesError(ValueError):
    """A rule file that cannot be trusted.

    Attributes:
        code: machine code, such as ``unknown-key`` or ``band-gap``.
        where: file, line where the text is known, and key; also as `file`, as errors of files have it.
        sentence: what is wrong and what to do next.
    """

    def __init__(self, code: str, where: str, sentence: str) -> None:
        super().__init__(f"{where}: {sentence}")
        self.code = code
        self.where = self.file = where
        self.sentence = sentence


def parse(text: str, name: str) -> dict[str, Any]:
    """Parse TOML; a syntax error becomes a `RulesError` that names file and line."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        sentence = f"this is not valid TOML: {error}. Correct that line and load the file again."
        raise RulesError("toml", name or "rules", sentence) from error


def load(text: str, name: str, build: Callable[[Mapping[str, Any], str], Rules]) -> Rules:
    """Parse a rule file and build its rules; every fault is reported with its line.

    Raises:
        RulesError: not TOML, or refused by `build`.
    """
    content = parse(text, name)
    place = name or str(content.get("id", "rules"))
    try:
        return build(content, place)
    except RulesError as error:
        key = error.where.removeprefix(place).lstrip(".")
        where = f"{place}, line {line_of(text, key)}" + (f", {key}" if key else "")
        raise RulesError(error.code, where, error.sentence) from error


def line_of(text: str, key: str) -> int:
    """The line (from 1) of a key such as ``target[N1].detected.ct`` in a TOML file that parses.

    A table in a list is found by its number, its ``name`` or its ``id``. For a key that is not written,
    it is the line of the longest part of it that is; 1 when nothing of it is.
    """
    wanted = _PART.findall(key)
    best, found = 0, 1
    for number, path in _paths(text):
        same = next((i for i, (a, b) in enumerate(zip(wanted, path, strict=False)) if a not in b), None)
        depth = min(len(wanted), len(path)) if same is None else same
        if depth > best:
            best, found = depth, number
    return found


def _paths(text: str) -> Iterator[tuple[int, list[set[str]]]]:
    """Each line that opens a table or sets a key: its number and its path, each part in every spelling."""
    table: list[set[str]] = []
    counts: dict[str, int] = {}
    prose = False  # inside a text of several lines
    for number, line in enumerate(text.splitlines(), 1):
        was, prose = prose, prose ^ (line.count('"""') % 2 == 1)
        if was:
            continue
        head, assigned = _HEAD.match(line), _ASSIGNED.match(line)
        if head and head[1] == "[[":
            counts[head[2]] = counts.get(head[2], 0) + 1
            table = [{head[2], f"{head[2]}[{counts[head[2]]}]"}]
            yield number, table
        elif head:
            parts = _PART.findall(head[2])
            first = table[0] if table and parts[0] in table[0] else {parts[0]}
            table = [first, *({part} for part in parts[1:])]
            yield number, table
        elif assigned:
            if assigned[1] in ("name", "id") and len(table) == 1:
                table[0].update(f"{part}[{assigned[2]}]" for part in list(table[0]) if "[" not in part)
            yield number, [*table, {assigned[1]}]
            yield from ((number, [*table, {assigned[1]}, {inner}]) for inner in _INNER.findall(line))


def digest(content: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of the content in canonical form: comments, order and spacing do not count."""
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()


def heading(section: "Section", content: Mapping[str, Any]) -> dict[str, str]:
    """What every rule file begins with, and the digest of all its content, by the names of the fields."""
    named = {key: section.text(key) for key in ("id", "name", "version", "source")}
    return {**named, "notes": section.text("notes", ""), "digest": digest(content)}


class Section:
    """One table of a rule file. Every key must be asked for; `close` refuses what is left."""

    def __init__(self, content: object, where: str) -> None:
        if not isinstance(content, Mapping):
            raise RulesError("not-a-table", where, "a table of keys is needed here. See the format page.")
        self.content: Mapping[str, Any] = content
        self.where = where
        self.asked: set[str] = set()

    def at(self, key: str) -> str:
        """The place of a key, for an error."""
        return f"{self.where}.{key}"

    def has(self, key: str) -> bool:
        """Whether the key is written in the file."""
        return key in self.content

    def raw(self, key: str) -> Any:
        """The value as parsed; the key is required."""
        self.asked.add(key)
        if key not in self.content:
            raise RulesError("missing-key", self.at(key), f"the key '{key}' is missing. Add it.")
        return self.content[key]

    def refuse(self, key: str, code: str, sentence: str) -> RulesError:
        """An error at this key."""
        return RulesError(code, self.at(key), sentence)

    def text(self, key: str, default: str | None = None) -> str:
        """A text; required and not blank unless a default is given."""
        if default is not None and key not in self.content:
            self.asked.add(key)
            return default
        value = self.raw(key)
        if not isinstance(value, str) or (default is None and not value.strip()):
            raise self.refuse(key, "not-a-text", f"{value!r} is not a text. Write words in quotes.")
        return value

    def choice(self, key: str, allowed: Sequence[str], default: str | None = None) -> str:
        """A text out of a fixed list."""
        value = self.text(key, default)
        if value not in allowed:
            sentence = f"{value!r} is not known here. Use one of: {', '.join(map(repr, allowed))}."
            raise self.refuse(key, "not-allowed", sentence)
        return value

    def number(self, key: str) -> float:
        """A finite number above 0, as a float."""
        value = self.raw(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.refuse(key, "not-a-number", f"{value!r} is not a number. Write it without quotes.")
        if not math.isfinite(value) or value <= 0:
            raise self.refuse(key, "number-range", f"{value!r} must be finite and above 0.")
        return float(value)

    def whole(self, key: str, least: int, default: int | None = None) -> int:
        """A whole number of at least `least`."""
        if default is not None and key not in self.content:
            self.asked.add(key)
            return default
        value = self.raw(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            sentence = f"{value!r} is not a whole number of at least {least}."
            raise self.refuse(key, "not-whole", sentence)
        return value

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self.raw(key)
        if not isinstance(value, bool):
            raise self.refuse(key, "not-a-flag", f"{value!r} must be true or false, without quotes.")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; empty when the key is not there."""
        self.asked.add(key)
        value = self.content.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            raise self.refuse(key, "not-a-list", f"{value!r} must be a list of texts.")
        return tuple(value)

    def table(self, key: str) -> "Section":
        """A table inside this one; empty when the key is not there."""
        self.asked.add(key)
        return Section(self.content.get(key, {}), self.at(key))

    def tables(self, key: str) -> tuple["Section", ...]:
        """A list of tables (``[[key]]``); empty when the key is not there."""
        self.asked.add(key)
        value = self.content.get(key, [])
        if not isinstance(value, list):
            raise self.refuse(key, "not-a-list", f"write each one as [[{key}]].")
        return tuple(Section(item, f"{self.where}.{key}[{i}]") for i, item in enumerate(value, 1))

    def names(self) -> tuple[str, ...]:
        """All keys written in the file, for a table whose keys are free."""
        return tuple(self.content)

    def close(self) -> None:
        """Refuse every key nobody asked for: a misspelt rule must not be a silent one."""
        for key in self.content:
            if key not in self.asked:
                near = difflib.get_close_matches(key, sorted(self.asked), 1)
                hint = f" Did you mean '{near[0]}'?" if near else ""
                raise self.refuse(
                    key, "unknown-key", f"the key '{key}' is not known here.{hint} Remove or correct it."
                )
