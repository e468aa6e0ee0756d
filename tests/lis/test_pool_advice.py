"""Advice on persons per tube, from the log: who counts, who does not, and when the mode is changed."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from bench import Bench, person
from click.testing import CliRunner

from lis import queries
from lis.cli import lis
from lis.errors import Invalid
from lis.laboratory import advice_json
from lis.services import pools

DETECTED = {"ORF1ab": 25.0, "N": 25.0}


def advised(bench: Bench, by: str = "tier") -> list[dict]:
    """The advice for every stream."""
    with bench.lab.database.read() as conn:
        return advice_json(bench.lab, conn, by)["streams"]


def first(bench: Bench) -> dict[tuple[str, int], tuple[int, int]]:
    """(kind, places) -> tested and positive, as the log has it."""
    with bench.lab.database.read() as conn:
        rows = list(queries.first_calls(conn, bench.clock.now() - timedelta(days=7)))
    found: dict[tuple[str, int], tuple[int, int]] = {}
    for row in rows:
        tested, positive = found.get((row.kind, row.places), (0, 0))
        found[row.kind, row.places] = (tested + row.tested, positive + row.positive)
    return found


def test_only_first_readings_that_stand_for_their_stream_count(bench: Bench):
    """Members of a pool, repeats, invalid tubes and re-collected specimens say nothing about a stream."""
    people = [person(n) for n in range(1, 6)]
    mixed = bench.mixed(5, persons=people)
    members = bench.singles(4)
    lone, grey, invalid = bench.singles(3)
    with bench.lab.database.write("anna") as unit:
        pool = pools.form(unit, bench.lab.rules, members).tube_id
    signals = {mixed: DETECTED, pool: DETECTED, grey: {"N": 39.0}, invalid: {"IC": None}}
    bench.cycle([mixed, pool, lone, grey, invalid], signals)
    again = bench.singles(1, persons=[people[0]])[0]
    bench.cycle([*members, grey, invalid, again], {members[0]: DETECTED, again: DETECTED})
    assert first(bench) == {("mixed", 5): (1, 1), ("pool", 4): (1, 1), ("single", 1): (2, 1)}


def test_a_first_reading_after_a_void_run_counts_once(bench: Bench):
    """A voided plate is no reading; the repeat of it is the first."""
    codes = bench.singles(3)
    bench.cycle(codes, {"NTC": DETECTED})
    assert first(bench) == {}
    bench.cycle(codes, {codes[0]: DETECTED})
    assert first(bench) == {("single", 1): (3, 1)}


def test_the_window_rolls(bench: Bench):
    """Readings older than the window are forgotten, those inside are kept."""
    bench.cycle(bench.singles(2))
    bench.clock.advance(timedelta(days=5))
    bench.cycle(bench.singles(3))
    assert first(bench) == {("single", 1): (5, 0)}
    bench.clock.advance(timedelta(days=3))
    assert first(bench) == {("single", 1): (3, 0)}
    bench.clock.advance(timedelta(days=5))
    assert advised(bench) == []


def test_streams_are_told_apart_by_tier_and_site(bench: Bench):
    """Each stream has its own positivity; a pool of several sites is of none of them."""
    north = bench.singles(3, site="North", tier="region")
    south = bench.singles(2, site="South", tier="voluntary")
    bench.cycle([*north, *south], {north[0]: DETECTED})
    pooled = [*bench.singles(2, site="North"), *bench.singles(2, site="South")]
    own = bench.singles(3, site="North")
    with bench.lab.database.write("anna") as unit:
        made = [pools.form(unit, bench.lab.rules, many).tube_id for many in (pooled, own)]
    bench.cycle(made)
    tiers = {one["tier"]: one["positivity"]["tested"] for one in advised(bench)}
    assert tiers == {"region": 3, "voluntary": 4}
    sites = {one["site"]: one["positivity"]["tested"] for one in advised(bench, "site")}
    assert sites == {"North": 4, "South": 2, "": 1}
    both = {(one["site"], one["tier"]) for one in advised(bench, "site-tier")}
    assert both == {("North", "region"), ("South", "voluntary"), ("North", "voluntary"), ("", "voluntary")}
    with bench.lab.database.read() as conn, pytest.raises(Invalid) as error:
        pools.advice(conn, bench.lab.rules, bench.clock.now(), "colour")
    assert error.value.code == "STREAM"


def mixed_day(bench: Bench, tubes: int, positive: int, places: int = 10) -> None:
    """A day of mixed tubes, some of them positive."""
    codes = bench.received(*(bench.mixed_order(places) for _ in range(tubes)))
    for start in range(0, tubes, 90):
        part = codes[start : start + 90]
        bench.cycle(part, {code: DETECTED for n, code in enumerate(part, start) if n < positive})


def test_the_mode_changes_when_the_log_is_sure_and_not_before(make_bench, tmp_path):
    """Too few tubes: keep. Clearly positive: single tubes. A little over the limit: keep (hysteresis)."""
    from lis import rulebook

    text = dict(rulebook.files("pools"))["standard"].replace("min_tested = 200", "min_tested = 30")
    folder = tmp_path / "data" / "rules" / "pools"
    folder.mkdir(parents=True)
    (folder / "standard.toml").write_text(text.replace('version = "1"', 'version = "2"'), encoding="utf-8")
    bench = make_bench()
    mixed_day(bench, 20, 2)
    [one] = advised(bench)
    assert (one["how"], one["current"], one["advised"], one["reason"]) == ("mixed", 10, 10, "too-few")
    mixed_day(bench, 20, 2)
    [one] = advised(bench)
    assert (one["current"], one["advised"], one["changed"]) == (10, 10, False)
    assert one["reason"] in {"best", "not-sure"}
    bench.clock.advance(timedelta(days=8))
    mixed_day(bench, 60, 58)
    [one] = advised(bench)
    assert (one["current"], one["advised"], one["reason"]) == (10, 10, "not-sure")
    single = {choice["mode"]: choice["tests_per_person"] for choice in one["choices"]}
    assert single[10] > single[1]  # dearer at the estimate, but not over the whole interval
    bench.clock.advance(timedelta(days=8))
    mixed_day(bench, 60, 60)
    [one] = advised(bench)
    assert (one["current"], one["advised"], one["reason"]) == (10, 1, "cheaper")
    low, middle, high = (one["positivity"][name] for name in ("low", "estimate", "high"))
    assert 0.15 < low < middle < high < 1
    choices = {choice["mode"]: choice for choice in one["choices"]}
    assert set(choices) == {10, 5, 1}
    assert choices[10]["tests_per_person"] > choices[1]["tests_per_person"] == 1.0
    assert choices[10]["missed_per_100k"] > choices[1]["missed_per_100k"] > 0
    assert choices[10]["hours"] > choices[1]["hours"]
    assert "10:1" in one["sentence"]
    assert "10:1" in one["sentence_zh"]


def test_a_jurisdictions_limit_stops_pooling(make_bench, tmp_path):
    """Above the positivity that the policy allows single tubes are advised, however cheap pools were."""
    from lis import rulebook

    folder = tmp_path / "data" / "rules"
    for kind, name, *change in (
        ("pools", "standard", "min_tested = 200", "min_tested = 20"),
        ("pool-policies", "fda-swab", "max_prevalence = 0.25", "max_prevalence = 0.01"),
    ):
        text = dict(rulebook.files(kind))[name].replace(*change).replace('version = "1"', 'version = "2"')
        (folder / kind).mkdir(parents=True)
        (folder / kind / f"{name}.toml").write_text(text, encoding="utf-8")
    bench = make_bench(jurisdiction="fda-swab")
    mixed_day(bench, 40, 8)
    [one] = advised(bench)
    assert (one["advised"], one["reason"], one["limited"], one["changed"]) == (1, "limit", True, True)
    assert "fda-swab" in one["sentence"]
    assert "fda-swab" in one["sentence_zh"]


def test_the_command_prints_the_same_as_the_api(embedded: Bench):
    """``lis pool advise --json`` is one document; without --json a table for people."""
    folder = str(embedded.lab.settings.data)
    empty = CliRunner().invoke(lis, ["pool", "advise", "--data", folder])
    assert (empty.exit_code, empty.output) == (0, "No tube was read in the last 7 days.\n")
    codes = embedded.singles(4)
    embedded.clock.moment = _now()
    embedded.cycle(codes, {codes[0]: DETECTED})
    embedded.clock.moment = _now()
    said = CliRunner().invoke(lis, ["pool", "advise", "--json", "--by", "site-tier", "--data", folder])
    assert said.exit_code == 0, said.output
    document = json.loads(said.stdout)
    [one] = document["streams"]
    assert (document["by"], one["tier"], one["positivity"]["tested"]) == ("site-tier", "voluntary", 4)
    table = CliRunner().invoke(lis, ["pool", "advise", "--data", folder])
    assert "10:1" in table.output
    assert "missed of 100,000" in table.output


def _now():
    from lis.clock import SystemClock

    return SystemClock().now() - timedelta(hours=3)
