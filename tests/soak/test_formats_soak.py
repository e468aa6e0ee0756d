"""Long runs over every real file: 1,000 flipped bits and cuts at every 1/200 each, ten minutes of mutants.

Started by hand: ``pytest -m soak tests/soak/test_formats_soak.py -n 0``. Prints what it saw.
"""

import gzip
import os
import random
import resource
import time
from pathlib import Path

import pytest

import instruments
from instruments.formats import read_all

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "instruments"
pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(0),
    pytest.mark.skipif(not DATA.is_dir(), reason="the folder of real exports is not on this machine"),
]
FLIPS = int(os.environ.get("SOAK_FLIPS", "1000"))
SECONDS = float(os.environ.get("SOAK_SECONDS", "600"))
SKIP = {".tsv", ".md", ".pcrd"}


def files():
    """Every export of the folder that is read, with its bytes unpacked."""
    for path in sorted(DATA.glob("*/*")):
        if path.suffix in SKIP:
            continue
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
        try:
            yield path.name, data, read_all(path.name, data)
        except instruments.InstrumentError:
            continue


def outcomes(runs):
    """What a laboratory would act on."""
    return {(run.experiment, r.key, r.cq) for run in runs for r in run.readings}


def worst(slowest):
    """The three files that took the most processor time to read, damaged or not."""
    ranked = sorted(slowest.items(), key=lambda item: -item[1])[:3]
    return ", ".join(f"{name} {seconds:.2f} s" for name, seconds in ranked)


def attempt(name, data, slowest):
    """Runs of a damaged file or None; anything but an InstrumentError fails the test."""
    begun = time.process_time()
    try:
        return read_all(name, data)
    except instruments.InstrumentError:
        return None
    finally:
        slowest[name] = max(slowest.get(name, 0.0), time.process_time() - begun)


def judge(name, whole, runs, *, cut):
    """A complete run may not have changed: for a cut never, for a flip never in a container."""
    if runs is None or not all(run.complete for run in runs):
        return 0
    lost = {key[:2] for key in whole} - {key[:2] for key in outcomes(runs)}
    changed = outcomes(runs) - whole
    return int(bool(lost or changed)) if cut else int(bool(lost))


def test_cuts_at_every_two_hundredth(capsys):
    """No file of the folder, cut at any of 200 places, is complete with a well missing or a Cq changed."""
    wrong, slowest, count = [], {}, 0
    for name, data, runs in files():
        whole = outcomes(runs)
        for part in range(1, 200):
            count += 1
            if judge(name, whole, attempt(name, data[: len(data) * part // 200], slowest), cut=True):
                wrong.append((name, part))
    with capsys.disabled():
        print(f"\n{count} cuts, {len(wrong)} accepted wrongly; slowest {worst(slowest)}")
    assert wrong == []


def test_flipped_bits(capsys):
    """A thousand single bits in each file: no traceback; in a container, no result lost or changed."""
    chance = random.Random(6)
    wrong, slowest, count, altered = [], {}, 0, 0
    for name, data, runs in files():
        whole = outcomes(runs)
        packed = data[:2] == b"PK" or data[:4] == b"\xd0\xcf\x11\xe0"
        for _ in range(FLIPS if len(data) < 300_000 else FLIPS // 20):
            flipped = bytearray(data)
            flipped[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            count += 1
            found = attempt(name, bytes(flipped), slowest)
            if found and all(run.complete for run in found) and outcomes(found) != whole:
                altered += 1
                if packed and data[:2] == b"PK":
                    wrong.append(name)
    with capsys.disabled():
        print(f"\n{count} flips; {altered} altered unnoticed in texts and .xls, {len(wrong)} in zips")
        print(f"slowest {worst(slowest)}")
    assert wrong == []


def test_ten_minutes_of_mutants(capsys):
    """Pieces moved, doubled, cut out or replaced by noise: no traceback, no hang, memory bounded."""
    chance = random.Random(7)
    pool = [(name, data) for name, data, _ in files() if len(data) < 200_000]
    slowest, count, refused = {}, 0, 0
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        name, data = chance.choice(pool)
        mutant = bytearray(data)
        for _ in range(chance.randrange(1, 6)):
            at, size = chance.randrange(len(mutant) + 1), chance.choice([1, 4, 60, 2000])
            piece = chance.choice([b"", chance.randbytes(size), bytes(mutant[at : at + size]) * 3])
            mutant[at : at + size] = piece
        count += 1
        refused += attempt(name, bytes(mutant), slowest) is None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    with capsys.disabled():
        print(f"\n{count} mutants, {refused} refused, peak {peak:.0f} MiB")
        print(f"slowest {worst(slowest)}")
    assert peak < 1024
