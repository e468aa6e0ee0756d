"""The turnaround wall: what it says follows from the log, costs one look for all monitors, and names nobody."""

from __future__ import annotations

import asyncio
import itertools
import json
from datetime import timedelta
from pathlib import Path

import pytest
from bench import Bench
from command_line import called
from web_bench import add_accounts

from lis import auth, config, laboratory, queries
from lis.errors import NotSignedIn
from lis.services import pools
from lis.services import wall as walls
from lis.services.wall import DAY, SOON, Day
from lis.web.wall import Wall, end_all, midnight_of, monitor

POSITIVE = {"ORF1ab": 25.0, "N": 25.0}


def look(bench: Bench, day: Day | None = None) -> dict:
    """The message of now, with the log read to its end."""
    day = day or Day()
    now = bench.clock.now()
    with bench.lab.database.read() as conn:
        while not day.read_on(conn, now):
            pass
        return walls.message(conn, bench.lab.rules, day, now, midnight_of(now, bench.lab))


def river(told: dict) -> dict[str, int]:
    """States that hold tubes."""
    return {one["state"]: one["count"] for one in told["river"] if one["count"]}


def stage(told: dict, name: str) -> dict:
    """One line of the table of stages."""
    return next(one for one in told["stages"] if one["stage"] == name)


def test_an_empty_laboratory_has_a_wall_that_says_so(bench: Bench):
    """Nothing waits, nothing was reported: shares are unknown, not zero, and there is no forecast yet."""
    told = look(bench)
    assert river(told) == {}
    assert told["on_time"] == {"today": {"n": 0, "share": None}, "day": {"n": 0, "share": None}}
    assert told["positivity"]["share"] is None
    assert told["forecast"] is None
    assert told["next"] == told["instruments"] == []
    assert [one["hours"] for one in told["tiers"]] == [6, 12, 24]
    assert all(one["first"] is None for one in told["tiers"])
    assert all(one["p50"] is None for one in told["stages"])


def test_the_wall_says_what_a_day_came_to(bench: Bench):
    """Clocks, river, stages, shares and positivity are those of the tubes, counted by hand; pools are not tubes."""
    start = bench.clock.now()
    fever = bench.singles(1, tier="fever", sampled_at=start - timedelta(hours=5))[0]
    negative, positive, retest = bench.singles(3, sampled_at=start - timedelta(hours=2))
    late = bench.register(bench.order(sampled_at=start - timedelta(hours=30)))[0]
    told = look(bench)
    assert river(told) == {"received": 4, "sealed": 1}
    clocks = {one["hours"]: one for one in told["tiers"]}
    assert (clocks[6]["first"], clocks[6]["soon"], clocks[6]["late"]) == (start + timedelta(hours=1), 1, 0)
    assert (clocks[24]["count"], clocks[24]["late"]) == (4, 1)
    assert [one["tube"] for one in told["next"]][:2] == [late, fever]
    bench.cycle([negative, positive, retest], {positive: POSITIVE, retest: {"N": 36.0}})
    told = look(bench)
    assert river(told) == {"received": 1, "sealed": 1, "in_review": 1, "awaiting_retest": 1}
    assert told["on_time"]["today"] == {"n": 1, "share": 1.0}
    assert told["retest"] == {"n": 3, "share": 1 / 3}
    assert (stage(told, "receive")["p50"], stage(told, "whole")["p95"]) == (2.0, 4.0)
    assert stage(told, "review")["n"] == 1
    assert (told["positivity"]["n"], told["positivity"]["positive"]) == (1, 0)
    assert told["positivity"]["low"] == 0.0 < told["positivity"]["high"] < 1.0


def test_a_tube_of_a_pool_is_told_the_stages_of_its_pool(bench: Bench):
    """A pooled tube is plated and run as its pool; the river counts its members, never the pool beside them."""
    members = bench.singles(3, sampled_at=bench.clock.now() - timedelta(hours=1))
    with bench.lab.database.write("anna") as unit:
        pool = pools.form(unit, bench.lab.rules, members).tube_id
    assert river(look(bench)) == {"pooled": 3}
    plate = bench.plate([pool])
    bench.clock.advance(timedelta(hours=2))
    bench.deliver(bench.table(plate, {}), plate=plate)
    told = look(bench)
    assert river(told) == {}
    assert told["on_time"]["day"] == {"n": 3, "share": 1.0}
    assert (stage(told, "plate")["n"], stage(told, "plate")["p95"]) == (3, 0.0)


def test_reading_on_comes_to_the_same_as_reading_anew(bench: Bench):
    """A wall that followed the log span by span says what one says that was started now, and forgets after a day."""
    followed = Day()
    for codes in (bench.singles(3), bench.singles(2)):
        look(bench, followed)
        bench.cycle(codes, {codes[0]: {"N": 36.0}})
        bench.clock.advance(timedelta(hours=1))
    assert look(bench, followed) == look(bench)
    assert look(bench)["on_time"]["day"]["n"] == 3
    bench.clock.advance(DAY)
    for told in (look(bench, followed), look(bench)):
        assert told["on_time"]["day"]["n"] == told["retest"]["n"] == 0
    assert not followed.reported
    assert not followed.called


def test_the_log_is_read_in_spans(embedded: Bench, monkeypatch: pytest.MonkeyPatch):
    """However long the log of the day is, one question reads a bounded part of it, and the wall says it is not done."""
    embedded.cycle(embedded.singles(4))
    whole = look(embedded)
    monkeypatch.setattr(walls, "SPAN", 3)
    day, now = Day(), embedded.clock.now()
    with embedded.lab.database.read() as conn:
        looks = list(
            itertools.takewhile(lambda done: not done, (day.read_on(conn, now, 2) for _ in range(99)))
        )
    assert len(looks) >= 3
    assert look(embedded, day) == whole


