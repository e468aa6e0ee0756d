"""Every sentence of an error, as a technician reads it: what, where, what to do next."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

import pooling

NOW = datetime(2022, 12, 14, 8, 0, tzinfo=UTC)
POOL = pooling.LabPool("L", (pooling.Individual("T1"), pooling.Individual("T2")))
NEG = pooling.Finding.NEGATIVE

SENTENCES = [
    (
        lambda: pooling.two_stage(0.0, 5),
        "BAD_PREVALENCE",
        "The prevalence must lie between 0 and 1 (both excluded), not 0.0.",
    ),
    (lambda: pooling.two_stage(0.1, 0), "BAD_SIZE", "A pool needs at least one member, not 0."),
    (lambda: pooling.break_even(1), "BAD_SIZE", "Break-even is defined for pools of two or more, not 1."),
    (lambda: pooling.Accuracy(0.0), "BAD_ACCURACY", "The sensitivity must lie in (0, 1], not 0.0."),
    (lambda: pooling.Accuracy(1.0, 1.5), "BAD_ACCURACY", "The specificity must lie in (0, 1], not 1.5."),
    (
        lambda: pooling.Accuracy(1.0, 1.0, {1: 0.9}),
        "BAD_DETECTION",
        "Detection needs pool sizes from 2 and shares in (0, 1], not 1: 0.9.",
    ),
    (
        lambda: pooling.Accuracy(1.0, 1.0, {5: 0.9}).pool_sensitivity(8),
        "NO_DETECTION",
        "Detection was measured up to pools of 5, not of 8. Measure it first.",
    ),
    (
        lambda: pooling.two_stage(0.1, 5, (pooling.PERFECT,) * 3),
        "BAD_STAGES",
        "3 accuracies were given for 2 stages. Give one, or one per stage.",
    ),
    (
        lambda: pooling.three_stage(0.1, (4,)),
        "BAD_LAYOUT",
        "Three stages need two or more sub-pools of one or more: (4,).",
    ),
    (lambda: pooling.best_parts(0.1, 1), "BAD_SIZE", "A pool of 1 cannot be split."),
    (lambda: pooling.halving_tree(8, 1), "BAD_STAGES", "Halving needs two stages or more, not 1."),
    (lambda: pooling.pmf_of_tests(0.1, 0), "BAD_LAYOUT", "A pool needs at least one member, not 0."),
    (
        lambda: pooling.pmf_of_tests(0.1, (2,)),
        "BAD_LAYOUT",
        "A pool is split into two or more parts, not into (2,).",
    ),
    (lambda: pooling.array(0.1, 1, 8), "BAD_SIZE", "An array needs two rows and two columns, not 1 x 8."),
    (lambda: pooling.split_tubes(-1, 0.1, 5), "BAD_SIZE", "The number of tubes cannot be -1."),
    (lambda: pooling.pools_of_day(10, 5, 0.1, stages=4), "BAD_STAGES", "Stages are 1, 2 or 3, not 4."),
    (
        lambda: pooling.split_risks([0.1, 0.2], 2, pooling.Accuracy(0.5, 0.4)),
        "BAD_ACCURACY",
        "A test with Se + Sp below 1 is worse than chance.",
    ),
    (
        lambda: pooling.day_tests([2], 0.1).quantile(1.0),
        "BAD_SHARE",
        "A share of days lies between 0 and 1, not 1.0.",
    ),
    (lambda: pooling.design(0.1, stages=4), "BAD_STAGES", "Stages are 1, 2 or 3, not 4."),
    (lambda: pooling.design(0.1, max_size=0), "BAD_CAP", "The cap must lie between 1 and 1000, not 0."),
    (lambda: pooling.design(0.1, validated=0), "BAD_CAP", "The validated pool size is 1 or more, not 0."),
    (
        lambda: pooling.design(0.1, min_sensitivity=1.1),
        "BAD_FLOOR",
        "The sensitivity floor must lie between 0 and 1, not 1.1.",
    ),
    (
        lambda: pooling.design(0.1, size=5, stages=1),
        "BAD_SIZE",
        "A pool of 5 is not possible with 1 stage(s).",
    ),
    (
        lambda: pooling.design(0.1, size=5, array=(2, 2)),
        "SIZE_AND_ARRAY",
        "Give a pool size or an array, not both.",
    ),
    (
        lambda: pooling.design(0.1, master=True),
        "MASTER_ALONE",
        "A master pool belongs to an array. Give rows and columns.",
    ),
    (
        lambda: pooling.design(0.1, sensitivity=[0.9, 0.9, 0.9]),
        "BAD_STAGES",
        "3 values of sensitivity for 2 stages. Give one, or one per stage.",
    ),
    (
        lambda: pooling.design(0.1, specificity=[0.9]),
        "BAD_STAGES",
        "1 values of specificity for 2 stages. Give one, or one per stage.",
    ),
    (
        lambda: pooling.Volume(0.0),
        "BAD_VOLUME",
        "Volumes are above 0 and repeats not below 0: Volume(tube_ul=0.0, pool_ul=200.0, single_ul=200.0, pool_repeats=1, single_repeats=1, dead_ul=100.0, smallest_ul=10.0).",
    ),
    (lambda: pooling.lab_shift(0), "BAD_SIZE", "A pool needs at least one member, not 0."),
    (lambda: pooling.medium_shift(0.0, 3.0), "BAD_VOLUME", "Medium volumes are above 0 mL, not 0.0 and 3.0."),
    (lambda: pooling.Spread(0.0, -0.1, 1), "BAD_SPREAD", "A spread cannot be below 0 cycles: -0.1."),
    (
        lambda: pooling.detection(np.array([41.0]), 40.0, {2: 1.0}),
        "NO_POSITIVES",
        "No specimen is at or below the cutoff 40.0.",
    ),
    (
        lambda: pooling.detection(np.array([37.5]), 38.0, {8: 3.0}),
        "ALL_LOST",
        "A pool of 8 would find none of the 1 positives.",
    ),
    (
        lambda: pooling.fit_spread([0.1]),
        "FEW_PAIRS",
        "Only 1 pairs were read in both columns. Measure three or more.",
    ),
    (lambda: pooling.read_cqs("", 40.0), "CQ_FILE", "The file holds no Cq. Write one Cq per line."),
    (
        lambda: pooling.read_cqs("single,pool\n1,2\n", 40.0),
        "CQ_FILE",
        "Line 1: paired Cqs need the header single,pool,size, not single,pool.",
    ),
    (
        lambda: pooling.read_cqs("single,pool,size\n20,23,1\n", 40.0),
        "CQ_FILE",
        "Line 2: the pool size is a whole number from 2.",
    ),
    (lambda: pooling.read_cqs("30\n31,32\n", 40.0), "CQ_FILE", "Line 2 has 2 fields, 1 are needed."),
    (
        lambda: pooling.read_cqs("30\nabc\n", 40.0),
        "CQ_FILE",
        "Line 2: 'abc' is not a Cq. Leave the field empty for undetermined.",
    ),
    (lambda: pooling.MixedTube("M", ()), "TOO_FEW_MEMBERS", "Tube M needs at least 1 person(s)."),
    (
        lambda: pooling.MixedTube("M", ("P", "P")),
        "DUPLICATE_TUBE",
        "Tube M: person P is named twice. Each belongs in it once.",
    ),
    (lambda: pooling.MixedTube("M", ("M",)), "DUPLICATE_TUBE", "Tube M cannot be a member of itself."),
    (lambda: pooling.DualSwab("S", ()), "TOO_FEW_MEMBERS", "Tube S needs at least 1 retained tube(s)."),
    (
        lambda: pooling.DualSwab("S", (pooling.Individual("T"),)),
        "NOT_RETAINED",
        "Shared tube S: Individual(tube='T', person='') is not a retained tube of one person.",
    ),
    (
        lambda: pooling.DualSwab("S", (pooling.Retained("R"), pooling.Retained("R"))),
        "DUPLICATE_TUBE",
        "Tube S: retained tube R is named twice. Each belongs in it once.",
    ),
    (lambda: pooling.LabPool("L", ()), "TOO_FEW_MEMBERS", "Tube L needs at least 2 tube(s)."),
    (
        lambda: pooling.LabPool("L", (pooling.Individual("T"), pooling.Retained("R"))),
        "NESTED_POOL",
        "Pool L: Retained(tube='R', person='') is not the tube of one person and is never pooled. Test it as it is.",
    ),
    (
        lambda: pooling.LabPool("L", (pooling.Individual("T"), pooling.Individual("T"))),
        "DUPLICATE_TUBE",
        "Tube L: tube T is named twice. Each belongs in it once.",
    ),
    (
        lambda: pooling.decode(POOL, pooling.PoolReading(None), [pooling.Member("T1")]),
        "MEMBERS_DIFFER",
        "The members of L differ from those given: T2. Name every member once; a lost tube is marked missing.",
    ),
    (
        lambda: pooling.decode(
            POOL,
            pooling.PoolReading(None),
            [pooling.Member("T1"), pooling.Member("T1"), pooling.Member("T2")],
        ),
        "MEMBERS_DIFFER",
        "The members of L differ from those given: T1, T2. Name every member once; a lost tube is marked missing.",
    ),
    (
        lambda: pooling.decode(
            POOL, pooling.PoolReading(None), [pooling.Member("T1", NEG), pooling.Member("T2")]
        ),
        "BAD_MEMBER",
        "Tube T1 has a finding but no test was counted.",
    ),
    (
        lambda: pooling.decode(
            pooling.MixedTube("M", ("P",)), pooling.PoolReading(None), [pooling.Member("T1")]
        ),
        "NO_INDIVIDUAL_RESULT",
        "Tube M was mixed at collection; none of its persons has a tube or a result of their own. Decode the re-collected tubes as specimens of their persons.",
    ),
    (
        lambda: pooling.DecodeRules(mixed_invalid=pooling.Action.WAIT),
        "BAD_RULES",
        "An invalid mixed tube is re-collected or re-extracted, not wait.",
    ),
    (lambda: pooling.worklist([], 0.0), "BAD_WORKLIST", "The aliquot is above 0 microlitres, not 0.0."),
    (
        lambda: pooling.worklist([], 5.0, ("I1",)),
        "BAD_WORKLIST",
        "Reserved wells lie in A1 to H12 and leave one free; not ['I1'].",
    ),
    (
        lambda: pooling.worklist([pooling.PoolToMake("L", ())], 5.0),
        "BAD_WORKLIST",
        "Pool L has no members. Leave it out.",
    ),
    (
        lambda: pooling.worklist([pooling.PoolToMake("L", (" ",))], 5.0),
        "BAD_WORKLIST",
        "' ' is not a barcode. Scan it again.",
    ),
    (
        lambda: pooling.worklist([pooling.PoolToMake("L", ("T", "T"))], 5.0),
        "BAD_WORKLIST",
        "T is on the worklist twice. A tube gives one aliquot to one pool.",
    ),
    (lambda: pooling.by_hand((), "fr"), "BAD_LANGUAGE", "The worklist is printed in en or zh, not in fr."),
    (
        lambda: pooling.AdviceRules(modes=(10, 5)),
        "BAD_RULES",
        "Modes are places per tube, 1 among them: (10, 5).",
    ),
    (
        lambda: pooling.AdviceRules(margin=0),
        "BAD_RULES",
        "Advice needs 0 < confidence < 1, a margin above 0 and at least one tube.",
    ),
    (
        lambda: pooling.AdviceRules(grey=1.0),
        "BAD_RULES",
        "Shares of grey and invalid tubes lie between 0 and 1.",
    ),
    (lambda: pooling.AdviceRules(round_hours=-1.0), "BAD_RULES", "Hours cannot be below 0."),
    (lambda: pooling.positivity([]), "NO_TUBES", "No tube was read in this window; widen it."),
    (
        lambda: pooling.advise([pooling.Tally(NOW, 1, 300, 3)], 20, pooling.AdviceRules()),
        "BAD_MODE",
        "The current mode 20:1 is not among (10, 5, 1).",
    ),
    (
        lambda: pooling.Tally(NOW, 1, 10, 11),
        "BAD_TALLY",
        "A tally needs places >= 1 and 0 <= positive <= tested, not Tally(at=datetime.datetime(2022, 12, 14, 8, 0, tzinfo=datetime.timezone.utc), places=1, tested=10, positive=11).",
    ),
    (
        lambda: pooling.Tally(NOW.replace(tzinfo=None), 1, 1, 1),
        "NAIVE_TIME",
        "A tally has no time zone: 2022-12-14T08:00:00.",
    ),
    (
        lambda: pooling.PoolRules(size=11, max_n=10),
        "BAD_RULES",
        "Pools need 2 <= min_n <= size <= max_n, not 3, 11, 10.",
    ),
    (
        lambda: pooling.PoolRules(aliquot_ul=0),
        "BAD_RULES",
        "The aliquot must be above 0 microlitres and the reserve not below 0.",
    ),
    (
        lambda: pooling.PoolRules(max_wait=timedelta(minutes=-1)),
        "BAD_RULES",
        "Waiting time and lead time cannot be negative.",
    ),
    (
        lambda: pooling.PoolRules(prevalence=1.0),
        "BAD_PREVALENCE",
        "The prevalence must lie between 0 and 1 (both excluded), not 1.0.",
    ),
    (
        lambda: pooling.Waiting("T", "bottle", NOW, NOW, "region", "S"),
        "BAD_KIND",
        "Tube T: kind is one of single, mixed, pool, dual, retained, not 'bottle'.",
    ),
    (
        lambda: pooling.Waiting("T", "single", NOW, NOW.replace(tzinfo=None), "region", "S"),
        "NAIVE_TIME",
        "Tube T: received has no time zone: 2022-12-14T08:00:00.",
    ),
    (
        lambda: pooling.Waiting("T", "single", NOW.replace(tzinfo=None), NOW, "region", "S"),
        "NAIVE_TIME",
        "Tube T: due has no time zone: 2022-12-14T08:00:00.",
    ),
    (
        lambda: pooling.form_pools([], pooling.PoolRules(), NOW.replace(tzinfo=None)),
        "NAIVE_TIME",
        "now has no time zone: 2022-12-14T08:00:00.",
    ),
    (
        lambda: pooling.PoolPolicy("x", "x", "1", "x", "x", "x", "x", None, None, None, {}).duties(
            pooling.Mode.POOL
        ),
        "MODE_NOT_ALLOWED",
        "Policy x has no rule for mode pool; it knows .",
    ),
]


@pytest.mark.parametrize(("call", "code", "sentence"), SENTENCES, ids=range(len(SENTENCES)))
def test_every_error_says_exactly_this(call, code, sentence):
    """The whole sentence and the code, so that no word of it changes unseen."""
    with pytest.raises(pooling.PoolDesignError) as caught:
        call()
    assert (caught.value.code, str(caught.value)) == (code, sentence)


POLICY = """
id = "here"
name = "Here"
version = "1"
source = "a test"
notes = "synthetic"

