import csv
import math
import tomllib
from pathlib import Path

import pytest
import python_calamine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retest import AssayRules, Call, Next, Reading, ReadingError, interpret

# A busy machine must not fail a property.
CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
PACKAGE = Path(__file__).resolve().parents[2] / "retest"
ALL = {
    path.stem: AssayRules.from_toml(path.read_text("utf-8"), path.name)
    for path in sorted((PACKAGE / "assays").glob("*.toml"))
}
CQ = st.none() | st.floats(0.01, 50) | st.sampled_from([35.0, 36.9999, 37.0, 38.0, 40.0, 43.0])
CURVE = st.none() | st.sampled_from(["sigmoid", "flat", "atypical"])

# A laboratory's own rule for the ABI 7500 batch: bands are synthetic, chosen so that both late
# specimens of the batch fall into the grey zone of at least one target.
LABORATORY = {
    "id": "laboratory-e-rdrp-rnasep",
    "name": "Laboratory E/RdRp/RNase P",
    "version": "1",
    "source": "made for the tests",
    "target": [
        *(
            {
                "name": name,
                "role": "target",
                "detected": {"op": "<", "ct": 36.0},
                "grey": {"low": 36.0, "low_inclusive": True, "high": 40.0, "high_inclusive": False},
            }
            for name in ("E", "RdRp")
        ),
        {"name": "RNase P", "role": "internal_control", "detected": {"op": "<=", "ct": 35.0}},
    ],
    "decision": [
        {"id": "both", "detected": "all", "call": "positive"},
        {"id": "grey", "grey": ">=1", "call": "borderline", "kind": "grey"},
        {"id": "single-target", "detected": 1, "call": "borderline", "kind": "single-target"},
        {"id": "none", "ic": "detected", "call": "negative"},
        {"id": "no-control", "call": "invalid"},
    ],
    "ladder": {
        "borderline": {"steps": ["re-amplify", "re-extract"], "end": "inconclusive"},
        "invalid": {"steps": ["re-extract", "recollect"], "end": "invalid"},
    },
}


def read(rules, *cqs, curves=(), **place):
    """Interpret one Cq per target in the order of the assay file."""
    curves = curves or (None,) * len(cqs)
    readings = [Reading(t.name, cq, curve) for t, cq, curve in zip(rules.targets, cqs, curves, strict=True)]
    return interpret(readings, rules, **place)


def said(outcome):
    """Call and rule, as words."""
    return outcome.call.value, outcome.rule


def results_sheet(path, header):
    """(well, sample, target, Cq or None) of the Results sheet; `header` is the header's row number."""
    rows = python_calamine.CalamineWorkbook.from_path(path).get_sheet_by_name("Results").to_python()
    names = [str(name).replace("т", "t").upper() for name in rows[header - 1]]
    well = names.index("WELL POSITION") if "WELL POSITION" in names else names.index("WELL")
    sample, target, ct = names.index("SAMPLE NAME"), names.index("TARGET NAME"), names.index("CT")
    for row in rows[header:]:
        if row[target]:
            yield row[well], row[sample], row[target], None if row[ct] == "Undetermined" else float(row[ct])


def test_cdc_rules_reproduce_the_published_calls(shared):
    """All specimens of the QuantStudio file get the call the CDC processor published for them."""
    folder = shared / "instruments" / "covid"
    specimens = {}
    for _, sample, target, cq in results_sheet(folder / "aihg_COVID_test_HANDEDITED_qs7flex.xls", 43):
        specimens.setdefault(sample, []).append(Reading(target, cq))
    words = {
        "2019-nCoV detected": "positive",
        "Inconclusive Result": "borderline",
        "2019-nCoV not detected": "negative",
        "Invalid Result": "invalid",
    }
    rules = ALL["cdc-2019-ncov-n1n2rp"]
    compared = 0
    with (folder / "aihg_COVID_test_expected_calls.csv").open(encoding="utf-8-sig") as file:
        for row in csv.DictReader(file):
            outcome = interpret(specimens[row["Sample_ID"]], rules)
            assert outcome.call.value == words[row["Result_Interpretation"]], row
            states = dict(outcome.targets)
            for name in ("N1", "N2", "RP"):
                assert (states[name] == "detected") == (row[f"Result_{name}"] == "positive"), row
            compared += 1
    assert compared == 29


