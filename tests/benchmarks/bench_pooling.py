"""How fast pooling designs are found, against limits and against binGroup2.

Run by hand on a quiet machine: `python tests/benchmarks/bench_pooling.py`, or by pytest with
`-m benchmark -s`. Each figure is the fastest of many rounds in one process; above its limit it fails.
"""

import time

import pytest

import pooling

pytestmark = pytest.mark.benchmark

# Timings of R binGroup2 1.3.1 for the same searches on a machine of the same kind, in seconds of CPU.
BINGROUP2_TWO_STAGES = 0.7  # OTC1 D2, pools of 2 to 40
BINGROUP2_THREE_STAGES = 2.0  # D3, all partitions up to 16


def fastest(call, rounds=50):
    """Seconds of the fastest of several rounds."""
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def say(what, seconds, limit, peer=None):
    """Print one line: what, milliseconds, limit, ratio to the peer."""
    ratio = f", binGroup2 {peer:g} s: {peer / seconds:,.0f} times" if peer else ""
    print(f"{what}: {1000 * seconds:.3f} ms (limit {1000 * limit:g} ms{ratio})")
    assert seconds <= limit


def every_size():
    """Every size 2 to 40 with 1, 2 and 3 stages, each asked for on its own: 117 designs."""
    for size in range(2, 41):
        pooling.design(0.01, stages=1)
        pooling.design(0.01, size=size, stages=2, max_size=40, sensitivity=0.95, specificity=0.99)
        pooling.design(0.01, size=size, stages=3, max_size=40, sensitivity=0.95, specificity=0.99)


def every_search():
    """The three searches over the sizes 2 to 40, with their refusals."""
    for stages in (1, 2, 3):
        pooling.design(0.01, stages=stages, max_size=40, sensitivity=0.95, specificity=0.99)


def test_design_speed():
    """Designs of all sizes and stages stay within 5 ms, the best three-stage partition within 1 ms."""
    say("117 designs, sizes 2..40 x 3 stage counts", fastest(every_size), 0.005)
    say("three searches, sizes 2..40", fastest(every_search), 0.005)
    two = fastest(lambda: pooling.design(0.01, max_size=40, sensitivity=0.95, specificity=0.99))
    say("search of two stages, sizes 2..40", two, 0.005, BINGROUP2_TWO_STAGES)
    accuracy = pooling.Accuracy(0.95, 0.99)
    three = fastest(lambda: pooling.best_three_stage(0.01, 16, accuracy))
    say("best three-stage partition up to 16", three, 0.001, BINGROUP2_THREE_STAGES)


def test_day_speed():
    """The exact distribution of a day of 100,000 tubes stays within a second."""
    day = fastest(lambda: pooling.day_tests([10] * 10_000, 0.01, pooling.Accuracy(0.95, 0.99)), rounds=3)
    say("distribution of the tests of 10,000 pools", day, 1.0)


if __name__ == "__main__":
    test_design_speed()
    test_day_speed()
