import copy
import tomllib
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retest import (
    AssayRules,
    Case,
    CaseRules,
    Finding,
    Material,
    Policy,
    Reading,
    ReadingError,
    decide,
    interpret,
)
from retest.batch import CALLS, STATES, decide_each, decide_many, interpret_many, outcomes_of
from retest.evidence import BESIDE_STRONG, Evidence
from retest.words import CURVES

CALM = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
PACKAGE = Path(__file__).resolve().parents[2] / "retest"
CHINA = Policy.from_toml((PACKAGE / "policies" / "china.toml").read_text("utf-8"), "china.toml")


def parsed(name):
    """A shipped assay file, parsed."""
    return tomllib.loads((PACKAGE / "assays" / f"{name}.toml").read_text("utf-8"))


def variants():
    """All shipped assays, and each with a row off, the other treatment of missing targets, or two wells."""
    for path in sorted((PACKAGE / "assays").glob("*.toml")):
        content = parsed(path.stem)
        yield AssayRules.from_mapping(content, path.stem)
        for change in (
            {"off": {content["decision"][-2]["id"]: "tried"}},
            {"missing": "read-rest" if content.get("missing", "refuse") == "refuse" else "refuse"},
        ):
            yield AssayRules.from_mapping(copy.deepcopy(content) | change, path.stem)


ALL = list(variants())
EDGES = [cq for edge in (35.0, 37.0, 38.0, 40.0, 43.0) for cq in (edge - 0.01, edge, edge + 0.01)]
WELL = st.tuples(
    st.none() | st.sampled_from(EDGES) | st.floats(0.01, 50), st.integers(0, len(CURVES)), st.booleans()
)
PLACES = st.sampled_from([("", ""), ("7500 Fast Dx", ""), ("CFX96", "Somewhere")])


def scalar(wells, rules, place):
    """The same specimen through the single path."""
    readings = [
        Reading(target.name, cq, CURVES[curve - 1] if curve else None)
        for target, many in zip(rules.targets, wells, strict=True)
        for cq, curve, there in many
        if there
    ]
    return interpret(readings, rules, instrument=place[0], laboratory=place[1])


@CALM
@given(data=st.data(), rules=st.sampled_from(ALL), place=PLACES, n=st.integers(1, 5), wells=st.integers(1, 3))
def test_many_are_read_as_each_one_alone(data, rules, place, n, wells):
    """Any readings, present or not, with any curves, under any rules: the arrays equal the single path."""
    plate = [
        [data.draw(st.lists(WELL, min_size=wells, max_size=wells)) for _ in rules.targets] for _ in range(n)
    ]
    cqs = np.array([[[np.nan if w[0] is None else w[0] for w in many] for many in one] for one in plate])
    curves = np.array([[[w[1] for w in many] for many in one] for one in plate])
    there = np.array([[[w[2] for w in many] for many in one] for one in plate])
    batch = interpret_many(
        cqs, rules, curves=curves, measured=there, instrument=place[0], laboratory=place[1]
    )
    made = outcomes_of(batch, rules)
    for i, one in enumerate(plate):
        outcome = scalar(one, rules, place)
        assert made[i] == outcome
        assert CALLS[batch.calls[i]] is outcome.call
        assert batch.rule_ids[batch.rules[i]] == outcome.rule
        assert [STATES[code] for code in batch.states[i]] == [state for _, state in outcome.targets]


def at_home():
    """A shipped kit with cutoffs of one instrument, of one laboratory, and of both together."""
    content = parsed("kinghawk")
    content["override"] = [
        {"target": "N", "source": "made for the tests", "detected": {"op": "<=", "ct": ct}} | place
        for ct, place in (
            (30.0, {"instruments": ["CFX96"]}),
            (32.0, {"laboratories": ["Somewhere"]}),
            (34.0, {"instruments": ["CFX96"], "laboratories": ["Somewhere"]}),
        )
    ]
    return AssayRules.from_mapping(content)


def test_two_controls_wherever_they_stand_are_read_as_each_one_alone():
    """Both controls must have worked, whether they stand before, between or behind the targets."""
    content = parsed("cdc-2019-ncov-n1n2rp")
    content.pop("control")
    n1, n2, rp = content["target"]
    other = rp | {"name": "other", "aliases": []}
    cqs = list(product((np.nan, 25.0, 40.5), repeat=4))
    for order in ([rp, other, n1, n2], [n1, rp, n2, other], [other, n1, n2, rp]):
        rules = AssayRules.from_mapping(content | {"target": order})
        batch = interpret_many(cqs, rules)
        for row, call, rule in zip(cqs, batch.calls, batch.rules, strict=True):
            wells = [[(None if np.isnan(cq) else cq, 0, True)] for cq in row]
            alone = scalar(wells, rules, ("", ""))
            assert (CALLS[call], batch.rule_ids[rule]) == (alone.call, alone.rule), row


