"""Answers remembered for what instruments write again and again, and for nothing long."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Final, ParamSpec, TypeVar

LONGEST: Final = 64
"""Letters of a text that is remembered. A file may hold cells of megabytes, and all would stay."""

P = ParamSpec("P")
R = TypeVar("R")


def remembered(most: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Remember the last ``most`` answers of a function; it is asked anew where an argument is a long text."""

    def around(function: Callable[P, R]) -> Callable[P, R]:
        known = lru_cache(maxsize=most, typed=True)(function)

        @wraps(function)
        def answer(*args: P.args, **named: P.kwargs) -> R:
            for one in args:
                if isinstance(one, str) and len(one) > LONGEST:
                    return function(*args, **named)
            return known(*args, **named)  # type: ignore[arg-type]  # values of cells are hashable

        answer.known = known  # type: ignore[attr-defined]  # what a test looks into
        return answer

    return around
