"""The duty plan on both databases: set, absent, out of service, and what forecasts make of it."""

from __future__ import annotations

from datetime import date, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from duty_plans import WINTER

from lis import laboratory, queries
from lis.errors import LisError
from lis.services import capacity, devices, duty
from lis.services.capacity import Order


def set_plan(bench, text=WINTER):
    """Put a plan in force."""
    with bench.lab.database.write("mia") as unit:
        return duty.set_plan(unit, duty.read_plan(text))


def shown(bench):
    """The duty document of now."""
    with bench.lab.database.read() as conn:
        return duty.document(conn, bench.clock.now(), bench.lab.zone)


def levels(bench):
    """People at each station from minute to minute of the UTC day, as a forecast of now sees them."""
    at = bench.clock.now()
    zero = at.replace(hour=0, minute=0)
    with bench.lab.database.read() as conn:
        model = capacity.learned(conn, bench.lab.rules, at, bench.lab.zone).model
    return {step.name: step.duty.people() for step in model.steps if step.duty}, zero


def test_a_plan_is_set_shown_and_read_back(bench):
    """What was written by hand comes back word for word, and a later plan takes over on its first day."""
    set_plan(bench)
    found = shown(bench)
    assert duty.read_plan(found["plan"]["toml"]) == duty.read_plan(WINTER)
    assert [(row["role"], row["shift"], row["people"]) for row in found["planned_today"]] == [
        ("prepare", "day", 2),
        ("prepare", "late", 1),
        ("review", "day", 1),
    ]
    set_plan(bench, WINTER.replace("2022-12-01", "2022-12-23").replace("people = 2", "people = 5"))
    found = shown(bench)
    assert (found["plan"]["from"], [one["from"] for one in found["later"]]) == ("2022-12-01", ["2022-12-23"])
    bench.clock.advance(timedelta(days=2))
    assert shown(bench)["planned_today"][0]["people"] == 5
    assert [act["act"] for act in shown(bench)["acts"]] == ["planned", "planned"]
    for table in ("duty_act", "duty_shift", "duty_break", "duty_exception"):
        with pytest.raises(LisError, match="append-only"), bench.lab.database.write("eve") as unit:
            unit.conn.exec_driver_sql(f"DELETE FROM {table}")


def test_forecasts_see_shifts_in_local_time(bench):
    """16:00 in Shanghai is 8:00 UTC: after it one person prepares, at night nobody, on the 22nd one of two by day."""
    set_plan(bench)
    people, _ = levels(bench)
    prepare = people["prepare"]
    hour = {at: prepare.at(60.0 * at) for at in (1, 4.25, 7, 9, 16.5, 17.5, 23, 24.5)}
    assert hour == {1: 2, 4.25: 0, 7: 2, 9: 1, 16.5: 1, 17.5: 0, 23: 0, 24.5: 1}
    assert people["review"].at(60.0 * 13) == 0


def test_absence_and_return_change_the_people_foreseen(bench):
    """One of two is sick until the evening; back early, the shift is whole again; every act is kept with its actor."""
    set_plan(bench)
    bench.clock.advance(timedelta(hours=40))  # noon in Shanghai, two days on
    now = bench.clock.now()
    with bench.lab.database.write("mia") as unit:
        number = duty.absent(unit, "prepare", 1, (now, now + timedelta(hours=6)), "flu")
    people, _ = levels(bench)
    assert (people["prepare"].at(60.0 * 5), people["prepare"].at(60.0 * 9)) == (1, 0)
    bench.clock.advance(timedelta(hours=1))
    with bench.lab.database.write("ben") as unit:
        duty.back(unit, number)
    people, _ = levels(bench)
    assert (people["prepare"].at(60.0 * 4.75), people["prepare"].at(60.0 * 6)) == (1, 2)
    assert [(act["act"], act["actor"]) for act in shown(bench)["acts"]] == [
        ("back", "ben"),
        ("absent", "mia"),
        ("planned", "mia"),
    ]
    with pytest.raises(LisError, match="ABSENCE_OVER"), bench.lab.database.write("ben") as unit:
        duty.back(unit, number)


