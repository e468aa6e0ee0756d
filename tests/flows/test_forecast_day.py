"""A day through the real services, forecast along the way and scored when it is over."""

from __future__ import annotations

from datetime import timedelta

from duty_plans import BENCH_AND_DESK

from lis import laboratory, queries
from lis.services import capacity, duty, plates, reports
from lis.services.capacity import Order
from lis.tube import TubeState

RUN, PREPARE, REVIEW = timedelta(minutes=95), timedelta(minutes=30), timedelta(minutes=10)
POSITIVE = {"ORF1ab": 22.0, "N": 22.0}
ORDER = Order(replications=20)


def one_plate(bench, codes, positive=()):
    """Made, prepared, run, read; the positive ones are signed twice after a while."""
    plate = bench.plate(codes, load=False)
    bench.clock.advance(PREPARE)
    with bench.lab.database.write("anna") as unit:
        plates.load(unit, plate, plate, "synthetic cycler")
    bench.clock.advance(RUN)
    bench.deliver(bench.table(plate, dict.fromkeys(positive, POSITIVE)), plate=plate)
    waiting = [code for code in codes if bench.tube(code).state is TubeState.IN_REVIEW]
    bench.clock.advance(REVIEW)
    for code in waiting:
        for name in ("rosa", "ruth"):
            with bench.lab.database.write(name) as unit:
                if reports.missing_signatures(bench.tube(code), bench.lab.rules):
                    reports.review(unit, bench.lab.rules, code, "accept")
    if waiting:
        with bench.lab.database.write("rosa") as unit:
            reports.release(unit, bench.lab.rules, waiting)


def test_a_day_is_foretold_as_it_goes(bench):
    """Forecasts at every hour of a planned day, each better founded than the last; all are scored by what happened."""
    with bench.lab.database.write("mia") as unit:
        duty.set_plan(unit, duty.read_plan(BENCH_AND_DESK))
    bench.clock.advance(timedelta(hours=-11, days=1))  # 9 in the morning in Shanghai
    asked, backlog = [], []
    for n in range(4):
        codes = bench.singles(8)
        waiting = bench.singles(4)
        asked.append(laboratory.foretold(bench.lab, ORDER, "anna"))
        one_plate(bench, codes, codes[:1] if n == 1 else ())
        asked.append(laboratory.foretold(bench.lab, ORDER, "anna"))
        one_plate(bench, waiting)
        with bench.lab.database.read() as conn:
            backlog.append(len(queries.unreported(conn)))
    assert backlog == [0, 0, 0, 0]
    with bench.lab.database.read() as conn:
        found = capacity.scores(conn)
        known = capacity.past(conn, bench.lab.rules, bench.clock.now(), bench.lab.zone)
        hours = capacity.by_hour(
            conn, bench.lab.zone, bench.clock.now() - timedelta(days=2), bench.clock.now()
        )
        model = capacity.learned(conn, bench.lab.rules, bench.clock.now(), bench.lab.zone).model
    assert [one["forecast_id"] for one in found["forecasts"]] == asked
    assert all(one["tubes"] == one["reported"] for one in found["forecasts"])
    overall = found["overall"]
    assert overall["reported"] == 4 * (12 + 4)
    assert 0 < overall["mape"] < 1
    assert 0.5 <= overall["cover95"] <= 1
    assert [run.valid for run in known.runs] == [True] * 8
    reading = [one for one in known.passages if one.next == "review"]
    assert [(one.kind, round(one.reporting)) for one in reading] == [("single", 10)]
    assert {station for _, station, _ in known.attendance.acts} == {"reception", "prepare", "review"}
    assert sorted(known.attendance.on) == ["prepare", "review"]
    assert sum(row["cycler"] > 0 for row in hours) >= 12
    assert [bool(step.duty) for step in model.steps] == [True, False, True]
    assert bench.check().ok
