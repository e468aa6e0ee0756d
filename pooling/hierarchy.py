"""Pools that are split when positive: three stages, halving, any tree; and how many tests they take.

Sources: Kim et al. (Biometrics 2007) for the operating characteristics of hierarchies; the distribution of
the number of tests follows from the tree itself (`pmf_of_tests`). Every closed form is checked in the tests
against enumeration of all infections.
"""

from collections import Counter
from collections.abc import Iterator
from functools import reduce
from itertools import pairwise
from math import ceil, inf

import numpy as np
from numpy.typing import NDArray

from pooling.size import (
    PERFECT,
    Accuracy,
    Performance,
    PoolDesignError,
    Stages,
    check_prevalence,
    check_size,
    per_stage,
    positive,
    singly,
)

Tree = int | tuple["Tree", ...]
"""A way to split a pool. A number n is a pool of n that is tested singly when positive (1: one person, tested
singly at once); a tuple is a pool whose parts are tested when it is positive: `(4, 4)` is 8 -> 4 + 4 -> 1."""

Array = NDArray[np.float64]


def _both_positive(q: float, size: int, part: int, stages: tuple[Accuracy, ...], known: int) -> float:
    """P(pool and sub-pool both read positive), with `known` members of the sub-pool known negative."""
    first, second, _ = stages
    pool_se, pool_sp = first.pool_sensitivity(size), first.specificity
    part_se, part_sp = second.pool_sensitivity(part), second.specificity
    part_clean, rest_clean = q ** (part - known), q ** (size - part)
    return (
        (1 - part_clean) * pool_se * part_se
        + part_clean * (1 - rest_clean) * pool_se * (1 - part_sp)
        + part_clean * rest_clean * (1 - pool_sp) * (1 - part_sp)
    )


def _part_costs(q: float, size: int, stages: tuple[Accuracy, ...]) -> list[float]:
    """Expected tests spent on one sub-pool of 1 to size - 1 members after the first pool.

    The same as `opened + part * _both_positive(...)`, with what all sizes share taken out of the loop: a
    search asks for it some hundred times.
    """
    first, second, _ = stages
    clean = [q**members for members in range(size + 1)]
    pool_se, false, part_false = first.pool_sensitivity(size), 1 - first.specificity, 1 - second.specificity
    opened = pool_se * (1 - clean[size]) + false * clean[size]
    sensitivity = second.pool_sensitivity
    return [
        opened,
        *(
            opened
            + part
            * (
                (1 - clean[part]) * pool_se * sensitivity(part)
                + clean[part] * part_false * (pool_se + clean[size - part] * (false - pool_se))
            )
            for part in range(2, size)
        ),
    ]


def three_stage(prevalence: float, parts: tuple[int, ...], accuracy: Stages = PERFECT) -> Performance:
    """A pool that is split into sub-pools of these sizes when positive; positive ones are tested singly.

    A part of one is tested singly at the second stage. All parts one is the two-stage design.

    Raises:
        PoolDesignError: `BAD_LAYOUT` with fewer than two parts or an empty part.
    """
    check_prevalence(prevalence)
    if len(parts) < 2 or min(parts) < 1:
        raise PoolDesignError(
            "BAD_LAYOUT", f"Three stages need two or more sub-pools of one or more: {parts}."
        )
    stages = per_stage(accuracy, 3)
    first, second, last = stages
    q, size = 1 - prevalence, sum(parts)
    pool_se = first.pool_sensitivity(size)
    opened = positive(q**size, pool_se, first.specificity)
    tests, found, reached, lowest = 1.0, 0.0, 0.0, 1.0
    for part, times in Counter(parts).items():
        share = times * part / size
        se = pool_se * last.sensitivity * (second.pool_sensitivity(part) if part > 1 else 1.0)
        asked = (
            _both_positive(q, size, part, stages, 1)
            if part > 1
            else positive(q ** (size - 1), pool_se, first.specificity)
        )
        tests += times * opened
        if part > 1:
            tests += times * part * _both_positive(q, size, part, stages, 0)
        found += share * se
        reached += share * asked
        lowest = min(lowest, se)
    return Performance(size, tests, found, lowest, 1 - (1 - last.specificity) * reached, parts)


