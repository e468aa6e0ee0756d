"""Personal data: sealed at rest, searchable by keyed hash, masked on screen.

AES-256-GCM with a random 96-bit nonce in front of the ciphertext; the search hash is HMAC-SHA-256
under a key derived from the same secret, so that neither helps without the key file.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import unicodedata
from dataclasses import dataclass

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

    def seal(self, text: str) -> bytes:
        """``text`` encrypted; the same text gives other bytes each time."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + AESGCM(self.key).encrypt(nonce, text.encode(), None)

    def open(self, sealed: bytes) -> str:
        """What was sealed.

        Raises:
            Damaged: ``SEAL_BROKEN`` if the bytes were changed or the key is another one.
        """
        try:
            return AESGCM(self.key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], None).decode()
        except InvalidTag:
            raise Damaged(
                "SEAL_BROKEN",
                "Personal data cannot be opened: another key file, or changed data.",
            ) from None

    def fingerprint(self, text: str) -> str:
        """The keyed hash under which ``text`` is found again (64 hex digits)."""
        derived = hmac.digest(self.key, b"nat-lis search", "sha256")
        return hmac.new(derived, text.encode(), hashlib.sha256).hexdigest()


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
            return str(ric.validate(number))
        except ValidationError as error:
            raise Invalid(
                "DOCUMENT_NUMBER",
                f"Resident id ending in {number[-4:]} is not valid ({error}). Read the card again.",
            ) from None
    if not 4 <= len(number) <= 32 or not number.isalnum():
        raise Invalid(
            "DOCUMENT_NUMBER", "A document number has 4 to 32 letters and digits. Read the document again."
        )
    return number


def mask(number: str) -> str:
    """``440711199001011234`` as ``4407**********1234``; short numbers show their last two characters."""
    if len(number) >= 12:
        return number[:4] + "*" * (len(number) - 8) + number[-4:]
    return "*" * max(len(number) - 2, 0) + number[-2:] if number else ""
