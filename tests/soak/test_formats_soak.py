"""Long runs over every format: a file of each, real and synthetic, cut, with flipped bits, and as mutants.

Started by hand: ``pytest -m soak tests/soak/test_formats_soak.py -n 0 -s``. Prints what it saw.
``SOAK_FLIPS`` (bits per file), ``SOAK_SECONDS`` (of mutants) and ``SOAK_CUTS`` (most places per text)
shorten it, ``SOAK_LARGE`` (bytes of a file that gets a twentieth of the bits) too. What is held:

- nothing but an :class:`InstrumentError` leaves a reader, and no read takes more than a second of
  processor time (or three times what the undamaged file takes);
- a cut file is refused, not complete, or lacks nothing;
- a bit flipped in a zip, which has checksums, never changes anything of a complete run;
- a bit flipped in a text or an ``.xls``, which have none, can change a digit unseen by the reader. Where
  the file has curves that its Cq follow from exactly, such a Cq is flagged by :mod:`instruments.integrity`
  as soon as it is off by more than a tenth of a cycle.
"""

import collections
import gzip
import json
import os
import random
import resource
import time
import traceback
from pathlib import Path

import format_corpus as corpus
import format_mutants as mutants
import pytest

import instruments
from instruments import integrity
from instruments.formats import read_all

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "instruments"
pytestmark = [pytest.mark.soak, pytest.mark.timeout(0)]
FLIPS = int(os.environ.get("SOAK_FLIPS", "1000"))
SECONDS = float(os.environ.get("SOAK_SECONDS", "600"))
CUTS = int(os.environ.get("SOAK_CUTS", "200000"))
LARGE = int(os.environ.get("SOAK_LARGE", str(2**30)))  # bytes from which a twentieth of the bits is turned
SKIP = {".tsv", ".md", ".pcrd"}
MEMORY = 6 * 2**30  # of addresses: a claim of more than the machine has fails the run at once


class Watch:
    """Reads damaged files; remembers how many, how long, how many were refused and why."""

    def __init__(self, example):
        self.example = example
        begun = time.process_time()
        self.runs = self.read(example.data)
        self.limit = max(1.0, 3 * (time.process_time() - begun))
        self.count = self.refused = self.reached = 0
        self.slowest, self.slow, self.odd = 0.0, [], collections.Counter()

    def read(self, data):
        """Every run of these bytes."""
        return read_all(self.example.name, data, corpus.MAPPINGS)

    def attempt(self, data):
        """Runs of a damaged file or None; anything but an InstrumentError ends the test."""
        self.count += 1
        begun = time.process_time()
        try:
            runs = self.read(data)
        except instruments.InstrumentError as error:
            self.refused += 1
            self.odd["without words"] += not error.sentence
            if error.code == "UNREADABLE_FILE" and error.__cause__ is not None:
                self.odd[type(error.__cause__).__name__] += 1
            runs = None
        taken = time.process_time() - begun
        self.slowest = max(self.slowest, taken)
        if taken > self.limit:
            self.slow.append((self.example.name, round(taken, 2), len(data)))
        self.reached += runs is not None and runs[0].format == self.example.format
        return runs

    def __str__(self):
        odd = ", ".join(f"{name} {n}" for name, n in self.odd.most_common(3) if n)
        return (
            f"{self.example.format:22} {self.example.name[-40:]:40} {self.count:7} "
            f"refused {self.refused:7} read {self.reached:7} slowest {self.slowest:.2f} s  {odd}"
        )


