import hashlib
import json
import tomllib
from datetime import date

import pytest

from retest import AssayRules, Call, Material, Next, Reading, RulesError, interpret
from retest.checked import digest, line_of
from retest.words import BORDERLINE_KINDS, KIND_OF_BUILT_IN


def refused(content, code, *words):
    """Loading must fail with this code; the message must hold the words."""
    with pytest.raises(RulesError) as caught:
        AssayRules.from_mapping(content, "kit.toml")
    assert caught.value.code == code
    assert "kit.toml" in caught.value.where
    for word in words:
        assert word in str(caught.value), str(caught.value)


def test_every_reference_assay_is_shipped(shared, assay_files):
    """Each id of the reference list has a file, under the same id."""
    reference = json.loads((shared / "assays-reference.json").read_text("utf-8"))
    assert {entry["id"] for entry in reference["assays"]} <= {path.stem for path in assay_files}


def test_shipped_cutoffs_equal_the_reference(shared, assay):
    """Every cutoff the reference prints is the cutoff of the file, operator included."""
    compared = 0
    for entry in json.loads((shared / "assays-reference.json").read_text("utf-8"))["assays"]:
        rules = assay(entry["id"])
        for printed in entry["targets"]:
            name = rules.spelling[printed["name"]]
            target = next(t for t in rules.targets if t.name == name)
            assert target.is_control == printed["role"].startswith("internal_control")
            if printed["detected"]:
                interval = target.bands.detected
                assert interval.high == printed["detected"]["ct"], (entry["id"], name)
                assert interval.high_in == (printed["detected"]["op"] == "<="), (entry["id"], name)
                compared += 1
        assert len(rules.targets) == len(entry["targets"])
        assert rules.cycles == entry.get("cycles")
    assert compared >= 40


def test_shipped_files_state_source_and_load_from_text(assay_files):
    """Every shipped file loads, carries its own file name as id, a source, a version and a digest."""
    digests = set()
    for path in assay_files:
        rules = AssayRules.from_toml(path.read_text("utf-8"), path.name)
        assert rules.id == path.stem
        assert rules.source
        assert rules.version
        assert len(rules.digest) == 64
        digests.add(rules.digest)
    assert len(digests) == len(assay_files) >= 21


def test_open_points_of_the_sources_are_said_in_the_notes(assay):
    """What a source leaves open is named in the notes of the file."""
    assert "threshold for the internal control" in assay("daan-2019-ncov").notes
    assert "exactly 38" in assay("kinghawk").notes
    assert "cutoffs were not found" in assay("taqpath-covid19-combo").notes
    assert "exactly 40" in assay("china-kit-iv").notes


def test_digest_ignores_comments_and_order_but_not_numbers(content):
    """The digest belongs to the rules, not to the writing of the file."""
    one = AssayRules.from_mapping(content, "a")
    turned = AssayRules.from_mapping(dict(reversed(content.items())), "b")
    assert one.digest == turned.digest
    content["target"][1]["detected"]["ct"] = 38.5
    content["override"].clear()
    assert AssayRules.from_mapping(content, "a").digest != one.digest


def test_a_digest_of_yesterday_is_the_digest_of_today():
    """Results carry the digest for years: the same content must always give the same one."""
    content = {"b": [1, 2.5, True], "a": {"名": "灰区", "since": date(2022, 12, 7)}}
    written = '{"a":{"since":"2022-12-07","名":"灰区"},"b":[1,2.5,true]}'
    assert digest(content) == hashlib.sha256(written.encode("utf-8")).hexdigest()
    assert digest(content) == "8a2a3012e40b52b1536be803939dde9fea1e8488381efcbe25ec83482aad1a5e"


def test_syntax_error_names_file_and_line():
    """Broken TOML is reported with the file and the line."""
    with pytest.raises(RulesError) as caught:
        AssayRules.from_toml('id = "x"\nname = \n', "broken.toml")
    assert caught.value.code == "toml"
    assert caught.value.where == "broken.toml"
    assert "line 2" in caught.value.sentence


