"""Forecasts of a live laboratory, from the state of its tubes to what happened then."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from lis import laboratory, queries
from lis.errors import LisError
from lis.services import capacity, pools
from lis.services.capacity import Order
from lis.tube import TubeState
from sim.now import COMING, IN_REVIEW, ON_PLATE, POOLED, WAITING

FEW = Order(replications=5)
COLUMNS = (
    "where",
    "came",
    "due",
    "promised",
    "priority",
    "persons",
    "kind",
    "again",
    "lane",
    "plate",
    "pool",
)


def stand(bench):
    """A laboratory with a tube in every place: coming, waiting, pooled, prepared, running, in review, retested."""
    coming = bench.register(bench.order(), bench.order(tier="fever"))
    bench.clock.advance(timedelta(minutes=30))
    reported, again = bench.singles(2), bench.singles(1)
    positive = bench.singles(1)
    bench.cycle(
        [*reported, *again, *positive], {again[0]: {"N": 38.5}, positive[0]: {"ORF1ab": 22.0, "N": 22.0}}
    )
    running, prepared = bench.singles(3), bench.singles(2)
    bench.plate(running)
    bench.clock.advance(timedelta(minutes=20))
    bench.plate(prepared, load=False)
    members = bench.singles(3)
    with bench.lab.database.write("anna") as unit:
        pool = pools.form(unit, bench.lab.rules, members).tube_id
    waiting = [bench.mixed(5), *bench.singles(2, tier="fever")]
    bench.clock.advance(timedelta(minutes=10))
    return {
        COMING: coming,
        WAITING: [*waiting, *again, pool],
        POOLED: members,
        ON_PLATE: [*running, *prepared],
        IN_REVIEW: positive,
    }, reported


def seen(bench, at=None):
    """The state that a forecast begins with."""
    now = bench.clock.now()
    with bench.lab.database.read() as conn:
        return capacity.situation(conn, bench.lab.rules, at or now, {}, rewound=at is not None)


def test_a_forecast_of_every_place(bench):
    """Each unreported tube is foreseen once, in order of its quantiles, stored for good and shown with its tube."""
    places, reported = stand(bench)
    state = seen(bench)
    found = {where: {state.names[n] for n in np.flatnonzero(state.where == where)} for where in places}
    assert found == {where: set(codes) for where, codes in places.items()}
    number = laboratory.foretold(bench.lab, FEW, "anna")
    with bench.lab.database.read() as conn:
        document = capacity.document(conn, number)
        one = queries.forecast_of(conn, places[WAITING][0])
    shown = {row["tube"]: row for row in document["tubes"]}
    pool = places[WAITING][-1]
    assert set(shown) == {code for codes in places.values() for code in codes} - {pool}
    assert document["backlog"] == len(shown)
    assert not set(shown) & set(reported)
    for row in shown.values():
        assert document["at"] <= row["p025"] <= row["p10"] <= row["p50"] <= row["p90"] <= row["p975"]
        assert 0 <= row["risk"] <= 1
    assert document["expected_breaches"] == pytest.approx(
        sum(row["risk"] for row in shown.values()), abs=0.01
    )
    assert shown[places[ON_PLATE][0]]["p50"] < shown[places[COMING][0]]["p50"]
    assert shown[places[POOLED][0]]["p50"] >= document["at"]
    assert one is not None
    assert one["p50"] == shown[places[WAITING][0]]["p50"]
    assert "cycler" in document["by_reference"]
    for table in ("forecast", "forecast_tube"):
        with pytest.raises(LisError, match="append-only"), bench.lab.database.write("eve") as unit:
            unit.conn.exec_driver_sql(f"UPDATE {table} SET forecast_id = forecast_id")


def test_the_log_is_read_back_to_an_earlier_moment(bench):
    """The state of a past moment is what it was then, whatever has happened since."""
    places, _ = stand(bench)
    before, at = seen(bench), bench.clock.now()
    bench.clock.advance(timedelta(minutes=15))
    plate = bench.tube(places[ON_PLATE][0]).plate_id
    bench.deliver(bench.table(plate), plate=plate)
    bench.singles(2)
    bench.plate(places[WAITING][1:3])
    assert bench.states(places[ON_PLATE][:3]) == [TubeState.RELEASED] * 3
    after = seen(bench, at)
    assert sorted(before.names) == sorted(after.names)
    order = [after.names.index(name) for name in before.names]
    for name in COLUMNS:
        if name == "pool":
            continue
        assert np.array_equal(getattr(before, name), getattr(after, name)[order]), name
    assert before.plates == after.plates
    assert seen(bench).names != before.names


def test_a_forecast_of_the_future_is_refused(bench):
    """Nobody can stand at a moment that has not come; the refusal says so and stores nothing."""
    with pytest.raises(LisError, match="earlier"):
        laboratory.foretold(bench.lab, Order(at=bench.clock.now() + timedelta(hours=1)), "anna")
    assert bench.count("forecast") == 0
    number = laboratory.foretold(bench.lab, FEW, "anna")
    with bench.lab.database.read() as conn:
        empty = capacity.document(conn, number)
        assert capacity.fresh(conn, bench.clock.now()) == number
        assert capacity.fresh(conn, bench.clock.now() + timedelta(minutes=6)) is None
    assert (empty["backlog"], empty["expected_breaches"], empty["tubes"], empty["advice"]) == (0, 0.0, [], [])


def test_a_stored_forecast_is_scored_and_the_past_is_learned(bench):
    """What happened after a forecast decides its score; the log says how long things took and what followed tests."""
    places, _ = stand(bench)
    laboratory.foretold(bench.lab, FEW, "anna")
    bench.clock.advance(timedelta(minutes=70))
    plate = bench.tube(places[ON_PLATE][0]).plate_id
    bench.deliver(bench.table(plate), plate=plate)
    with bench.lab.database.read() as conn:
        found = capacity.scores(conn)
        nothing = capacity.scores(conn, bench.clock.now())
        past = capacity.past(conn, bench.lab.rules, bench.clock.now(), bench.lab.zone)
        fits = {
            fit.name: fit
            for fit in capacity.learned(conn, bench.lab.rules, bench.clock.now(), bench.lab.zone).fits
        }
    assert (nothing["forecasts"], nothing["overall"]) == ([], None)
    [one] = found["forecasts"]
    assert (one["tubes"], one["reported"]) == (15, 3)
    assert (one["half_error"], one["cleared_error"]) == (None, None)
    assert one["mape"] > 0
    assert found["overall"].items() <= one.items()
    assert [(run.valid, round(run.read - run.started)) for run in past.runs if run.read == run.read] == [
        (True, 120),
        (True, 100),
    ]
    assert sorted(one.next for one in past.passages) == ["report"] * 5 + ["retest"]
    assert [one.reporting for one in past.passages if one.next == "report"] == [0.0] * 5
    assert len(past.came) == 15
    assert (fits["cycler"].source, fits["cycler"].n, fits["cyclers"].source) == ("reference", 2, "events")