def test_borderline_specimens_of_the_abi_7500_batch(shared):
    """The laboratory's grey band catches G11 and H6; the guide's bands catch H6 and pass G11 as positive."""
    path = shared / "instruments" / "covid" / "i3l_abi7500_covid_E_RdRp_RNaseP.xls"
    wells = {}
    for well, _, target, cq in results_sheet(path, 8):
        wells.setdefault(well, []).append(Reading(target, cq))
    assert len(wells) == 96
    laboratory = AssayRules.from_mapping(LABORATORY)
    grey = {well for well, readings in wells.items() if interpret(readings, laboratory).rule == "grey"}
    assert grey == {"G11", "H6"}
    guide = {well: interpret(readings, ALL["generic-e-rdrp-rnasep"]) for well, readings in wells.items()}
    assert {well for well, outcome in guide.items() if outcome.rule == "grey"} == {"H6"}
    assert guide["G11"].call is Call.positive
    assert said(guide["A1"]) == ("invalid", "no-signal-no-control")  # RNase P 36.89: hardly any cells


def test_cdc_table_row_by_row():
    """Every row of the CDC table, with the control ignored when both targets are detected."""
    rules = ALL["cdc-2019-ncov-n1n2rp"]
    assert said(read(rules, 39.99, 39.99, None)) == ("positive", "both-detected")
    assert said(read(rules, 20.0, None, 25.0)) == ("borderline", "single-target")
    assert said(read(rules, 40.0, 20.0, None)) == ("borderline", "single-target")
    assert said(read(rules, 40.0, 40.0, 39.9)) == ("negative", "none-detected")
    assert said(read(rules, None, None, 40.0)) == ("invalid", "no-signal-no-control")
    assert read(rules, 20.0, None, 25.0).next is Next.retest
    assert read(rules, None, None, None).next is Next.re_extract
    assert read(rules, None, None, 25.0).next is Next.conclude


@pytest.mark.parametrize(
    ("assay_id", "cqs", "call"),
    [
        ("daan-2019-ncov", (40.0, 40.0, None), "positive"),
        ("daan-2019-ncov", (40.01, 40.01, 30.0), "negative"),
        ("daan-2019-ncov", (None, None, 35.01), "invalid"),
        ("liferiver-zj", (43.0, 43.0, None, None), "positive"),
        ("liferiver-zj", (43.01, None, 43.0, 30.0), "borderline"),
        ("maccura", (38.0, 38.01, 38.0, None), "positive"),
        ("kinghawk", (37.99, 37.99, 30.0), "positive"),
        ("kinghawk", (38.0, None, 30.0), "borderline"),
        ("kinghawk", (40.0, None, 30.0), "borderline"),
        ("kinghawk", (None, None, 30.0), "negative"),
        ("ediagnosis", (38.0, 39.99, 30.0), "borderline"),
        ("ediagnosis", (40.0, 40.0, 30.0), "negative"),
        ("biogerm", (38.0, 38.0, 30.0), "positive"),
        ("sansure", (40.0, None, 30.0), "borderline"),
        ("bgi", (40.0, None), "positive"),
        ("bgi", (40.1, 30.0), "negative"),
        ("taqpath-covid19-combo", (44.9, 44.9, None, None), "positive"),
        ("taqpath-covid19-combo", (None, None, 44.9, 25.0), "borderline"),
        ("taqpath-covid19-combo", (None, None, None, 25.0), "negative"),
        ("seegene-allplex-2019-ncov", (39.0, 39.0, 39.9, None), "positive"),
        ("seegene-allplex-2019-ncov", (39.0, 39.0, 40.0, 30.0), "borderline"),
        ("salivadirect-cfx96-7500fast-qs5", (39.9, None), "positive"),
        ("salivadirect-7500fastdx", (37.0, 30.0), "negative"),
        ("china-kit-i", (38.0,), "positive"),
        ("china-kit-i", (38.01,), "borderline"),
        ("china-kit-i", (40.0,), "negative"),
        ("china-kit-ii", (40.0,), "borderline"),
        ("china-kit-iii", (37.0,), "borderline"),
        ("china-kit-iv", (40.0,), "positive"),
        ("roche-cobas-sars-cov-2", (35.0, None), "positive"),
        ("roche-cobas-sars-cov-2", (None, 35.0), "borderline"),
    ],
)
def test_cutoffs_at_their_edge(assay_id, cqs, call):
    """Each shipped kit is read as printed, at the very edge of its bands."""
    assert read(ALL[assay_id], *cqs).call.value == call