def test_an_instrument_out_of_service_is_missing_until_it_is_back(bench):
    """A forecast plays with one cycler less until the time somebody said; back, all are there; twice out is refused."""
    with bench.lab.database.write("adm") as unit:
        devices.enrol_device(unit, "qs5-1", "quantstudio", "k" * 40)
        devices.enrol_device(unit, "qs5-2", "quantstudio", "l" * 40)
    now = bench.clock.now()
    with bench.lab.database.write("tom") as unit:
        duty.out_of_service(unit, "qs5-1", None, now + timedelta(hours=3), "lamp")

    def machines():
        with bench.lab.database.read() as conn:
            step = capacity.learned(conn, bench.lab.rules, bench.clock.now(), bench.lab.zone).model.steps[1]
        minute = (bench.clock.now() - now) / timedelta(minutes=1) + 720
        level = step.wear.level(step.servers, minute, 0.0, np.random.default_rng(1))
        return level.at(minute), level.at(minute + 240)

    assert machines() == (1, 2)
    with pytest.raises(LisError, match="OUT_ALREADY"), bench.lab.database.write("tom") as unit:
        duty.out_of_service(unit, "qs5-1")
    bench.clock.advance(timedelta(hours=1))
    with bench.lab.database.write("tom") as unit:
        duty.back_in_service(unit, "qs5-1")
    assert machines() == (2, 2)
    assert shown(bench)["out_of_service"] == []
    with pytest.raises(LisError, match="NOT_OUT"), bench.lab.database.write("tom") as unit:
        duty.back_in_service(unit, "qs5-1")


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (('start = "08:00"', 'start = "8"'), "shift.day.start"),
        (('role = "review"', 'role = "coffee"'), "shift.day.role"),
        (("people = 2", 'people = "two"'), "shift.day.people"),
        (('days = ["mon", "tue", "wed", "thu", "fri"]', 'days = ["monday"]'), "shift.late.days"),
        (('shift = "day"\npeople = 1', 'shift = "night"\npeople = 1'), "exception[1].shift"),
        (("from = 2022-12-01", 'from = "soon"'), "from"),
        (('breaks = [["12:00", "12:30"]]', 'breaks = [["17:00", "18:00"]]'), "shift.day"),
        (('name = "late"', 'name = "day"'), "shift.day.name"),
        (("people = 2", "folk = 2"), "shift.day.folk"),
    ],
)
def test_a_wrong_plan_is_refused_with_key_and_reason(change, key):
    """Whoever wrote the plan reads which key is wrong and what to write instead."""
    assert change[0] in WINTER
    with pytest.raises(LisError) as refused:
        duty.read_plan(WINTER.replace(*change))
    assert (refused.value.code, refused.value.details["key"]) == ("DUTY_PLAN", key)
    assert refused.value.details["reason"]


def test_senseless_absences_are_refused(bench):
    """Nobody is absent where nobody is planned, more than are planned, at no station, or before the beginning."""
    now = bench.clock.now()
    later = (now, now + timedelta(hours=1))

    def refused(*arguments, **named):
        with pytest.raises(LisError) as found, bench.lab.database.write("mia") as unit:
            duty.absent(unit, *arguments, **named)
        return found.value.code

    assert refused("prepare", 1, later) == "DUTY_PEOPLE"
    set_plan(bench)
    assert refused("prepare", 3, later) == "DUTY_PEOPLE"
    assert refused("coffee", 1, later) == "DUTY_ROLE"
    assert refused("prepare", 1, later[::-1]) == "DUTY_TIME"
    assert refused("prepare", 1, later, shift="night") == "DUTY_SHIFT"
    assert [act["act"] for act in shown(bench)["acts"]] == ["planned"]


def test_at_night_nothing_is_foreseen_before_people_come(bench):
    """Tubes received after the last shift are foreseen after the first preparation of the morning, not in the night."""
    set_plan(bench, WINTER.replace('end = "01:00"', 'end = "20:00"').replace("people = 1", "people = 2"))
    bench.clock.advance(timedelta(hours=1))
    codes = bench.singles(4)
    number = laboratory.foretold(bench.lab, Order(replications=20), "anna")
    with bench.lab.database.read() as conn:
        rows = {row["tube_id"]: row for row in queries.forecast_tubes(conn, number)}
    morning = bench.clock.now().replace(hour=0) + timedelta(days=1)
    assert all(rows[code]["p025"] > morning for code in codes)
    assert date(2022, 12, 22) == morning.astimezone(ZoneInfo("Asia/Shanghai")).date()
