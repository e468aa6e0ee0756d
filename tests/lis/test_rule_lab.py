"""The rule laboratory, on runs that were read through the real services. Everything here is made up."""

from datetime import datetime, timedelta

import pytest
from rule_bench import ASSAY, SHANGHAI, compare, run, shipped, stricter

from lis import queries
from lis.errors import Invalid, NotFound
from lis.services import pools, rule_lab
from retest import AssayRules


def test_every_changed_outcome_is_listed_and_no_other(bench):
    """Under an earlier cutoff exactly the late positives change; each is shown beside what was recorded."""
    cqs = [(37.0, 37.0, 27.0), (30.0, 30.0, 27.0), (36.0, 30.0, 27.0), (None, None, 27.0), (None, None, None)]
    codes = run(bench, cqs)
    old, new = bench.lab.rules.assay(ASSAY), AssayRules.from_toml(stricter())
    found = compare(bench.lab, old, new)
    assert (found.old, found.new, found.runs, found.specimens) == ("kinghawk@1", "kinghawk@2", 1, 5)
    rows = {change.specimen: change.as_json() for change in found.changes}
    assert set(rows) == {codes[0], codes[2]}
    late = rows[codes[0]]
    assert (late["old_outcome"], late["old_rule"], late["old_next"]) == (
        "positive",
        "both-detected",
        "conclude positive",
    )
    assert (late["new_outcome"], late["new_rule"], late["next"]) == ("borderline", "grey", "re-amplify")
    assert (late["recorded"], late["recorded_rule"], late["recorded_version"]) == (
        "positive",
        "both-detected",
        "1",
    )
    assert late["well"] == "A1"
    with bench.lab.database.read() as conn:
        assert queries.run_row(conn, late["run"]) is not None
    assert rows[codes[2]]["new_rule"] == "grey-and-detected"
    assert compare(bench.lab, old, old).changes == ()


def test_only_the_period_is_replayed(bench):
    """Days are those of the laboratory's zone, first and last included; other days and assays are left out."""
    run(bench, [(37.0, 37.0, 27.0)])  # read at 14:00 UTC, 22:00 on the 21st in Shanghai
    bench.clock.advance(timedelta(hours=3))
    run(bench, [(37.0, 37.0, 27.0)])  # read at 19:00 UTC, 03:00 on the 22nd
    old, new = bench.lab.rules.assay(ASSAY), AssayRules.from_toml(stricter())
    counts = {
        period: len(compare(bench.lab, old, new, period).changes)
        for period in (
            "2022-12-20",
            "2022-12-21",
            "2022-12-22",
            "2022-12-21..2022-12-22",
            "2022-12-01..2022-12-31",
            "all",
        )
    }
    assert list(counts.values()) == [0, 1, 1, 2, 2, 2]
    assert compare(bench.lab, bench.lab.rules.assay("maccura"), new).runs == 0


def test_controls_are_judged_again(bench):
    """Rules that ask for a stronger positive control void the run: every tube of it changes to void."""
    codes = run(bench, [(30.0, 30.0, 27.0), (None, None, 27.0)], PC=(33.0, 33.0, 27.0))
    old = bench.lab.rules.assay(ASSAY)
    text = shipped().replace('version = "1"', 'version = "2"')
    head, _, rest = text.partition('kind = "PC"')
    strict = (
        head
        + 'kind = "PC"'
        + rest.replace('ORF1ab = "detected"', 'ORF1ab = { state = "detected", most = 32.0 }', 1)
    )
    found = compare(bench.lab, old, AssayRules.from_toml(strict))
    assert {
        change.specimen: (change.new.outcome, change.new.next) for change in found.changes
    } == dict.fromkeys(codes, ("void", "repeat"))
    back = compare(bench.lab, AssayRules.from_toml(strict), old)
    assert {change.old.outcome for change in back.changes} == {"void"}


def test_a_void_run_has_nothing_recorded(bench):
    """Where the controls failed, no call was recorded; under rules that tolerate it the tubes are read."""
    run(bench, [(None, None, 27.0)], NTC=(39.9, None, None))
    text = shipped().replace('version = "1"', 'version = "2"')
    kind = text.index('kind = "NTC"')
    tolerant = text[:kind] + text[kind:].replace(
        'ORF1ab = "absent"', 'ORF1ab = { state = "absent", tolerate_from = 39.0 }', 1
    )
    (change,) = compare(bench.lab, bench.lab.rules.assay(ASSAY), AssayRules.from_toml(tolerant)).changes
    assert (change.old.outcome, change.new.outcome, change.recorded) == ("void", "negative", "")


def test_a_changed_ladder_is_a_change(bench):
    """The same call with another next step is listed: the bench would have done something else."""
    run(bench, [(30.0, None, 27.0), (30.0, 30.0, 27.0)])
    text = shipped().replace('version = "1"', 'version = "2"')
    row = next(row for row in AssayRules.from_toml(text).decision if row.kind == "single-target")
    other = text.replace(f'id = "{row.id}"', 'id = "alone"').replace(
        "[ladder.borderline]",
        '[ladder.alone]\nsteps = ["recollect"]\nend = "inconclusive"\n\n[ladder.borderline]',
        1,
    )
    (change,) = compare(bench.lab, bench.lab.rules.assay(ASSAY), AssayRules.from_toml(other)).changes
    assert (change.old.outcome, change.new.outcome) == ("borderline", "borderline")
    assert (change.old.next, change.new.next) == ("re-extract", "recollect")


