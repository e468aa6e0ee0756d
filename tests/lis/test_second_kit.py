"""What one kit has found is checked with another kit, never with the same one again."""

from __future__ import annotations

import pytest
from bench import Bench

from lis import config, laboratory, rulebook
from lis.errors import LisError
from lis.services import plates, reports
from lis.services.plates import PlateOrder, WellOrder
from lis.tube import TubeState
from retest import AssayRules, Material, Policy
from retest.kits import second_kits

DAAN, SANSURE, MACCURA = "daan-2019-ncov", "sansure", "maccura"
CONTROLS = (WellOrder("A12", control="NTC"), WellOrder("D12", control="EC"), WellOrder("H12", control="PC"))


@pytest.fixture(name="jilin")
def jilin_bench(make_bench) -> Bench:
    """A laboratory in which every positive is checked with a second kit."""
    return make_bench(jurisdiction="china-second-kit")


def positive(bench: Bench, assay: str) -> dict[str, float]:
    """Every viral target of an assay, clearly detected."""
    return {target.name: 25.0 for target in bench.lab.rules.assay(assay).targets if not target.is_control}


def found_positive(bench: Bench, assay: str = DAAN) -> str:
    """A tube that one kit has found positive and that waits for its second kit."""
    [code] = bench.singles()
    bench.cycle([code], {code: positive(bench, assay)}, assay=assay)
    tube = bench.tube(code)
    assert (tube.state, tube.test, tube.assay) == (TubeState.AWAITING_RETEST, "second-kit", assay)
    return code


def attempt(bench: Bench, code: str, assay: str) -> LisError | None:
    """Plate a tube by hand; the refusal, if it is refused."""
    try:
        bench.make(PlateOrder(assay=assay, wells=(WellOrder("A1", tube=code), *CONTROLS)), load=False)
    except LisError as error:
        return error
    return None


def test_the_same_kit_again_is_refused_with_the_kits_that_are_possible(jilin: Bench):
    """By hand the kit that called the tube is refused, and so is one the policy does not list; others go."""
    code = found_positive(jilin)
    for assay in (DAAN, "kinghawk"):
        error = attempt(jilin, code, assay)
        assert error is not None
        assert error.code == "SECOND_KIT"
        assert error.details == {"tube": code, "kits": f"{SANSURE}, {MACCURA}", "assay": assay}
        assert f"Possible: {SANSURE}, {MACCURA}." in error.sentence
    assert jilin.tube(code).state is TubeState.AWAITING_RETEST
    assert attempt(jilin, code, MACCURA) is None
    assert (jilin.tube(code).assay, jilin.tube(code).test) == (MACCURA, "second-kit")


def test_the_scheduler_keeps_second_kits_apart_from_first_tests(jilin: Bench):
    """A plate is of one kit: the tube goes on a plate of the preferred other kit, the new tubes on theirs."""
    code = found_positive(jilin)
    fresh = jilin.singles(3)
    first = jilin.make(PlateOrder(), load=False)
    second = jilin.make(PlateOrder(), load=False)
    assert jilin.assay_of(first).id == SANSURE
    assert jilin.tube(code).plate_id == first
    assert jilin.assay_of(second).id == DAAN
    assert {jilin.tube(one).plate_id for one in fresh} == {second}
    assert jilin.check().ok


def test_a_positive_of_two_kits_is_a_positive(jilin: Bench):
    """Found by one kit and by another one the case is concluded; the report waits for two people as ever."""
    code = found_positive(jilin)
    jilin.cycle([code], {code: positive(jilin, SANSURE)}, assay=SANSURE)
    tube = jilin.tube(code)
    assert (tube.state, tube.result) == (TubeState.IN_REVIEW, "positive")
    for who in ("rosa", "ruth"):
        with jilin.lab.database.write(who) as unit:
            reports.review(unit, jilin.lab.rules, code, "accept")
    with jilin.lab.database.write("ruth") as unit:
        assert reports.release(unit, jilin.lab.rules, [code]).reports[code]
    assert jilin.check().ok


def test_a_second_kit_stays_a_second_kit_after_a_failed_run(jilin: Bench):
    """A void run of the second kit is no reading: the first kit is refused as before."""
    code = found_positive(jilin)
    jilin.cycle([code], {"NTC": positive(jilin, SANSURE)}, assay=SANSURE)
    tube = jilin.tube(code)
    assert (tube.state, tube.test, tube.tests) == (TubeState.AWAITING_RETEST, "second-kit", 1)
    assert attempt(jilin, code, DAAN) is not None
    assert attempt(jilin, code, SANSURE) is None


def test_a_reviewers_second_kit_is_one_too(bench: Bench):
    """Who sends a tube to a second kit gets one, under a policy that asks for none by itself."""
    [code] = bench.singles()
    bench.cycle([code], {code: positive(bench, DAAN)})
    with bench.lab.database.write("rosa") as unit:
        reports.review(unit, bench.lab.rules, code, "second-kit", "looks odd")
    assert attempt(bench, code, DAAN) is not None
    with bench.lab.database.write("anna") as unit:
        [job] = plates.jobs(unit, bench.lab.rules)
    assert job.assay == SANSURE


def test_without_another_kit_the_same_one_is_better_than_none(make_bench, tmp_path):
    """Where the policy lists no kit that has not read the tube, the laboratory may go on with what it has."""
    text = dict(rulebook.files("policies"))["china-second-kit"]
    own = tmp_path / "data" / "rules" / "policies"
    own.mkdir(parents=True)
    listed = 'second_kits = ["sansure", "maccura", "daan-2019-ncov"]'
    assert listed in text
    (own / "china-second-kit.toml").write_text(text.replace(listed, f'second_kits = ["{DAAN}"]'), "utf-8")
    bench = make_bench(jurisdiction="china-second-kit")
    code = found_positive(bench)
    assert attempt(bench, code, DAAN) is None


def test_a_kit_that_is_not_loaded_stops_the_start(tmp_path):
    """A policy that names a kit nobody has is found when the laboratory opens, not at the bench."""
    text = dict(rulebook.files("policies"))["china"]
    own = tmp_path / "rules" / "policies"
    own.mkdir(parents=True)
    (own / "china.toml").write_text(text.replace('["sansure", ', '["nobody-has-it", '), "utf-8")
    with pytest.raises(LisError, match=r"second_kits.*nobody-has-it") as error:
        laboratory.open_laboratory(config.load(tmp_path))
    assert error.value.code == "BAD_RULES"


def test_a_kit_must_be_validated_for_what_the_tube_holds():
    """A kit that was never validated for mixed tubes is no second kit for one, whatever the list says."""
    assays = {
        name: AssayRules.from_toml(text, name)
        for name, text in rulebook.files("assays")
        if name in {DAAN, SANSURE, MACCURA}
    }
    policy = Policy.from_toml(dict(rulebook.files("policies"))["china"], "china")
    assert second_kits(policy, assays, {DAAN}, Material.single, 1) == (SANSURE, MACCURA)
    assert second_kits(policy, assays, {SANSURE, MACCURA, DAAN}, Material.single, 1) == ()
    assert second_kits(policy, {DAAN: assays[DAAN]}, (), Material.single, 1) == (DAAN,)
    most = assays[SANSURE].pooling.max_mixed
    fits = second_kits(policy, assays, {DAAN}, Material.mixed, most)
    assert (SANSURE in fits) == (Material.mixed in assays[SANSURE].pooling.modes)
    assert SANSURE not in second_kits(policy, assays, {DAAN}, Material.mixed, most + 1)
