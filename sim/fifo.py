"""First come, first served, solved exactly without an event list.

A station that takes single tubes in order of arrival and gets none back (reception, above all) needs no
events: every start follows from the starts before it (Lindley's recursion and its form for several
servers). `chain = {solve = "events"}` sends the same station through SimPy; both give the same times.
"""

from bisect import bisect_right
from collections.abc import Sequence
from heapq import heapify, heapreplace

import numpy as np
from numpy.typing import NDArray

from sim.faults import phrase
from sim.refusal import refused

Minutes = NDArray[np.float64]
PORTION = 20_000
"""Customers turned into Python numbers at a time: enough to cost nothing, few enough to need no room."""


def fifo(arrivals: Minutes, services: Minutes, servers: int) -> Minutes:
    """Start times of customers in order of arrival at `servers` equal servers.

    Args:
        arrivals: ascending, in minutes, shape (n,).
        services: service times in order of start, shape (n,).
        servers: how many, at least 1.
    """
    if not arrivals.size:
        return arrivals.copy()
    if servers == 1:
        return _single(arrivals, services)
    if services.size and services.min() == services.max():
        # equal times: customers leave in order, so customer i follows customer i - servers
        starts = np.empty_like(arrivals)
        for first in range(servers):
            starts[first::servers] = _single(arrivals[first::servers], services[first::servers])
        return starts
    free = [0.0] * servers
    starts = np.empty_like(arrivals)
    for first in range(0, arrivals.size, PORTION):
        part = slice(first, first + PORTION)
        found = []
        for at, minutes in zip(arrivals[part].tolist(), services[part].tolist(), strict=True):
            start = free[0] if free[0] > at else at  # noqa: FURB136 - called for every tube
            found.append(start)
            heapreplace(free, start + minutes)
        starts[part] = found
    return starts


def _single(arrivals: Minutes, services: Minutes) -> Minutes:
    before = np.cumsum(services) - services
    starts: Minutes = before + np.maximum.accumulate(arrivals - before)
    return starts


def fifo_rostered(
    arrivals: Minutes, services: Minutes, windows: Sequence[Sequence[tuple[float, float]]]
) -> Minutes:
    """The same with servers that are on in windows; a customer in hand is finished (overrun).

    Raises:
        ScenarioError: `NEVER_ENDS` when customers are left after the last window.
    """
    begins = [[begin for begin, _ in own] for own in windows]

    def on(server: int, at: float) -> float:
        place = bisect_right(begins[server], at) - 1
        if place >= 0 and at < windows[server][place][1]:
            return at
        return begins[server][place + 1] if place + 1 < len(begins[server]) else float("inf")

    free = [(on(server, 0.0), server) for server in range(len(windows))]
    heapify(free)
    found = []
    for at, minutes in zip(arrivals.tolist(), services.tolist(), strict=True):
        while True:
            ready, server = free[0] if free else (float("inf"), 0)
            if ready == float("inf"):
                raise refused("NEVER_ENDS", phrase("nobody-on-duty"))
            start = ready if ready >= at else on(server, at)
            if start <= ready or start == at:
                break
            heapreplace(free, (start, server))
        found.append(start)
        heapreplace(free, (on(server, start + minutes), server))
    return np.array(found)