def test_every_edge_is_read_as_each_one_alone():
    """At, just below and just above every end of every band, on every instrument, in every laboratory."""
    for rules in (*ALL[::3], at_home()):
        for place, bands in rules.by_place.items():
            held = [one for b in bands.values() for one in (b.detected, b.grey) if one is not None]
            ends = sorted({end for one in held for end in (one.low, one.high) if 0 < end < 100})
            cqs = [end + step for end in ends for step in (-0.01, 0.0, 0.01)]
            shape = (len(cqs), len(rules.targets), rules.replicates)
            wells = np.broadcast_to(np.array(cqs)[:, None, None], shape)
            batch = interpret_many(wells, rules, instrument=place[0], laboratory=place[1])
            for cq, call, states in zip(cqs, batch.calls, batch.states, strict=True):
                alone = scalar([[(cq, 0, True)] * rules.replicates for _ in rules.targets], rules, place)
                assert [STATES[code] for code in states] == [state for _, state in alone.targets], cq
                assert CALLS[call] is alone.call


@CALM
@given(data=st.data(), rules=st.sampled_from(ALL), n=st.integers(0, 6))
def test_many_are_decided_as_each_one_alone(data, rules, n):
    """First readings of single, mixed and pooled tubes get the decision that each would get by itself."""
    cq = st.just(np.nan) | st.floats(1, 45)
    cqs = np.array([[data.draw(cq) for _ in rules.targets] for _ in range(n)]).reshape(n, len(rules.targets))
    tiers = ("", "fever", "inpatient")
    materials = [data.draw(st.integers(0, 2)) for _ in range(n)]
    persons = [data.draw(st.integers(1, 20)) for _ in range(n)]
    codes = [data.draw(st.integers(0, 2)) for _ in range(n)]
    batch = interpret_many(np.repeat(cqs[:, :, None], rules.replicates, axis=2), rules)
    case_rules = CaseRules(rules, CHINA)
    which, decisions = decide_many(
        batch, case_rules, materials=materials, persons=persons, tiers=tiers, tier_codes=codes
    )
    assert len(which) == n
    for i in range(n):
        material = tuple(Material)[materials[i]]
        finding = Finding(
            "S", "R", CALLS[batch.calls[i]], batch.rule_ids[batch.rules[i]], "first",
            material=material,
        )  # fmt: skip
        case = Case(material, (finding,), persons=persons[i], tier=tiers[codes[i]])
        assert decisions[which[i]] == decide(case, case_rules)


def test_a_plain_table_needs_no_curves_and_no_wells():
    """Specimens x targets with NaN for undetermined is enough; all singles, one person each."""
    rules = AssayRules.from_mapping(parsed("cdc-2019-ncov-n1n2rp"))
    cqs = [[39.99, 39.99, np.nan], [20.0, np.nan, 25.0], [np.nan, 40.0, 39.9], [np.nan, np.nan, np.nan]]
    batch = interpret_many(cqs, rules)
    assert [CALLS[code].value for code in batch.calls] == ["positive", "borderline", "negative", "invalid"]
    which, decisions = decide_many(batch, CaseRules(rules, CHINA))
    assert [decisions[at].reason for at in which] == ["positive", "single-target", "negative", "invalid"]
    assert interpret_many(np.empty((0, 3)), rules).calls.shape == (0,)


def test_every_different_case_gets_its_own_decision():
    """Every call in every tube, for some persons and of every tier: no two cases are taken for one another."""
    rules = CaseRules(AssayRules.from_mapping(parsed("kinghawk")), CHINA)
    cqs = (
        (25.0, 25.0, 25.0),
        (39.0, 39.0, 25.0),
        (25.0, np.nan, 25.0),
        (np.nan, np.nan, 25.0),
        (np.nan,) * 3,
    )
    tiers = ("", "fever", "inpatient")
    cases = list(product(range(len(cqs)), range(3), range(1, 13), range(3)))
    batch = interpret_many([cqs[one[0]] for one in cases], rules.assay)
    materials, persons, codes = ([one[at] for one in cases] for at in (1, 2, 3))
    which, decisions = decide_many(
        batch, rules, materials=materials, persons=persons, tiers=tiers, tier_codes=codes
    )
    plain, plainly = decide_many(batch, rules)
    for i, (_, material, n, tier) in enumerate(cases):
        call, rule, held = CALLS[batch.calls[i]], batch.rule_ids[batch.rules[i]], tuple(Material)[material]
        finding = Finding("S", "R", call, rule, "first", material=held)
        assert decisions[which[i]] == decide(Case(held, (finding,), persons=n, tier=tiers[tier]), rules)
        single = Finding("S", "R", call, rule, "first")
        assert plainly[plain[i]] == decide(Case(Material.single, (single,)), rules)


