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
    for table in ("duty_act", "duty_shift", "duty_break", "duty_exception", "duty_machine"):
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


def places(bench, minutes):
    """Plates that the extractors allow at once, of four, so many minutes from now."""
    at = bench.clock.now()
    with bench.lab.database.read() as conn:
        step = capacity.learned(conn, bench.lab.rules, at, bench.lab.zone).model.steps[0]
    [own] = [one for one in step.machines if one.kind == "extractor"]
    now = (at - at.replace(hour=0, minute=0)) / timedelta(minutes=1)
    level = own.level(4, now, 0.0, np.random.default_rng(1))
    return [level.at(now + minute) for minute in minutes]


def test_an_extractor_out_of_service_leaves_half_of_the_places(bench):
    """Of two extractors one is out for an hour and both have maintenance tomorrow, which can be called off."""
    set_plan(bench)
    now = bench.clock.now()
    ahead = (now + timedelta(hours=20), now + timedelta(hours=22))
    with bench.lab.database.write("tom") as unit:
        duty.out_of_service(unit, "kf-1", None, now + timedelta(hours=1), "lid")
        duty.out_of_service(unit, "kf-1", *ahead, "yearly check")
        duty.out_of_service(unit, "kf-2", *ahead, "yearly check")
    assert places(bench, (0, 61, 1199, 1201, 1321)) == [2, 4, 4, 0, 4]
    assert [one["planned"] for one in shown(bench)["out_of_service"]] == [False, True, True]
    bench.clock.advance(timedelta(minutes=10))
    with bench.lab.database.write("tom") as unit:
        duty.back_in_service(unit, "kf-1")
        duty.back_in_service(unit, "kf-2")
    assert [one["instrument"] for one in shown(bench)["out_of_service"]] == ["kf-1"]
    assert places(bench, (0, 1195)) == [4, 2]


def test_what_is_said_of_machines_is_checked(bench):
    """No unknown machine, none twice at once, no maintenance without an end, no name of a cycler in a plan."""
    set_plan(bench)
    now = bench.clock.now()
    with bench.lab.database.write("adm") as unit:
        devices.enrol_device(unit, "hood-2", "quantstudio", "k" * 40)

    def refused(*arguments):
        with pytest.raises(LisError) as found, bench.lab.database.write("tom") as unit:
            duty.out_of_service(unit, *arguments)
        return found.value.code

    assert refused("kf-3") == "INSTRUMENT_UNKNOWN"
    assert refused("kf-1", now + timedelta(hours=2)) == "DUTY_END"
    assert refused("kf-1", now + timedelta(days=400), now + timedelta(days=401)) == "DUTY_TIME"
    assert refused("kf-1", now + timedelta(hours=2), now + timedelta(hours=1)) == "DUTY_TIME"
    with bench.lab.database.write("tom") as unit:
        duty.out_of_service(unit, "kf-1", now + timedelta(hours=2), now + timedelta(hours=4))
    assert refused("kf-1", now + timedelta(hours=3), now + timedelta(hours=5)) == "OUT_ALREADY"
    assert refused("kf-1") == "OUT_ALREADY"
    with pytest.raises(LisError) as clash:
        set_plan(bench, WINTER.replace('"hood-1"', '"hood-2"'))
    assert clash.value.details["key"] == "machine.hood-2.name"


def test_a_closed_reception_is_foreseen(bench):
    """Tubes sealed in the evening are received at 8:00 of the plan, and foreseen and admitted from there."""
    set_plan(
        bench,
        WINTER + '\n[[shift]]\nrole = "reception"\nname = "desk"\nstart = "08:00"\nend = "16:00"\npeople = 1',
    )
    with bench.lab.database.read() as conn:
        model = capacity.learned(conn, bench.lab.rules, bench.clock.now(), bench.lab.zone).model
    level = model.reception.people()
    # noon of UTC is 20:00 by the clocks of the laboratory; it opens at 8:00, which is midnight of UTC
    assert (level.at(720.0), level.opens(720.0), level.at(1440.0 + 479)) == (0, 1440.0, 1)


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
        (('kind = "extractor"', 'kind = "cycler"'), "machine.kf-1.kind"),
        (('name = "kf-2"', 'name = "kf-1"'), "machine.kf-1.name"),
        (('name = "kf-2"', 'name = ""'), "machine[2].name"),
        (('kind = "cabinet"', "places = 2"), "machine.hood-1.places"),
    ],
)
def test_a_wrong_plan_is_refused_with_key_and_reason(change, key):
    """Whoever wrote the plan reads which key is wrong and what to write instead."""
    assert change[0] in WINTER
    with pytest.raises(LisError) as refused:
        duty.read_plan(WINTER.replace(*change))
    assert (refused.value.code, refused.value.details["key"]) == ("DUTY_PLAN", key)
    assert refused.value.details["reason"]
    chinese = any("\u4e00" <= letter <= "\u9fff" for letter in refused.value.details["reason_zh"])
    assert chinese or key == "shift.day"  # a rule of the scheduler speaks English


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