def test_a_gap_at_exactly_38_is_refused(content):
    """Ct exactly 38 in no band is refused, with target and value."""
    content["target"][0] |= {
        "detected": {"op": "<", "ct": 38.0},
        "grey": {"low": 38.0, "low_inclusive": False, "high": 40.0, "high_inclusive": False},
    }
    refused(content, "band-gap", "target A", "exactly 38")


def test_an_overlap_at_exactly_40_is_refused(content):
    """Ct exactly 40 in two bands is refused, with target and value."""
    content["target"][0] = {
        "name": "A", "role": "target",
        "detected": {"op": "<=", "ct": 40.0}, "negative": {"op": ">=", "ct": 40.0},
    }  # fmt: skip
    refused(content, "band-overlap", "target A", "exactly 40")


@pytest.mark.parametrize(
    ("grey", "code", "words"),
    [
        ({"low": 38.0, "low_inclusive": True, "high": 40.0, "high_inclusive": False}, "band-gap", "37 to 38"),
        (
            {"low": 36.0, "low_inclusive": True, "high": 40.0, "high_inclusive": False},
            "band-overlap",
            "36 to 37",
        ),
        ({"low": 37.0, "low_inclusive": True, "high": 39.0, "high_inclusive": False}, "band-gap", "39 to 40"),
        (
            {"low": 37.0, "low_inclusive": True, "high": 41.0, "high_inclusive": False},
            "band-overlap",
            "40 to 41",
        ),
        (
            {"low": 37.0, "low_inclusive": True, "high": 40.0, "high_inclusive": True},
            "band-overlap",
            "exactly 40",
        ),
        ({"low": 41.0, "low_inclusive": True, "high": 40.0, "high_inclusive": True}, "band-empty", "40"),
    ],
)
def test_wider_gaps_and_overlaps_are_refused(content, grey, code, words):
    """A hole or a double stretch between bands is refused with its ends."""
    content["target"][0]["grey"] = grey
    refused(content, code, words)


def test_every_ct_detected_leaves_no_room_for_a_negative_band(content):
    """A kit without a cutoff cannot name a negative band as well."""
    content["target"][1]["detected"] = {"op": "any"}
    content["target"][1]["negative"] = {"op": ">", "ct": 40.0}
    refused(content, "band-overlap", "target B")


def test_an_override_is_proved_too(content):
    """The cutoffs of one instrument must fit together as well."""
    content["override"][0]["negative"] = {"op": ">", "ct": 30.0}
    refused(content, "band-gap", "exactly 30", "override[1]")


def test_an_override_must_name_a_place_and_only_once(content):
    """An override for nowhere, or two for the same place, are refused."""
    content["override"].append(dict(content["override"][0], instruments=["CYCLER X", "other"]))
    refused(content, "override-twice", "target B")
    content["override"] = [dict(content["override"][0], instruments=[])]
    refused(content, "override-nowhere")


def test_overrides_choose_the_most_exact_place(content):
    """Laboratory and instrument together win over laboratory, that over instrument, that over the kit."""
    base = content["override"][0]
    content["override"] += [
        dict(base, instruments=[], laboratories=["Lab L"], detected={"op": "<", "ct": 31.0}),
        dict(base, laboratories=["Lab L"], detected={"op": "<", "ct": 32.0}),
        dict(base, target="A", detected={"op": "<", "ct": 33.0}),
        dict(base, instruments=["Cycler Y"], detected={"op": "<", "ct": 29.0}),
    ]
    rules = AssayRules.from_mapping(content)

    def cut(instrument, laboratory):
        return rules.bands(instrument, laboratory)["B"].detected.high

    assert cut("cycler x ", "LAB L") == 32.0
    assert cut("other", "Lab L") == 31.0
    assert cut("Cycler Y", "Lab L") == 31.0
    assert cut("Cycler X", "") == 30.0
    assert cut("cycler y", "elsewhere") == 29.0
    assert cut("", "") == 38.0
    assert rules.bands("Cycler X", "")["A"].detected.high == 33.0
    assert len(rules.decision) == 5


def test_a_gap_in_the_table_names_the_reading(content):
    """A combination no row speaks about is refused and spelt out."""
    del content["decision"][3]
    refused(content, "table-gap", "A not-detected, B not-detected, internal control detected")