def test_the_cutoff_follows_the_instrument():
    """SalivaDirect N1 38 is positive on a CFX96 and not on a 7500 Fast Dx."""
    rules = ALL["salivadirect-cfx96-7500fast-qs5"]
    assert read(rules, 38.0, 30.0, instrument="CFX96").call is Call.positive
    assert read(rules, 38.0, 30.0, instrument="7500 fast dx").call is Call.negative


def test_replicate_protocol():
    """Two wells per target: both, one or none, as the laboratory protocol prints them."""
    rules = ALL["starprotocols-taqpath-one-step-duplicate"]

    def call(*pairs):
        readings = [
            Reading(t.name, cq) for t, pair in zip(rules.targets, pairs, strict=True) for cq in pair
        ]  # fmt: skip
        return said(interpret(readings, rules))

    none, ic = (None, None), (25.0, 26.0)
    assert call((30.0, 31.0), (30.0, 31.0), none, none) == ("positive", "two-or-more-full")
    assert call((30.0, 31.0), (30.0, None), none, ic) == ("borderline", "single-target-full")
    assert call((30.0, None), (None, 30.0), none, ic) == ("positive", "several-partial")
    assert call((30.0, None), none, none, ic) == ("borderline", "single-target-partial")
    assert call(none, none, none, ic) == ("negative", "none-detected")
    assert call(none, none, none, (25.0, None)) == ("invalid", "no-signal-no-control")
    one_well_short = [Reading(t.name, 30.0) for t in rules.targets]
    assert said(interpret(one_well_short, rules)) == ("invalid", "missing-target")


def test_replicates_that_disagree_are_never_negative():
    """A kit without replicates read twice with two answers is borderline under its own rule."""
    rules = ALL["cdc-2019-ncov-n1n2rp"]
    base = [Reading("N2", None), Reading("RP", 25.0)]
    assert said(interpret([Reading("N1", 30.0), Reading("N1", None), *base], rules)) == (
        "borderline",
        "replicates-discordant",
    )
    assert said(interpret([Reading("N1", 30.0), Reading("N1", 31.0), *base], rules))[1] == "single-target"
    mixed = interpret([Reading("N1", None), Reading("N1", 30.0, "flat"), *base], rules)
    two = [Reading("N1", None, "sigmoid"), Reading("N1", 30.0, "flat")]
    assert interpret([*two, *base], rules) == interpret([*two[::-1], *base], rules)
    assert said(mixed) == ("borderline", "curve-flat")


def test_a_missing_target_is_invalid_with_its_reason():
    """A target nobody measured makes the specimen invalid, whatever the others say."""
    rules = ALL["cdc-2019-ncov-n1n2rp"]
    for there in ([], [Reading("N1", None), Reading("RP", 25.0)], [Reading("N1", 20.0), Reading("N2", 20.0)]):
        outcome = interpret(there, rules)
        assert said(outcome) == ("invalid", "missing-target")
        assert "missing-target" in dict(outcome.targets).values()
        assert outcome.next is Next.re_extract


