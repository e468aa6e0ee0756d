"""Scenarios: read strictly, refused with a sentence."""

from importlib.resources import files

import numpy as np
import pytest

from sim import Quantiles, Scenario, ScenarioError

TEXT = files("sim").joinpath("scenarios/demo-day.toml").read_text("utf-8")


def test_the_demo_day():
    """60 mixed tubes in the morning and 220 single ones; positivity up from 1 % to 20 %."""
    scenario = Scenario.from_toml(TEXT)
    count = {mode: sum(s.tubes for s in scenario.streams if s.mode == mode) for mode in ("mixed", "single")}
    assert count == {"mixed": 60, "single": 220}
    assert scenario.tubes == 280
    last = scenario.streams[-1]
    assert (last.start, last.prevalence_start, last.prevalence_end) == (720, 0.01, 0.2)
    assert [s.lab_pool for s in scenario.streams if s.lab_pool] == [5]
    assert scenario.chemistry.mixing == {1: 0, 5: 0.74, 10: 1, 20: 2}
    injections = scenario.injections
    assert (injections.borderline, injections.invalid, injections.failed_control_plates) == (2, 1, 1)


def test_quantiles_are_drawn_as_given():
    """A large draw has the quantiles of the file; a ceiling cuts off and does not pile up."""
    shares, values = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0), (12.0, 16.4, 23.2, 31.1, 35.9, 38.1, 40.0)
    drawn = Quantiles("free", shares, values).draw(200_000, np.random.default_rng(1))
    assert np.quantile(drawn, shares[1:-1]) == pytest.approx(values[1:-1], abs=0.1)
    cut = Quantiles("cut", shares, values, 31.1).draw(200_000, np.random.default_rng(1))
    assert cut.max() <= 31.1
    assert np.median(cut) == pytest.approx(23.2, abs=0.1)
    assert np.mean(cut > 31.0) < 0.01


@pytest.mark.parametrize(
    ("old", "new", "code", "key"),
    [
        ("[viral]", "[viral", "BAD_TOML", ""),
        ('name = "demo-day"', 'title = "demo-day"', "BAD_KEYS", "title"),
        ("borderline = 2", "borderlines = 2", "BAD_KEYS", "injections.borderlines"),
        ('tier = "fever"\n', "", "BAD_KEYS", 'stream."fever clinic".tier'),
        ("ceiling = 34.5", "ceiling = 11.0", "BAD_QUANTILES", "viral.ceiling"),
        ("[0.05, 16.4]", "[0.05, 11.0]", "BAD_QUANTILES", "viral.quantiles"),
        ("[[0.0, 12.0], ", "[", "BAD_QUANTILES", "viral.quantiles"),
        ("control_sd = 2.5", "control_sd = -1", "BAD_CHEMISTRY", "chemistry.control_sd"),
        ("control_mean = 28.1", "control_mean = 35", "BAD_CHEMISTRY", "chemistry.control_ceiling"),
        ("10 = 1.0, ", "", "BAD_CHEMISTRY", "chemistry.mixing"),
        ("borderline = 2", "borderline = -2", "BAD_INJECTIONS", "injections.borderline"),
        ("borderline = 2", "borderline = 160", "BAD_INJECTIONS", "injections"),
        (
            "failed_control_plates = 1",
            "failed_control_plates = 3",
            "BAD_INJECTIONS",
            "injections.failed_control_plates",
        ),
        ("grey = [38.2, 39.6]", "grey = [39.6, 38.2]", "BAD_INJECTIONS", "injections.grey"),
        ('failure = "NTC"', 'failure = "XC"', "BAD_INJECTIONS", "injections.failure"),
        ('name = "fever clinic"', 'name = "afternoon single"', "BAD_SCENARIO", "stream"),
        ('mode = "mixed"', 'mode = "pool"', "BAD_STREAM", 'stream."morning 10:1".mode'),
        ('mode = "mixed"', 'mode = "single"', "BAD_STREAM", 'stream."morning 10:1".places'),
        ("places = 10", "places = 7", "BAD_STREAM", 'stream."morning 10:1".places'),
        ("end = 690", "end = 400", "BAD_STREAM", 'stream."morning 10:1".end'),
        ("tubes = 60\nprev", "tubes = -1\nprev", "BAD_STREAM", 'stream."morning 10:1".tubes'),
        ("fill = 0.95", "fill = 1.5", "BAD_STREAM", 'stream."morning 10:1".fill'),
        ("fill = 0.95", "lab_pool = 5", "BAD_STREAM", 'stream."morning 10:1".lab_pool'),
        (
            "lab_pool = 5",
            "lab_pool = 1",
            "BAD_STREAM",
            'stream."morning single, pooled in the laboratory".lab_pool',
        ),
        (
            "prevalence_end = 0.25",
            "prevalence_end = 1.25",
            "BAD_STREAM",
            'stream."fever clinic".prevalence_end',
        ),
        (
            "prevalence_start = 0.05",
            "prevalence_start = -0.05",
            "BAD_STREAM",
            'stream."fever clinic".prevalence_start',
        ),
    ],
)
def test_senseless_scenarios_are_refused(old, new, code, key):
    """One thing wrong in the file, and it is refused by a code and the path of the key before anything is drawn."""
    assert old in TEXT
    with pytest.raises(ScenarioError) as caught:
        Scenario.from_toml(TEXT.replace(old, new, 1))
    assert (caught.value.code, caught.value.key) == (code, key)
    assert str(caught.value).startswith(key)
    assert str(caught.value).endswith((".", "?", ")"))


def test_quantiles_must_pair():
    """A share without a value is no distribution."""
    with pytest.raises(ScenarioError) as caught:
        Quantiles("odd", (0.0, 0.5, 1.0), (20.0, 30.0))
    assert caught.value.code == "BAD_QUANTILES"