def best_parts(
    prevalence: float, size: int, accuracy: Stages = PERFECT, floor: float = 0.0
) -> tuple[int, ...]:
    """The cheapest sub-pools of a positive pool of `size`, over all partitions (exact, by rod cutting).

    Args:
        prevalence: share of infected persons.
        size: of the first pool, two or more.
        accuracy: one, or one per stage.
        floor: sub-pools whose members would be found less often than this are left out, unless single tests
            after the first pool are below it as well.
    """
    check_prevalence(prevalence)
    if size < 2:
        raise PoolDesignError("BAD_SIZE", f"A pool of {size} cannot be split.")
    stages = per_stage(accuracy, 3)
    costs = _part_costs(1 - prevalence, size, stages)
    if floor > 0:
        first, second, last = stages
        singly_found = first.pool_sensitivity(size) * last.sensitivity
        if singly_found >= floor:
            for part in range(2, size):
                if singly_found * second.pool_sensitivity(part) < floor:
                    costs[part - 1] = inf
    return cheapest_cut(size, costs)[0]


def best_three_stage(
    prevalence: float, max_size: int, accuracy: Stages = PERFECT
) -> tuple[tuple[int, ...], Performance]:
    """The cheapest first pool of at most `max_size` with its cheapest sub-pools, over all partitions."""
    check_size(max_size - 1)
    found = [
        three_stage(prevalence, best_parts(prevalence, size, accuracy), accuracy)
        for size in range(2, max_size + 1)
    ]
    best = min(found, key=lambda one: one.tests_per_person)
    return best.layout, best


def cheapest_cut(total: int, costs: list[float]) -> tuple[tuple[int, ...], float]:
    """Cut `total` into parts of k at `costs[k - 1]` each, at the least sum; largest part first."""
    least, first = [0.0], [0]
    useful: list[tuple[int, float]] = []
    for length in range(1, total + 1):
        sums = [least[length - part] + cost for part, cost in useful]
        cost = min(sums, default=inf)
        if length <= len(costs) and costs[length - 1] < cost:
            # A part that smaller parts replace at no cost is of no use in any longer cut either.
            cost = costs[length - 1]
            useful.append((length, cost))
            first.append(length)
        else:
            first.append(useful[sums.index(cost)][0])
        least.append(cost)
    parts, left = [], total
    while left:
        parts.append(first[left])
        left -= first[left]
    return tuple(sorted(parts, reverse=True)), least[total]


def persons(tree: Tree) -> int:
    """Persons in the first pool of a tree.

    Raises:
        PoolDesignError: `BAD_LAYOUT` for an empty pool or a pool split into one part.
    """
    if isinstance(tree, int):
        if tree < 1:
            raise PoolDesignError("BAD_LAYOUT", f"A pool needs at least one member, not {tree}.")
        return tree
    if len(tree) < 2:
        raise PoolDesignError("BAD_LAYOUT", f"A pool is split into two or more parts, not into {tree}.")
    return sum(map(persons, tree))


def stages_of(tree: Tree) -> int:
    """Number of stages: 1 for single tests, 2 for a plain pool, one more for every level of splitting."""
    if isinstance(tree, int):
        return 1 if tree == 1 else 2
    return 1 + max(map(stages_of, tree))


def halving_tree(size: int, stages: int | None = None) -> Tree:
    """Halve a positive pool again and again until single persons, or until `stages` stages are used up.

    An odd pool gives its larger half first. The half that "must" be positive because its sister read
    negative is tested like any other: with a real assay the inference would be a guess.

    Raises:
        PoolDesignError: `BAD_SIZE`, or `BAD_STAGES` below two.
    """
    check_size(size)
    if stages is not None and stages < 2:
        raise PoolDesignError("BAD_STAGES", f"Halving needs two stages or more, not {stages}.")
    if size <= 2 or stages == 2:
        return size
    left = None if stages is None else stages - 1
    larger = ceil(size / 2)
    return (halving_tree(larger, left), halving_tree(size - larger, left))


def _accuracies(tree: Tree, accuracy: Stages) -> tuple[Accuracy, ...]:
    """The accuracy of every stage of a tree; a single test has that of the last, however early it comes."""
    stages = stages_of(tree)
    if isinstance(accuracy, Accuracy) or len(accuracy) <= stages:
        return per_stage(accuracy, stages)
    return (*accuracy[: stages - 1], accuracy[-1])


def _children(tree: Tree) -> tuple[Tree, ...]:
    return (1,) * tree if isinstance(tree, int) else tree