def test_curves_may_be_given_for_a_table_without_wells():
    """A two-dimensional table of curves belongs to a two-dimensional table of Cq."""
    rules = AssayRules.from_mapping(parsed("cdc-2019-ncov-n1n2rp"))
    batch = interpret_many([[20.0, np.nan, 25.0]], rules, curves=[[2, 0, 0]], measured=[[True, True, True]])
    assert batch.rule_ids[batch.rules[0]] == "curve-flat"


@pytest.mark.parametrize("cq", [0.0, -1.0, np.inf, -np.inf])
def test_an_impossible_cq_names_its_row_and_target(cq):
    """Zero, negative and infinite numbers are no cycles here either."""
    rules = AssayRules.from_mapping(parsed("cdc-2019-ncov-n1n2rp"))
    with pytest.raises(ReadingError) as caught:
        interpret_many([[20.0, 20.0, 20.0], [20.0, cq, 20.0]], rules)
    assert (caught.value.code, caught.value.where) == ("cq-refused", "N2")
    assert "row 1 " in caught.value.sentence


def test_a_well_that_is_not_there_may_hold_anything():
    """What was not measured is not checked, and not read."""
    rules = AssayRules.from_mapping(parsed("cdc-2019-ncov-n1n2rp"))
    batch = interpret_many([[20.0, 0.0, 20.0]], rules, measured=[[True, False, True]])
    assert batch.rule_ids[batch.rules[0]] == "missing-target"


@pytest.mark.parametrize("code", [-1, 4])
def test_an_unknown_curve_code_is_refused(code):
    """A curve code outside the list is an error, not an unjudged curve."""
    rules = AssayRules.from_mapping(parsed("cdc-2019-ncov-n1n2rp"))
    with pytest.raises(ReadingError) as caught:
        interpret_many([[20.0, 20.0, 20.0]], rules, curves=[[0, 0, code]])
    assert (caught.value.code, caught.value.where) == ("curve-refused", "RP")
    assert "row 0 " in caught.value.sentence


@pytest.mark.parametrize("shape", [(3,), (2, 2), (2, 3, 1, 1)])
def test_a_table_of_another_shape_is_refused(shape):
    """One column a target, in the order of the file: anything else would swap targets."""
    rules = AssayRules.from_mapping(parsed("cdc-2019-ncov-n1n2rp"))
    with pytest.raises(ValueError, match="N1, N2, RP"):
        interpret_many(np.full(shape, 20.0), rules)


def findings_of(rules):
    """Findings that the rules can make, of any test and curve."""
    rows = [(row.call, row.id) for row in rules.table.values()]
    return st.builds(
        lambda row, **given: Finding(call=row[0], rule=row[1], **given),
        row=st.sampled_from(rows),
        specimen=st.sampled_from(["T1", "T2"]),
        run=st.sampled_from(["R1", "R2"]),
        test=st.sampled_from(["first", "re-extract", "recollected"]),
        curve=st.sampled_from([None, *CURVES]),
    )


@CALM
@given(data=st.data(), rules=st.sampled_from(ALL))
def test_cases_together_are_decided_as_each_one_alone(data, rules):
    """Any cases, first findings or later ones, with any history, evidence and waiting: nobody gets another's decision."""
    found = findings_of(rules)
    case = st.builds(
        Case,
        material=st.sampled_from(Material),
        findings=st.lists(found, min_size=1, max_size=2).map(tuple),
        persons=st.integers(1, 3),
        tier=st.sampled_from(["", "emergency"]),
        residual=st.booleans(),
        earlier=st.just(()) | st.lists(found, max_size=1).map(tuple),
        evidence=st.sampled_from([(), (Evidence(BESIDE_STRONG, "A1", 20.0),)]),
        waited_hours=st.sampled_from([0.0, 0.9, 1.0, 30.5]),
    )
    cases = data.draw(st.lists(case, max_size=12))
    together = CaseRules(rules, CHINA)
    assert decide_each(cases, together) == [decide(one, together) for one in cases]
