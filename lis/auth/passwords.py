"""Passwords and PINs: what is accepted, how good it is in words, what is stored.

The rules are those of OWASP ASVS 5.0, section 6.2: at least eight characters, long ones and any characters
taken as they are, none of the common ones, nothing made of the person's or the laboratory's name, no
rules of composition, no forced change.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from lis.auth.common import common_passwords
from lis.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pwdlib import PasswordHash

MIN_LENGTH: Final = 8
MAX_LENGTH: Final = 128
PIN_LENGTHS: Final = (4, 8)
_FAIR, _GOOD = 11, 15
_PLAIN: Final = str.maketrans("01345@$!", "oieasasi")
"""Signs that stand for letters: p@ssw0rd is password."""


class Strength(StrEnum):
    """How good a password is; the first three are refused."""

    LENGTH = "length"
    COMMON = "common"
    NAME = "name"
    FAIR = "fair"
    GOOD = "good"
    STRONG = "strong"


REFUSALS: Final = {
    Strength.LENGTH: (
        "PASSWORD",
        f"A password has {MIN_LENGTH} to {MAX_LENGTH} characters; any characters will do.",
    ),
    Strength.COMMON: (
        "PASSWORD_COMMON",
        "This password is among the first that anybody tries. Choose another one.",
    ),
    Strength.NAME: (
        "PASSWORD_NAME",
        "Without the name of person or laboratory this password is too short or too common. Choose another.",
    ),
}


@lru_cache(maxsize=1)
def _hasher() -> PasswordHash:
    from pwdlib import PasswordHash

    return PasswordHash.recommended()


def digest(secret: str) -> str:
    """What is stored of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def strength(password: str, context: Iterable[str] = ()) -> Strength:
    """How good a password is.

    Args:
        password: as typed.
        context: names that whoever knows the person would try: account, full name, laboratory.
    """
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        return Strength.LENGTH
    plain = password.casefold()
    if _is_common(plain) or _effort(plain) < MIN_LENGTH // 2:
        return Strength.COMMON
    rest = plain
    for word in _words(context):
        rest = rest.replace(word, "")
    if rest != plain and (len(rest) < MIN_LENGTH or _is_common(rest)):
        return Strength.NAME
    effort = _effort(plain)
    return Strength.FAIR if effort < _FAIR else Strength.GOOD if effort < _GOOD else Strength.STRONG


def _is_common(plain: str) -> bool:
    return not common_passwords().isdisjoint({plain, plain.translate(_PLAIN)})


def _words(context: Iterable[str]) -> list[str]:
    """The words of names, longest first; a Chinese name is a word of two characters already."""
    words = {word for text in context for word in re.split(r"[\W_]+", text.casefold())}
    return sorted(
        (word for word in words if len(word) >= (4 if word.isascii() else 2)), key=len, reverse=True
    )


def _effort(plain: str) -> int:
    """Characters that neither repeat the one before nor count on from it: 11111111 and abcdefgh are one."""
    steps = (ord(two) - ord(one) for one, two in pairwise(plain))
    return 1 + sum(abs(step) > 1 for step in steps)


def check_password(password: str, context: Iterable[str] = ()) -> None:
    """Refuse a password that is too short, too long, common, or made of a name.

    Raises:
        Invalid: ``PASSWORD``, ``PASSWORD_COMMON`` or ``PASSWORD_NAME``.
    """
    found = strength(password, context)
    if found in REFUSALS:
        raise Invalid(*REFUSALS[found])


def check_pin(pin: str) -> None:
    """Refuse a PIN that is no 4 to 8 digits, or that everybody tries first.

    Raises:
        Invalid: ``PIN``.
    """
    shortest, longest = PIN_LENGTHS
    if not (pin.isascii() and pin.isdigit() and shortest <= len(pin) <= longest):
        raise Invalid("PIN", f"A PIN has {shortest} to {longest} digits.")
    if _effort(pin) == 1 or len(set(pin)) == 1 or re.fullmatch(r"(19|20)\d\d", pin):
        raise Invalid("PIN", "This PIN is among the first that anybody tries. Choose another one.")


def hash_password(password: str) -> str:
    """What is stored of a password or PIN (argon2id). Slow on purpose: call it outside a transaction."""
    return _hasher().hash(password)


def verify(row_password: str, password: str) -> bool:
    """Whether the password is right. Slow on purpose: call it outside a write transaction."""
    return _hasher().verify(password, row_password)


def temporary() -> str:
    """A password to hand over once: four groups of letters and digits that nobody mistakes for others."""
    letters = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(letters) for _ in range(4)) for _ in range(4))
