"""Rules: shipped ones, the laboratory's own, and every version that ever spoke."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from bench import Bench, open_bench

from lis import config, laboratory, ledger, queries, rulebook
from lis.clock import FixedClock
from lis.errors import LisError, NotFound
from lis.services.inbox import Delivery
from lis.tube import Tube, TubeState

DAAN = "daan-2019-ncov"


def own(folder: Path, kind: str, name: str, text: str) -> None:
    """A rule file of the laboratory."""
    (folder / "rules" / kind).mkdir(parents=True, exist_ok=True)
    (folder / "rules" / kind / f"{name}.toml").write_text(text, encoding="utf-8")


def daan(**changed: str) -> str:
    """The shipped rules with other text in places."""
    text = dict(rulebook.files("assays"))[DAAN]
    for before, after in changed.values():
        assert before in text
        text = text.replace(before, after)
    return text


FLAGS_OFF = dict(rulebook.files("policies"))["release"].replace(
    'id = "instrument-flags"\non = true', 'id = "instrument-flags"\non = false'
)
STRICTER = ('version = "1"', 'version = "2"'), ("ct = 40.0", "ct = 20.0")


def test_shipped_rules_are_there_and_named_when_asked_for_others(embedded: Bench):
    """Known assays, templates and tiers are listed in the sentence about an unknown one."""
    rules = embedded.lab.rules
    assert rules.assay(DAAN).id == DAAN
    assert rules.assay(DAAN, rules.assay(DAAN).version) is rules.assay(DAAN)
    for act in (lambda: rules.assay("zika"), lambda: rules.assay(DAAN, "99"), lambda: rules.template("97")):
        with pytest.raises(NotFound, match="Known: "):
            act()
    with pytest.raises(NotFound, match=r"\(none\)"):
        rules.assay("")
    with pytest.raises(NotFound):
        rules.due_at("royal", embedded.clock.now(), None)
    assert rules.recall_hours == 24.0


def test_the_laboratorys_own_file_replaces_the_shipped_one(tmp_path: Path):
    """A file of the same name in the data folder wins; a new name is added."""
    own(tmp_path, "assays", DAAN, daan(version=STRICTER[0]))
    own(tmp_path, "assays", "mine", daan(name=(f'id = "{DAAN}"', 'id = "mine"')))
    rules = rulebook.load(config.load(tmp_path))
    assert rules.assay(DAAN).version == "2"
    assert rules.assay("mine").version == "1"


@pytest.mark.parametrize(
    ("kind", "name", "text", "word"),
    [
        ("assays", "broken", "id = ", "broken"),
        ("assays", "broken", 'id = "x"', "broken"),
        ("policies", "china", "id = 1", "china"),
        ("tables", "slan", "name = ", "slan.toml"),
        ("tables", "slan", 'name = "slan"\nblock = 95', "slan.toml"),
        ("policies", "release", FLAGS_OFF, "'instrument-flags' protects every report"),
        ("plates", "mine", '[[template]]\nid = "x"\nsize = 95\ncontrols = {}', "95"),
    ],
)
def test_a_broken_rule_file_stops_the_start_and_is_named(
    tmp_path: Path, kind: str, name: str, text: str, word: str
):
    """A rule file that cannot be used never waits for a run to say so."""
    own(tmp_path, kind, name, text)
    with pytest.raises(LisError) as error:
        laboratory.open_laboratory(config.load(tmp_path))
    assert error.value.code == "BAD_RULES"
    assert word in error.value.sentence


def test_a_policy_that_does_not_exist_is_named(tmp_path: Path):
    """A jurisdiction without a file stops the start and lists those there are."""
    with pytest.raises(LisError, match=r"no rule file atlantis\.toml.*china"):
        rulebook.load(config.load(tmp_path, jurisdiction="atlantis"))


def test_a_plate_is_judged_by_the_version_it_was_made_with(
    tmp_path: Path, database_url: str, clock: FixedClock
):
    """New rules do not reach back: a plate made under version 1 is read by version 1, also after a restart."""
    before = open_bench(tmp_path, database_url, clock)
    code, late = before.singles(2)
    plate = before.plate([code])
    before.lab.close()
    own(tmp_path, "assays", DAAN, daan(version=STRICTER[0], cut=STRICTER[1]))
    after = open_bench(tmp_path, database_url, clock)
    assert after.lab.rules.assay(DAAN).version == "2"
    assert after.lab.rules.assay(DAAN, "1").version == "1"
    clock.advance(timedelta(hours=2))
    after.deliver(after.table(plate, {code: {"ORF1ab": 36.0, "N": 36.0}}), plate=plate)
    assert after.tube(code).result == "positive"
    second = after.plate([late])
    rows = after.contents(second, {late: {"ORF1ab": 36.0, "N": 36.0}, "PC": {"ORF1ab": 15.0, "N": 15.0}})
    after.deliver(after.table(second, rows=rows), plate=second)
    assert after.tube(late).outcome == "negative"
    with after.lab.database.read() as conn:
        versions = [row["version"] for row in queries.rule_versions(conn, "assay")]
        facts = [entry.fact for entry in ledger.history(conn, code)]
        assert queries.rule_text(conn, "assay", DAAN, "1") == dict(rulebook.files("assays"))[DAAN]
    assert sorted(versions) == ["1", "2"]
    assert [fact.assay_version for fact in facts if hasattr(fact, "assay_version")] == ["1"]
    assert after.check().ok
    after.lab.close()


def test_rules_that_spoke_are_not_edited_in_place(tmp_path: Path, database_url: str, clock: FixedClock):
    """The same version with another content stops the start, and the database is closed again."""
    before = open_bench(tmp_path, database_url, clock)
    before.plate(before.singles())
    before.lab.close()
    own(tmp_path, "assays", DAAN, daan(cut=STRICTER[1]))
    with pytest.raises(LisError) as error:
        open_bench(tmp_path, database_url, clock)
    assert error.value.code == "RULES_EDITED"
    (tmp_path / "rules" / "assays" / f"{DAAN}.toml").unlink()
    open_bench(tmp_path, database_url, clock).lab.close()


def test_a_tube_whose_well_was_void_loses_no_urgency(embedded: Bench):
    """A repeat that the laboratory owes is a retest for all persons of the tube, and never less urgent than before."""
    rules = embedded.lab.rules
    tube = Tube("T1", state=TubeState.RUNNING, persons=10, tier="voluntary")
    assert rules.void_priority(tube) == 40 + 9 * 5
    assert rules.void_priority(tube._replace(priority=99)) == 99
    assert rules.void_priority(tube._replace(persons=1)) == 40


def test_a_laboratory_is_opened_and_closed_like_a_file(tmp_path: Path, clock: FixedClock):
    """Leaving the block closes the database; a password in its address is never shown."""
    with laboratory.open_laboratory(config.load(tmp_path), clock) as lab:
        assert lab.zone.key == "Asia/Shanghai"
    assert "secret" not in laboratory.masked_url("postgresql+psycopg://lis:secret@db/lis")


def test_a_file_without_a_header_is_known_by_its_run_or_its_bytes(embedded: Bench):
    """The key of a run is what the cycler calls it; a file that says nothing is known by its content."""
    bench = embedded
    plate = bench.plate(bench.singles())
    data = bench.table(plate)
    parsed = laboratory.parse(bench.lab, "a.csv", data)
    assert laboratory.run_key("a.csv", data, parsed) == laboratory.run_key("a.csv", data + b"\n", parsed)
    junk = laboratory.parse(bench.lab, "a.csv", b"junk")
    assert junk.run is None
    assert laboratory.run_key("a.csv", b"junk", junk) != laboratory.run_key("a.csv", b"junk2", junk)


def test_the_document_of_a_delivery_says_what_became_of_every_tube(embedded: Bench):
    """Status, decisions, reports and what holds a tube are all in the document that programs read."""
    bench = embedded
    good, bad = bench.singles(2)
    plate = bench.plate([good, bad])
    data = bench.table(plate, {bad: {"ORF1ab": 25.0, "N": 25.0}})
    handled = laboratory.handle(bench.lab, Delivery("usb", "r", "x.csv", data, plate))
    found = laboratory.handled_json(bench.lab, handled)
    assert (found["status"], found["state"], found["plate"]) == ("stored", "read", plate)
    assert found["decisions"] == {"conclude": 2}
    tubes = {one["tube"]: one for one in found["tubes"]}
    assert len(tubes[good]["reports"]) == 1
    assert (tubes[bad]["outcome"], tubes[bad]["state"], tubes[bad]["reports"]) == (
        "positive",
        "in_review",
        [],
    )
    assert tubes[bad]["assay_version"] == bench.lab.rules.assay(DAAN).version
    assert [one["tube"] for one in found["held"]] == [bad]
