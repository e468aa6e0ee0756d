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
    ("old", "new", "code"),
    [
        ("[viral]", "[viral", "BAD_TOML"),
        ('name = "demo-day"', 'title = "demo-day"', "BAD_KEYS"),
        ("borderline = 2", "borderlines = 2", "BAD_KEYS"),
        ('tier = "fever"\n', "", "BAD_KEYS"),
        ("ceiling = 34.5", "ceiling = 11.0", "BAD_QUANTILES"),
        ("[0.05, 16.4]", "[0.05, 11.0]", "BAD_QUANTILES"),
        ("[[0.0, 12.0], ", "[", "BAD_QUANTILES"),
        ("control_sd = 2.5", "control_sd = -1", "BAD_CHEMISTRY"),
        ("control_mean = 28.1", "control_mean = 35", "BAD_CHEMISTRY"),
        ("10 = 1.0, ", "", "BAD_CHEMISTRY"),
        ("borderline = 2", "borderline = -2", "BAD_INJECTIONS"),
        ("borderline = 2", "borderline = 160", "BAD_INJECTIONS"),
        ("failed_control_plates = 1", "failed_control_plates = 3", "BAD_INJECTIONS"),
        ("grey = [38.2, 39.6]", "grey = [39.6, 38.2]", "BAD_INJECTIONS"),
        ('failure = "NTC"', 'failure = "XC"', "BAD_INJECTIONS"),
        ('name = "fever clinic"', 'name = "afternoon single"', "BAD_SCENARIO"),
        ('mode = "mixed"', 'mode = "pool"', "BAD_STREAM"),
        ('mode = "mixed"', 'mode = "single"', "BAD_STREAM"),
        ("places = 10", "places = 7", "BAD_STREAM"),
        ("end = 690", "end = 400", "BAD_STREAM"),
        ("tubes = 60\nprev", "tubes = -1\nprev", "BAD_STREAM"),
        ("fill = 0.95", "fill = 1.5", "BAD_STREAM"),
        ("fill = 0.95", "lab_pool = 5", "BAD_STREAM"),
        ("lab_pool = 5", "lab_pool = 1", "BAD_STREAM"),
        ("prevalence_end = 0.25", "prevalence_end = 1.25", "BAD_STREAM"),
        ("prevalence_start = 0.05", "prevalence_start = -0.05", "BAD_STREAM"),
    ],
)
def test_senseless_scenarios_are_refused(old, new, code):
    """One thing wrong in the file, and it is refused by a code before anything is drawn."""
    assert old in TEXT
    with pytest.raises(ScenarioError) as caught:
        Scenario.from_toml(TEXT.replace(old, new, 1))
    assert caught.value.code == code
    assert str(caught.value).endswith(".")


def test_quantiles_must_pair():
    """A share without a value is no distribution."""
    with pytest.raises(ScenarioError) as caught:
        Quantiles("odd", (0.0, 0.5, 1.0), (20.0, 30.0))
    assert caught.value.code == "BAD_QUANTILES"
