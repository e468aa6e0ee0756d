"""Personal data: sealed at rest, searchable by keyed hash, masked on screen.

AES-256-GCM with a random 96-bit nonce in front of the ciphertext; the search hash is HMAC-SHA-256
under a key derived from the same secret, so that neither helps without the key file.
"""

from __future__ import annotations

import hmac
import secrets
import unicodedata
from dataclasses import dataclass
from functools import cached_property, lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from stdnum.cn import ric
from stdnum.exceptions import ValidationError

from lis.errors import Damaged, Invalid

NONCE_BYTES = 12
DOCUMENT_TYPES = ("resident_id", "passport", "permit", "other")


@dataclass(frozen=True)
class Vault:
    """Seals and opens personal data with the laboratory's key (32 bytes)."""

    key: bytes

    @cached_property
    def _cipher(self) -> AESGCM:
        return AESGCM(self.key)

    @cached_property
    def _search_key(self) -> bytes:
        return hmac.digest(self.key, b"nat-lis search", "sha256")

    def seal(self, text: str) -> bytes:
        """``text`` encrypted; the same text gives other bytes each time."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, text.encode(), None)

    def open(self, sealed: bytes) -> str:
        """What was sealed.

        Raises:
            Damaged: ``SEAL_BROKEN`` if the bytes were changed or the key is another one.
        """
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], None).decode()
        except InvalidTag:
            raise Damaged(
                "SEAL_BROKEN",
                "Personal data cannot be opened: another key file, or changed data.",
            ) from None

    def fingerprint(self, text: str) -> str:
        """The keyed hash under which ``text`` is found again (64 hex digits)."""
        return hmac.digest(self._search_key, text.encode(), "sha256").hex()


def document_number(kind: str, raw: str) -> str:
    """The compact form of an identity document number.

    Raises:
        Invalid: ``DOCUMENT_TYPE`` or ``DOCUMENT_NUMBER``, saying what is wrong with it.
    """
    # an input method in Chinese mode writes full-width digits: they are the same document
    number = "".join(unicodedata.normalize("NFKC", raw).split()).upper()
    if kind not in DOCUMENT_TYPES:
        raise Invalid("DOCUMENT_TYPE", f"Document type {kind!r} is not one of {', '.join(DOCUMENT_TYPES)}.")
    if kind == "resident_id":
        try:
            return _resident_id(number)
        except (ValidationError, ValueError, KeyError) as error:  # KeyError: a place without a county
            raise Invalid(
                "DOCUMENT_NUMBER",
                f"Resident id ending in {number[-4:]} is not valid ({_why(error)}). Read the card again.",
            ) from None
    if not 4 <= len(number) <= 32 or not number.isalnum():
        raise Invalid(
            "DOCUMENT_NUMBER", "A document number has 4 to 32 letters and digits. Read the document again."
        )
    return number


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, ValidationError) else "no such place or date"


def _resident_id(raw: str) -> str:
    """A valid resident id by the word of python-stdnum, asked once for each place and year."""
    number = ric.compact(raw)
    if len(number) != 18 or not (number.isascii() and number[:17].isdigit()):
        return str(ric.validate(number))
    if number[17] != ric.calc_check_digit(number):
        return str(ric.validate(number))
    ric.get_birth_date(number)
    _issued(number[:6], number[6:10])
    return str(number)


@lru_cache(maxsize=16_384)
def _issued(place: str, year: str) -> None:
    """Raise unless numbers of this place were given to people born in this year."""
    ric.get_birth_place(f"{place}{year}0101")


def mask(number: str) -> str:
    """``440711199001011234`` as ``4407**********1234``; short numbers show their last two characters."""
    if len(number) >= 12:
        return number[:4] + "*" * (len(number) - 8) + number[-4:]
    return "*" * max(len(number) - 2, 0) + number[-2:] if number else ""


def last_digits(masked: str) -> str:
    """What laboratory staff see of a masked number: its last four characters, of a short one its last two."""
    shown = masked[-4:] if len(masked) >= 8 else masked[-2:]
    return "*" * (len(masked) - len(shown)) + shown
