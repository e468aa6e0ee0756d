"""The command line as programs see it: help, exit status, one document on stdout, never a traceback."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from command_line import called
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lis import cli

ROOT = Path(__file__).resolve().parents[2]
HEAVY = (
    *("sqlalchemy", "pandas", "numpy", "fastapi", "pydantic", "alembic", "zmq", "python_calamine", "fpdf"),
    "babel",
)


def run(*arguments: str, stdin: bytes = b"", **more: str) -> subprocess.CompletedProcess[bytes]:
    """The program in a process of its own."""
    script = "import sys; from lis.cli import main; main(sys.argv[1:])"
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        check=False,
        cwd=ROOT,
        input=stdin,
        **more,
    )


def commands() -> list[tuple[str, ...]]:
    """Every command and subcommand."""
    found: list[tuple[str, ...]] = []
    context = click.Context(cli.lis)
    for name in cli.COMMANDS:
        found.append((name,))
        command = cli.lis.get_command(context, name)
        if isinstance(command, click.Group):
            found += [(name, sub) for sub in command.list_commands(context)]
    return found


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_every_command_explains_itself(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]):
    """``--help`` of every command exits with 0, says how it is used and writes nothing to stderr."""
    status, out, err = called(capsys, *path, "--help")
    assert (status, err) == (0, "")
    assert "usage" in out.lower()
    assert len(out.splitlines()) > 3


def test_the_help_of_the_program_lists_every_command(capsys: pytest.CaptureFixture[str]):
    """A newcomer sees each command with one line about it."""
    out = called(capsys, "--help")[1]
    for name, (_, text) in cli.COMMANDS.items():
        assert f"\n  {name} " in out
        assert text.split()[0] in out


def test_help_loads_nothing_heavy():
    """``lis --help`` imports neither database nor numbers nor web, so that it answers at once."""
    script = (
        "import sys\n"
        "from lis.cli import main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, cwd=ROOT, text=True
    )
    assert done.stderr.strip() == "[]"
    assert "Commands:" in done.stdout


@pytest.mark.parametrize(
    "arguments", [("nonsense",), ("read",), ("interpret",), ("pool", "design"), ("export", "x")]
)
def test_a_wrong_call_exits_with_two(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]):
    """An unknown command and a missing argument are usage errors: status 2, usage on stderr, nothing on stdout."""
    status, out, err = called(capsys, *arguments)
    assert (status, out) == (2, "")
    assert "Usage:" in err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("interpret", "--assay", "no-such-kit"), "ASSAY_UNKNOWN"),
        (("interpret", "--assay", "missing.toml"), "FILE"),
        (("restore", "."), "NOT_A_BACKUP"),
        (("user", "token", "nobody"), "SIGN_IN"),
        (("device", "revoke", "nothing"), "DEVICE_UNKNOWN"),
    ],
)
def test_a_failure_exits_with_one_sentence(
    arguments: tuple[str, ...], code: str, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]
):
    """Everything else that goes wrong: status 1 and ``error: CODE: sentence`` as the only words on stderr."""
    monkeypatch.setenv("LIS_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    status, out, err = called(capsys, *arguments)
    assert (status, out) == (1, "")
    assert err.startswith(f"error: {code}: ")
    assert len(err.splitlines()) == 1


def test_an_unforeseen_error_is_a_sentence_too(monkeypatch, capsys: pytest.CaptureFixture[str]):
    """A fault of the program itself shows one line with its name, not a traceback."""

    def broken(**_: object) -> None:
        raise ZeroDivisionError("nobody thought of this")

    monkeypatch.setattr(cli.lis, "main", broken)
    status, out, err = called(capsys, "assays")
    assert (status, out) == (1, "")
    assert err.startswith("error: UNEXPECTED: ")
    assert "ZeroDivisionError" in err
    assert "Traceback" not in err


WORDS = st.one_of(
    st.sampled_from(["--json", "--data", "--assay", "--help", "read", "assays", "check", "pool", "design", "--", "-",
                     "--prevalence", "0.1", "nan", "-1", "1e400", "--size", "0", "user", "list", "config", "show"]),
    st.text(alphabet=st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=12),
)  # fmt: skip


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    first=st.sampled_from(
        ["read", "call", "interpret", "assays", "pool", "config", "device", "user", "restore"]
    ),
    rest=st.lists(WORDS, max_size=5),
)
def test_odd_arguments_never_end_in_a_traceback(
    first: str, rest: list[str], tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]
):
    """Whatever is typed: status 0, 1 or 2; a failure is one sentence with a code; stdout stays a document."""
    monkeypatch.setenv("LIS_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    status, out, err = called(capsys, first, *rest)
    assert status in {0, 1, 2}
    assert "Traceback" not in err
    if status == 1 and "stopped" not in err:
        assert err.splitlines()[-1].startswith("error: ")
        assert "UNEXPECTED" not in err
    if status == 0 and "--json" in rest and "--help" not in rest and out.strip().startswith(("{", "[")):
        json.loads(out)


def test_the_console_script_is_the_program():
    """The program in its own process keeps the contract: status and both streams."""
    good = run("assays", "--json")
    assert (good.returncode, good.stderr) == (0, b"")
    assert json.loads(good.stdout)
    bad = run("interpret", "--assay", "no-such-kit")
    assert (bad.returncode, bad.stdout) == (1, b"")
    assert bad.stderr.startswith(b"error: ASSAY_UNKNOWN: ")
