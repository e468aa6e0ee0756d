"""Trees, halving, arrays with a master pool and the distribution of tests, against full enumeration."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pooling
from pooling import Accuracy, PoolDesignError, hierarchy
from pooling.hierarchy import cheapest_cut, persons, stages_of

STAGES = (Accuracy(0.85, 0.97), Accuracy(0.9, 0.95), Accuracy(0.96, 0.99), Accuracy(0.98, 0.985))


def read(has_positive, accuracy, size):
    """Chance that one test reads positive."""
    return accuracy.pool_sensitivity(size) if has_positive else 1 - accuracy.specificity


def nodes(tree, first, depth, parent, found):
    """Every test of a tree as (first person, last person + 1, depth, parent); returns persons used."""
    place = len(found)
    size = persons(tree)
    found.append((first, first + size, depth, parent))
    if tree != 1:
        for child in (1,) * tree if isinstance(tree, int) else tree:
            nodes(child, first, depth + 1, place, found)
            first += persons(child)
    return found


def enumerate_tree(prevalence, tree, stages):
    """(distribution of tests, found per person, called positive per person) over truths and readings."""
    tests = nodes(tree, 0, 0, None, [])
    size = persons(tree)
    pmf = np.zeros(len(tests) + 1)
    found, called = np.zeros(size), np.zeros(size)
    for truth in product((0, 1), repeat=size):
        weight = np.prod([prevalence if one else 1 - prevalence for one in truth])
        for readings in product((0, 1), repeat=len(tests)):
            chance, done, reached = weight, 0, []
            for (start, end, depth, parent), positive in zip(tests, readings, strict=True):
                used = stages[-1] if end - start == 1 else stages[depth]
                odds = read(any(truth[start:end]), used, end - start)
                chance *= odds if positive else 1 - odds
                reached.append(parent is None or (reached[parent] and readings[parent]))
                done += bool(reached[-1])
            pmf[done] += chance
            for (start, end, _, _), positive, was in zip(tests, readings, reached, strict=True):
                if end - start == 1 and was and positive:
                    (found if truth[start] else called)[start] += chance
    return pmf, found / prevalence, called / (1 - prevalence)


@pytest.mark.parametrize("tree", [3, (2, 2), (2, 1), (3, 1), ((2, 1), 1)])
@pytest.mark.parametrize("perfect", [True, False])
def test_trees_equal_enumeration(tree, perfect):
    """Every infection and every reading of every test gives the distribution, Se and Sp, per stage."""
    depth = stages_of(tree)
    stages = (Accuracy(),) * depth if perfect else (*STAGES[: depth - 1], STAGES[-1])
    pmf, found, called = enumerate_tree(0.17, tree, stages)
    one = pooling.tree_performance(0.17, tree, stages)
    assert pooling.pmf_of_tests(0.17, tree, stages) == pytest.approx(pmf, abs=1e-12)
    assert one.tests == pytest.approx(np.arange(pmf.size) @ pmf, abs=1e-12)
    assert one.sensitivity == pytest.approx(found.mean(), abs=1e-12)
    assert one.lowest_sensitivity == pytest.approx(found.min(), abs=1e-12)
    assert one.specificity == pytest.approx(1 - called.mean(), abs=1e-12)
    assert one.persons == persons(tree)


@pytest.mark.parametrize("parts", [(4, 4), (5, 3, 1), (1, 1, 1), (2, 2, 2, 1)])
@pytest.mark.parametrize("detection", [None, {2: 0.95, 4: 0.9, 12: 0.8}])
def test_three_stages_are_a_tree(parts, detection):
    """The closed form of three stages, per stage and with dilution, is that of its tree."""
    stages = tuple(Accuracy(one.sensitivity, one.specificity, detection) for one in STAGES[1:])
    closed = pooling.three_stage(0.08, parts, stages)
    used = stages if stages_of(parts) == 3 else (stages[0], stages[-1])
    tree = pooling.tree_performance(0.08, parts, used)
    assert (closed.persons, closed.layout) == (tree.persons, tree.layout)
    for name in ("tests", "sensitivity", "lowest_sensitivity", "specificity"):
        assert getattr(closed, name) == pytest.approx(getattr(tree, name), abs=1e-12)


def test_two_stages_are_a_tree():
    """A plain pool is the smallest tree; its two stages may differ in accuracy."""
    stages = (Accuracy(0.9, 0.97, {6: 0.8}), Accuracy(0.99, 0.98))
    closed, tree = pooling.two_stage(0.05, 6, stages), pooling.tree_performance(0.05, 6, stages)
    assert closed.sensitivity == pytest.approx(0.9 * 0.8 * 0.99)
    for name in ("persons", "tests", "sensitivity", "lowest_sensitivity", "specificity", "layout"):
        assert getattr(closed, name) == pytest.approx(getattr(tree, name), abs=1e-12)


def test_halving_trees():
    """Halves down to single persons, the larger half first; fewer stages end in plain pools."""
    assert pooling.halving_tree(8) == ((2, 2), (2, 2))
    assert pooling.halving_tree(7) == ((2, 2), (2, 1))
    assert pooling.halving_tree(16, 3) == (8, 8)
    assert pooling.halving_tree(16, 2) == 16
    assert [pooling.halving_tree(size) for size in (1, 2, 3, 5)] == [1, 2, (2, 1), ((2, 1), 2)]
    assert [stages_of(pooling.halving_tree(size)) for size in (1, 2, 4, 8, 16, 32)] == [1, 2, 3, 4, 5, 6]


def test_halving_costs():
    """16 at 1 % by halving; the first stage of one test, then two tests per positive pool."""
    found = pooling.halving(0.01, 16)
    q = 0.99
    levels = sum(2 * (8 // size) * (1 - q ** (16 // (8 // size))) for size in (1, 2, 4, 8))
    assert found.tests == pytest.approx(1 + levels, abs=1e-12)
    assert found.sensitivity == found.specificity == pytest.approx(1.0)
    weak = pooling.halving(0.01, 4, Accuracy(0.9, 1.0))
    assert weak.sensitivity == pytest.approx(0.9**3)
    assert pooling.halving(0.1, 1, Accuracy(0.9, 0.8)).tests == 1


def enumerate_master(prevalence, rows, columns, stages):
    """(tests, sensitivity, specificity) of an array with a master pool over all infections and readings."""
    master, lines, last = stages
    size = rows * columns
    tests, found, called = 1.0, 0.0, 0.0
    for cells in product((0, 1), repeat=size):
        truth = np.array(cells).reshape(rows, columns)
        weight = float(np.prod([prevalence if one else 1 - prevalence for one in cells]))
        weight *= read(any(cells), master, size)
        tests += weight * (rows + columns)
        has = [(flag, columns) for flag in truth.any(axis=1)] + [(flag, rows) for flag in truth.any(axis=0)]
        for reading in product((0, 1), repeat=rows + columns):
            odds = weight
            for (flag, length), positive in zip(has, reading, strict=True):
                chance = read(flag, lines, length)
                odds *= chance if positive else 1 - chance
            row, column = np.array(reading[:rows], bool), np.array(reading[rows:], bool)
            alone = not (row.any() and column.any())
            asked = row[:, None] | column[None, :] if alone else np.outer(row, column)
            tests += odds * asked.sum()
            found += odds * (asked & (truth == 1)).sum() * last.sensitivity
            called += odds * (asked & (truth == 0)).sum() * (1 - last.specificity)
    return tests, found / (size * prevalence), 1 - called / (size * (1 - prevalence))


@pytest.mark.parametrize("shape", [(2, 2), (2, 3), (3, 2)])
@pytest.mark.parametrize("perfect", [True, False])
def test_arrays_with_a_master_pool_equal_enumeration(shape, perfect):
    """Master, lines and single tests of different accuracy, with dilution by length: exact to 1e-12."""
    dilution = {2: 0.95, 3: 0.9, 4: 0.85, 6: 0.7}
    stages = (
        (Accuracy(),) * 3
        if perfect
        else tuple(Accuracy(one.sensitivity, one.specificity, dilution) for one in STAGES[:3])
    )
    found = pooling.array(0.2, *shape, stages, master=True)
    expected = enumerate_master(0.2, *shape, stages)
    assert expected == pytest.approx((found.tests, found.sensitivity, found.specificity), abs=1e-12)
    assert found.lowest_sensitivity == found.sensitivity


def test_a_master_pool_pays_at_low_prevalence_only():
    """At 0.1 % a master pool saves most of an 8 x 12 array; at 5 % it costs its own test."""
    assert pooling.array(0.001, 8, 12, master=True).tests < 0.2 * pooling.array(0.001, 8, 12).tests
    assert pooling.array(0.05, 8, 12, master=True).tests > pooling.array(0.05, 8, 12).tests


def test_best_three_stage_designs():
    """Up to 16: 16 -> 4 x 4 = .1390 at 1 %, 9 -> 3 x 3 = .3770 at 5 %; and the closed form agrees."""
    parts, found = pooling.best_three_stage(0.01, 16)
    assert (parts, round(found.tests_per_person, 4)) == ((4, 4, 4, 4), 0.1390)
    parts, found = pooling.best_three_stage(0.05, 16)
    assert (parts, round(found.tests_per_person, 4)) == ((3, 3, 3), 0.3770)
    assert pooling.best_three_stage(0.01, 2)[0] == (1, 1)


def test_cheapest_cut_prefers_no_part_beyond_its_list():
    """Parts come from the list of costs only, also when the total is larger than the list is long."""
    assert cheapest_cut(0, [1.0]) == ((), 0.0)
    assert cheapest_cut(5, [1.0]) == ((1,) * 5, 5.0)
    assert cheapest_cut(5, [1.0, 1.0]) == ((2, 2, 1), 3.0)
    assert cheapest_cut(7, [9.0, 9.0, 1.0, 1.0]) == ((4, 3), 2.0)


def test_a_part_that_saves_nothing_is_not_made():
    """At equal cost the smaller parts are taken: fewer persons share a test, and nothing is paid for it."""
    assert cheapest_cut(4, [1.0, 2.0, 3.0, 4.0]) == ((1, 1, 1, 1), 4.0)
    assert cheapest_cut(6, [5.0, 1.0, 9.0, 2.0, 9.0, 3.0]) == ((2, 2, 2), 3.0)


def test_a_single_test_has_the_accuracy_of_the_last_stage():
    """Of a tree with fewer stages than accuracies given, the last is the single test's, not the next in line."""
    first, middle, last = Accuracy(0.9, 0.99), Accuracy(0.5, 0.6), Accuracy(0.8, 0.97)
    given, meant = (
        pooling.tree_performance(0.05, 5, stages) for stages in ((first, middle, last), (first, last))
    )
    assert given == meant
    assert meant.sensitivity == pytest.approx(0.9 * 0.8)
    assert pooling.tree_performance(0.05, 1, (first, middle, last)).sensitivity == 0.8
    found = pooling.design(0.05, size=1, sensitivity=(0.9, 0.8), specificity=(0.99, 0.97))
    assert (found.sensitivity, found.specificity) == (0.8, 0.97)


