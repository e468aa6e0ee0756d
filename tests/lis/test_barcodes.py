"""Codes: nothing misread, merged or mistyped passes for a tube, a plate or a pool."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import luhn

from lis.barcodes import PATTERNS, PLATE, POOL, TUBE, clean, mint, parse
from lis.errors import Invalid


def code_of(raw: str, *patterns) -> str:
    """What a code is refused with; empty if it is accepted."""
    try:
        parse(raw, *patterns)
    except Invalid as error:
        return error.code
    return ""


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.name)
def test_the_example_beside_a_refusal_is_a_code(pattern):
    """The example that a sentence shows would be accepted."""
    assert parse(pattern.example, pattern) == pattern.example
    assert mint(pattern, 1)[-1] == luhn.calc_check_digit(mint(pattern, 1).lstrip("LP")[:-1])


@given(st.sampled_from(PATTERNS), st.integers(0, 9_999_999))
def test_every_minted_code_is_read_back(pattern, number: int):
    """A code that the laboratory makes is accepted, also with the blanks and line ends that wedges add."""
    code = mint(pattern, number)
    assert parse(f"\t {code}\r\n", pattern) == code
    others = tuple(other for other in PATTERNS if other is not pattern)
    assert code_of(code, *others) in {"BARCODE_SHAPE", "BARCODE_MERGED"}


@given(st.integers(0, 99_999_999_999), st.integers(0, 11), st.integers(1, 9))
def test_any_single_wrong_digit_is_refused(number: int, place: int, step: int):
    """One mistyped digit anywhere in a tube code never gives another tube."""
    code = mint(TUBE, number)
    wrong = code[:place] + str((int(code[place]) + step) % 10) + code[place + 1 :]
    assert code_of(wrong, TUBE) == "BARCODE_CHECK"


@given(st.integers(0, 99_999_999_999), st.integers(0, 99_999_999_999), st.integers(1, 12))
def test_two_codes_read_as_one_are_refused(one: int, other: int, much: int):
    """A second code, or a part of it, behind the first is named as merged, whatever its check digit says."""
    assert code_of(mint(TUBE, one) + mint(TUBE, other)[:much], TUBE) == "BARCODE_MERGED"


def test_merged_codes_can_pass_a_check_digit():
    """Two codes whose concatenation passes Luhn exist; only the pattern stops them."""
    passing = [
        merged
        for one in range(40)
        for other in range(40)
        if luhn.is_valid(merged := mint(TUBE, one) + mint(TUBE, other))
    ]
    assert passing
    assert {code_of(merged, TUBE) for merged in passing} == {"BARCODE_MERGED"}


def test_a_refusal_shows_what_was_read_and_what_is_wanted():
    """Nothing, too much and the wrong family are told apart in the sentence."""
    with pytest.raises(Invalid, match=r"\(nothing\) is not a tube code like 440700000019"):
        parse(" \n", TUBE)
    with pytest.raises(Invalid, match="plate code like P00000018 or pool code like L0000000018"):
        parse("440700000019", PLATE, POOL)
    with pytest.raises(Invalid) as error:
        parse("x" * 500, TUBE)
    assert len(error.value.sentence) < 200
    assert clean("\u200b4407\x00 0000\t") == "44070000"


def test_a_number_too_large_for_a_code_is_an_error():
    """A serial that outgrows its code is never cut."""
    with pytest.raises(ValueError, match="does not fit"):
        mint(PLATE, 10**8)
