import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retest import REASONS, AssayRules, ControlFailure, ControlReading, Reading, ReadingError, judge_plate
from retest.controls import missing_controls

# A busy machine must not fail a property.
CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def control(kind, a, b, ic, batch="", well="H12", curve=None):
    """One control of the synthetic kit."""
    return ControlReading(kind, well, batch, (Reading("A", a, curve), Reading("B", b), Reading("IC", ic)))


NTC = control("NTC", None, None, None)
PC = control("PC", 28.0, 29.0, 27.0, well="H11")
EC1 = control("EC", None, None, 27.0, "X1", "A1")
EC2 = control("HSC", None, None, 27.0, "X2", "A2")


def judged(rules, *controls, batches=("X1", "X2"), **place):
    """The verdict, and its failures as (scope, batch, target, reason)."""
    verdict = judge_plate(controls, rules, batches=batches, **place)
    return verdict, [(f.scope, f.batch, f.target, f.reason) for f in verdict.failures]


def test_good_controls_make_a_good_plate(synthetic):
    """All controls as they should be: nothing fails."""
    verdict, failures = judged(synthetic, NTC, PC, EC1, EC2)
    assert verdict.run_valid
    assert not failures
    assert verdict.failed_batches == frozenset()
    assert verdict.batch_valid("X1")


@pytest.mark.parametrize(
    ("broken", "target", "reason"),
    [
        (control("NC", 41.0, None, None), "A", "control-signal"),
        (control("NTC", None, None, None, curve="sigmoid"), "A", "control-signal"),
        (control("NTC", None, 39.99, None), "B", "control-signal"),
        (control("PC", None, 29.0, 27.0), "A", "control-no-signal"),
        (control("PC", 28.0, 29.0, 27.0, curve="flat"), "A", "control-no-signal"),
        (control("PC", 28.0, 29.0, 27.0, curve="atypical"), "A", "control-no-signal"),
        (control("PC", 33.01, 29.0, 27.0), "A", "control-late"),
        (control("PC", 28.0, 38.01, 27.0), "B", "control-late"),
        (control("PC", 19.99, 29.0, 27.0), "A", "control-early"),
        (ControlReading("PC", "H11", "", (Reading("A", 28.0),)), "B", "control-target-missing"),
    ],
)
def test_a_failed_run_control_voids_the_run(synthetic, broken, target, reason):
    """NTC and PC speak for every well: one failure voids the run and says where and why."""
    verdict, failures = judged(synthetic, NTC, PC, EC1, EC2, broken)
    assert not verdict.run_valid
    assert failures == [("run", "", target, reason)]
    assert verdict.failed_batches == frozenset()
    assert not verdict.batch_valid("X1")


@pytest.mark.parametrize(
    "good",
    [
        control("NTC", None, 40.0, 20.0),
        control("PC", 20.0, 38.0, None),
        control("PC", 33.0, 1.0, None, curve="sigmoid"),
    ],
)
def test_limits_are_inclusive(synthetic, good):
    """A control at exactly its limit passes."""
    assert not judged(synthetic, NTC, PC, EC1, EC2, good)[1]


@pytest.mark.parametrize(
    ("ec", "target", "reason"),
    [
        (control("EC", 39.0, None, 27.0, "X2"), "A", "control-signal"),
        (control("EC", None, None, None, "X2"), "IC", "control-no-signal"),
        (control("EC", None, None, 35.1, "X2"), "IC", "control-late"),
    ],
)
def test_a_failed_extraction_control_voids_exactly_its_batch(synthetic, ec, target, reason):
    """The other batch and the run stay good."""
    verdict, failures = judged(synthetic, NTC, PC, EC1, ec)
    assert verdict.run_valid
    assert failures == [("extraction", "X2", target, reason)]
    assert verdict.failed_batches == {"X2"}
    assert verdict.batch_valid("X1")
    assert not verdict.batch_valid("X2")


def test_missing_controls_have_failed(synthetic):
    """No control is no proof: run and batch fail in their own scope."""
    verdict, failures = judged(synthetic, EC1)
    assert failures == [
        ("run", "", "", "control-missing"),
        ("run", "", "", "control-missing"),
        ("extraction", "X2", "", "control-missing"),
    ]
    assert not verdict.run_valid
    assert {f.kind for f in verdict.failures} == {"NTC", "PC", "EC"}


def test_a_control_nobody_knows_is_not_ignored(synthetic):
    """An unknown control, or one of a batch that is not on the plate, stops the run for a person."""
    stray = control("EC", None, None, 27.0, "X9")
    _, failures = judged(synthetic, NTC, PC, EC1, EC2, control("XYZ", None, None, None), stray)
    assert failures == [("run", "", "", "control-unknown"), ("run", "X9", "", "control-batch-unknown")]


def test_every_failure_speaks_both_languages(synthetic):
    """A technician reads what happened in English or in Chinese."""
    verdict, _ = judged(synthetic)
    for failure in verdict.failures:
        assert failure.en.endswith(".")
        assert failure.zh.endswith("。")


