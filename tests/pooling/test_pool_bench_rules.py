"""Rules of a pooling bench: the shipped file, and bad files refused by key."""

from __future__ import annotations

import hashlib
from datetime import date, timedelta
from importlib import resources

import pytest

import pooling
from pooling import Mode, PoolPolicyError
from pooling.checked import digest

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


def test_the_digest_of_a_content_never_changes():
    """Results name the digest of the rules they were read by: the canonical form is fixed to the letter."""
    content = {"b": [1, 2.5, "试管"], "a": {"d": date(2022, 12, 14), "c": True}}
    canonical = '{"a":{"c":true,"d":"2022-12-14"},"b":[1,2.5,"试管"]}'
    assert digest(content) == hashlib.sha256(canonical.encode()).hexdigest()
    assert digest(content) == "9201a00d895dd9d3f504c14624b29a82befe27dc53115749f06f11338fdc4d2b"


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
    with pytest.raises(PoolPolicyError) as error:
        pooling.bench_from_toml(TEXT.replace('"G12", "H12"', wells), "bench")
    assert (error.value.code, str(error.value)) == (
        "out-of-range",
        "bench.worklist.reserved: no well is left for a pool; leave some free.",
    )


OWN = """
id = "own"
name = "Own bench"
version = "3"
source = "a test"
notes = "synthetic"

[pool]
size = 4
max_n = 8
min_n = 2
max_wait_minutes = 30
lead_minutes = 240
confirm = true
second_aliquots = 2
hold_for_rerun = false

[volume]
tube_ul = 2000
aliquot_ul = 50
reserve_ul = 300
reflex_ul = 250

[singly]
tiers = ["a"]
symptomatic = ["b"]
contact = ["c"]

[worklist]
reserved = ["A1"]

[advice]
modes = [20, 1]
window_days = 3
confidence = 0.9
min_tested = 100
margin = 0.05
sensitivity = 0.98
specificity = 0.97
grey = 0.01
invalid = 0.02

[advice.mixed]
round_hours = 5
again_hours = 20

[advice.mixed.detection]
20 = 0.9

[advice.pool]
round_hours = 4
again_hours = 8

[advice.pool.detection]
20 = 0.8
"""


def test_every_value_of_a_bench_file_lands_in_its_own_place():
    """A file in which no value equals another or a default is read whole, nothing swapped and nothing left out."""
    advice = {
        "modes": (20, 1),
        "confidence": 0.9,
        "min_tested": 100,
        "margin": 0.05,
        "grey": 0.01,
        "invalid": 0.02,
    }
    read = pooling.bench_from_toml(OWN, "own")
    assert read == pooling.BenchRules(
        id="own",
        name="Own bench",
        version="3",
        source="a test",
        notes="synthetic",
        pool=pooling.PoolRules(
            size=4,
            max_n=8,
            min_n=2,
            aliquot_ul=50.0,
            reserve_ul=300.0,
            max_wait=timedelta(minutes=30),
            lead=timedelta(minutes=240),
            excluded_tiers=frozenset("a"),
        ),
        decode=pooling.DecodeRules(reflex_ul=250.0, hold_for_rerun=False),
        exclusions=pooling.Exclusions(frozenset("a"), frozenset("b"), frozenset("c")),
        tube_ul=2000.0,
        confirm=True,
        second_aliquots=2,
        reserved=("A1",),
        window_days=3.0,
        advice={
            Mode.MIXED: pooling.AdviceRules(
                **advice,
                accuracy=pooling.Accuracy(0.98, 0.97, {20: 0.9}),
                round_hours=5.0,
                again_hours=20.0,
                recollected=True,
            ),
            Mode.POOL: pooling.AdviceRules(
                **advice,
                accuracy=pooling.Accuracy(0.98, 0.97, {20: 0.8}),
                round_hours=4.0,
                again_hours=8.0,
                recollected=False,
            ),
        },
        digest=read.digest,
    )


