"""The program as a command in this process: a start of Python less."""

from __future__ import annotations

import pytest

from lis import cli


def called(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of the program in this process."""
    capsys.readouterr()
    try:
        cli.main(list(arguments))
        status = 0
    except SystemExit as leave:
        status = leave.code if isinstance(leave.code, int) else 0 if leave.code is None else 1
    out, err = capsys.readouterr()
    return status, out, err
