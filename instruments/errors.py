"""Errors of the instrument side, as sentences for a technician.

::

    InstrumentError
     |  the file as a whole
     +-- EMPTY_FILE        nothing in it
     +-- TOO_LARGE         larger than a run file can be, or unpacks to more than it may
     +-- UNKNOWN_FORMAT    no reader and no mapping of the laboratory knows it
     +-- ENCRYPTED_FILE    closed by the vendor or by a password (.pcrd, protected workbook)
     +-- INCOMPLETE_FILE   cut so that its container cannot be opened at all
     +-- DAMAGED_FILE      the container opens but its checksums do not hold
     +-- UNREADABLE_FILE   a reader met something it does not understand
     +-- NOT_A_QUANTIFICATION  a genotyping (SNP) or another export that can hold no Cq
     +-- SEVERAL_RUNS      more than one run in the file, and not said which is meant
     |  places inside a file
     +-- MISSING_SHEET     the workbook lacks the sheet with the results
     +-- MISSING_COLUMN    the table lacks a column without which a result means nothing
     +-- BAD_ROW           a row that is not a row of its table
     +-- BAD_WELL          a well that does not exist on the block
     +-- BAD_CELL          a cell that is neither a number nor a known spelling of "none"
     |  what the laboratory or a caller said
     +-- BAD_MAPPING       a table mapping that contradicts itself or lacks a key
     +-- BAD_SET           files put together that are not of one run
     +-- BAD_CURVES        arrays that are not curves x cycles
     +-- BAD_RUN           a virtual run that cannot be written

A file that opens but is not whole raises nothing: it is read as far as it goes and says
``complete=False`` with its reasons (see :class:`instruments.model.RunFile`).
"""

from __future__ import annotations


class InstrumentError(Exception):
    """A file or a call that cannot be used; ``sentence`` says what, where and what to do next.

    Attributes:
        code: machine code, one of the list in the module docstring.
        sentence: for the technician, without the place.
        file: name of the file, "" when there is none.
        line: line or row number in the file counted from 1, None when it does not apply.
    """

    def __init__(self, code: str, sentence: str, *, file: str = "", line: int | None = None) -> None:
        super().__init__(code, sentence)
        self.code = code
        self.sentence = sentence
        self.file = file
        self.line = line

    def __str__(self) -> str:
        place = self.file + (f", line {self.line}" if self.line is not None else "")
        return f"{place}: {self.sentence}" if place else self.sentence

    def at(self, file: str, line: int | None = None) -> InstrumentError:
        """Return the same error with the place filled in where it was not known."""
        return InstrumentError(
            self.code,
            self.sentence,
            file=self.file or file,
            line=self.line if self.line is not None else line,
        )