def test_an_unreachable_row_is_named(content):
    """A row that another one always precedes is refused by its id."""
    content["decision"].append({"id": "never", "signal": 0, "call": "invalid"})
    refused(content, "table-unreachable", "never")


def test_two_rows_with_one_id_are_refused(content):
    """A rule id means one row."""
    content["decision"][1]["id"] = "both"
    refused(content, "id-twice", "both")


@pytest.mark.parametrize("reserved", [*KIND_OF_BUILT_IN, "borderline", "contradictory"])
def test_built_in_ids_are_reserved(content, reserved):
    """A row cannot take the id of a built-in rule."""
    content["decision"][0]["id"] = reserved
    refused(content, "id-reserved", reserved)


def test_a_row_is_asked_about_every_target(synthetic):
    """A reading that lacks a target meets no row by chance; it is an error."""
    with pytest.raises(ValueError, match="shorter"):
        synthetic.decision[3].matches(("A", "B"), ("not-detected",), "detected")


def test_a_negative_with_a_signal_is_refused(content):
    """No table may call a specimen negative while a target is detected or the control failed."""
    content["decision"][1] = {"id": "wrong", "detected": 1, "grey": 0, "call": "negative"}
    refused(content, "table-unsafe", "wrong", "A detected")
    content["decision"][1] = {
        "id": "single", "detected": 1, "grey": 0, "call": "borderline", "kind": "single-target"
    }  # fmt: skip
    content["decision"][4]["call"] = "negative"
    refused(content, "table-unsafe", "no-control", "internal control not-detected")


@pytest.mark.parametrize("count", [3, -1, True, "some", ">=4", ">=x", 1.5])
def test_impossible_counts_are_refused(content, count):
    """A row must count what the kit has."""
    content["decision"][0]["detected"] = count
    refused(content, "bad-count", "2 targets")


@pytest.mark.parametrize(
    ("spoil", "code", "word"),
    [
        (lambda c: c.update(cutof=3), "unknown-key", "cutof"),
        (lambda c: c["target"][0].update(dyes="FAM"), "unknown-key", "Did you mean 'dye'"),
        (lambda c: c["target"][0]["detected"].update(unit="x"), "unknown-key", "unit"),
        (lambda c: c["target"][0]["grey"].update(unit="x"), "unknown-key", "unit"),
        (lambda c: c["decision"][0].update(whenever=1), "unknown-key", "whenever"),
        (lambda c: c["ladder"]["invalid"].update(stepz=1), "unknown-key", "steps"),
        (lambda c: c["control"][0]["expect"].update(C="absent"), "unknown-key", "C"),
        (lambda c: c["control"][1]["expect"]["A"].update(tolerate_from=3), "unknown-key", "tolerate_from"),
        (lambda c: c["control"][0].update(per="run"), "unknown-key", "per"),
        (lambda c: c["pooling"].update(size=3), "unknown-key", "size"),
        (lambda c: c["override"][0].update(ct=3), "unknown-key", "ct"),
        (lambda c: c.pop("source"), "missing-key", "source"),
        (lambda c: c["target"][1].pop("detected"), "missing-key", "detected"),
        (lambda c: c["control"][0]["expect"].pop("A"), "missing-key", "expect.A"),
        (lambda c: c["ladder"].pop("invalid"), "missing-key", "invalid"),
        (lambda c: c.update(version=1), "not-a-text", "version"),
        (lambda c: c.update(name="  "), "not-a-text", "name"),
        (lambda c: c.update(replicates=0), "not-whole", "replicates"),
        (lambda c: c.update(cycles=40.5), "not-whole", "cycles"),
        (lambda c: c.update(missing="ignore"), "not-allowed", "missing"),
        (lambda c: c.update(target=3), "not-a-list", "[[target]]"),
        (lambda c: c.update(target=[]), "no-target", "[[target]]"),
        (lambda c: c.update(target=[3]), "not-a-table", "target[1]"),
        (lambda c: c["target"][0]["detected"].update(ct="37"), "not-a-number", "ct"),
        (lambda c: c["target"][0]["detected"].update(ct=True), "not-a-number", "ct"),
        (lambda c: c["target"][0]["detected"].update(ct=float("nan")), "number-range", "ct"),
        (lambda c: c["target"][0]["detected"].update(ct=0), "number-range", "ct"),
        (lambda c: c["target"][0]["grey"].update(low_inclusive=1), "not-a-flag", "low_inclusive"),
        (lambda c: c["target"][0].update(aliases="x"), "not-a-list", "aliases"),
        (lambda c: c["target"][0].update(aliases=["b "]), "target-twice", "'B'"),
        (lambda c: c["target"][2].update(grey={}), "ic-grey", "grey"),
        (lambda c: c["decision"][0].update(needs=["C"]), "unknown-target", "'C'"),
        (lambda c: c["ladder"].update(nothing={}), "ladder-unknown", "nothing"),
        (lambda c: c["ladder"]["invalid"].update(steps=["pray"]), "unknown-step", "pray"),
        (lambda c: c["ladder"]["invalid"].update(steps=[]), "bad-steps", "steps"),
        (lambda c: c["ladder"]["invalid"].update(steps=["recollect", "re-amplify"]), "bad-steps", "follow"),
        (lambda c: c["ladder"]["invalid"].update(end="negative"), "not-allowed", "negative"),
        (lambda c: c["control"][1].update(aliases=["nc"]), "control-twice", "nc"),
        (lambda c: c["control"][1]["expect"]["A"].update(least=40), "band-empty", "40"),
        (lambda c: c["pooling"].update(modes=["swab"]), "not-allowed", "swab"),
    ],
    ids=map(str, range(40)),
)  # fmt: skip
def test_a_faulty_file_is_refused_with_its_place(content, spoil, code, word):
    """Each fault of a rule file has a code and names the key."""
    spoil(content)
    refused(content, code, word)


