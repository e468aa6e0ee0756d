"""Rows and columns: arrays of any shape, with and without a master pool.

Source: Kim et al. (Biometrics 2007) for square arrays, extended here to rectangles, to sensitivity and
specificity per stage and to dilution by line length; checked in the tests against full enumeration.
"""

from dataclasses import dataclass

from pooling.size import (
    PERFECT,
    Accuracy,
    Performance,
    PoolDesignError,
    Stages,
    check_prevalence,
    per_stage,
    positive,
)


@dataclass(frozen=True, slots=True)
class _Lines:
    """q = 1 - prevalence; members of a line, of each crossing line; the accuracy of a line's test."""

    q: float
    line: int
    other: int
    test: Accuracy


def _alone_of_positive(lines: _Lines) -> float:
    """P(a line of an infected person reads positive while every crossing line reads negative)."""
    q, other = lines.q, lines.other
    cross_se = lines.test.pool_sensitivity(other)
    silent = q ** (other - 1) * lines.test.specificity + (1 - q ** (other - 1)) * (1 - cross_se)
    any_silent = q * silent + (1 - q) * (1 - cross_se)
    return lines.test.pool_sensitivity(lines.line) * (1 - cross_se) * any_silent ** (lines.line - 1)


def _alone_of_negative(lines: _Lines) -> float:
    """P(a line of a negative person reads positive while every crossing line reads negative)."""
    q, other, sp = lines.q, lines.other, lines.test.specificity
    cross_se = lines.test.pool_sensitivity(other)
    silent = q ** (other - 1) * sp + (1 - q ** (other - 1)) * (1 - cross_se)
    any_silent = q * silent + (1 - q) * (1 - cross_se)
    all_clean = (q * silent) ** (lines.line - 1)
    line_se = lines.test.pool_sensitivity(lines.line)
    return silent * ((1 - sp) * all_clean + line_se * (any_silent ** (lines.line - 1) - all_clean))


def _asked(q: float, rows: int, columns: int, test: Accuracy) -> tuple[float, float]:
    """P(a person is tested singly), for a negative and for an infected one."""
    row_se, column_se = test.pool_sensitivity(columns), test.pool_sensitivity(rows)
    of_row, of_column = _Lines(q, columns, rows, test), _Lines(q, rows, columns, test)
    crossing = positive(q ** (columns - 1), row_se, test.specificity) * positive(
        q ** (rows - 1), column_se, test.specificity
    )
    return (
        crossing + _alone_of_negative(of_row) + _alone_of_negative(of_column),
        row_se * column_se + _alone_of_positive(of_row) + _alone_of_positive(of_column),
    )


def _asked_in_vain(rows: int, columns: int, test: Accuracy) -> float:
    """P(a person is tested singly) when nobody in the whole array is infected."""
    wrong, right = 1 - test.specificity, test.specificity
    return wrong * wrong + wrong * right**columns + wrong * right**rows


def array(
    prevalence: float, rows: int, columns: int, accuracy: Stages = PERFECT, *, master: bool = False
) -> Performance:
    """Rows and columns pooled; crossings of positive lines are tested singly.

    When lines of one direction read positive and none of the other does, all members of those lines are
    tested. With `master` one pool of all members is tested first, and the lines only when it is positive.

    Args:
        prevalence: share of infected persons.
        rows: number of rows, two or more.
        columns: number of columns, two or more.
        accuracy: one, or one per stage: (master,) lines, single test.
        master: test one pool of everybody first.
    """
    check_prevalence(prevalence)
    if min(rows, columns) < 2:
        raise PoolDesignError("BAD_SIZE", f"An array needs two rows and two columns, not {rows} x {columns}.")
    stages = per_stage(accuracy, 3 if master else 2)
    lines, last = stages[-2:]
    q, everybody = 1 - prevalence, rows * columns
    negative, infected = _asked(q, rows, columns, lines)
    tests = float(rows + columns)
    if master:
        first = stages[0]
        se, sp = first.pool_sensitivity(everybody), first.specificity
        nobody = q ** (everybody - 1) * _asked_in_vain(rows, columns, lines)
        negative, infected = se * negative - (se + sp - 1) * nobody, se * infected
        tests = 1 + tests * positive(q**everybody, se, sp)
    found = last.sensitivity * infected
    return Performance(
        persons=everybody,
        tests=tests + everybody * (q * negative + prevalence * infected),
        sensitivity=found,
        lowest_sensitivity=found,
        specificity=1 - (1 - last.specificity) * negative,
    )