def _paths(tree: Tree, above: tuple[Tree, ...] = ()) -> Iterator[tuple[Tree, ...]]:
    """Every way from the first pool down to a single person; persons of the same pool share one way."""
    path = (*above, tree)
    if tree == 1:
        yield path
    else:
        for child in Counter(_children(tree)):
            yield from _paths(child, path)


def _count(path: tuple[Tree, ...]) -> int:
    """Persons that stand at the end of ways equal to this one."""
    return reduce(
        lambda total, step: total * Counter(_children(step[0]))[step[1]],
        pairwise(path),
        1,
    )


def _reached(q: float, path: tuple[Tree, ...], stages: tuple[Accuracy, ...]) -> float:
    """P(every pool above a negative person reads positive): split by the lowest pool with a positive."""
    pools = path[:-1]
    clean = [q ** (persons(pool) - 1) for pool in pools]
    total, above = 0.0, 1.0
    for depth in range(len(pools) + 1):
        dirty_here = (clean[depth] if depth < len(pools) else 1.0) - (clean[depth - 1] if depth else 0.0)
        false = 1.0
        for below in range(depth, len(pools)):
            false *= 1 - stages[below].specificity
        total += dirty_here * above * false
        if depth < len(pools):
            above *= stages[depth].pool_sensitivity(persons(pools[depth]))
    return total


def tree_performance(prevalence: float, tree: Tree, accuracy: Stages = PERFECT) -> Performance:
    """Cost and accuracy of any way to split a pool.

    Args:
        prevalence: share of infected persons.
        tree: see `Tree`.
        accuracy: one, or one per stage; of a tree with fewer stages the last is the single test's.
    """
    check_prevalence(prevalence)
    size, stages = persons(tree), _accuracies(tree, accuracy)
    if size == 1:
        return singly(stages[-1])
    q = 1 - prevalence
    pmf = pmf_of_tests(prevalence, tree, accuracy)
    found, reached, lowest = 0.0, 0.0, 1.0
    for path in _paths(tree):
        share = _count(path) / size
        se = stages[-1].sensitivity
        for depth, pool in enumerate(path[:-1]):
            se *= stages[depth].pool_sensitivity(persons(pool))
        found += share * se
        reached += share * _reached(q, path, stages)
        lowest = min(lowest, se)
    return Performance(
        persons=size,
        tests=float(np.arange(pmf.size) @ pmf),
        sensitivity=found,
        lowest_sensitivity=lowest,
        specificity=1 - (1 - stages[-1].specificity) * reached,
        layout=tuple(map(persons, _children(tree))),
    )


def halving(
    prevalence: float, size: int, accuracy: Stages = PERFECT, stages: int | None = None
) -> Performance:
    """Cost and accuracy of halving a positive pool, see `halving_tree`."""
    return tree_performance(prevalence, halving_tree(size, stages), accuracy)


def pmf_of_tests(prevalence: float, tree: Tree, accuracy: Stages = PERFECT) -> Array:
    """Exact distribution of the number of tests for one first pool.

    Returns:
        Probabilities, shape (most tests + 1,); the index is the number of tests.
    """
    check_prevalence(prevalence)
    persons(tree)
    clean, dirty = _generating(1 - prevalence, tree, 0, _accuracies(tree, accuracy))
    return clean + dirty


def _generating(q: float, tree: Tree, depth: int, stages: tuple[Accuracy, ...]) -> tuple[Array, Array]:
    """Tests spent below and with a tested node, jointly with its truth: (nobody, somebody) infected.

    The tests of the parts are independent once it is known whether the node was opened. So their
    polynomials multiply; a node that reads negative ends after its own test.
    """
    if tree == 1:
        return np.array([0.0, q]), np.array([0.0, 1 - q])
    none, total = np.ones(1), np.ones(1)
    for child, times in Counter(_children(tree)).items():
        clean, dirty = _generating(q, child, depth + 1, stages)
        for _ in range(times):
            none, total = np.convolve(none, clean), np.convolve(total, clean + dirty)
    test = stages[depth]
    se, sp = test.pool_sensitivity(persons(tree)), test.specificity
    nobody = q ** persons(tree)
    clean, dirty = (1 - sp) * none, se * (total - none)
    clean[0] += sp * nobody
    dirty[0] += (1 - se) * (1 - nobody)
    return np.concatenate(([0.0], clean)), np.concatenate(([0.0], dirty))
