"""What a scanner may say: the shape of every code, and its check digit.

Two codes read as one long code still pass a Luhn check (a stalled screen does that to scans), so a
fixed pattern guards every code besides the check digit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from stdnum import luhn

from lis.errors import Invalid


@dataclass(frozen=True, slots=True)
class Pattern:
    """The shape of one family of codes.

    Attributes:
        name: what the code is on, for sentences ("tube", "plate").
        regex: the whole code must match it.
        luhn: whether the digits end in a Luhn check digit.
        example: a valid code to show beside a refusal.
    """

    name: str
    regex: re.Pattern[str]
    luhn: bool
    example: str


TUBE = Pattern("tube", re.compile(r"[0-9]{12}"), luhn=True, example="440700000019")
PLATE = Pattern("plate", re.compile(r"P[0-9]{8}"), luhn=True, example="P00000018")
POOL = Pattern("pool", re.compile(r"L[0-9]{10}"), luhn=True, example="L0000000018")
PATTERNS = (TUBE, PLATE, POOL)


def clean(raw: str) -> str:
    """``raw`` without the blanks and control characters that wedge scanners add around a code."""
    return "".join(ch for ch in raw if ch.isprintable() and not ch.isspace())


def parse(raw: str, *patterns: Pattern) -> str:
    """The code in ``raw``, if it has the shape and check digit of one of ``patterns``.

    Raises:
        Invalid: ``BARCODE_MERGED`` if two codes were read as one, ``BARCODE_SHAPE`` for a wrong length
            or alphabet, ``BARCODE_CHECK`` for a wrong check digit.
    """
    code = clean(raw)
    for pattern in patterns:
        if pattern.regex.fullmatch(code):
            if pattern.luhn and not luhn.is_valid(_digits(code)):
                raise Invalid(
                    "BARCODE_CHECK",
                    f"Code {code} does not end in its check digit. Scan the {pattern.name} again.",
                    barcode=code,
                )
            return code
    raise _shape_error(code, patterns)


def with_check_digit(prefix: str) -> str:
    """``prefix`` (digits, with or without a leading letter) followed by its Luhn check digit."""
    return prefix + luhn.calc_check_digit(_digits(prefix))


def mint(pattern: Pattern, number: int) -> str:
    """The code of family ``pattern`` with serial ``number``.

    Raises:
        ValueError: if the number does not fit the pattern.
    """
    letter = pattern.example[0] if pattern.example[0].isalpha() else ""
    width = len(pattern.example) - len(letter) - 1
    code = with_check_digit(f"{letter}{number:0{width}d}")
    if not pattern.regex.fullmatch(code):
        raise ValueError(f"{number} does not fit a {pattern.name} code of {width} digits")
    return code


def _digits(code: str) -> str:
    return code if code[0].isdigit() else code[1:]


def _shape_error(code: str, patterns: tuple[Pattern, ...]) -> Invalid:
    wanted = " or ".join(f"{p.name} code like {p.example}" for p in patterns)
    for pattern in patterns:
        size = len(pattern.example)
        if len(code) > size and pattern.regex.fullmatch(code[:size]):
            return Invalid(
                "BARCODE_MERGED",
                f"{len(code)} characters look like two codes read as one ({code[:size]} comes first). "
                "Nothing was recorded: scan each code again.",
                barcode=code[:80],
            )
    shown = code[:40] or "(nothing)"
    return Invalid("BARCODE_SHAPE", f"{shown} is not a {wanted}. Scan again.", barcode=code[:80])


@dataclass(frozen=True, slots=True)
class Scan:
    """One code that was read, and where the tube stands; empty where that does not matter."""

    barcode: str
    rack: str = ""
    position: str = ""