def test_the_day_begins_where_the_log_reached_its_hour(bench: Bench):
    """The first event of the last day is found by its number, in a log that has no index on time."""
    moments = []
    for _ in range(5):
        bench.singles(1)
        moments.append(bench.clock.now())
        bench.clock.advance(timedelta(hours=1))
    with bench.lab.database.read() as conn:
        ends = [queries.event_before(conn, moment) for moment in moments]
        assert ends[0] == 0
        assert queries.event_before(conn, bench.clock.now()) == queries.last_event(conn)
        assert ends == sorted(set(ends))


def test_at_risk_and_late_begin_at_their_moments(bench: Bench):
    """A tube is at risk with less than two hours left and late from its promise on, not before."""
    bench.singles(1, tier="fever", sampled_at=bench.clock.now())
    for left, wanted in (
        (SOON, (0, 0)),
        (SOON - timedelta(seconds=1), (1, 0)),
        (timedelta(seconds=-1), (0, 1)),
    ):
        first = look(bench)["tiers"][0]["first"]
        bench.clock.advance(first - left - bench.clock.now())
        clock = look(bench)["tiers"][0]
        assert (clock["soon"], clock["late"]) == wanted


def test_one_look_serves_every_monitor(embedded: Bench):
    """Three monitors get the first picture and then each change, and a change is worked out once for all of them."""
    wall = Wall(embedded.lab, pace=0.01)

    async def watch() -> list[list[dict]]:
        streams = [wall.watch() for _ in range(3)]
        seen: list[list[dict]] = [[], [], []]

        async def take(number: int) -> None:
            async for line in streams[number]:
                if line.startswith("event: wall"):
                    seen[number].append(json.loads(line.split("data: ", 1)[1]))
                    return

        await asyncio.gather(*(take(n) for n in range(3)))
        made = wall.made
        await asyncio.to_thread(embedded.singles, 2)
        await asyncio.gather(*(take(n) for n in range(3)))
        assert wall.made <= made + 2  # one look for each commit that was seen, none for a monitor
        wall.close()
        for stream in streams:  # ends, because the wall was closed
            assert all([line.startswith(("event", ":")) async for line in stream])
        return seen

    first, *others = asyncio.run(watch())
    assert river(first[0]) == {}
    assert river(first[1])
    assert others == [first, first]


def test_the_wall_names_nobody(bench: Bench):
    """The picture carries no name, document, phone or person number of anybody in the laboratory."""
    bench.cycle(bench.singles(2))
    bench.mixed(5)
    text = json.dumps(look(bench), default=str)
    with bench.lab.database.read() as conn:
        people = queries.people(
            conn, {one for tube in queries.people_of(conn, _codes(bench)).values() for one in tube}
        )
    assert people
    for row in people.values():
        for told in ("name", "person_id", "document_masked", "phone_masked"):
            assert row[told] not in text


def _codes(bench: Bench) -> list[str]:
    with bench.lab.database.read() as conn:
        return [tube.tube_id for tube in queries.find_tubes(conn, "", 50)]


def test_a_monitors_key_opens_the_wall_and_nothing_else(bench: Bench):
    """A monitor's key is no sign-in, a sign-in is no monitor's key, and all keys end at once when a manager says so."""
    with bench.lab.database.write("root") as unit:
        add_accounts(unit)
    with bench.lab.database.write("cai") as unit:
        address = monitor(unit, bench.lab, "entrance")["address"]
        signed = auth.open_session(unit, "cai", minutes=5).secret
    key = address.partition("key=")[2]
    now = bench.clock.now()
    with bench.lab.database.read() as conn:
        assert auth.identify_wall(conn, key, now).name == "cai"
        with pytest.raises(NotSignedIn):
            auth.identify(conn, key, now)
        with pytest.raises(NotSignedIn):
            auth.identify_wall(conn, signed, now)
    with bench.lab.database.write("cai") as unit:
        assert end_all(unit) == 1
    with bench.lab.database.read() as conn:
        with pytest.raises(NotSignedIn):
            auth.identify_wall(conn, key, now)
        assert auth.identify(conn, signed, now).name == "cai"
        acts = [(row["act"], row["what"], row["actor"]) for row in queries.export_acts(conn)]
    assert acts == [("wall-ended", "", "cai"), ("wall-opened", "entrance", "cai")]


def test_the_command_prints_an_address_once_and_ends_them_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """``lis wall`` needs somebody who may answer for the monitor; ``--end`` says how many addresses it ended."""
    with laboratory.open_laboratory(config.load(tmp_path)) as lab, lab.database.write("root") as unit:
        add_accounts(unit)
    data = ("--data", str(tmp_path))
    assert called(capsys, "wall", *data)[0] == 2
    assert "error: ROLE" in called(capsys, "wall", "--by", "anna", *data)[2]
    assert "error: SIGN_IN" in called(capsys, "wall", "--by", "nobody", *data)[2]
    status, out, err = called(capsys, "wall", "--by", "cai", "--name", "entrance", *data)
    assert (status, err) == (0, "")
    told = json.loads(called(capsys, "wall", "--by", "root", *data, "--json")[1])
    keys = [address.partition("/wall?key=")[2] for address in (out.strip(), told["address"])]
    with laboratory.open_laboratory(config.load(tmp_path)) as lab, lab.database.read() as conn:
        assert [auth.identify_wall(conn, key, lab.database.clock.now()).name for key in keys] == [
            "cai",
            "root",
        ]
    assert called(capsys, "wall", "--end", *data)[1] == "2 addresses ended\n"
