"""Where in the text of a scenario a key stands, so that an editor can point at it."""

import re
from collections import Counter
from dataclasses import dataclass, field

from sim.refusal import joined, named

_HEADER = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_.\-]+)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r'\s*([A-Za-z0-9_.\-]+|"[^"]*")\s*=')
_NAME = re.compile(r'\s*name\s*=\s*"([^"]*)"')
_TOML_LINE = re.compile(r"at line (\d+)")


@dataclass
class _Block:
    """One table of the file: its header, whether it is one of an array, and the lines of its keys."""

    path: str
    line: int
    number: int = 0
    name: str = ""
    keys: list[tuple[int, str]] = field(default_factory=list)

    def place(self) -> str:
        return named(self.path, {"name": self.name}, self.number) if self.number else self.path


def line_of(text: str, key: str, reason: str = "") -> int | None:
    """The line, from 1 up, on which ``key`` stands, or the table that lacks it; None when nobody can tell.

    Args:
        text: the file as it was read.
        key: path of a refusal, such as ``station.pcr.servers``.
        reason: of the refusal; one of the TOML reader names the line itself.
    """
    if told := _TOML_LINE.search(reason):
        return int(told[1])
    if not key:
        return None
    best = (0, 0)
    for path, line in _places(text):
        if key == path or key.startswith((f"{path}.", f"{path}[")) or path.startswith(f"{key}."):
            best = max(best, (min(len(path), len(key)), -line))
    return -best[1] or None


def _places(text: str) -> list[tuple[str, int]]:
    """Path and line of every table and of every key."""
    found = []
    for block in _blocks(text):
        place = block.place()
        if place:
            found.append((place, block.line))
        found += [(joined(place, key), line) for line, key in block.keys]
    return found


def _blocks(text: str) -> list[_Block]:
    counted: Counter[str] = Counter()
    blocks = [_Block("", 0)]
    for line, words in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(words):
            path = header[2]
            counted[path] += header[1] == "[["
            blocks.append(_Block(path, line, counted[path] if header[1] == "[[" else 0))
        elif found := _KEY.match(words):
            blocks[-1].keys.append((line, found[1].strip('"')))
            if name := _NAME.match(words):
                blocks[-1].name = name[1]
    return blocks
