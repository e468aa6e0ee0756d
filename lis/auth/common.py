"""The passwords that anybody tries first, without a download: made from words and patterns typed here.

Source: ``common.toml``, composed for this project from what is publicly known of the habits of people (rows
of keys, repeated and counted digits, years, first names, words of love and luck in English and Chinese
pinyin, names of devices and accounts), combined as people combine them. No list of anybody else was copied.
"""

from __future__ import annotations

import tomllib
from functools import lru_cache
from importlib import resources
from itertools import product
from typing import Final

SHORTEST: Final = 8
LONGEST_PART: Final = 26
_LEET: Final = str.maketrans("aeios", "43105")


@lru_cache(maxsize=1)
def common_passwords() -> frozenset[str]:
    """Every common password of eight characters and more, in small letters."""
    table = tomllib.loads(resources.files("lis.auth").joinpath("common.toml").read_text(encoding="utf-8"))
    words, endings, whole = table["words"], table["endings"], table["whole"]
    found = {f"{word}{end}" for word, end in product(words, endings)}
    found |= {f"{end}{word}" for word, end in product(words, table["beginnings"])}
    found |= {f"{one}{one}" for one in words}
    found |= {text.translate(_LEET) for text in (*words, *whole)}
    found |= {f"{word.translate(_LEET)}{end}" for word, end in product(table["leet"], endings)}
    found |= {*whole, *_digits(), *_dates(), *_rows(table["rows"])}
    return frozenset(text for text in found if len(text) >= SHORTEST)


def _digits() -> set[str]:
    """Counted, repeated and mirrored digits."""
    up, down = "0123456789" * 3, "9876543210" * 3
    counted = {row[at : at + size] for row in (up, down) for at in range(10) for size in range(8, 14)}
    repeated = {
        (f"{block:0{width}d}" * 12)[:size]
        for width in (1, 2, 3, 4)
        for block in (
            range(10**width) if width < 4 else (*range(0, 10**4, 1111), 1234, 4321, 1314, 5201, 2580)
        )
        for size in (8, 9, 10, 12)
    }
    return counted | repeated


def _dates() -> set[str]:
    """Birthdays of grown people, as year, month, day: the first guess for eight digits in China."""
    days = [(month, day) for month in range(1, 13) for day in range(1, 32)]
    return {f"{year}{month:02d}{day:02d}" for year in range(1950, 2027) for month, day in days}


def _rows(rows: list[str]) -> set[str]:
    """Pieces of keyboard rows, forwards, backwards and twice."""
    found = set()
    for row in (*rows, *(row[::-1] for row in rows)):
        pieces = {
            row[at : at + size]
            for size in range(4, LONGEST_PART)
            for at in range(max(len(row) - size, 0) + 1)
        }
        found |= pieces | {piece + piece for piece in pieces}
        found |= {
            f"{piece}{end}"
            for piece in pieces
            if len(piece) < SHORTEST
            for end in ("1", "12", "123", "1234", "!")
        }
    return found