def test_rules_without_a_name_for_a_target_are_refused(bench):
    """A kit with other targets cannot read the run; the sentence names run and target."""
    run(bench, [(30.0, 30.0, 27.0)])
    with pytest.raises(Invalid) as caught:
        compare(bench.lab, bench.lab.rules.assay(ASSAY), bench.lab.rules.assay("cdc-2019-ncov-n1n2rp"))
    assert caught.value.code == "TARGET_UNKNOWN"
    assert "ORF1ab" in caught.value.sentence or "IC" in caught.value.sentence


@pytest.mark.parametrize("text", ["yesterday", "2022-13-01", "2022-12-02..2022-12-01", "..", ""])
def test_a_period_that_is_none_is_refused(text):
    """A typing error in a date compares nothing, and says how a period is written."""
    with pytest.raises(Invalid) as caught:
        rule_lab.period(text, SHANGHAI)
    assert caught.value.code == "PERIOD"


def test_a_period_is_whole_days_of_the_laboratory():
    """Midnight to midnight in Shanghai."""
    start, end = rule_lab.period("2022-12-01..2022-12-02", SHANGHAI)
    assert start == datetime(2022, 12, 1, tzinfo=SHANGHAI)
    assert end == datetime(2022, 12, 3, tzinfo=SHANGHAI)
    assert rule_lab.period("all", SHANGHAI) == (None, None)


def test_rules_are_found_by_id_version_and_path(embedded, tmp_path):
    """A loaded id, a version of it, or a file; anything else is refused with what is known."""
    path = tmp_path / "new.toml"
    path.write_text(stricter(), encoding="utf-8")
    assert rule_lab.find_rules(embedded.lab.rules, ASSAY).version == "1"
    assert rule_lab.find_rules(embedded.lab.rules, f"{ASSAY}@1").version == "1"
    assert rule_lab.find_rules(embedded.lab.rules, str(path)).version == "2"
    for wrong in (f"{ASSAY}@9", "nothing"):
        with pytest.raises(NotFound):
            rule_lab.find_rules(embedded.lab.rules, wrong)


def test_what_follows_a_mixed_tube_and_a_pool_is_compared_too(bench):
    """A late mixed tube calls its persons back, a late pool goes to its tubes, and less of a signal neither."""
    mixed, members = bench.mixed(5), bench.singles(3)
    with bench.lab.database.write("anna") as unit:
        pool = pools.form(unit, bench.lab.rules, members).tube_id
    late = {"ORF1ab": 39.0, "N": 39.0}
    assert bench.cycle([mixed, pool], {mixed: late, pool: late}, assay=ASSAY).ingested.state == "read"
    text = shipped().replace('version = "1"', 'version = "2"')
    earlier = text.replace(
        "high = 40.0, high_inclusive = true", "high = 38.5, high_inclusive = true"
    ).replace('{ op = ">", ct = 40.0 }', '{ op = ">", ct = 38.5 }')
    found = compare(bench.lab, bench.lab.rules.assay(ASSAY), AssayRules.from_toml(earlier))
    rows = {change.specimen: (change.old.next, change.new.next) for change in found.changes}
    assert rows == {mixed: ("recollect", "conclude negative"), pool: ("test-singly", "conclude negative")}


def test_a_run_of_controls_alone_changes_nothing(bench):
    """A plate without tubes is counted as a run and has no outcome."""
    bench.cycle([], assay=ASSAY)
    found = compare(bench.lab, bench.lab.rules.assay(ASSAY), AssayRules.from_toml(stricter()))
    assert (found.runs, found.specimens, found.changes) == (1, 0, ())


def test_a_well_that_the_operator_took_out_is_not_read(bench):
    """An omitted reading counts as not measured: the tube is invalid under either version."""
    (code,) = bench.singles()
    plate = bench.plate([code], assay=ASSAY)
    with bench.lab.database.write("anna") as unit:
        columns = ("well", "sample", "control", "target", "cq")
        rows = [
            dict(zip(columns, row, strict=True)) | {"tube_id": row[1] if row[1] == code else None}
            for row in bench.contents(plate, {code: {"ORF1ab": 37.0, "N": 37.0}})
        ]
        common = {"run_id": "omitted", "dye": "", "raw_cq": "", "curve": "", "call": ""}
        queries.insert_rows(unit.conn, "file", [_file(unit.now)])
        queries.insert_rows(unit.conn, "run", [_run(unit.now, plate)])
        queries.insert_rows(
            unit.conn,
            "reading",
            [
                row
                | common
                | {"control": row["control"] or None, "flags": "LATE,OMIT" if row["target"] == "N" else ""}
                for row in rows
                if row["tube_id"]
            ],
        )
    with bench.lab.database.read() as conn:
        (row,) = queries.runs_between(conn, ASSAY, None, None)
        read = rule_lab._gather(conn, row)
    assert [(one.target, one.cq) for one in read.readings[code]] == [("IC", 27.0), ("ORF1ab", 37.0)]


def _file(now):
    """A received file that the readings could have come from."""
    text = dict.fromkeys(("file_id", "device", "run", "plate_id", "name"), "omitted")
    return text | {"sha256": "0" * 64, "size": 0, "content": b"", "received_at": now, "produced_at": ""}


def _run(now, plate):
    """A valid run of the plate."""
    text = dict.fromkeys(("run_id", "file_id", "device"), "omitted")
    empty = dict.fromkeys(("format", "instrument", "serial", "failed_batches", "verdict"), "")
    return text | empty | {"plate_id": plate, "read_at": now, "valid": True}
