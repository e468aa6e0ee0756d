"""The days a laboratory that never stands empty needs until it runs as it always does, and leaving them out.

A simulation begins with an empty laboratory; one that works around the clock never does. The first days are
therefore better than any day in truth. They are found by the rule of MSER-5 on a few pilots (Hoad, Robinson
and Davies 2010). Load comes in a daily cycle, so a day takes the place of the batch of five: what is smoothed
is the mean turnaround of a day's tubes over all pilots, in which the cycle no longer shows.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sim.faults import phrase
from sim.refusal import refused
from sim.report import DAY, Report
from sim.scenario import Scenario
from sim.statistics import settling

PILOTS = 5
"""Replications that the warm-up is found from, however many are played afterwards."""


def continuing(scenario: Scenario) -> bool:
    """Whether it goes on before its first day and after its last."""
    whole = scenario.laboratory or scenario.engine
    return whole is not None and whole.continuing


def unsettled(scenario: Scenario) -> bool:
    """Whether a warm-up is asked for and not found yet."""
    return continuing(scenario) and scenario.warm_up_days is None


def daily(report: Report) -> NDArray[np.float64]:
    """Mean turnaround (hours) of the tubes of every whole day of arrival, NaN for a day without any."""
    day = (report.arrived // DAY).astype(int)
    tubes = np.bincount(day).astype(float)
    hours = np.bincount(day, weights=report.turnaround / 60)
    found: NDArray[np.float64] = np.full(tubes.size, np.nan)
    np.divide(hours, tubes, out=found, where=tubes > 0)
    return found


def settled(scenario: Scenario, pilots: Sequence[NDArray[np.float64]]) -> Scenario:
    """The scenario with the warm-up that its pilots show.

    Args:
        scenario: of a laboratory that goes on, or of a chain that does.
        pilots: what `daily` says of each.

    Raises:
        ScenarioError: `NOT_SETTLED`: the days are too few, or there is no state in which it settles.
    """
    days = last_day(scenario, min(one.size for one in pilots))
    together = np.mean([one[:days] for one in pilots], axis=0)
    worked = np.flatnonzero(~np.isnan(together))
    cut = settling(together[worked])
    if cut is None:
        key = "laboratory.days" if scenario.laboratory is not None else "engine.items"
        raise refused("NOT_SETTLED", phrase("not-settled", name=scenario.name, days=days), key)
    return replace(scenario, warm_up_days=int(worked[cut]) if cut else 0)


def last_day(scenario: Scenario, played: int) -> int:
    """Days of arrivals; those of a chain end with its last whole day."""
    return scenario.laboratory.days if scenario.laboratory is not None else played - 1


def alike(scenarios: Sequence[Scenario]) -> list[Scenario]:
    """Scenarios that are compared, each with the longest warm-up of all, so that the same days are."""
    longest = max((one.warm_up_days or 0 for one in scenarios), default=0)
    found = []
    for one in scenarios:
        days = one.laboratory.days if one.laboratory is not None else longest * 2
        if continuing(one) and longest * 2 > days:
            what = phrase("not-settled-together", name=one.name, longest=longest, days=days)
            raise refused("NOT_SETTLED", what, "laboratory.days")
        found.append(replace(one, warm_up_days=longest) if continuing(one) else one)
    return found


def halved(scenario: Scenario) -> Scenario:
    """For a search through many laboratories: of one that goes on, the first half of the days is left out.

    What has not settled by then never does, or needs longer than its days can show; its turnaround grows and
    it is found too small.
    """
    lab = scenario.laboratory
    if lab is None or not unsettled(scenario):
        return scenario
    return replace(scenario, warm_up_days=lab.days // 2)


def counted(scenario: Scenario, report: Report) -> Report:
    """What counts of a run: all of it, or the tubes between the warm-up and the last day of arrivals.

    After the last day the laboratory empties, which a laboratory that goes on never does either.
    """
    if not continuing(scenario):
        return report
    played = int(report.arrived.max(initial=0.0) // DAY) + 1
    return report.between((scenario.warm_up_days or 0) * DAY, last_day(scenario, played) * DAY)
