"""The engine against theory: the exact value lies in the 99 % interval, whose half-width is at most 1 %."""

import numpy as np
import pytest
import theory

from sim.chain import Chain, run_chain
from sim.statistics import batch_interval, mser5

EXPONENTIAL = {"kind": "exponential", "mean": 1.0}


def run(items, chain, seed=1, warmup=None, **more):
    """One run of a chain with Poisson arrivals."""
    facts = {"items": items, "chain": chain, "warmup": items // 50 if warmup is None else warmup, **more}
    return run_chain("theory", Chain.read(facts), seed)


def poisson(rate):
    """Poisson arrivals of a rate a minute."""
    return {"kind": "poisson", "rate": rate}


def holds(values, exact, batches=40):
    """Assert that `exact` lies in the 99 % interval by batch means and that this is narrow."""
    mean, low, high = batch_interval(values, batches)
    assert low <= exact <= high, (mean, low, high, exact)
    assert (high - low) / 2 <= 0.01 * exact, (mean, low, high, exact)


def test_the_exact_values_agree_with_published_ones():
    """The formulas give the reference values of M/M/8, M/D/8 and the plate queues."""
    assert theory.erlang_c(8, 7.2) == pytest.approx(0.701533, abs=1e-6)
    assert theory.mmc_sojourn(7.2, 1.0, 8) - 1 == pytest.approx(0.876916, abs=1e-6)
    assert theory.mdc_wait(7.2, 1.0, 8) == pytest.approx(0.449973, abs=2e-5)
    rate = 0.9 * 94 / 90
    assert theory.bulk_sojourn(rate, 90, 94, 94) == pytest.approx(140.711248, abs=1e-4)
    assert theory.bulk_sojourn(rate, 90, 94, 1) == pytest.approx(136.243163, abs=1e-4)
    assert theory.bulk_sojourn(rate / 9, 90, 94, 1) == pytest.approx(134.999604, abs=1e-4)
    assert theory.bulk_sojourn(rate, 90, 94, 94, 900, spread=45) == pytest.approx(165.248109, abs=1e-4)
    assert theory.plates_sojourn(8 * rate, 90, 8, 94, 1050) == pytest.approx(96.185871, abs=1e-4)
    jackson = theory.mmc_sojourn(1.0, 0.5, 1)
    assert theory.jackson_sojourn(0.9, [(1, 0.5)], 0.1) == pytest.approx(jackson / 0.9)


@pytest.mark.parametrize(
    ("servers", "load", "items"), [(1, 0.5, 1_500_000), (4, 0.7, 1_000_000), (8, 0.7, 600_000)]
)
def test_mmc(servers, load, items):
    """M/M/c: mean time in the system."""
    link = {"name": "counter", "servers": servers, "service": EXPONENTIAL}
    report = run(items, [link], arrivals=poisson(load * servers))
    holds(report.turnaround[report.warmup :], theory.mmc_sojourn(load * servers, 1.0, servers))


def test_mmc_through_events():
    """M/M/2 sent through SimPy keeps the exact value, and every time equals the direct solution."""
    link = {"name": "counter", "servers": 2, "service": EXPONENTIAL}
    events = run(120_000, [link], arrivals=poisson(0.6), solve="events")
    direct = run(120_000, [link], arrivals=poisson(0.6))
    assert np.array_equal(events.turnaround, direct.turnaround)
    holds(events.turnaround[events.warmup :], theory.mmc_sojourn(0.6, 1.0, 2))


@pytest.mark.parametrize(
    ("service", "second"),
    [
        ({"kind": "uniform", "low": 0.5, "high": 1.5}, 1 + 1 / 12),
        ({"kind": "lognormal", "mean": 1.0, "sd": 0.5}, 1.25),
        ({"kind": "erlang", "mean": 1.0, "phases": 3}, 1 + 1 / 3),
        ({"kind": "triangular", "low": 0.5, "mode": 1.0, "high": 1.5}, 1 + 1 / 24),
        (1.0, 1.0),
    ],
)
def test_mg1(service, second):
    """M/G/1: mean time in the system by Pollaczek and Khinchine, for every kind of service."""
    report = run(800_000, [{"name": "g", "servers": 1, "service": service}], arrivals=poisson(0.6))
    holds(report.turnaround[report.warmup :], theory.mg1_sojourn(0.6, 1.0, second))


def test_mdc():
    """M/D/4: mean time in the system by Crommelin's chain."""
    report = run(800_000, [{"name": "d", "servers": 4, "service": 1.0}], arrivals=poisson(3.2))
    holds(report.turnaround[report.warmup :], 1 + theory.mdc_wait(3.2, 1.0, 4, 300))


@pytest.mark.parametrize(
    ("load", "least", "plates"), [(0.9, 94, 5000), (0.9, 1, 5000), (0.1, 1, 4000), (0.5, 47, 4000)]
)
def test_plates(load, least, plates):
    """M/D[least,94]/1: forming, waiting and service of whole and partial plates."""
    rate = load * 94 / 90
    link = {"name": "cycler", "servers": 1, "service": 90, "batch": [least, 94]}
    report = run(94 * plates, [link], arrivals=poisson(rate), warmup=94 * 50)
    holds(report.turnaround[report.warmup :], theory.bulk_sojourn(rate, 90, 94, least))


@pytest.mark.parametrize(("least", "plates"), [(94, 5000), (47, 6000)])
def test_plates_of_uncertain_length(least, plates):
    """M/G[least,94]/1: runs of 45 to 135 minutes, whole plates and partial ones from 47 tubes on."""
    rate = 0.6 * 94 / 90
    service = {"kind": "uniform", "low": 45, "high": 135}
    link = {"name": "cycler", "servers": 1, "service": service, "batch": [least, 94]}
    report = run(94 * plates, [link], arrivals=poisson(rate), warmup=94 * 50)
    holds(report.turnaround[report.warmup :], theory.bulk_sojourn(rate, 90, 94, least, spread=45))


@pytest.mark.parametrize(("servers", "load"), [(3, 0.9), (8, 0.8)])
def test_plates_at_several_cyclers(servers, load):
    """M/D[94,94]/c: forming, waiting and service of whole plates at several cyclers."""
    rate = load * servers * 94 / 90
    link = {"name": "cycler", "servers": servers, "service": 90, "batch": [94, 94]}
    report = run(94 * 5000, [link], arrivals=poisson(rate), warmup=94 * 50)
    exact = theory.plates_sojourn(rate, 90, servers, 94, 500 * (1 + servers // 8))
    holds(report.turnaround[report.warmup :], exact)


def test_a_network_with_feedback():
    """Four stations in a row with 5 % begun again (Jackson): mean time in the system, through events."""
    stations = [(1, 0.5), (2, 1.0), (1, 0.4), (3, 1.5)]
    chain = [
        {"name": f"s{n}", "servers": servers, "service": {"kind": "exponential", "mean": mean}}
        for n, (servers, mean) in enumerate(stations)
    ]
    chain[-1]["then"] = {"s0": 0.05}
    report = run(60_000, chain, arrivals=poisson(0.6))
    holds(report.turnaround[report.warmup :], theory.jackson_sojourn(0.6, stations, 0.05), 30)
    served = {name: log.started.size for name, log in report.stations.items()}
    assert served["s0"] == served["s3"]
    assert served["s0"] / 60_000 == pytest.approx(1 / 0.95, rel=0.005)


def test_littles_law():
    """Numbers in queue, counted minute by minute, are rate x wait at every station, and utilisation is load."""
    chain = [
        {"name": "a", "servers": 3, "service": EXPONENTIAL},
        {"name": "b", "servers": 2, "service": 0.5, "batch": [5, 5]},
    ]
    report = run(100_000, chain, arrivals=poisson(2.4), warmup=0)
    counted = report.trace(1.0)["stations"]
    for name, log in report.stations.items():
        found = log.summary(report.end)
        rate_times_wait = found["served"] / report.end * found["wait_h_mean"] * 60
        assert found["queue_mean"] == pytest.approx(rate_times_wait)
        assert counted[name]["queue"].mean() == pytest.approx(rate_times_wait, rel=0.01)
        assert found["utilisation"] == pytest.approx({"a": 0.8, "b": 0.12}[name], rel=0.01)


def test_the_warm_up_is_found_and_left_out():
    """A queue that begins with 400 waiting: MSER-5 cuts them off, and what is left keeps the exact mean."""
    came = np.concatenate([np.zeros(400), np.cumsum(np.random.default_rng(8).exponential(2.0, 1_000_000))])
    facts = {"items": came.size, "chain": [{"name": "m", "servers": 1, "service": EXPONENTIAL}]}
    turnaround = run_chain("late start", Chain.read(facts), 1, draws={"arrivals": came}).turnaround
    cut = mser5(turnaround)
    assert 400 <= cut < 20_000
    exact = theory.mmc_sojourn(0.5, 1.0, 1)
    assert turnaround[:cut].mean() > 2 * exact
    holds(turnaround[cut:], exact)


def test_makespan_of_batches():
    """940 tubes on one cycler take ten runs of 90 minutes; 100 tubes on two of them 90, the last six together."""
    for items, servers, end in ((940, 1, 900.0), (941, 1, 990.0), (100, 2, 90.0)):
        link = {"name": "cycler", "servers": servers, "service": 90, "batch": [94, 94]}
        assert run(items, [link], warmup=0).end == end


def test_makespan_of_a_fixed_line():
    """107 plates at minute 0 through 6 x 25, 4 x 30, 2 x 10, 9 x 90, 1 x 3 minutes take 1,191 minutes."""
    line = [(6, 25), (4, 30), (2, 10), (9, 90), (1, 3)]
    chain = [{"name": f"s{n}", "servers": c, "service": m} for n, (c, m) in enumerate(line)]
    for solve in ("direct", "events"):
        assert run(107, chain, warmup=0, solve=solve).end == 1191.0


CYCLE = [[240, 300], [540, 600], [840, 900], [1140, 1200]]


@pytest.mark.parametrize(("ending", "end"), [("resume", 1550), ("overrun", 1450), ("fits", 1850)])
def test_what_happens_when_a_shift_ends(ending, end):
    """25 jobs of 50 minutes, 240 on and 60 off: 1,550 resumed, 1,450 overrun, 1,850 only if they fit."""
    shifts = [
        {"name": "first day", "start": 0, "end": 1440, "people": 1, "breaks": CYCLE, "days": [0]},
        {"name": "second day", "start": 60, "end": 1440, "people": 1, "breaks": [[240, 300]], "days": [1]},
    ]
    link = {"name": "desk", "service": 50, "shift": shifts, "ending": ending}
    for solve in ("direct", "events"):
        assert run(25, [link], warmup=0, solve=solve).end == end


def test_rostered_reception_equals_its_events():
    """Servers with shifts and breaks, solved directly, start every tube when SimPy would."""
    shifts = [
        {"name": "early", "start": 360, "end": 840, "people": 3, "breaks": [[200, 245]]},
        {"name": "late", "start": 840, "end": 1320, "people": 2},
    ]
    link = {
        "name": "reception",
        "service": {"kind": "lognormal", "mean": 2.0, "sd": 1.0},
        "shift": shifts,
        "spell": 240,
    }
    reports = [
        run(5000, [link], arrivals=poisson(0.9), warmup=0, solve=solve) for solve in ("direct", "events")
    ]
    assert np.allclose(reports[0].turnaround, reports[1].turnaround, atol=1e-6)
