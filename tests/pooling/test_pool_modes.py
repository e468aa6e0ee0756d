"""Three modes that cannot be confused, by type and when made."""

import os
import subprocess
import sys
from itertools import permutations
from pathlib import Path

import pytest

import pooling
from pooling import DualSwab, Individual, LabPool, MixedTube, Mode, PoolDesignError, Resolution, Retained

ROOT = Path(__file__).resolve().parents[2]
ONE, TWO = Individual("T1", "P1"), Individual("T2", "P2")


def test_dilution_follows_the_mode():
    """A mixed tube of ten dilutes by its medium, a lab pool by its members, a shared tube by medium."""
    mixed = MixedTube("M1", tuple(f"P{number}" for number in range(10)), medium_ml=6.0)
    pool = LabPool("L1", tuple(Individual(f"T{number}") for number in range(10)))
    dual = DualSwab("S1", tuple(Retained(f"R{number}") for number in range(16)), medium_ml=5.0)
    assert [round(tube.shift, 2) for tube in (mixed, pool, dual)] == [1.0, 3.32, 0.74]
    assert [pooling.mode(tube) for tube in (mixed, pool, dual)] == [Mode.MIXED, Mode.POOL, Mode.DUAL]
    assert MixedTube("M2", ("P1",), medium_ml=12.0).shift == 2.0


def test_only_a_mixed_tube_is_resolved_by_re_collection():
    """Where tubes are retained they are tested; where none is, every person is called again."""
    assert {mode: pooling.resolution(mode) for mode in Mode} == {
        Mode.MIXED: Resolution.RECOLLECT,
        Mode.POOL: Resolution.TEST_SINGLY,
        Mode.DUAL: Resolution.TEST_SINGLY,
    }


@pytest.mark.parametrize(
    "other",
    [
        MixedTube("M", ("P1", "P2")),
        DualSwab("S", (Retained("R1"),)),
        LabPool("L", (ONE, TWO)),
        Retained("R1"),
        "T3",
    ],
)
def test_a_pool_is_made_of_single_tubes_only(other):
    """A mixed tube, a shared tube, a pool, a retained tube or a bare barcode never enters a pool."""
    for members in permutations((ONE, other)):
        with pytest.raises(PoolDesignError) as caught:
            LabPool("L9", members)
        assert caught.value.code == "NESTED_POOL"
        assert "L9" in str(caught.value)


NESTED = """
from pooling.modes import DualSwab, Individual, LabPool, MixedTube, Retained

one, mixed, retained = Individual("T1"), MixedTube("M", ("P1", "P2")), Retained("R1")
fine = LabPool("L", (one, Individual("T2")))
shared = DualSwab("S", (retained,))
LabPool("L", (one, mixed))  # line 7
LabPool("L", (one, shared))  # line 8
LabPool("L", (one, fine))  # line 9
LabPool("L", (one, retained))  # line 10
DualSwab("S", (one,))  # line 11
"""


def test_the_type_checker_refuses_a_nested_pool(tmp_path):
    """Mypy accepts the honest lines and refuses each nested pool, line by line."""
    source = tmp_path / "nested.py"
    source.write_text(NESTED, encoding="utf-8")
    # Only the source and the module of the types are checked, so numpy is not; that takes a second.
    told = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "mypy",
                "--follow-imports=skip",
                "--no-error-summary",
                "--no-incremental",
            ),
            *(source, ROOT / "pooling" / "modes.py"),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT)},
    )
    lines = [int(line.split(":")[1]) for line in told.stdout.splitlines() if line.startswith("nested.py:")]
    assert lines == [7, 8, 9, 10, 11], told.stdout + told.stderr


@pytest.mark.parametrize(
    ("make", "code", "word"),
    [
        pytest.param(lambda: LabPool("L", (ONE,)), "TOO_FEW_MEMBERS", "2 tube", id="one-member"),
        pytest.param(lambda: LabPool("L", ()), "TOO_FEW_MEMBERS", "L", id="no-member"),
        pytest.param(lambda: LabPool("L", (ONE, ONE)), "DUPLICATE_TUBE", "T1", id="twice"),
        pytest.param(lambda: LabPool("T1", (ONE, TWO)), "DUPLICATE_TUBE", "itself", id="itself"),
        pytest.param(lambda: MixedTube("M", ()), "TOO_FEW_MEMBERS", "1 person", id="nobody"),
        pytest.param(lambda: MixedTube("M", ("P", "P")), "DUPLICATE_TUBE", "person P", id="person-twice"),
        pytest.param(lambda: MixedTube("M", ("P",), 0.0), "BAD_VOLUME", "0", id="no-medium"),
        pytest.param(lambda: DualSwab("S", ()), "TOO_FEW_MEMBERS", "retained tube", id="none-retained"),
        pytest.param(lambda: DualSwab("S", (ONE,)), "NOT_RETAINED", "S", id="not-retained"),
        pytest.param(lambda: DualSwab("S", (Retained("R"),), -1.0), "BAD_VOLUME", "-1", id="negative"),
        pytest.param(
            lambda: DualSwab("S", (Retained("R"), Retained("R", "P"))),
            "DUPLICATE_TUBE",
            "R",
            id="retained-twice",
        ),
    ],
)
def test_impossible_tubes_are_refused(make, code, word):
    """Nobody, somebody twice, a tube in itself, no medium: refused when made, with the barcode."""
    with pytest.raises(PoolDesignError) as caught:
        make()
    assert caught.value.code == code
    assert word in str(caught.value)
