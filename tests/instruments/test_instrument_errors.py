"""Errors of the instrument side."""

import pickle

from instruments import InstrumentError


def test_the_sentence_carries_its_place():
    """A technician reads file and line in front of the sentence."""
    error = InstrumentError("BAD_CELL", "No number.", file="run.csv", line=7)
    assert str(error) == "run.csv, line 7: No number."
    assert str(InstrumentError("BAD_CELL", "No number.")) == "No number."


def test_a_place_is_filled_in_only_where_it_was_unknown():
    """The innermost place wins: it is the exact one."""
    error = InstrumentError("BAD_WELL", "No well.", line=3).at("run.csv", 9)
    assert (error.code, error.file, error.line) == ("BAD_WELL", "run.csv", 3)


def test_an_error_survives_pickling():
    """A worker process hands the error over whole."""
    error = pickle.loads(pickle.dumps(InstrumentError("EMPTY_FILE", "Empty.", file="a", line=1)))  # noqa: S301
    assert (error.code, error.sentence, error.file, error.line) == ("EMPTY_FILE", "Empty.", "a", 1)
