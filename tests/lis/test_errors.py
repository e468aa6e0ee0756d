"""Errors: one tree, a code, a status and a sentence that says what to do."""

from __future__ import annotations

import inspect

from lis import errors
from lis.errors import LisError


def tree() -> list[type[LisError]]:
    """Every kind of error."""
    return [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, LisError)]


def test_the_tree_at_the_top_of_the_file_is_the_tree():
    """Every kind of error, with its status, is drawn in the documentation of the module."""
    drawn = errors.__doc__ or ""
    for cls in tree():
        [line] = [line for line in drawn.splitlines() if f"{cls.__name__} " in line]
        assert cls is LisError or str(cls.status) in line, line


def test_an_error_carries_its_code_its_sentence_and_its_details():
    """What a program, a person and a screen need is in every error."""
    error = errors.Refused("TUBE_SEALED", "Tube T1 is sealed. Take a new tube.", tube="T1")
    assert (error.code, error.details, error.status) == ("TUBE_SEALED", {"tube": "T1"}, 409)
    assert str(error) == "TUBE_SEALED: Tube T1 is sealed. Take a new tube."


def test_every_status_is_an_error_to_a_browser():
    """No error is ever served as a success."""
    assert all(400 <= cls.status < 600 for cls in tree())