OFF = {"both": "the second target of lot 7 drifts", "none": "controls in doubt"}


def test_a_row_that_is_off_leaves_its_specimens_to_a_person(content):
    """Whatever the row would have said, positive or negative, the specimen is borderline, never negative."""
    content["off"] = OFF
    rules = AssayRules.from_mapping(content)
    assert rules.off == OFF
    for row, cqs in (("both", (30.0, 30.0, None)), ("none", (None, None, 25.0))):
        readings = [Reading(name, cq) for name, cq in zip(("A", "B", "IC"), cqs, strict=True)]
        outcome = interpret(readings, rules)
        assert (outcome.call, outcome.rule, outcome.next) == (Call.borderline, "rule-off", Next.retest), row
    assert rules.kind("rule-off", Call.borderline) == "inconclusive"
    spoken = interpret([Reading("A", 30.0), Reading("B", None), Reading("IC", None)], rules)
    assert spoken.rule == "single-target"
    assert Call.negative not in {row.call for row in rules.table.values()}
    del content["off"]
    assert AssayRules.from_mapping(content).digest != rules.digest


@pytest.mark.parametrize(
    ("off", "code", "word"),
    [
        ({"bothh": "x"}, "off-unknown", "both, single-target, grey"),
        ({"both": ""}, "not-a-text", "off.both"),
        ({"both": True}, "not-a-text", "off.both"),
        ({"missing-target": "x"}, "rule-locked", "missing-target"),
        ({"rule-off": "x"}, "rule-locked", "rule-off"),
    ],
)
def test_what_cannot_be_switched_off(content, off, code, word):
    """A row needs a reason, an unknown row is refused, and what is built in stays on."""
    content["off"] = off
    refused(content, code, word)


def test_a_row_that_is_off_is_still_proved(content):
    """Switching a row off does not hide a gap behind it, and its id stays taken."""
    content["off"] = {"both": "x"}
    del content["decision"][3]
    refused(content, "table-gap", "A not-detected")


FAULTS = [
    ('name = "B"\nrole = "target"', 'name = "B"\nrole = "tarjet"', 2),
    ('detected = { op = "<=", ct = 38.0 }', 'detected = { op = "<=", ct = 0 }', 1),
    ('[ladder.invalid]\nsteps = ["re-extract", "recollect"]', '[ladder.invalid]\nsteps = ["pray"]', 2),
    ('id = "none"\nsignal = 0', 'id = "none"\nsignal = 5', 2),
    ('kind = "PC"\nscope = "run"', 'kind = "PC"\nscope = "pun"', 2),
    ("least = 20.0, most = 33.0 }", "least = 40.0, most = 33.0 }", 1),
    ("max_n = 5", "max_n = 0", 1),
    ('target = "B"\ninstruments', 'target = "C"\ninstruments', 1),
    ('[[override]]\ntarget = "B"', '[[override]]\ncure = 1\ntarget = "B"', 2),
    ('id = "no-control"\n', 'id = "no-control"\nspare = 1\n', 2),
    ('version = "7"', "version = 7", 1),
    ("[pooling]\nmax_n = 5\n", "[pooling]\n", 1),
]