KEYS = [
    *((f"own.{key}", f'{key} = "', "a text") for key in ("id", "name", "version", "source", "notes")),
    *(
        (f"own.pool.{key}", f"\n{key} = ", "a whole number")
        for key in ("size", "max_n", "min_n", "max_wait_minutes", "lead_minutes", "second_aliquots")
    ),
    *((f"own.pool.{key}", f"{key} = ", "true or false") for key in ("confirm", "hold_for_rerun")),
    *(
        (f"own.volume.{key}", f"{key} = ", "a number")
        for key in ("tube_ul", "aliquot_ul", "reserve_ul", "reflex_ul")
    ),
    ("own.advice.window_days", "window_days = ", "a number"),
    ("own.advice.modes", "modes = ", "a list of whole numbers"),
    ("own.advice.min_tested", "min_tested = ", "a whole number"),
    ("own.advice.margin", "margin = ", "tests per person"),
    *(
        (f"own.advice.{key}", f"{key} = ", "a share")
        for key in ("confidence", "sensitivity", "specificity", "grey", "invalid")
    ),
    *((f"own.advice.mixed.{key}", f"{key} = ", "hours") for key in ("round_hours", "again_hours")),
]


@pytest.mark.parametrize(("where", "start", "what"), KEYS, ids=[key for key, _, _ in KEYS])
def test_every_key_of_a_bench_must_be_there_and_be_of_its_kind(where: str, start: str, what: str):
    """Left out or of another kind, the error names file, table and key and says what to write."""
    key = where.rpartition(".")[2]
    begin = OWN.index(start) + start.startswith("\n")
    end = OWN.index("\n", begin)
    for line, said in (
        ("", f"the key '{key}' is missing; add {what}."),
        (f"{key} = {{}}", f"{{}} is not {what}; write {what}."),
    ):
        with pytest.raises(PoolPolicyError) as error:
            pooling.bench_from_toml(OWN[:begin] + line + OWN[end:], "own")
        assert str(error.value) == f"{where}: {said}"


REFUSED = [
    ("size = 4", "size = 1", "own.pool.size: 1 is too small; write 2 or more."),
    ("max_n = 8", "max_n = 1", "own.pool.max_n: 1 is too small; write 2 or more."),
    ("min_n = 2", "min_n = 1", "own.pool.min_n: 1 is too small; write 2 or more."),
    (
        "wait_minutes = 30",
        "wait_minutes = -1",
        "own.pool.max_wait_minutes: -1 is too small; write 0 or more.",
    ),
    ("lead_minutes = 240", "lead_minutes = -1", "own.pool.lead_minutes: -1 is too small; write 0 or more."),
    ("aliquots = 2", "aliquots = -1", "own.pool.second_aliquots: -1 is too small; write 0 or more."),
    (
        "aliquot_ul = 50",
        "aliquot_ul = 0",
        "own.volume.aliquot_ul: 0 is not above 0; write a number such as 200.",
    ),
    (
        "reflex_ul = 250",
        "reflex_ul = -2.5",
        "own.volume.reflex_ul: -2.5 is not above 0; write a number such as 200.",
    ),
    ("days = 3", "days = 0", "own.advice.window_days: 0 is not above 0; write a number such as 200."),
    (
        "tube_ul = 2000",
        "tube_ul = 349.5",
        "own.volume.tube_ul: 349.5 is less than aliquot and single test need (350).",
    ),
    (
        "tube_ul = 2000\naliquot_ul = 50\nreserve_ul = 300",
        "tube_ul = 299\naliquot_ul = 50\nreserve_ul = 200",
        "own.volume.tube_ul: 299 is less than aliquot and single test need (300).",
    ),
    (
        "reserve_ul = 300",
        "reserve_ul = 249.5",
        "own.volume.reserve_ul: 249.5 is less than one single test (250).",
    ),
    ('tiers = ["a"]', "tiers = 3", "own.singly.tiers: 3 is not a list of texts; write a list of texts."),
    ('["A1"]', '["A1", "I1", "J1"]', "own.worklist.reserved: I1 is no well; write A1 to H12."),
    ("[20, 1]", "[20, true, 1]", "own.advice.modes: [20, True, 1] are not whole numbers; write [10, 5, 1]."),
    ("20 = 0.9", '20 = "x"', "own.advice.mixed.detection.20: 'x' is not a share; write a share."),
    ("20 = 0.9", "two = 0.9", "own.advice.mixed.detection.two: write places = share, such as 10 = 0.9."),
    (
        "20 = 0.9",
        "20 = 1.5",
        "own.advice: Detection needs pool sizes from 2 and shares in (0, 1], not 20: 1.5.",
    ),
    ("size = 4", "size = 9", "own.pool: Pools need 2 <= min_n <= size <= max_n, not 2, 9, 8."),
    ("size = 4", "speed = 1\nsize = 4", "unknown own.pool.speed"),
    ("tube_ul", "colour = 1\ntube_ul", "unknown own.volume.colour"),
    ("tiers", "race = []\ntiers", "unknown own.singly.race"),
    ("reserved", "hidden = []\nreserved", "unknown own.worklist.hidden"),
    ("window_days", "mood = 1\nwindow_days", "unknown own.advice.mood"),
    ("round_hours", "minutes = 1\nround_hours", "unknown own.advice.mixed.minutes"),
    ("[pool]", "[purpose]\n[pool]", "unknown own.purpose"),
    ("[worklist]\nreserved = [", "worklist = 1\n[x]\nreserved = [", "unknown own.singly.worklist"),
    ("[singly]\ntiers", "[single]\ntiers", "own.singly: the key 'singly' is missing; add a table."),
    ("[worklist]", "[work]", "own.worklist: the key 'worklist' is missing; add a table."),
    ("[pool]", "[pools]", "own.pool: the key 'pool' is missing; add a table."),
    ("[volume]", "[volumes]", "own.volume: the key 'volume' is missing; add a table."),
    (
        "[advice.pool]",
        "[advice.pol]",
        "own.advice.pool.round_hours: the key 'round_hours' is missing; add hours.",
    ),
    (
        "[advice.pool.detection]",
        "[advice.detection]",
        "own.advice.pool.detection: the key 'detection' is missing; add a table.",
    ),
]


