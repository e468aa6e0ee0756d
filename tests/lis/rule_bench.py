"""What the tests of rules share: a stricter version of a shipped kit, and runs of it on the bench."""

from contextlib import contextmanager
from zoneinfo import ZoneInfo

import pytest
from bench import Bench

from lis import laboratory, queries
from lis.rulebook import files
from lis.services import rule_lab

SHANGHAI = ZoneInfo("Asia/Shanghai")
ASSAY = "kinghawk"


def shipped():
    """The shipped file of the assay."""
    return dict(files("assays"))[ASSAY]


def stricter(version="2", late="36.0"):
    """The same kit with an earlier cutoff and a grey band from there on."""
    text = shipped().replace('version = "1"', f'version = "{version}"')
    return text.replace('{ op = "<", ct = 38.0 }', f'{{ op = "<", ct = {late} }}').replace(
        "low = 38.0", f"low = {late}"
    )


@pytest.fixture
def lab(embedded):
    """A laboratory on the embedded database."""
    return embedded.lab


def run(bench, cqs, **controls):
    """Read one run with a tube for each triple of Cq (ORF1ab, N, IC); the tubes' codes."""
    codes = bench.singles(len(cqs))
    given = {**dict(zip(codes, cqs, strict=True)), **controls}
    signals = {name: dict(zip(("ORF1ab", "N", "IC"), triple, strict=True)) for name, triple in given.items()}
    done = bench.cycle(codes, signals, assay=ASSAY)
    assert done.ingested.state == "read", done.ingested
    return codes


@contextmanager
def restarted(bench):
    """The same laboratory after its next start."""
    with laboratory.open_laboratory(bench.lab.settings, bench.clock) as again:
        yield Bench(again, bench.clock, bench.numbers)


def compare(lab, old, new, period="all"):
    """The difference of two versions, and nothing written."""
    with lab.database.read() as conn:
        before = queries.count_of(conn, "event")
        found = rule_lab.diff(conn, lab.rules, old, new, rule_lab.period(period, SHANGHAI))
        assert queries.count_of(conn, "event") == before
    return found
