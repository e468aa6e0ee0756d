"""One day, twice: through the services of the laboratory and through the simulator, decision by decision."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from instruments import RunFile
from instruments.model import Reading
from lis import barcodes, config, laboratory, ledger, queries
from lis.clock import FixedClock
from lis.demo.people import person
from lis.events import TubeKind
from lis.services import inbox, plates, receiving, results
from lis.services.inbox import Delivery
from lis.services.plates import PlateOrder
from lis.services.receiving import Scan, TubeData
from lis.services.results import Parsed
from lis.tube import TubeState
from scheduler import FillRules
from sim import load, simulate
from sim.pools import EPOCH
from sim.specimens import draw_specimens

SEED = 11
WAITS = {TubeState.AWAITING_RETEST: "Retest", TubeState.AWAITING_RECOLLECTION: "Recollect"}
TARGETS = ("ORF1ab", "N", "IC")


def a_day():
    """A fever clinic and a mixed stream on one day, nobody who is called back comes, plates fail often."""
    base = load("fever-clinic")
    fever, voluntary = base.streams
    streams = (
        replace(fever, tubes=60, start=480, end=1000, prevalence_start=0.3, prevalence_end=0.3),
        replace(voluntary, tubes=90, start=480, end=1000, mode="mixed", places=5, lab_pool=0),
        replace(voluntary, name="singles", tubes=80, start=480, end=1000, lab_pool=0, prevalence_start=0.2),
    )
    lab = replace(
        base.laboratory,
        days=1,
        volume_spread=0.0,
        control_failure=0.3,
        invalid=0.1,
        fill=FillRules(base.laboratory.fill.template, policy="urgency"),
        recall=replace(base.laboratory.recall, show_up=0.0),
    )
    return replace(base, streams=streams, laboratory=lab)


class Bench:
    """The laboratory with its real services under a clock that is set."""

    def __init__(self, lab, clock, scenario):
        self.lab, self.clock, self.scenario = lab, clock, scenario
        self.tubes = draw_specimens(scenario, scenario.laboratory, SEED, 0)
        self.codes = [
            barcodes.mint(barcodes.TUBE, 44_070_000_000 + n) for n in range(self.tubes.arrival.size)
        ]
        self.number = {code: n for n, code in enumerate(self.codes)}

    def at(self, minute):
        """Set the clock."""
        self.clock.moment = EPOCH + timedelta(minutes=minute)

    def register(self):
        """Every tube with its persons, before the day begins."""
        self.at(0)
        first = np.cumsum(self.tubes.persons) - self.tubes.persons
        orders = []
        for n, code in enumerate(self.codes):
            source = self.scenario.streams[int(self.tubes.stream[n])]
            sampled = EPOCH + timedelta(minutes=float(self.tubes.arrival[n]) - source.delay)
            people = tuple(person(int(first[n]) + k) for k in range(int(self.tubes.persons[n])))
            kind = TubeKind.MIXED if source.mode == "mixed" else TubeKind.SINGLE
            orders.append(
                TubeData(
                    code, kind, source.places, source.tier, source.site, sampled, people, True, "nobody else"
                )
            )
        with self.lab.database.write("site") as unit:
            receiving.register(unit, self.lab.vault, self.lab.rules, orders)

    def receive(self, n):
        """Scan one tube."""
        with self.lab.database.write("desk") as unit:
            found = receiving.receive(unit, self.lab.rules, [Scan(self.codes[n])])
        assert found[0].outcome.value == "received"

    def form(self):
        """Ask the scheduler for a plate, as a technician does who can wait."""
        with self.lab.database.write("bench") as unit:
            code = plates.create(unit, self.lab.rules, PlateOrder(now_whatever=False))
            wells = queries.wells(unit.conn, code)
        return code, {self.number[well["tube_id"]] for well in wells if well["tube_id"]}

    def read(self, code, content, *, valid):
        """Hand over a run with these Cq values; returns (tube, test, call, rule, what happens next)."""
        with self.lab.database.write("bench") as unit:
            plates.load(unit, code, code, "cycler")
            wells = queries.wells(unit.conn, code)
            before = ledger.tubes(unit.conn, [well["tube_id"] for well in wells if well["tube_id"]])
        readings, curves = [], {}
        for well in wells:
            cqs = (
                self._control(well["control"], valid)
                if well["control"]
                else content[self.number[well["tube_id"]]]
            )
            for target, cq in zip(TARGETS, cqs, strict=True):
                value = None if np.isnan(cq) else cq
                sample = well["tube_id"] or well["control"]
                readings.append(
                    Reading(
                        well["well"],
                        sample,
                        "unknown" if well["tube_id"] else "",
                        target,
                        "",
                        value,
                        "",
                        "",
                        (),
                    )
                )
                if value is not None:
                    curves[well["well"], target, ""] = "sigmoid"
        self._ingest(code, readings, curves)
        with self.lab.database.read() as conn:
            after = ledger.tubes(conn, before)
            calls = queries.calls(conn, before)
        return [
            (
                self.number[tube],
                before[tube].test,
                *self._said(calls.get(tube, ()), valid),
                self._next(after[tube]),
            )
            for tube in before
        ]

    @staticmethod
    def _control(kind, valid):
        """Good controls; or a signal in the negative one."""
        if kind == "PC":
            return (26.0, 26.0, 26.0)
        return (30.0 if kind == "NTC" and not valid else np.nan, np.nan, np.nan)

    def _ingest(self, code, readings, curves):
        data = code.encode()
        run = RunFile(
            f"{code}.csv",
            hashlib.sha256(data).hexdigest(),
            "synthetic",
            plate=code,
            complete=True,
            readings=tuple(readings),
        )
        with self.lab.database.write("cycler") as unit:
            stored = inbox.accept(unit, Delivery("cycler", code, f"{code}.csv", data, plate=code))
            done = results.ingest(unit, self.lab.rules, stored.file_id, Parsed(run, curves=curves))
        assert done.state == "read", done.sentence

    @staticmethod
    def _said(calls, valid):
        return (calls[-1].outcome, calls[-1].rule) if valid else ("", "void")

    @staticmethod
    def _next(tube):
        return (
            WAITS.get(tube.state, "Conclude"),
            tube.test if tube.state is TubeState.AWAITING_RETEST else "",
        )


@pytest.fixture
def bench(tmp_path):
    """An open laboratory with the kit and the plate of the scenario."""
    clock = FixedClock(EPOCH)
    settings = config.load(
        tmp_path / "lab",
        assay="daan-2019-ncov",
        template="96-standard",
        auto_release=False,
        plate_closing="urgency",
    )
    with laboratory.open_laboratory(settings, clock) as lab:
        yield Bench(lab, clock, a_day())


def test_the_same_day_gives_the_same_decisions(bench):
    """Same arrivals and readings: the same plates at the same minutes, and every decision the same."""
    report = simulate(bench.scenario, SEED, record=True)
    reception = report.stations["reception"]
    came = _came(report, bench)
    assert reception.started.size == came.size
    bench.register()
    plan = [(minute, 0, n) for n, minute in enumerate(came)]
    plan += [(log.formed, 2, n) for n, log in enumerate(report.plates)]
    plan += [(log.read, 1, n) for n, log in enumerate(report.plates)]
    said: dict[float, dict[int, tuple[str, int, str]]] = {}
    for minute, tube, test, outcome, decision in report.decisions:
        said.setdefault(minute, {})[tube] = (test, outcome, decision)
    made: dict[int, str] = {}
    kinds: Counter[str] = Counter()
    for minute, what, n in sorted(plan):
        # a millisecond later: minutes are floats in one world and microseconds in the other
        bench.at(minute + (1e-3 / 60 if what else 0))
        if what == 0:
            bench.receive(n)
        elif what == 2:
            made[n], tubes = bench.form()
            assert tubes == set(report.plates[n].tubes), f"plate {n} at minute {minute}"
        else:
            log = report.plates[n]
            content = (
                {tube: report.outcomes[said[minute][tube][1]][2] for tube in log.tubes}
                if log.valid
                else dict.fromkeys(log.tubes, (np.nan, np.nan, 28.0))
            )
            for tube, test, call, rule, (decision, _) in bench.read(made[n], content, valid=log.valid):
                kinds[decision if log.valid else "void"] += 1
                if not log.valid:
                    assert (call, rule, decision) == ("", "void", "Retest")
                    continue
                wanted = said[minute][tube]
                assert (test, decision) == (wanted[0], wanted[2])
                assert (call, rule) == report.outcomes[wanted[1]][:2]
    assert sum(kinds.values()) == sum(len(log.tubes) for log in report.plates)
    assert min(kinds[kind] for kind in ("Conclude", "Retest", "Recollect", "void")) > 0


def _came(report, bench):
    """Minute at which each tube was scanned, by number."""
    log = report.stations["reception"]
    order = np.argsort(log.entered, kind="stable")
    service = _service(bench)
    return log.started[order] + service


def _service(bench):
    """Scanning minutes in order of start, drawn as the simulator draws them."""
    from sim.service import Times, stream

    first = bench.scenario.laboratory.stations[0]
    return Times(first.name, first.service, stream(SEED, 0, first.name)).many(bench.tubes.arrival.size)