[limits]
max_prevalence = 0.2

[statement]
en = "Pooled."
zh = "混检。"

[mode.mixed]
max_n = 10
notify = true
isolate = true
with_confirmed = false
en = "Wait."
zh = "请等待。"

[mode.mixed.medium_ml]
10 = 6

[mode.pool]
report = "nothing"
max_n = 5
notify = false
isolate = false
with_confirmed = false
en = "Wait."
zh = "请等待。"
"""

POLICY_SENTENCES = [
    ('id = "here"', "", "bad.toml.id: the key 'id' is missing; add a text."),
    ('id = "here"', "id = 7", "bad.toml.id: 7 is not a text; write a text."),
    ('name = "Here"', 'name = " "', "bad.toml.name: the text is empty; write a text."),
    ('zh = "混检。"', "", "bad.toml.statement.zh: the key 'zh' is missing; add a text."),
    (
        'zh = "混检。"',
        'zh = "混检。"\nfr = "x"',
        "bad.toml.statement.fr: the key 'fr' is not known here; remove or correct it (read: en, zh).",
    ),
    (
        "[limits]",
        "limit = 3\n[limits]",
        "bad.toml.limit: the key 'limit' is not known here; remove or correct it (read: id, name, version, source, notes, limits, statement, mode).",
    ),
    (
        "max_prevalence = 0.2",
        "max_prevalence = 20",
        "bad.toml.limits.max_prevalence: 20 is not between 0 and 1; write a share such as 0.2.",
    ),
    (
        "max_prevalence = 0.2",
        "max_prevalence = 0",
        "bad.toml.limits.max_prevalence: 0 is not between 0 and 1; write a share such as 0.2.",
    ),
    (
        "max_prevalence = 0.2",
        "compare_share = 1",
        "bad.toml.limits.compare_share: 1 is not between 0 and 1; write a share such as 0.2.",
    ),
    (
        "max_prevalence = 0.2",
        "records_months = 0",
        "bad.toml.limits.records_months: 0 is not a number of months; write 1 or more.",
    ),
    (
        "max_prevalence = 0.2",
        "maximum = 1",
        "bad.toml.limits.maximum: the key 'maximum' is not known here; remove or correct it (read: ).",
    ),
    (
        "max_n = 5",
        "max_n = true",
        "bad.toml.mode.pool.max_n: True is not a whole number; write a whole number.",
    ),
    ("max_n = 5", "max_n = 1", "bad.toml.mode.pool.max_n: 1 is no pool; write 2 or more."),
    (
        "notify = true",
        "notify = 1",
        "bad.toml.mode.mixed.notify: 1 is not true or false; write true or false.",
    ),
    (
        'report = "nothing"',
        'report = "silence"',
        "bad.toml.mode.pool.report: 'silence' is not known; write one of nothing, under-review, presumed-positive.",
    ),
    ('report = "nothing"', "", "bad.toml.mode.pool.report: the key 'report' is missing; add a text."),
    (
        "[mode.mixed]",
        '[mode.mixed]\nreport = "nothing"',
        "bad.toml.mode.mixed.report: for a mixed tube this is report_while_waiting of the case policy; remove it here.",
    ),
    (
        "10 = 6",
        "ten = 6",
        "bad.toml.mode.mixed.medium_ml.ten: write persons = mL, both above 0, such as 10 = 6.0.",
    ),
    (
        "10 = 6",
        "0 = 6",
        "bad.toml.mode.mixed.medium_ml.0: write persons = mL, both above 0, such as 10 = 6.0.",
    ),
    (
        "10 = 6",
        "10 = 0",
        "bad.toml.mode.mixed.medium_ml.10: write persons = mL, both above 0, such as 10 = 6.0.",
    ),
    (
        "[mode.pool]",
        "[mode.swab]",
        "bad.toml.mode.swab: the key 'swab' is not known here; remove or correct it (read: mixed).",
    ),
    (
        "[statement]",
        "[[statement]]",
        "bad.toml.statement: [{'en': 'Pooled.', 'zh': '混检。'}] is not a table; write a table.",
    ),
    (
        "[mode.mixed.medium_ml]\n10 = 6",
        "medium_ml = 3",
        "bad.toml.mode.mixed.medium_ml: 3 is not a table; write a table.",
    ),
    ('source = "a test"', "source = 1", "bad.toml.source: 1 is not a text; write a text."),
    ('notes = "synthetic"', "notes = 1", "bad.toml.notes: 1 is not a text; write a text."),
    ('name = "Here"', "name = 1", "bad.toml.name: 1 is not a text; write a text."),
    ('version = "1"', "version = 1", "bad.toml.version: 1 is not a text; write a text."),
    (
        '[statement]\nen = "Pooled."',
        "[statement]\nen = 1",
        "bad.toml.statement.en: 1 is not a text; write a text.",
    ),
    ('zh = "混检。"', "zh = 1", "bad.toml.statement.zh: 1 is not a text; write a text."),
    (
        "max_prevalence = 0.2",
        'max_prevalence = "x"',
        "bad.toml.limits.max_prevalence: 'x' is not a share between 0 and 1; write a share between 0 and 1.",
    ),
    (
        "max_prevalence = 0.2",
        "records_months = 1.5",
        "bad.toml.limits.records_months: 1.5 is not a whole number; write a whole number.",
    ),
    (
        "max_prevalence = 0.2",
        'compare_share = "x"',
        "bad.toml.limits.compare_share: 'x' is not a share between 0 and 1; write a share between 0 and 1.",
    ),
    (
        "isolate = true",
        "isolate = 1",
        "bad.toml.mode.mixed.isolate: 1 is not true or false; write true or false.",
    ),
    (
        "with_confirmed = false",
        "with_confirmed = 0",
        "bad.toml.mode.mixed.with_confirmed: 0 is not true or false; write true or false.",
    ),
    ('en = "Wait."', "en = 0", "bad.toml.mode.mixed.en: 0 is not a text; write a text."),
    ('zh = "请等待。"', "zh = 0", "bad.toml.mode.mixed.zh: 0 is not a text; write a text."),
    ('report = "nothing"', "report = 0", "bad.toml.mode.pool.report: 0 is not a text; write a text."),
    (
        "10 = 6",
        '10 = "six"',
        "bad.toml.mode.mixed.medium_ml.10: 'six' is not a volume in mL; write a volume in mL.",
    ),
    ("[limits]", "limits = 3\n[more]", "bad.toml.limits: 3 is not a table; write a table."),
    (
        "max_n = 10",
        "max_n = 1.5",
        "bad.toml.mode.mixed.max_n: 1.5 is not a whole number; write a whole number.",
    ),
    (
        "[mode.mixed]\nmax_n = 10\n",
        "mode = 3\n[x]\n",
        "bad.toml.statement.mode: the key 'mode' is not known here; remove or correct it (read: en, zh).",
    ),
    (
        "[mode.mixed.medium_ml]\n10 = 6\n\n[mode.pool]",
        "mixed = 1\n\n[mode.pool]",
        "bad.toml.mode.mixed.mixed: the key 'mixed' is not known here; remove or correct it (read: max_n, notify, isolate, with_confirmed, en, zh).",
    ),
]


@pytest.mark.parametrize(("old", "new", "sentence"), POLICY_SENTENCES, ids=range(len(POLICY_SENTENCES)))
def test_every_policy_error_says_exactly_this(old, new, sentence):
    """File, key, what is wrong and what to write instead, to the letter."""
    with pytest.raises(pooling.PoolPolicyError) as caught:
        pooling.policy_from_toml(POLICY.replace(old, new, 1), "bad.toml")
    assert str(caught.value) == sentence


def test_a_policy_without_modes_says_which_there_are():
    """The remedy names all three tables."""
    with pytest.raises(pooling.PoolPolicyError) as caught:
        pooling.policy_from_toml(POLICY[: POLICY.index("[mode.mixed]")] + "[mode]\n", "bad.toml")
    assert str(caught.value) == (
        "bad.toml.mode: no mode is given; add [mode.mixed], [mode.pool] or [mode.dual]."
    )


@pytest.mark.parametrize(
    ("modes", "sentence"),
    [
        ("", "bad.toml.mode: the key 'mode' is missing; add a table."),
        ("[mode]\nmixed = 3", "bad.toml.mode.mixed: 3 is not a table; write a table."),
    ],
)
def test_a_mode_is_a_table(modes, sentence):
    """A policy without modes, or with a number for one, says what belongs there."""
    with pytest.raises(pooling.PoolPolicyError) as caught:
        pooling.policy_from_toml(POLICY[: POLICY.index("[mode.mixed]")] + modes, "bad.toml")
    assert str(caught.value) == sentence


def test_less_than_a_millilitre_of_medium_is_a_volume():
    """Small tubes exist: half a millilitre for two persons is read as it stands."""
    policy = pooling.policy_from_toml(POLICY.replace("10 = 6", "2 = 0.5\n1 = 0.3"), "small.toml")
    assert policy.modes[pooling.Mode.MIXED].medium_ml == {2: 0.5, 1: 0.3}


def waiting(name, **more):
    """A single tube at the bench."""
    facts = {"kind": "single", "due": NOW, "received": NOW, "tier": "region", "site": "S"}
    return pooling.Waiting(tube=name, **(facts | more))


REFUSALS = [
    (
        {"kind": "mixed"},
        "NESTED_POOL",
        "Tube T is a mixed tube and is never pooled again. Test it as it is.",
        "试管 T 为混采管,不得再次混合。请直接检测。",
    ),
    (
        {"kind": "pool"},
        "NESTED_POOL",
        "Tube T is a pool tube and is never pooled again. Test it as it is.",
        "试管 T 为混检管,不得再次混合。请直接检测。",
    ),
    (
        {"kind": "dual"},
        "NESTED_POOL",
        "Tube T is a dual tube and is never pooled again. Test it as it is.",
        "试管 T 为双拭子混采管,不得再次混合。请直接检测。",
    ),
    (
        {"kind": "retained"},
        "NESTED_POOL",
        "Tube T is a retained tube and is never pooled again. Test it as it is.",
        "试管 T 为双拭子留样管,不得再次混合。请直接检测。",
    ),
    (
        {"tier": "fever"},
        "EXCLUDED_TIER",
        "Tube T belongs to tier fever, which is tested singly.",
        "试管 T 属于 fever 类,须单检。",
    ),
    (
        {"symptomatic": True},
        "SYMPTOMATIC",
        "Tube T: the person has symptoms. Test it singly.",
        "试管 T:受检者有症状,须单检。",
    ),
    (
        {"contact": True},
        "CLOSE_CONTACT",
        "Tube T: the person is a close contact. Test it singly.",
        "试管 T:受检者为密切接触者,须单检。",
    ),
    (
        {"volume_ul": 299.0},
        "SHORT_VOLUME",
        "Tube T holds 299 µl, pool and single test need 300. Test it singly.",
        "试管 T 仅余 299 µl,混检加单检复核需 300 µl,须单检。",
    ),
]


@pytest.mark.parametrize(("more", "code", "english", "chinese"), REFUSALS)
def test_every_refused_tube_says_exactly_this(more, code, english, chinese):
    """Tube, reason and what to do instead, in both languages."""
    found = pooling.refuse_tube(waiting("T", **more), pooling.PoolRules(size=5, max_n=10, min_n=3))
    assert found == pooling.Refusal("T", code, english, chinese)


def test_every_refused_pool_says_exactly_this():
    """A tube twice, too many and too few members: each refusal whole, in both languages."""
    rules = pooling.PoolRules(size=2, max_n=2, min_n=2)
    three = pooling.check_members([waiting("A"), waiting("B"), waiting("A")], rules)
    assert three == (
        pooling.Refusal(
            "A",
            "DUPLICATE_TUBE",
            "Tube A was scanned 2 times. A tube enters a pool once.",
            "试管 A 被扫描 2 次,同一试管只能加入一次。",
        ),
        pooling.Refusal(
            "",
            "TOO_MANY_MEMBERS",
            "The pool has 3 members; 2 is the validated maximum. Take some out.",
            "该混检管有 3 份样本,超过已验证上限 2。请减少样本。",
        ),
    )
    one = pooling.check_members([waiting("A")], rules)
    assert one == (
        pooling.Refusal(
            "",
            "TOO_FEW_MEMBERS",
            "A pool needs at least two members. Test a tube on its own singly.",
            "混检至少需要两份样本,单份样本请单检。",
        ),
    )


OBJECTIONS = [
    (
        lambda: pooling.design(0.31, max_size=3),
        ["Sizes 2 to 3: at 2, 1.0239 tests per person where single testing needs 1."],
    ),
    (
        lambda: pooling.design(0.01, size=6, validated=5, max_size=4),
        [
            "Size 6: a pool of 6 is above the cap of 4.",
            "Size 6: a pool of 6 was not validated; the assay is validated up to 5.",
        ],
    ),
    (
        lambda: pooling.design(0.3, size=40, sensitivity=0.9, min_sensitivity=0.95),
        [
            "Size 40: a pool of 40 is above the cap of 32.",
            "Size 40: finds 81.00% of the infected, the floor is 95.00%.",
            "Size 40: saves only by missing positive pools; if none was missed: 1.0250 tests per person.",
        ],
    ),
    (
        lambda: pooling.design(0.0001),
        ["Size 101: cheapest of all with a perfect assay, but above the cap of 32."],
    ),
    (
        lambda: pooling.design(0.01, size=4, volume=pooling.Volume(500.0)),
        ["Size 4: needs 600 µl of each tube for pool, reflex and repeats; it holds 500."],
    ),
    (
        lambda: pooling.design(0.01, size=16, volume=pooling.Volume(2000.0, pool_ul=50.0, pool_repeats=0)),
        ["Size 16: each member gives 3.1 µl, below the 10 µl pipetted reliably."],
    ),
]


@pytest.mark.parametrize(("call", "sentences"), OBJECTIONS, ids=range(len(OBJECTIONS)))
def test_every_objection_says_exactly_this(call, sentences):
    """Why a size was refused, with the figures to check it by."""
    assert [one.sentence for one in call().refused] == sentences


ADVICE = [
    ((1, 100, 5), 10, "too-few", "Only 100 tubes were read; keep 10:1.", "窗口内仅 100 管有结果,维持 10:1。"),
    (
        (10, 2000, 100),
        10,
        "best",
        "At a positivity of 0.51% (0.42%-0.62%), 10:1 is the cheapest; keep it.",
        "阳性率 0.51% (0.42%-0.62%),10:1 用检最少,维持。",
    ),
    (
        (10, 2000, 440),
        10,
        "not-sure",
        "Positivity 2.45% (2.23%-2.69%): 5:1 may need fewer tests (0.317 / 0.320); not sure, keep 10:1.",
        "阳性率 2.45% (2.23%-2.69%),5:1 可能少于 10:1(人均 0.317 / 0.320),但把握不足,维持。",
    ),
    (
        (1, 1000, 210),
        10,
        "cheaper",
        "Positivity 21.01% (18.56%-23.61%): change from 10:1 to 5:1 (0.892 / 1.005 tests per person). 10:1 saves nothing above 20.57%.",
        "阳性率 21.01% (18.56%-23.61%),建议由 10:1 改为 5:1(人均 0.892 / 1.005 次)。",
    ),
    (
        (1, 5000, 2000),
        10,
        "cheaper",
        "Positivity 40.00% (38.65%-41.36%): change from 10:1 to 1:1 (1.000 / 1.094 tests per person). 10:1 saves nothing above 20.57%.",
        "阳性率 40.00% (38.65%-41.36%),建议由 10:1 改为 1:1(人均 1.000 / 1.094 次)。",
    ),
    (
        (1, 5000, 2000),
        5,
        "cheaper",
        "Positivity 40.00% (38.65%-41.36%): change from 5:1 to 1:1 (1.000 / 1.122 tests per person). 5:1 saves nothing above 27.52%.",
        "阳性率 40.00% (38.65%-41.36%),建议由 5:1 改为 1:1(人均 1.000 / 1.122 次)。",
    ),
    (
        (1, 50000, 100),
        1,
        "cheaper",
        "Positivity 0.20% (0.16%-0.24%): change from 1:1 to 10:1 (0.120 / 1.000 tests per person).",
        "阳性率 0.20% (0.16%-0.24%),建议由 1:1 改为 10:1(人均 0.120 / 1.000 次)。",
    ),
]


@pytest.mark.parametrize(("counts", "current", "reason", "english", "chinese"), ADVICE)
def test_every_advice_says_exactly_this(counts, current, reason, english, chinese):
    """Positivity with its interval, the mode, the figures behind it; in both languages."""
    found = pooling.advise([pooling.Tally(NOW, *counts)], current, pooling.AdviceRules())
    assert (found.reason, found.sentence, found.sentence_zh) == (reason, english, chinese)


def test_the_cost_of_a_mode_says_exactly_this():
    """Tests, tubes, hours, called back and missed, each in its place."""
    cost = pooling.ModeCost(10, 0.25, 0.2, 0.3, 0.3, 0.15, 9.6, 12.34)
    assert cost.words() == (
        "10:1 takes 0.250 tests and 0.300 tubes per person and 9.6 h on average, calls back 15.0% and misses 12.3 of 100,000 persons.",
        "10:1 人均 0.250 次检测、0.300 管,平均 9.6 小时,需复核 15.0%,每十万人漏检 12.3 人。",
    )