def test_cobas_reads_the_rest_of_an_invalid_target():
    """The instrument's Invalid on one target leaves the other one's signal, but never a negative."""
    rules = ALL["roche-cobas-sars-cov-2"]
    assert said(interpret([Reading("Target 1", 30.0)], rules)) == ("positive", "target-1-detected")
    assert said(interpret([Reading("Target 2", 30.0)], rules)) == ("borderline", "single-target-2")
    assert said(interpret([Reading("Target 1", None)], rules)) == ("invalid", "missing-target")
    assert said(interpret([], rules)) == ("invalid", "missing-target")


def test_unknown_target_is_refused():
    """A target the assay does not have stops the reading, with the names it has."""
    with pytest.raises(ReadingError) as caught:
        interpret([Reading("ORF8", 20.0)], ALL["cdc-2019-ncov-n1n2rp"])
    assert caught.value.code == "unknown-target"
    assert caught.value.where == "ORF8"
    assert caught.value.sentence == (
        "assay cdc-2019-ncov-n1n2rp has no target of this name, only N1, N2, RP. "
        "Choose the right assay or add an alias."
    )


def test_aliases_and_capitals_lead_to_the_target():
    """The spelling of the instrument file does not change the call."""
    readings = [Reading("2019-ncov_n1", 20.0), Reading(" N2", 20.0), Reading("RNAse P", 25.0)]
    assert interpret(readings, ALL["cdc-2019-ncov-n1n2rp"]).call is Call.positive


@pytest.mark.parametrize("cq", [math.nan, math.inf, -math.inf, 0.0, -1.0])
def test_impossible_cq_is_refused(cq):
    """NaN, infinity, zero and negative numbers are no cycles."""
    with pytest.raises(ReadingError) as caught:
        Reading("N1", cq)
    assert caught.value.code == "cq-refused"
    assert str(caught.value) == (
        f"N1: Cq {cq!r} is no cycle. Undetermined is written as an empty value; check the file."
    )
    assert str(caught.value) == f"{caught.value.where}: {caught.value.sentence}"


def test_unknown_curve_word_is_refused():
    """A curve verdict outside the three words is an error, not an unjudged curve."""
    with pytest.raises(ReadingError) as caught:
        Reading("N1", 20.0, "wavy")
    assert caught.value.code == "curve-refused"
    assert str(caught.value) == "N1: curve verdict 'wavy' is not one of sigmoid, flat, atypical."
    assert (caught.value.where, caught.value.sentence) == tuple(str(caught.value).split(": ", 1))


def test_a_number_on_a_flat_curve_is_neither_positive_nor_negative():
    """A Cq without amplification is borderline with its own rule; clean targets still make a positive."""
    rules = ALL["cdc-2019-ncov-n1n2rp"]
    assert said(read(rules, 27.07, None, 25.0, curves=("flat", None, None))) == ("borderline", "curve-flat")
    assert said(read(rules, 27.07, 27.0, 25.0, curves=("flat", "sigmoid", None))) == (
        "borderline",
        "curve-flat",
    )
    three = ALL["liferiver-zj"]
    clean = read(three, 27.0, 27.0, 27.0, 25.0, curves=("sigmoid", "sigmoid", "flat", None))
    assert said(clean) == ("positive", "two-or-more-detected")


def test_a_curve_without_a_number_is_not_negative():
    """An S-shaped curve that got no Cq is looked at again."""
    rules = ALL["cdc-2019-ncov-n1n2rp"]
    outcome = read(rules, None, None, 25.0, curves=("sigmoid", "flat", "sigmoid"))
    assert said(outcome) == ("borderline", "curve-without-cq")


def test_an_atypical_curve_counts_only_where_no_s_shape_is_asked_for():
    """The Chinese kits want an S shape; the CDC panel wants a number."""
    curves = ("atypical", "atypical", None)
    assert read(ALL["cdc-2019-ncov-n1n2rp"], 30.0, 30.0, 25.0, curves=curves).call is Call.positive
    assert said(read(ALL["daan-2019-ncov"], 30.0, 30.0, 25.0, curves=curves)) == (
        "borderline",
        "curve-atypical",
    )


