"""The worker of a simulation: plays one order in a process of its own and tells how it goes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from sim import Scenario

NICE: Final = 10
"""Workers let the bench go first."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to play: `simulate` one scenario or several side by side; `plan` or a `rota` for the first."""

    kind: str
    scenarios: tuple[Scenario, ...]
    replications: int
    seed: int
    target_hours: float = 24.0
    percentile: float = 95.0
    ways: bool = False


def work(line: Connection, order: Order) -> None:
    """Play an order and tell how it goes; ends when nobody listens any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the server, which ends this
    if hasattr(os, "nice"):
        os.nice(NICE)
    try:
        document, pages = PLAYED[order.kind](line, order)
        line.send(("done", document, pages))
    except BrokenPipeError:
        return
    except ValueError as error:
        code = getattr(error, "code", "")
        if not code:
            raise
        reason, zh = getattr(error, "reason", str(error)), getattr(error, "zh", "")
        line.send(("failed", code, getattr(error, "key", ""), reason, zh))


def _simulated(line: Connection, order: Order) -> tuple[Any, dict[str, str]]:
    from sim import compared, document, replicate, step_of, warmed
    from sim.html import content

    of, before, began = order.replications * len(order.scenarios), 0, time.monotonic()
    studies = []
    for scenario in warmed(order.scenarios, order.seed, workers=1):

        def told(done: int, _of: int, _seconds: float, before: int = before) -> None:
            played = before + done
            left = (time.monotonic() - began) / played * (of - played)
            line.send(("progress", played, of, round(left, 1), ""))

        studies.append(
            replicate(
                scenario, order.replications, order.seed, workers=1, step=step_of(scenario), progress=told
            )
        )
        before += order.replications
    found = document(studies[0]) | ({"compared": compared(studies)} if len(studies) > 1 else {})
    return found, {language: content(studies, language=language) for language in ("zh", "en")}


def _planned(line: Connection, order: Order) -> tuple[Any, dict[str, str]]:
    from sim import plan, plan_document

    found = plan(
        order.scenarios[0],
        order.target_hours,
        order.percentile,
        replications=max(order.replications, 2),
        seed=order.seed,
        say=_telling(line),
        try_ways=order.ways,
    )
    return plan_document(found), {}


def _rota(line: Connection, order: Order) -> tuple[Any, dict[str, str]]:
    from sim.rota import Search, propose, rota_document

    search = Search(max(order.replications, 2), order.seed, workers=1)
    found = propose(order.scenarios[0], "", search, say=_telling(line))
    return rota_document(found), {}


def _telling(line: Connection) -> Callable[[str], None]:
    """Tells what is tried, and counts it."""
    tries = count(1)
    return lambda sentence: line.send(("progress", next(tries), None, None, sentence))


PLAYED: Final[Mapping[str, Callable[[Connection, Order], tuple[Any, dict[str, str]]]]] = {
    "simulate": _simulated,
    "plan": _planned,
    "rota": _rota,
}