def test_without_a_floor_only_the_cost_counts():
    """Sub-pools that lose by dilution are left out for a floor's sake, and taken when there is none."""
    stages = (Accuracy(), Accuracy(detection={2: 0.95, 16: 0.6}), Accuracy())
    assert max(pooling.best_parts(0.01, 16, stages)) > 1
    assert pooling.best_parts(0.01, 16, stages, 1.0) == (1,) * 16


def test_a_floor_is_kept_by_the_whole_procedure():
    """Sub-pools that find exactly the floor are allowed; a weak single test counts against it, not for it."""
    stages = (Accuracy(), Accuracy(0.5), Accuracy(0.5))
    assert max(pooling.best_parts(0.01, 16, stages, 0.25)) > 1
    assert max(pooling.best_parts(0.01, 16, stages, 0.26)) == 1
    beyond = pooling.best_parts(0.01, 16, stages, 0.6)
    assert beyond == pooling.best_parts(0.01, 16, stages)


@pytest.mark.parametrize("parts", [(4, 4), (5, 3), (3, 3, 2), (4, 2, 1, 1), (2, 1, 1, 1, 1, 1, 1)])
def test_the_search_counts_what_the_closed_form_counts(parts):
    """One first pool and its parts, each stage wrong in its own way: the two ways to the figure agree."""
    stages = (Accuracy(0.9, 0.7), Accuracy(0.8, 0.6, {2: 0.9, 8: 0.7}), Accuracy(0.95, 0.9))
    costs = hierarchy._part_costs(0.93, 8, stages)
    assert 1 + sum(costs[part - 1] for part in parts) == pytest.approx(
        pooling.three_stage(0.07, parts, stages).tests
    )


