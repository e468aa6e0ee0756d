"""The house and its laws: every contract holds, and every contract is seen to break when it is broken."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("lis", "sim", "instruments", "pooling", "retest", "scheduler")

PLANTED = {
    "layers of the house": ("pooling/size.py", "import lis.errors"),
    "policies are pure": ("scheduler/fill.py", "import time"),
    "the twin knows no laboratory": ("sim/__init__.py", "import sqlalchemy"),
    "the agent fits an old PC": ("instruments/agent.py", "import pandas"),
    "layers inside lis": ("lis/tube.py", "import lis.queries"),
    "bench stations do not call each other": ("lis/services/plates/loading.py", "import lis.services.pools"),
    "only the data layer touches the schema": (
        "lis/services/pools/forming.py",
        "from lis.schema import tube as _tube",
    ),
}


TEST = re.compile(r"^(?: {4})?(?:async )?def (?P<name>test_\w+)", re.MULTILINE)
DOCUMENTED = re.compile(r'\((?:.*|\n(?:    .*\n)+?(?: {4})?\).*):(?: +#.*)?\n +r?"""[^"\s]')
"""What follows the name of a test as the formatter lays it out: the signature, and the first line of its body."""


def undocumented(source: str) -> list[str]:
    """Names of tests without a docstring. Their text is enough: parsing every file would cost seconds."""
    return [found["name"] for found in TEST.finditer(source) if not DOCUMENTED.match(source, found.end())]


def lint(tree: Path) -> str:
    """What import-linter says about a tree."""
    program = Path(sys.executable).with_name("lint-imports")
    found = subprocess.run(
        [program, "--no-cache"],
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(tree)},
    )
    return found.stdout + found.stderr


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the sources in which anything may be planted."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_every_contract_is_kept(tree: Path):
    """The sources as they are break no contract, and every contract that is planted against below exists."""
    said = lint(tree)
    kept = set(re.findall(r"^(.+?) KEPT", said, flags=re.MULTILINE))
    assert kept == set(PLANTED), said
    assert "BROKEN" not in said


def test_every_contract_breaks_on_its_violation(tree: Path):
    """Each contract is seen to break when the import that it forbids is planted."""
    for file, line in PLANTED.values():
        path = tree / file
        path.write_text(path.read_text(encoding="utf-8") + f"\n{line}\n", encoding="utf-8")
    said = lint(tree)
    broken = set(re.findall(r"^(.+?) BROKEN", said, flags=re.MULTILINE))
    assert broken == set(PLANTED), said


def test_a_module_without_a_layer_is_refused(tree: Path):
    """A new file inside lis that no layer names breaks the build."""
    (tree / "lis" / "helpers.py").write_text('"""Planted."""\n', encoding="utf-8")
    assert "layers inside lis BROKEN" in lint(tree)


def test_only_the_ledger_writes_tubes():
    """Outside the ledger nothing inserts into, updates or deletes from the tube and event tables."""
    writes = re.compile(r"\b(insert|update|delete)\(\s*(tube|event|tube_person|pool_member|recall)\b")
    offenders = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "lis").rglob("*.py")
        if "ledger" not in path.parts and writes.search(path.read_text(encoding="utf-8"))
    ]
    assert offenders == []


def test_catch_alls_stand_only_where_a_loop_must_go_on():
    """``except Exception`` stands only around foreign parsers, in the command line, the web and loops."""
    allowed = {"lis/cli/__init__.py", "instruments/formats/__init__.py"}
    loops = re.compile(
        r"(admission|bridge|listener|desk|intake|agent|apart|reception/link|app|problems|border|demo)\.py$"
    )
    found = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            if not re.search(r"except\s*(Exception|:)", text):
                continue
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.ExceptHandler) and (
                    node.type is None or (isinstance(node.type, ast.Name) and node.type.id == "Exception")
                ):
                    found.add(path.relative_to(ROOT).as_posix())
    assert {name for name in found - allowed if not loops.search(name)} == set()


def test_every_test_says_what_it_guarantees():
    """Each test function carries a one-sentence docstring, on the line after its signature."""
    silent = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in undocumented(path.read_text(encoding="utf-8"))
    ]
    assert silent == []


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ('def test_a():\n    """It holds."""\n    assert 1\n', True),
        ('def test_a(\n    one: int, two: str = ":"\n) -> None:\n    """It holds."""\n', True),
        ('    async def test_a(self):\n        r"""It holds."""\n', True),
        ("def test_a():\n    assert 1\n", False),
        ('def test_a():\n    """"""\n', False),
        ('def test_a():\n    assert """It holds."""\n', False),
        ('def test_a(\n    one: int,\n) -> None:\n    x = """It holds."""\n', False),
    ],
)
def test_a_test_without_a_docstring_is_seen(source: str, says: bool):
    """The guard above sees a missing or empty docstring, however the signature is laid out."""
    assert undocumented(source) == ([] if says else ["test_a"])