@pytest.mark.parametrize(("old", "new", "at"), FAULTS, ids=map(str, range(len(FAULTS))))
def test_a_fault_is_reported_with_its_line(synthetic_text, old, new, at):
    """From a file, every refusal names file, line and key; the line is the one to correct."""
    before, found, after = synthetic_text.partition(old)
    assert found
    with pytest.raises(RulesError) as caught:
        AssayRules.from_toml(before + new + after, "kit.toml")
    number = before.count("\n") + at
    assert caught.value.where.startswith(f"kit.toml, line {number}, "), caught.value
    assert caught.value.file == caught.value.where


def test_lines_are_found_behind_prose_and_in_unnamed_texts(synthetic_text):
    """Words of a text of several lines are not keys; a fault of the whole file is at its first line."""
    rest = synthetic_text.replace('source = "made for the tests"\n', "", 1)
    text = 'notes = """\nsource = 3\n"""\nsource = 3\n' + rest
    with pytest.raises(RulesError) as caught:
        AssayRules.from_toml(text)
    assert caught.value.where == "synthetic, line 4, source"
    assert line_of(text, "") == 1
    assert line_of(text, "nothing[4].here") == 1
    with pytest.raises(RulesError) as caught:
        AssayRules.from_toml("", "")
    assert caught.value.where.startswith("rules, line 1, ")


def test_only_and_needs_read_named_targets(assay):
    """Liferiver's E alone is another row than ORF1ab alone; cobas target 1 alone is positive."""
    liferiver = assay("liferiver-zj")
    states = ("not-detected", "not-detected", "detected")
    assert liferiver.table[states, "detected"].id == "single-target-e"
    assert liferiver.table[states[::-1], "detected"].id == "single-target"
    assert liferiver.nexts["single-target-e"] is Next.recollect
    cobas = assay("roche-cobas-sars-cov-2")
    assert cobas.table[("detected", "not-detected"), "absent"].call is Call.positive
    assert cobas.table[("not-detected", "detected"), "absent"].call is Call.borderline


def test_pooling_defaults_to_single_tubes(content, assay):
    """Without a pooling table the kit is for single tubes; collection may hold more than a lab pool."""
    del content["pooling"]
    rules = AssayRules.from_mapping(content)
    assert rules.pooling.modes == (Material.single,)
    assert rules.pooling.max_n == 1
    assert assay("cdc-2019-ncov-n1n2rp").pooling.max_n == 4
    assert Material.mixed not in assay("cdc-2019-ncov-n1n2rp").pooling.modes
    assert assay("sansure").pooling.max_mixed == 20


def test_the_kind_of_a_rule_survives_another_kit(synthetic):
    """A rule id of another kit is understood by its first word, and doubt is inconclusive."""
    assert synthetic.kind("grey", Call.borderline) == "grey"
    assert synthetic.kind("single-target", Call.borderline) == "single-target"
    assert synthetic.kind("single-target-n", Call.borderline) == "single-target"
    assert synthetic.kind("curve-flat", Call.borderline) == "curve"
    assert synthetic.kind("whatever", Call.borderline) == "inconclusive"
    assert synthetic.kind("grey", Call.positive) == "positive"


def test_every_shipped_non_answer_has_a_ladder_and_a_kind(assay_files):
    """No shipped row leaves the bench without a next step."""
    for path in assay_files:
        rules = AssayRules.from_mapping(tomllib.loads(path.read_text("utf-8")), path.name)
        for row in rules.decision:
            done = row.call in (Call.positive, Call.negative)
            assert (rules.nexts[row.id] is Next.conclude) == done
            if row.call is Call.borderline:
                assert row.kind in BORDERLINE_KINDS