@pytest.mark.parametrize(("old", "new", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_every_bench_error_says_exactly_this(old: str, new: str, sentence: str):
    """File, table and key, what is wrong and what to write instead, to the letter."""
    assert old in OWN
    with pytest.raises(PoolPolicyError) as error:
        pooling.bench_from_toml(OWN.replace(old, new, 1), "own")
    assert error.value.code in {"out-of-range", "wrong-kind", "missing-key", "unknown-key"}
    if sentence.startswith("unknown "):
        assert (error.value.code, error.value.where) == ("unknown-key", sentence.split()[1])
    else:
        assert str(error.value) == sentence


def test_what_is_just_enough_is_accepted():
    """Limits belong to what is allowed: no wait, no second aliquot, not a microlitre too many, one free well."""
    wells = [f'"{row}{column}"' for row in "ABCDEFGH" for column in range(1, 13)]
    wells[95] = wells[0]
    text = OWN
    for old, new in (
        ("size = 4", "size = 2"),
        ("max_n = 8", "max_n = 2"),
        ("wait_minutes = 30", "wait_minutes = 0"),
        ("lead_minutes = 240", "lead_minutes = 0"),
        ("aliquots = 2", "aliquots = 0"),
        ("tube_ul = 2000", "tube_ul = 250.5"),
        ("reserve_ul = 300", "reserve_ul = 250"),
        ("days = 3", "days = 0.5"),
        ('["A1"]', f"[{', '.join(wells)}]"),
        ("aliquot_ul = 50", "aliquot_ul = 0.5"),
    ):
        text = text.replace(old, new, 1)
    read = pooling.bench_from_toml(text, "own")
    assert (read.pool.size, read.pool.max_n, read.second_aliquots, read.tube_ul) == (2, 2, 0, 250.5)
    assert (read.pool.max_wait, read.pool.lead) == (timedelta(0), timedelta(0))
    assert (len(read.reserved), read.window_days, read.pool.aliquot_ul) == (96, 0.5, 0.5)
