"""Whatever is done in whatever order, legal or not: no tube is lost, nobody is told what was not found."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bench import Bench, open_bench, person
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from lis import queries
from lis.clock import FixedClock
from lis.errors import LisError
from lis.events import TubeKind
from lis.services import plates, pools, receiving, reports, storage
from lis.services.receiving import Scan
from lis.tube import TubeState

SIGNALS = {
    "negative": {},
    "positive": {"ORF1ab": 25.0, "N": 25.0},
    "single-target": {"N": 36.0},
    "invalid": {"IC": None},
}
HANDLED = {
    "hold": {TubeState.RECEIVED, TubeState.AWAITING_RETEST},
    "clear": {TubeState.ON_HOLD_DAMAGED},
    "reject": {TubeState.RECEIVED, TubeState.ON_HOLD_DAMAGED},
    "store": {TubeState.RELEASED, TubeState.RESOLVED, TubeState.REJECTED},
    "scan": {TubeState.RECEIVED},
}
OPEN = {
    TubeState.AWAITING_RETEST,
    TubeState.PLATED,
    TubeState.RUNNING,
    TubeState.RECEIVED,
    TubeState.ON_HOLD_DAMAGED,
}
PLATABLE = {TubeState.RECEIVED, TubeState.AWAITING_RETEST}


class Day(RuleBasedStateMachine):
    """A laboratory in which anything may be tried."""

    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="day-"))
        shutil.copy(self.template, self.folder / "lis.db")
        self.bench: Bench = open_bench(self.folder, "", _clock())
        self.codes: list[str] = []
        self.loaded: list[str] = []
        self.refusals: Counter[str] = Counter()
        self.withdrawn: set[str] = set()

    def teardown(self) -> None:
        """Close and forget."""
        self.bench.lab.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def attempt(self, act, *values: object, actor: str = "anna"):
        """Do something; a refusal is remembered and must have changed nothing."""
        before = self.bench.count()
        try:
            with self.bench.lab.database.write(actor) as unit:
                return act(unit, *values)
        except LisError as error:
            self.refusals[error.code] += 1
            assert self.bench.count() == before
            return None

    def some(self, data: st.DataObject, likely: set[TubeState], most: int = 4) -> list[str]:
        """A few tubes: mostly of those to which the act belongs, sometimes any, even twice."""
        fitting = [
            code
            for code, state in zip(self.codes, self.bench.states(self.codes), strict=True)
            if state in likely
        ]
        if not fitting or data.draw(st.integers(0, 4)) == 0:
            return data.draw(st.lists(st.sampled_from(self.codes), min_size=1, max_size=most))
        return data.draw(st.lists(st.sampled_from(fitting), min_size=1, max_size=most, unique=True))

    @initialize()
    def opening(self) -> None:
        """The day begins with a few tubes and a pool."""
        self.codes += self.bench.singles(4)
        self.codes.append(self.bench.mixed(5))
        found = self.attempt(pools.form, self.bench.lab.rules, self.codes[:2])
        self.codes.append(found.tube_id)

    @rule(number=st.integers(1, 6), mixed=st.booleans(), back=st.booleans())
    def arrive(self, number: int, mixed: bool, back: bool) -> None:
        """A tube arrives, perhaps of somebody who was here before."""
        self.bench.clock.advance(timedelta(minutes=10))
        known = [person(900 + number)] if back else [self.bench.new_person()]
        kind = {"kind": TubeKind.MIXED, "places": 5, "reason": "few"} if mixed else {}
        self.codes += self.bench.received(self.bench.order(known, **kind))

    @rule(data=st.data())
    def pool(self, data: st.DataObject) -> None:
        """Some tubes are pooled, if that may be."""
        found = self.attempt(pools.form, self.bench.lab.rules, self.some(data, {TubeState.RECEIVED}))
        if found is not None:
            self.codes.append(found.tube_id)

    @rule(data=st.data(), load=st.booleans())
    def plate(self, data: st.DataObject, load: bool) -> None:
        """Some tubes are plated by hand, if that may be."""
        wells = [
            plates.WellOrder(f"{'ABCDEFG'[n]}1", tube=code)
            for n, code in enumerate(self.some(data, PLATABLE))
        ]
        wells += [plates.WellOrder(well, control=kind) for kind, well in (("NTC", "A12"), ("PC", "H12"))]
        order = plates.PlateOrder(wells=tuple(wells))
        plate_id = self.attempt(plates.create, self.bench.lab.rules, order)
        if plate_id is not None:
            self.loaded.append(plate_id)
            if load:
                self.attempt(plates.load, plate_id, plate_id, "qs5")

    @rule()
    def fill(self) -> None:
        """The scheduler makes a plate of all that waits, if anything does."""
        plate_id = self.attempt(plates.create, self.bench.lab.rules, plates.PlateOrder())
        if plate_id is not None:
            self.loaded.append(plate_id)

    @precondition(lambda self: self.loaded)
    @rule(data=st.data(), good=st.sampled_from([True, True, True, False]), twice=st.booleans())
    def read(self, data: st.DataObject, good: bool, twice: bool) -> None:
        """A run comes out, with any findings, perhaps with failed controls, perhaps twice."""
        self.run(data, data.draw(st.sampled_from(self.loaded)), good=good, twice=twice)

    @rule(data=st.data(), good=st.sampled_from([True, True, True, False]))
    def fill_and_read(self, data: st.DataObject, good: bool) -> None:
        """All that waits is plated and run at once."""
        plate_id = self.attempt(plates.create, self.bench.lab.rules, plates.PlateOrder())
        if plate_id is not None:
            self.loaded.append(plate_id)
            self.run(data, plate_id, good=good, twice=False)

    @rule(people=st.lists(st.sampled_from(["rosa", "ruth"]), min_size=1, max_size=3))
    def sign_everything(self, people: list[str]) -> None:
        """Everything in review is accepted, by one reviewer or by two, and released if that suffices."""
        waiting = [
            c
            for c, s in zip(self.codes, self.bench.states(self.codes), strict=True)
            if s is TubeState.IN_REVIEW
        ]
        for who in people:
            for code in waiting:
                self.attempt(reports.review, self.bench.lab.rules, code, "accept", actor=who)
        self.attempt(reports.release, self.bench.lab.rules, actor=people[-1])

    def run(self, data: st.DataObject, plate_id: str, *, good: bool, twice: bool) -> None:
        """The cycler's file of a plate."""
        self.bench.clock.advance(timedelta(hours=2))
        with self.bench.lab.database.read() as conn:
            tubes = [row["tube_id"] for row in queries.wells(conn, plate_id) if row["tube_id"]]
        calls = data.draw(
            st.lists(st.sampled_from(sorted(SIGNALS)), min_size=len(tubes), max_size=len(tubes))
        )
        signals = {code: SIGNALS[call] for code, call in zip(tubes, calls, strict=True)}
        if not good:
            signals["NTC"] = {"N": 30.0}
        content = self.bench.table(plate_id, signals)
        for _ in range(1 + twice):
            self.bench.deliver(content, plate=plate_id, run=f"run of {plate_id}")

    @precondition(lambda self: self.loaded)
    @rule(data=st.data())
    def void(self, data: st.DataObject) -> None:
        """A plate is given up, if it has not been read."""
        self.attempt(plates.void, data.draw(st.sampled_from(self.loaded)), "power cut")

    @rule(
        data=st.data(),
        who=st.sampled_from(["rosa", "ruth"]),
        verdict=st.sampled_from(["accept", "accept", "accept", "retest", "recollect"]),
    )
    def review(self, data: st.DataObject, who: str, verdict: str) -> None:
        """A reviewer judges a tube."""
        [code] = self.some(data, {TubeState.IN_REVIEW}, 1)
        self.attempt(reports.review, self.bench.lab.rules, code, verdict, "looked at it", actor=who)

    @rule()
    def release(self) -> None:
        """All that is signed is released."""
        self.attempt(reports.release, self.bench.lab.rules, actor="rosa")

    @rule(data=st.data(), act=st.sampled_from(["hold", "clear", "reject", "store", "scan"]))
    def handle(self, data: st.DataObject, act: str) -> None:
        """Somebody holds, clears, rejects, stores or scans a tube, rather a pool if there is one."""
        [code] = self.some(data, HANDLED[act], 1)
        if act in {"hold", "reject"} and data.draw(st.booleans()):
            code = next((one for one in reversed(self.codes) if one.startswith("L")), code)
        acts = {
            "hold": (receiving.hold, code, "leaks"),
            "clear": (receiving.clear_hold, code, "wiped"),
            "reject": (receiving.reject, self.bench.lab.rules, code, "empty"),
            "store": (storage.store, code, "F", "1"),
            "scan": (receiving.receive, self.bench.lab.rules, [Scan(code, "R0", "A1")]),
        }
        self.attempt(*acts[act])

    @rule(data=st.data(), act=st.sampled_from(["lose", "find", "withdraw", "measure", "measure"]))
    def befall(self, data: st.DataObject, act: str) -> None:
        """A tube is lost, found, measured, or its person withdraws; rather a member of a pool."""
        [code] = self.some(data, {TubeState.POOLED, TubeState.AWAITING_RETEST, TubeState.RESULTED}, 1)
        rules = self.bench.lab.rules
        acts = {
            "lose": (pools.lose, rules, code, "nowhere"),
            "find": (pools.find, rules, code, "there"),
            "withdraw": (pools.withdraw, rules, code, "asked for it"),
            "measure": (pools.measure, rules, code, 150),
        }
        if self.attempt(*acts[act]) is not None and act == "withdraw":
            self.withdrawn.add(code)

    @rule(data=st.data(), right=st.booleans())
    def pipette(self, data: st.DataObject, right: bool) -> None:
        """A pool is formed by worklist, and some of its aliquots are scanned, perhaps wrong ones."""
        members = tuple(self.some(data, {TubeState.RECEIVED}))
        orders = [pools.PoolOrder(members)]
        made = self.attempt(lambda unit: pools.form_many(unit, self.bench.lab.rules, orders, confirm=True))
        if made is None:
            return
        pool = made.pools[0].tube_id
        self.codes.append(pool)
        tubes = members if right else self.some(data, set(TubeState))
        scans = [pools.AliquotScan(pool, code) for code in tubes]
        results = self.attempt(pools.confirm, scans)
        good = sum(one.outcome is pools.AliquotOutcome.CONFIRMED for one in results)
        assert self.bench.tube(pool).open_aliquots == len(members) - good
        assert not right or good == len(members)

    # -- what must hold after every step ---------------------------------------------------------

    @invariant()
    def the_log_verifies(self) -> None:
        """The log, the tubes and all evidence agree."""
        assert self.bench.check().ok, self.bench.check().problem

    @invariant()
    def no_tube_is_lost(self) -> None:
        """Every tube is in exactly one state, and every member of an undecided pool is retained."""
        with self.bench.lab.database.read() as conn:
            assert sum(queries.state_counts(conn).values()) == len(set(self.codes))
            pooled = queries.tubes_in_state(conn, TubeState.POOLED)
        for tube in pooled:
            state = self.bench.tube(tube.pool_id).state
            assert state not in {TubeState.REJECTED, TubeState.RESOLVED, TubeState.STORED}, tube

    @invariant()
    def nobody_is_told_what_was_not_found(self) -> None:
        """A mixed tube reports nothing but negatives; a held person has no report of the tube that holds them."""
        with self.bench.lab.database.read() as conn:
            issued = queries.latest_reports(conn, limit=10_000)
            held = {(row["tube_id"], row["person_id"]) for row in queries.open_recalls(conn, limit=10_000)}
            calls = queries.calls(conn, {row["tube_id"] for row in issued})
        for row in issued:
            assert (row["tube_id"], row["person_id"]) not in held
            assert row["mode"] == "single" or row["result"] == "negative"
            own = [call.outcome for call in calls.get(row["tube_id"], ())]
            if row["result"] == "negative" and own:
                assert own[-1] == "negative", (row, own)
            if row["mode"] == "mixed":
                assert set(own) <= {"negative", "invalid"}, (row, own)
            if row["result"] == "positive":
                assert len(set(row["signed_by"].split(", "))) >= 2

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        """A tube that was read and not decided waits for a pool that will be read; a pool for its members."""
        with self.bench.lab.database.read() as conn:
            read = queries.tubes_in_state(conn, TubeState.RESULTED)
            homes = queries.pools_of(conn, [tube.tube_id for tube in read])
            inside = queries.pool_members(conn, [tube.tube_id for tube in read])
        for tube in read:
            if tube.kind is TubeKind.POOL:
                assert set(self.bench.states(inside[tube.tube_id])) & OPEN, tube
            else:
                assert self.bench.tube(homes[tube.tube_id]).state in PLATABLE | OPEN, tube

    @invariant()
    def who_withdrew_is_not_reported(self) -> None:
        """Nothing is ever reported of a person who withdrew before."""
        assert not any(self.bench.reports(code) for code in self.withdrawn)

    @invariant()
    def every_recall_is_counted(self) -> None:
        """A tube is closed exactly when nobody of it is awaited any more."""
        with self.bench.lab.database.read() as conn:
            waiting = queries.tubes_in_state(conn, TubeState.AWAITING_RECOLLECTION)
            open_tasks = queries.open_recall_counts(conn, self.codes)
        assert {tube.tube_id: tube.open_recalls for tube in waiting} == open_tasks


def _clock():

    return FixedClock(datetime(2022, 12, 21, 8, 0, tzinfo=UTC))


def test_numbers_add_up_whatever_happens(sqlite_template: Path):
    """Random days of legal and illegal acts never lose a tube, release a wrong negative or break the log."""
    Day.template = sqlite_template
    run_state_machine_as_test(Day, settings=settings(max_examples=6, stateful_step_count=25, deadline=None))


@pytest.mark.soak
def test_numbers_add_up_over_many_days(sqlite_template: Path):
    """The same over some hundred longer days."""
    Day.template = sqlite_template
    run_state_machine_as_test(Day, settings=settings(max_examples=300, stateful_step_count=60, deadline=None))
