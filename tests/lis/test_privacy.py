"""Personal data: sealed at rest, found by keyed hash, masked on screens."""

from __future__ import annotations

import pytest
from bench import resident
from hypothesis import given
from hypothesis import strategies as st

from lis.errors import Damaged, Invalid
from lis.privacy import Vault, document_number, mask

VAULT, OTHER = Vault(b"k" * 32), Vault(b"o" * 32)


@given(st.text(max_size=60))
def test_what_is_sealed_is_opened_again_and_never_looks_the_same(secret: str):
    """The same text seals to other bytes each time and opens to itself."""
    one, two = VAULT.seal(secret), VAULT.seal(secret)
    assert one != two
    assert VAULT.open(one) == VAULT.open(two) == secret


@given(st.text(min_size=1, max_size=30), st.integers(0, 200))
def test_a_changed_byte_or_another_key_opens_nothing(secret: str, place: int):
    """Sealed data that was changed, or another key, is an error and never another text."""
    sealed = bytearray(VAULT.seal(secret))
    sealed[place % len(sealed)] ^= 1
    for vault, data in ((VAULT, bytes(sealed)), (OTHER, VAULT.seal(secret))):
        with pytest.raises(Damaged) as error:
            vault.open(data)
        assert error.value.code == "SEAL_BROKEN"


def test_the_search_hash_depends_on_the_key():
    """The same document is found again under one key, and is unlinkable under another."""
    assert VAULT.fingerprint("a") == VAULT.fingerprint("a") != VAULT.fingerprint("b")
    assert VAULT.fingerprint("a") != OTHER.fingerprint("a")
    assert len(VAULT.fingerprint("")) == 64


@pytest.mark.parametrize(
    ("kind", "raw", "stored"),
    [
        ("resident_id", f" {resident(5)} ", resident(5)),
        ("passport", "e 1234 5678", "E12345678"),
        ("permit", "h12345678", "H12345678"),
        ("other", "ａ１２３", "A123"),
        ("other", "abc", None),
        ("passport", "E" * 33, None),
        ("passport", "E-1234", None),
        ("resident_id", "440711199001011230", None),
        ("resident_id", "", None),
        ("library", "12345", None),
    ],
)
def test_document_numbers_are_checked_and_compacted(kind: str, raw: str, stored: str | None):
    """A number is stored without blanks in capitals, or refused without being shown in full."""
    if stored is not None:
        assert document_number(kind, raw) == stored
        return
    with pytest.raises(Invalid) as error:
        document_number(kind, raw)
    assert error.value.code in {"DOCUMENT_NUMBER", "DOCUMENT_TYPE"}
    assert not raw or len(raw) < 5 or raw not in error.value.sentence


@given(st.text(alphabet="0123456789X", max_size=30))
def test_a_mask_keeps_length_and_hides_the_middle(number: str):
    """A masked number has its length, shows at most eight characters and never a whole long one."""
    masked = mask(number)
    assert len(masked) == len(number)
    assert sum(char != "*" for char in masked) <= (8 if len(number) >= 12 else 2)