trees = st.recursive(
    st.integers(1, 5), lambda inner: st.lists(inner, min_size=2, max_size=3).map(tuple), max_leaves=6
)


@given(
    tree=trees, p=st.floats(0.001, 0.6), se=st.floats(0.3, 0.99), more=st.floats(0, 1), sp=st.floats(0.5, 1)
)
def test_a_more_sensitive_assay_never_finds_fewer(tree, p, se, more, sp):
    """Raising Se of one stage or of all never lowers the sensitivity of any tree."""
    better = se + more * (1 - se)
    weak, strong = Accuracy(se, sp), Accuracy(better, sp)
    assert (
        pooling.tree_performance(p, tree, strong).lowest_sensitivity
        >= pooling.tree_performance(p, tree, weak).lowest_sensitivity - 1e-12
    )
    depth = stages_of(tree)
    mixed = (strong, *(weak,) * (depth - 1))
    assert (
        pooling.tree_performance(p, tree, mixed).sensitivity
        >= pooling.tree_performance(p, tree, (weak,) * depth).sensitivity - 1e-12
    )


@given(tree=trees, p=st.floats(0.001, 0.6), se=st.floats(0.3, 1), sp=st.floats(0.5, 1))
def test_the_order_of_parts_does_not_matter(tree, p, se, sp):
    """Turning a tree round changes neither its tests nor their distribution nor what it finds."""

    def turned(one):
        return one if isinstance(one, int) else tuple(turned(part) for part in reversed(one))

    accuracy = Accuracy(se, sp)
    here, there = (pooling.tree_performance(p, one, accuracy) for one in (tree, turned(tree)))
    assert there.tests == pytest.approx(here.tests)
    assert there.sensitivity == pytest.approx(here.sensitivity)
    assert there.specificity == pytest.approx(here.specificity)
    pmf = pooling.pmf_of_tests(p, tree, accuracy)
    assert pooling.pmf_of_tests(p, turned(tree), accuracy) == pytest.approx(pmf, abs=1e-12)
    assert pmf.sum() == pytest.approx(1)
    assert (pmf >= 0).all()