@pytest.fixture(autouse=True)
def bounded():
    """An end of memory, so that a claim of terabytes is an error here as it would be elsewhere."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def real():
    """Every export of the folder that is read, unpacked."""
    for path in sorted(DATA.glob("*/*")):
        if path.suffix in SKIP:
            continue
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
        try:
            yield corpus.Example(read_all(path.name, data)[0].format, path.name, data)
        except instruments.InstrumentError:
            continue


def examples(most=2**30):
    """All files to be damaged, the synthetic ones first; every format is among them."""
    found = [one for one in (*corpus.synthetic(), *real()) if len(one.data) < most]
    assert {one.format for one in found} == corpus.FORMATS
    return found


def outcomes(runs):
    """Everything a laboratory would act on."""
    return {
        (run.plate, run.experiment, r.key, r.sample, r.task, r.call, r.flags, r.cq)
        for run in runs
        for r in run.readings
    }


def complete(runs):
    """Whether a laboratory could act on what was read."""
    return runs is not None and all(run.complete for run in runs)


def told(watches, capsys, *more):
    """Print what was seen, and hold that nothing was slow and every reader was reached."""
    with capsys.disabled():
        print("", *more, sep="\n")
        print(f"{sum(w.count for w in watches)} in all, {sum(w.refused for w in watches)} refused")
    assert [place for w in watches for place in w.slow] == []
    assert not any(w.odd["without words"] for w in watches)
    assert {w.example.format for w in watches if w.count} == corpus.FORMATS


def places(example):
    """Where a file is cut: a text at every byte, or at the line ends and as many bytes as asked for."""
    data = example.data
    if not example.text:
        return [len(data) * part // 200 for part in range(1, 200)]
    if len(data) <= min(CUTS, 200_000):
        return range(1, len(data))
    ends = [i + 1 for i, byte in enumerate(data) if byte in b"\r\n"]
    ends = ends if len(ends) < CUTS else random.Random(1).sample(ends, CUTS)
    chosen = random.Random(2).sample(range(1, len(data)), min(CUTS, 2000))
    return sorted(
        {min(max(end + shift, 1), len(data) - 1) for end in ends for shift in (-1, 0, 1)} | {*chosen}
    )


def test_cuts(capsys):
    """No file, cut anywhere, is complete with a well missing, or anything else changed."""
    wrong, watches = [], []
    for example in examples():
        watch = Watch(example)
        watches.append(watch)
        whole = outcomes(watch.runs)
        for place in places(example):
            runs = watch.attempt(example.data[:place])
            if complete(runs) and outcomes(runs) != whole:
                wrong.append((example.name, place))
        with capsys.disabled():
            print(watch, f"wrong {len(wrong)}", flush=True)
    told(watches, capsys, f"{len(wrong)} accepted wrongly")
    assert wrong == []


def sure(runs):
    """Cq that follow exactly from the curves beside them, by run and key."""
    return {
        (run.experiment, one.key): one.instrument_cq
        for run in runs
        for one in integrity.check(run)
        if one.exact and one.verdict == "agrees" and one.instrument_cq is not None
    }


def unflagged(before, runs):
    """Cq that were sure and are another now, by more than 0.1, without a flag."""
    return [
        one
        for run in runs
        for one in integrity.check(run)
        if (clean := before.get((run.experiment, one.key))) is not None
        and one.instrument_cq is not None
        and abs(one.instrument_cq - clean) > 0.1
        and not one.flag
    ]


def test_flipped_bits(capsys):
    """Single bits anywhere: nothing of a complete run changes in a zip; a sure Cq is flagged elsewhere."""
    chance = random.Random(6)
    wrong, watches, altered = [], [], collections.Counter()
    for example in examples():
        watch = Watch(example)
        watches.append(watch)
        whole, before = outcomes(watch.runs), sure(watch.runs)
        for _ in range(FLIPS if len(example.data) < LARGE else FLIPS // 20):
            runs = watch.attempt(mutants.bits(example.data, chance))
            if not complete(runs) or outcomes(runs) == whole:
                continue
            altered[example.format] += 1
            if example.packed or unflagged(before, runs):
                wrong.append(example.name)
        with capsys.disabled():
            print(watch, f"wrong {len(wrong)}", flush=True)
    told(watches, capsys, f"altered and not seen by the reader, in texts and .xls: {dict(altered)}")
    assert wrong == []


def test_ten_minutes_of_mutants(capsys, tmp_path):
    """Whatever the damage: no traceback, no hang, and what is read is consistent and can be told."""
    chance = random.Random(int(os.environ.get("SOAK_SEED", "7")))
    watches = [Watch(example) for example in examples(most=200_000)]
    by_format = collections.defaultdict(list)
    for watch in watches:
        by_format[watch.example.format].append(watch)
    broken = collections.Counter()
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        for form in sorted(by_format):  # every reader as often as the others
            watch = chance.choice(by_format[form])
            data = mutants.mutant(watch.example.data, chance)
            try:
                for run in watch.attempt(data) or ():
                    assert run.complete == (not run.reasons)
                    json.dumps(run.as_json(), allow_nan=False)
                    integrity.check(run)
            except Exception as exc:  # noqa: BLE001 - kept, so that ten minutes find more than one
                place = traceback.extract_tb(exc.__traceback__)[-1]
                broken[f"{form}: {exc!r:.80} at {place.filename[-30:]}:{place.lineno}"] += 1
                (tmp_path / f"{sum(broken.values())}").write_bytes(data)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    told(
        watches,
        capsys,
        *watches,
        f"peak {peak:.0f} MiB",
        *(f"{n} x {what}" for what, n in broken.most_common(30)),
    )
    assert not broken, tmp_path
    assert peak < 1024
    assert {w.example.format for w in watches if w.reached} == corpus.FORMATS  # and not only refused