def test_a_failure_names_the_well_and_the_control_as_it_was_read(synthetic):
    """Who stands at the cycler is told which well failed, for which target and why, in both languages."""
    ec = control("HSC", 39.0, None, 27.0, "X2", "C7")
    verdict, _ = judged(synthetic, NTC, PC, EC1, ec)
    assert verdict.failures == (
        ControlFailure("extraction", "X2", "HSC", "C7", "A", "control-signal", *REASONS["control-signal"]),
    )
    verdict, _ = judged(synthetic, NTC, PC, EC1)
    assert verdict.failures == (
        ControlFailure("extraction", "X2", "EC", "", "", "control-missing", *REASONS["control-missing"]),
    )


def test_a_plate_that_lacks_controls_is_told_which(synthetic):
    """Before a run starts the technician reads what is missing, where, and what would not count."""
    missing = missing_controls(
        [(" nc ", ""), ("HSC", "X2"), ("PC", "X1"), ("?", "")], synthetic, {"X2", "X1"}
    )
    assert [(one.rule.kind, one.batch, one.found) for one in missing] == [("EC", "X1", 0)]
    assert missing[0].sentence == (
        "Extraction batch X1 has 0 of 1 controls EC that the assay requires; "
        "no result of its specimens would count."
    )
    [ntc, *batches] = missing_controls([("PC", "")], synthetic, ["X2", "X1"])
    assert ntc.sentence == (
        "The plate has 0 of 1 controls NTC that the assay requires; no result of any specimen would count."
    )
    assert [(one.rule.kind, one.batch) for one in batches] == [("EC", "X1"), ("EC", "X2")]
    assert missing_controls([("NTC", ""), ("PC", "")], synthetic, []) == ()


def test_two_controls_where_two_are_asked_for(content):
    """One of two is reported as one of two; a control that is only judged when present is never missing."""
    content["control"][1]["min"], content["control"][2]["min"] = 2, 0
    rules = AssayRules.from_mapping(content)
    missing = missing_controls([("NTC", ""), ("PC", ""), ("EC", "X9")], rules, ["X1"])
    assert [(one.rule.kind, one.batch, one.found) for one in missing] == [("PC", "", 1)]


def test_controls_use_the_cutoff_of_the_instrument(synthetic):
    """A positive control that is late for this cycler fails on it."""
    assert judged(synthetic, NTC, PC, EC1, EC2, instrument="Cycler X")[1] == []
    late = control("PC", 28.0, 30.0, 27.0)
    assert judged(synthetic, NTC, late, EC1, EC2)[1] == []
    assert judged(synthetic, NTC, late, EC1, EC2, instrument="Cycler X")[1] == [
        ("run", "", "B", "control-late")
    ]


def test_controls_use_the_cutoff_of_the_laboratory(content):
    """A laboratory that has a cutoff of its own judges its controls by it."""
    content["override"][0] |= {"instruments": [], "laboratories": ["Lab L"]}
    rules = AssayRules.from_mapping(content)
    late = control("PC", 28.0, 30.0, 27.0)
    assert judged(rules, NTC, late, EC1, EC2)[1] == []
    assert judged(rules, NTC, late, EC1, EC2, laboratory="lab l")[1] == [("run", "", "B", "control-late")]


def test_a_control_with_a_foreign_target_is_refused(synthetic):
    """A reading of a target the assay does not have is an error, as for specimens."""
    with pytest.raises(ReadingError):
        judged(synthetic, ControlReading("NTC", "A1", "", (Reading("Z", None),)))


def test_cdc_ntc_with_any_curve_and_hsc_of_one_batch(assay):
    """CDC: any signal in an NTC voids the run; a bad HSC voids its extraction batch."""
    cdc = assay("cdc-2019-ncov-n1n2rp")

    def make(kind, n1, n2, rp, batch=""):
        return ControlReading(kind, "", batch, (Reading("N1", n1), Reading("N2", n2), Reading("RP", rp)))

    good = [make("NTC", None, None, None), make("nCoVPC", 30.0, 30.0, 28.0)]
    bad_hsc = make("HSC", 38.0, None, 27.0, "b")
    verdict = judge_plate([*good, make("HSC", None, None, 27.0, "a"), bad_hsc], cdc, batches=["a", "b"])
    assert verdict.run_valid
    assert verdict.failed_batches == {"b"}
    verdict = judge_plate([*good, make("NTC", None, None, 44.0)], cdc, batches=[])
    assert not verdict.run_valid


@CALM
@given(st.lists(st.sampled_from([NTC, PC, EC1, EC2]), max_size=8), st.randoms())
def test_the_verdict_does_not_depend_on_the_order_of_wells(synthetic, controls, chance):
    """A plate is good or bad whatever well is read first, and good only with all controls."""
    turned = list(controls)
    chance.shuffle(turned)
    one = judge_plate(controls, synthetic, batches=["X1", "X2"])
    two = judge_plate(turned, synthetic, batches=["X1", "X2"])
    assert (one.run_valid, one.failed_batches) == (two.run_valid, two.failed_batches)
    assert one.run_valid == ({NTC, PC} <= set(controls))
    assert one.failed_batches == {ec.batch for ec in (EC1, EC2) if ec not in controls}
