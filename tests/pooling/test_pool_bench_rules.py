"""Rules of a pooling bench: the shipped file, and bad files refused by key."""

from __future__ import annotations

from datetime import timedelta
from importlib import resources

import pytest

import pooling
from pooling import Mode, PoolPolicyError

TEXT = (resources.files("pooling") / "benches" / "standard.toml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def shipped():
    """The shipped rules, read."""
    return pooling.bench_from_toml(TEXT, "standard.toml")


def test_the_shipped_bench_says_all_that_a_bench_needs(shipped):
    """Sizes, volumes, exclusions, wells and advice come from the file, with source and digest."""
    assert (shipped.id, shipped.version) == ("standard", "1")
    assert shipped.source
    assert shipped.notes
    assert (shipped.pool.size, shipped.pool.max_n, shipped.pool.min_n) == (5, 10, 3)
    assert shipped.pool.max_wait == timedelta(minutes=45)
    assert (shipped.tube_ul, shipped.pool.aliquot_ul, shipped.decode.reflex_ul) == (3000.0, 100.0, 200.0)
    assert shipped.exclusions.tiers == shipped.pool.excluded_tiers == {"fever", "patient", "yellow"}
    assert shipped.reserved == ("G12", "H12")
    assert set(shipped.advice) == {Mode.MIXED, Mode.POOL}
    assert (shipped.advice[Mode.MIXED].recollected, shipped.advice[Mode.POOL].recollected) == (True, False)
    assert shipped.advice[Mode.POOL].accuracy.pool_sensitivity(10) == pytest.approx(0.99 * 0.817)


def test_a_digest_covers_what_is_said_and_not_how_it_is_written(shipped):
    """Comments do not change the digest of a bench or of a policy; a value does."""
    assert pooling.bench_from_toml("# a note\n" + TEXT, "x").digest == shipped.digest
    assert pooling.bench_from_toml(TEXT.replace("size = 5", "size = 6"), "x").digest != shipped.digest
    policy = (resources.files("pooling") / "policies" / "china.toml").read_text(encoding="utf-8")
    digests = {pooling.policy_from_toml(text, "x").digest for text in (policy, f"# a note\n{policy}")}
    assert len(digests) == 1
    assert digests != {pooling.policy_from_toml(policy.replace("max_n = 20", "max_n = 19"), "x").digest}


WRONG = [
    ("size = 5", "size = 50", "out-of-range", "bench.pool", "size <= max_n"),
    ("size = 5", "size = 1", "out-of-range", "bench.pool.size", "write 2 or more"),
    ("size = 5", 'size = "5"', "wrong-kind", "bench.pool.size", "whole number"),
    ("size = 5\n", "", "missing-key", "bench.pool.size", "is missing"),
    ("confirm = false", "confirm = 0", "wrong-kind", "bench.pool.confirm", "true or false"),
    ("confirm = false", "confirm = false\nspeed = 3", "unknown-key", "bench.pool.speed", "not known"),
    ("tube_ul = 3000", "tube_ul = 250", "out-of-range", "bench.volume.tube_ul", "need (300)"),
    ("tube_ul = 3000", "tube_ul = 0", "out-of-range", "bench.volume.tube_ul", "not above 0"),
    ("reserve_ul = 200", "reserve_ul = 100", "out-of-range", "bench.volume.reserve_ul", "one single test"),
    ('["close-contact"]', "[3]", "wrong-kind", "bench.singly.contact", "list of texts"),
    ('["G12", "H12"]', '["Z1"]', "out-of-range", "bench.worklist.reserved", "no well"),
    ("modes = [10, 5, 1]", "modes = [10, 5]", "out-of-range", "bench.advice", "1 among them"),
    ("modes = [10, 5, 1]", "modes = [10.5, 1]", "wrong-kind", "bench.advice.modes", "whole numbers"),
    ("modes = [10, 5, 1]", "modes = [50, 1]", "out-of-range", "bench.advice", "Measure it first"),
    ("margin = 0.02", "margin = 0", "out-of-range", "bench.advice", "margin above 0"),
    ("20 = 0.736", "many = 0.7", "out-of-range", "bench.advice.pool.detection.many", "places = share"),
    ("20 = 0.736", "20 = 1.7", "out-of-range", "bench.advice", "shares in (0, 1]"),
    ('id = "standard"', "id = ", "toml", "bench", "not valid TOML"),
    ("[volume]", "[liquid]", "missing-key", "bench.volume", "a table"),
]


@pytest.mark.parametrize(("before", "after", "code", "where", "says"), WRONG)
def test_a_bad_bench_file_is_refused_by_key(before: str, after: str, code: str, where: str, says: str):
    """Whatever cannot be meant is refused with the key and what to write instead."""
    assert before in TEXT
    with pytest.raises(PoolPolicyError) as error:
        pooling.bench_from_toml(TEXT.replace(before, after, 1), "bench")
    assert (error.value.code, error.value.where) == (code, where)
    assert says in str(error.value)


def test_all_wells_cannot_be_reserved():
    """A plate without a free well is no pool plate."""
    wells = ", ".join(f'"{row}{column}"' for row in "ABCDEFGH" for column in range(1, 13))
    with pytest.raises(PoolPolicyError, match="leave some free"):
        pooling.bench_from_toml(TEXT.replace('"G12", "H12"', wells), "bench")