def test_a_control_on_a_flat_curve_has_failed():
    """A negative needs an internal control that really amplified, in every one of its wells."""
    rules = ALL["cdc-2019-ncov-n1n2rp"]
    assert read(rules, None, None, 25.0, curves=(None, None, "flat")).call is Call.invalid
    wells = [Reading("N1", None), Reading("N2", None), Reading("RP", 25.0), Reading("RP", None)]
    assert interpret(wells, rules).call is Call.invalid


def test_the_call_carries_the_rules_it_was_made_with():
    """Assay, version and digest are stamped on every outcome, targets in the order of the file."""
    rules = ALL["taqpath-covid19-combo"]
    outcome = read(rules, 20.0, 20.0, None, 25.0)
    assert (outcome.assay, outcome.version, outcome.digest) == (rules.id, rules.version, rules.digest)
    assert [name for name, _ in outcome.targets] == ["ORF1ab", "N", "S", "MS2"]


@CALM
@given(data=st.data(), assay_id=st.sampled_from(sorted(ALL)))
def test_order_never_matters_and_nothing_with_a_signal_is_negative(data, assay_id):
    """Any readings in any order give one outcome; a negative has no signal and a good control."""
    rules = ALL[assay_id]
    readings = [
        Reading(target.name, data.draw(CQ), data.draw(CURVE))
        for target in rules.targets
        for _ in range(rules.replicates)
    ]
    outcome = interpret(readings, rules)
    assert interpret(data.draw(st.permutations(readings)), rules) == outcome
    states = dict(outcome.targets)
    if outcome.call is Call.negative:
        for target in rules.targets:
            assert states[target.name] == ("detected" if target.is_control else "not-detected")
    if outcome.call is Call.positive:
        assert outcome.next is Next.conclude
        assert any(states[t.name] in ("detected", "partial") for t in rules.targets if not t.is_control)


@CALM
@given(data=st.data(), assay_id=st.sampled_from(sorted(ALL)), shift=st.floats(0.01, 10))
def test_an_earlier_cq_never_turns_a_positive_into_a_negative(data, assay_id, shift):
    """More virus is never read as less: an earlier Cq keeps a positive positive."""
    rules = ALL[assay_id]
    cqs = [data.draw(st.none() | st.floats(10.1, 45)) for _ in rules.targets for _ in range(rules.replicates)]
    names = [t.name for t in rules.targets for _ in range(rules.replicates)]
    readings = [Reading(name, cq) for name, cq in zip(names, cqs, strict=True)]
    earlier = [Reading(r.target, None if r.cq is None else r.cq - shift) for r in readings]
    before, after = interpret(readings, rules), interpret(earlier, rules)
    if before.call is Call.positive:
        # The one published table that is not monotone: its own notes and the next test say how.
        weaker = before.rule == "several-partial" and after.rule == "single-target-full"
        assert after.call is Call.positive or weaker
    if before.call is Call.borderline:
        assert after.call in (Call.positive, Call.borderline)


def test_the_published_duplicate_table_is_kept_where_it_is_not_monotone():
    """Two targets in one well each are positive, one in both wells plus one in one is inconclusive."""
    rules = ALL["starprotocols-taqpath-one-step-duplicate"]
    assert rules.table[("grey", "grey", "not-detected"), "detected"].call is Call.positive
    assert rules.table[("detected", "grey", "not-detected"), "detected"].call is Call.borderline
    assert "more signal, weaker call" in rules.notes


def test_laboratory_rules_survive_a_round_trip_through_toml_text():
    """A shipped file read as text and as mapping gives equal rules."""
    text = (PACKAGE / "assays" / "maccura.toml").read_text("utf-8")
    assert AssayRules.from_toml(text) == AssayRules.from_mapping(tomllib.loads(text))
