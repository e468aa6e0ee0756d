"""Documentation that runs: blocks are executed, tables are held to the program."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from command_line import called

from lis.cli import COMMANDS
from lis.config import Settings

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
ENVIRONMENT = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
ELSEWHERE = re.compile(r"^(python3 -m venv|uv run|lis demo --once)")
"""``.ci/run`` executes what installs and tests, the demo command is executed below, tests/flows plays the day."""


def blocks(page: Path) -> list[str]:
    """Shell blocks of a page."""
    return re.findall(r"^```sh\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


EXAMPLES = [
    pytest.param(block, id=f"{page.relative_to(ROOT)}-{number}")
    for page in PAGES
    for number, block in enumerate(blocks(page))
    if not ELSEWHERE.match(block)
]


def lis(program: str = "lis") -> list[str]:
    """The installed program, or the same from the sources."""
    installed = BIN / program
    return (
        [str(installed)] if installed.exists() else [sys.executable, "-c", "from lis.cli import main; main()"]
    )


def with_lis(folder: Path) -> dict[str, str]:
    """An environment in which ``lis`` is this version, whether it was installed or not."""
    if (BIN / "lis").exists():
        return ENVIRONMENT
    shim = folder / "bin" / "lis"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -c "from lis.cli import main; main()" "$@"\n')
    shim.chmod(0o755)
    return {**ENVIRONMENT, "PATH": f"{shim.parent}{os.pathsep}{ENVIRONMENT['PATH']}"}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of a program."""
    return with_lis(tmp_path)


def run_block(block: str, folder: Path, environment: dict[str, str]) -> str:
    """Run a block as printed in an empty folder, where it must exit 0; what it said on stdout."""
    folder.mkdir()
    found = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )
    assert found.returncode == 0, found.stderr[-2000:]
    assert "Traceback" not in found.stderr
    return found.stdout


@pytest.mark.parametrize("block", EXAMPLES)
def test_every_shell_block_runs(block: str, tmp_path: Path, environment: dict[str, str]):
    """Each block of README and docs runs as printed, in an empty folder, and exits 0."""
    run_block(block, tmp_path / "work", environment)


def test_ci_runs_the_test_command_of_the_readme():
    """The command that README promises is the one that CI executes."""
    promised = next(line for line in (ROOT / "README.md").read_text().splitlines() if line.endswith("pytest"))
    script = (ROOT / ".ci" / "run").read_text()
    for part in ("-m venv .venv", "pip install", "-c constraints.txt -e '.[test]'", ".venv/bin/pytest"):
        assert part in promised
        assert part in script


def test_the_demo_command_serves_a_day_and_stops_cleanly(
    tmp_path: Path, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
):
    """``lis demo`` opens on the wall of its day, answers, stops on Ctrl-C, and leaves a log that verifies."""
    data = tmp_path / "data"
    if (
        signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    ):  # pytest in the background: Ctrl-C would be inherited dead
        signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [*lis(), "demo", "--data", str(data), "--port", "0", "--speed", "100000"],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "reception: rack R001" in line:
                break
        address = re.search(r"(http://127\.0\.0\.1:\d+)(/wall\?key=\S+)", "".join(lines))
        assert address, "".join(lines)
        with urllib.request.urlopen(f"{address[1]}/healthz", timeout=20) as answer:
            assert answer.status == 200
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with browser.open(address.group(), timeout=20) as answer:
            assert b'id="clocks"' in answer.read()
        os.killpg(process.pid, signal.SIGINT)
        rest = process.communicate(timeout=60)[1]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        process.stderr.close()
    assert process.returncode == 0, rest
    assert "Traceback" not in rest
    status, said, problem = called(capsys, "verify-log", "--data", str(data))
    assert status == 0, problem
    assert "verified" in said


def test_every_setting_is_documented():
    """docs/settings.md names every setting with its environment variable, default and meaning."""
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    for name, field in Settings.model_fields.items():
        default = f"`{field.default}`" if str(field.default) else "(empty)"
        assert f"| `{name}` | `LIS_{name.upper()}` | {default} | {field.description} |" in page


def test_every_command_has_help(environment: dict[str, str]):
    """``lis --help`` lists every command, and loads none of the heavy packages for it."""
    program = "import sys; from lis.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    program += "heavy = {'numpy', 'pandas', 'sqlalchemy', 'fastapi', 'pydantic', 'zmq'} & set(sys.modules)\n"
    program += "print('HEAVY', sorted(heavy))"
    found = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    for name, (_, text) in COMMANDS.items():
        assert name in found.stdout
        assert text.split(".")[0][:40] in " ".join(found.stdout.split())
    assert "HEAVY []" in found.stdout


def test_the_changelog_has_an_entry_for_what_comes_next():
    """CHANGELOG.md keeps a section for the unreleased changes, with something in it."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"## \[Unreleased\]\n\n### \w+\n- ", text)