@pytest.mark.parametrize(
    ("call", "code"),
    [
        pytest.param(lambda: persons(0), "BAD_LAYOUT", id="empty-pool"),
        pytest.param(lambda: persons((3,)), "BAD_LAYOUT", id="one-part"),
        pytest.param(lambda: pooling.halving_tree(0), "BAD_SIZE", id="halving-nothing"),
        pytest.param(lambda: pooling.halving_tree(8, 1), "BAD_STAGES", id="halving-in-one-stage"),
        pytest.param(lambda: pooling.tree_performance(0.1, (2, 2), STAGES[:2]), "BAD_STAGES", id="too-few"),
        pytest.param(lambda: pooling.two_stage(0.1, 5, STAGES[:3]), "BAD_STAGES", id="too-many"),
        pytest.param(lambda: pooling.pmf_of_tests(0.0, 5), "BAD_PREVALENCE", id="pmf-prevalence"),
        pytest.param(lambda: pooling.pmf_of_tests(0.1, (2,)), "BAD_LAYOUT", id="pmf-layout"),
        pytest.param(lambda: pooling.tree_performance(1.0, 5), "BAD_PREVALENCE", id="tree-prevalence"),
        pytest.param(lambda: pooling.best_three_stage(0.1, 1), "BAD_SIZE", id="nothing-to-split"),
        pytest.param(lambda: pooling.array(0.1, 2, 1), "BAD_SIZE", id="one-column"),
        pytest.param(lambda: pooling.array(0.1, 2, 2, STAGES[:2], master=True), "BAD_STAGES", id="master"),
    ],
)
def test_impossible_trees_are_refused(call, code):
    """A layout that no laboratory could make is refused with a code."""
    with pytest.raises(PoolDesignError) as caught:
        call()
    assert caught.value.code == code
    assert str(caught.value).endswith(".")


def test_accuracy_and_stages_are_passed_on():
    """The best three-stage search and halving use the accuracy and the number of stages they are given."""
    accuracy = Accuracy(0.7, 0.8)
    parts, found = pooling.best_three_stage(0.05, 12, accuracy)
    every = [
        pooling.three_stage(0.05, pooling.best_parts(0.05, size, accuracy), accuracy) for size in range(2, 13)
    ]
    assert found.tests_per_person == min(one.tests_per_person for one in every)
    assert parts == pooling.best_parts(0.05, found.persons, accuracy) == found.layout
    assert found.sensitivity < 0.7
    three = pooling.halving(0.01, 16, accuracy, stages=3)
    assert three.tests == pytest.approx(pooling.three_stage(0.01, (8, 8), accuracy).tests)
    assert three.sensitivity == pytest.approx(0.7**3)
