"""Speed of Cq calling, printed; and beside LinRegPCR where rdmlpython is installed.

Run by hand: ``python tests/benchmarks/bench_calling.py``. With ``--rdmlpython PYTHON`` (the interpreter
of an environment that holds rdmlpython) the same synthetic plate is written as RDML and analysed there,
and the ratio of both times in this run is printed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np

from instruments.calling import METHODS, Method, call_curves
from instruments.early import forecast

LIMITS = {384: 5.0, 9600: 50.0}
"""Milliseconds that ``abi`` may take."""

LINREG = """
import sys, time
import rdmlpython as rdml
run = rdml.Rdml(sys.argv[1]).experiments()[0].runs()[0]
start = time.process_time()
run.linRegPCR(updateRDML=False, saveResultsCSV=True)
print(time.process_time() - start)
"""


def plate(count: int, cycles: int = 45, seed: int = 1) -> np.ndarray:
    """Synthetic curves, a third of them negative."""
    rng = np.random.default_rng(seed)
    x = np.arange(1, cycles + 1)
    half = np.where(rng.random((count, 1)) < 1 / 3, 1e3, rng.uniform(20, 42, (count, 1)))
    return (
        0.6 + 2.5 / (1 + np.exp(-0.66 * np.clip(x - half, -60, 60))) + rng.normal(0, 0.003, (count, cycles))
    )


def milliseconds(values: np.ndarray, method: Method, rounds: int) -> tuple[float, float]:
    """Fastest and median processor time of some rounds: other programs do not count."""
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        call_curves(values, method=method)
        taken.append((time.process_time() - start) * 1e3)
    return min(taken), sorted(taken)[rounds // 2]


def write_rdml(path: Path, values: np.ndarray) -> None:
    """The plate as RDML 1.2, one target."""
    reacts = "".join(
        f'<react id="{i + 1}"><sample id="s"/><data><tar id="t"/>'
        + "".join(f"<adp><cyc>{c}</cyc><fluor>{v:.6f}</fluor></adp>" for c, v in enumerate(row, 1))
        + "</data></react>"
        for i, row in enumerate(values)
    )
    text = (
        '<?xml version="1.0" encoding="UTF-8"?><rdml version="1.2" xmlns="http://www.rdml.org">'
        "<dateMade>2024-01-01T00:00:00</dateMade><dateUpdated>2024-01-01T00:00:00</dateUpdated>"
        '<dye id="d"/><sample id="s"><type>unkn</type></sample>'
        '<target id="t"><type>toi</type><dyeId id="d"/></target><experiment id="e"><run id="r"><pcrFormat>'
        "<rows>16</rows><columns>24</columns><rowLabel>ABC</rowLabel><columnLabel>123</columnLabel></pcrFormat>"
        f"{reacts}</run></experiment></rdml>"
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rdml_data.xml", text)


def linregpcr_seconds(python: str, values: np.ndarray) -> float:
    """Time of rdmlpython's LinRegPCR on the plate, without its start and its reading of the file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plate.rdml"
        write_rdml(path, values)
        done = subprocess.run(
            [python, "-c", LINREG, str(path)], capture_output=True, text=True, check=False, timeout=600
        )
    if done.returncode:
        sys.exit(f"rdmlpython failed: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout.split()[-1])


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rdmlpython", default="", help="Python of an environment with rdmlpython.")
    chosen = options.parse_args()
    print(f"{'curves':>7} {'method':<10} {'fastest ms':>11} {'median ms':>10} {'us/curve':>9}  limit")
    fastest = {}
    for count in (96, 384, 9600):
        values = plate(count)
        for method in METHODS:
            if method == "cfx" and count == 96:
                continue
            best, middle = milliseconds(values, method, 30)
            fastest[count, method] = best
            limit = LIMITS.get(count) if method == "abi" else None
            verdict = "" if limit is None else f"{limit:g} ms {'kept' if best <= limit else 'missed'}"
            print(
                f"{count:>7} {method:<10} {best:>11.2f} {middle:>10.2f} {best / count * 1e3:>9.1f}  {verdict}"
            )
    running = plate(384)[:, :30]
    start = time.process_time()
    forecast(running)
    print(f"    384 forecast   {(time.process_time() - start) * 1e3:>11.2f}")
    if chosen.rdmlpython:
        seconds = linregpcr_seconds(chosen.rdmlpython, plate(384))
        own = fastest[384, "linregpcr"]
        print(
            f"rdmlpython LinRegPCR, 384 curves: {seconds:.2f} s; here {own:.1f} ms: {seconds * 1e3 / own:.0f} times"
        )


if __name__ == "__main__":
    main()
