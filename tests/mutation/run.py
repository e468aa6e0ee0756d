"""Measure what the tests of one pure package would notice: every small change of its code is tried.

The changes ("mutants") are made by mutmut (`pip install mutmut==3.8.1`), one at a time, in a copy of the
project. The tests are collected once; for every mutant a child process is forked from there and runs only
the tests that reach the changed function, fastest first, until one fails. A mutant is killed when a test
fails or takes longer than ten times its usual time (at least five seconds of processor time); it survives when
all of them pass, or when no test reaches it.

    python tests/mutation/run.py pooling --sample 400 --seed 1     # a uniform sample of all mutants
    python tests/mutation/run.py pooling --modules decode form     # what was not run yet of these, in this order
    python tests/mutation/run.py pooling --survivors               # those that survived before, again
    python tests/mutation/run.py retest --minutes 10               # what was not run yet, in random order
    python tests/mutation/run.py pooling --report                  # the table, and each survivor as a diff

Results are kept in the scratch folder (`--scratch`, default `mutation-<package>` in the folder for temporary
files) until the module they belong to changes. Chance is seeded, so a run can be repeated. Needs a system
with fork (Linux, macOS).
"""

from __future__ import annotations

import argparse
import difflib
import gc
import importlib
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SKIPPED = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info", "venv", "lis-data")
INI = """[pytest]
pythonpath = .
filterwarnings =
    error
    ignore::pytest.PytestUnknownMarkWarning
"""
SHORTEST_LIMIT_S = 5.0  # of processor time: how busy the machine is does not matter
MEMORY_BYTES = 6 << 30
Results = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Bench:
    """One package in its scratch folder; `copy` is the project with the mutants in it."""

    package: str
    scratch: Path

    @property
    def copy(self) -> Path:
        """The copy of the project, its own folder so that data beside a checkout can stand beside it."""
        return self.scratch / "project"

    def results(self) -> Results:
        """What is known of each mutant, by name."""
        path = self.scratch / "results.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def keep(self, results: Results) -> None:
        """Write the results down, whole or not at all."""
        part = self.scratch / "results.part"
        part.write_text(json.dumps(results, indent=0), encoding="utf-8")
        part.replace(self.scratch / "results.json")


def prepare(bench: Bench) -> None:
    """Copy the project and make the mutants of modules that changed."""
    originals = bench.scratch / "originals" / bench.package
    originals.mkdir(parents=True, exist_ok=True)
    stale = bench.copy / "tests"
    shutil.rmtree(stale, ignore_errors=True)
    package = bench.copy / bench.package
    for entry in ROOT.iterdir():
        if entry.is_dir() and entry.name != bench.package and not SKIPPED("", [entry.name]):
            shutil.copytree(entry, bench.copy / entry.name, ignore=SKIPPED, dirs_exist_ok=True)
        elif entry.is_file():
            bench.copy.mkdir(exist_ok=True)
            shutil.copy(entry, bench.copy / entry.name)
    unchanged = {one.name for one in originals.glob("*.py") if _same(one, ROOT / bench.package / one.name)}
    kept = {name: package.joinpath(name).read_text(encoding="utf-8") for name in unchanged}
    shutil.rmtree(package, ignore_errors=True)
    shutil.copytree(ROOT / bench.package, package, ignore=SKIPPED)
    if (beside := ROOT.parent / "shared").is_dir() and not (bench.scratch / "shared").exists():
        (bench.scratch / "shared").symlink_to(beside)
    os.chdir(bench.copy)
    (bench.copy / "mutation.ini").write_text(INI, encoding="utf-8")
    (bench.copy / "setup.cfg").write_text(f"[mutmut]\nsource_paths={bench.package}/\n", encoding="utf-8")
    results = bench.results()
    for path in sorted(package.glob("*.py")):
        source = path.read_text(encoding="utf-8")
        if path.name in kept:
            path.write_text(kept[path.name], encoding="utf-8")
            continue
        mutation = importlib.import_module("mutmut.mutation.file_mutation")
        path.write_text(mutation.mutate_file_contents(path.name, source).code, encoding="utf-8")
        results = {name: one for name, one in results.items() if module_of(name) != path.stem}
        shutil.copy(ROOT / bench.package / path.name, originals / path.name)
    bench.keep(results)


def _same(one: Path, other: Path) -> bool:
    return other.exists() and one.read_bytes() == other.read_bytes()


def mutants_of(bench: Bench) -> list[str]:
    """The names of all mutants in the copy."""
    return [
        name for path in sorted((bench.copy / bench.package).glob("*.py")) for name in _named(bench, path)
    ]


def _named(bench: Bench, path: Path) -> list[str]:
    package = bench.package
    module = package if path.stem == "__init__" else f"{package}.{path.stem}"
    found = re.findall(
        r"^ *(?:async )?def (x\w+__mutmut_\d+)\(", path.read_text(encoding="utf-8"), re.MULTILINE
    )
    return [f"{module}.{name}" for name in found]


def module_of(mutant: str) -> str:
    """The module of a mutant: `decode` for `pooling.decode.x_decode__mutmut_1`."""
    return mutant.split(".")[1] if mutant.count(".") > 1 else "__init__"


def function_of(mutant: str) -> str:
    """The changed function, as mutmut calls it."""
    return mutant.rpartition("__mutmut_")[0]


@dataclass
class Trial:
    """A pytest plugin: collects the tests once and, instead of running them, tries mutant after mutant."""

    bench: Bench
    mutants: list[str]
    until: float
    reached: dict[str, set[str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def pytest_collection(self) -> None:
        """No example found for one mutant may help to kill another."""
        hypothesis = importlib.import_module("hypothesis")
        settings, phase = hypothesis.settings, hypothesis.Phase
        # One failing example is enough: it is neither made small nor explained.
        phases = (phase.explicit, phase.generate)
        settings.register_profile("mutation", settings.default, database=None, phases=phases)
        settings.load_profile("mutation")

    def pytest_runtestloop(self, session: Any) -> bool:
        """Run the tests as they are, then the chosen mutants, each in a process of its own."""
        items = {item.nodeid: item for item in session.items}
        self.reached, self.seconds = self._baseline(list(items.values()))
        results = self.bench.results()
        gc.collect()
        gc.freeze()  # what is frozen is not copied into every child by its collector
        for number, mutant in enumerate(self.mutants, 1):
            if time.monotonic() > self.until:
                print(f"time is over: {len(self.mutants) - number + 1} not run")
                break
            tests = sorted(self.reached.get(function_of(mutant), ()), key=self.seconds.__getitem__)
            results[mutant] = self._try(mutant, [items[one] for one in tests])
            if number % 20 == 0 or number == len(self.mutants):
                self.bench.keep(results)
                print(number, "run,", total(results, self.mutants[:number]), flush=True)
        self.bench.keep(results)
        return True

    def _baseline(self, items: list[Any]) -> tuple[dict[str, set[str]], dict[str, float]]:
        """Which tests reach which function, and how long each takes; all of these must pass."""
        trampoline: Any = importlib.import_module("mutmut.mutation.trampoline")
        hits: set[str] = set()
        trampoline.record_trampoline_hit = lambda name, caller: hits.add(name)
        os.environ["MUTANT_UNDER_TEST"] = "stats"
        reached: dict[str, set[str]] = {}
        seconds: dict[str, float] = {}
        read, write = os.pipe()
        if os.fork() == 0:
            os.close(read)
            for item in items:
                hits.clear()
                start = time.monotonic()
                failure = _failure(item)
                said = json.dumps([item.nodeid, time.monotonic() - start, sorted(hits), failure])
                os.write(write, f"{said}\n".encode())
            os._exit(0)
        os.close(write)
        with os.fdopen(read, encoding="utf-8") as lines:
            for line in lines:
                test, taken, functions, failure = json.loads(line)
                if functions and failure:
                    raise SystemExit(f"{test} fails without any change:\n{failure}")
                seconds[test] = taken
                for function in functions:
                    reached.setdefault(function, set()).add(test)
        os.wait()
        if len(seconds) != len(items):
            raise SystemExit(f"the tests ended after {len(seconds)} of {len(items)}")
        return reached, seconds

    def _try(self, mutant: str, tests: list[Any]) -> dict[str, Any]:
        """The fate of one mutant."""
        if not tests:
            return {"killed": False, "by": "no test reaches it"}
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGVTALRM, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
            os.environ["MUTANT_UNDER_TEST"] = mutant
            for test in tests:
                limit = max(SHORTEST_LIMIT_S, 10 * self.seconds[test.nodeid])
                signal.setitimer(signal.ITIMER_VIRTUAL, limit)
                if _failure(test):
                    os.write(write, test.nodeid.encode())
                    os._exit(1)
            os._exit(0)
        os.close(write)
        with os.fdopen(read, encoding="utf-8") as said:
            by = said.read()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return {"killed": status != 0, "by": by or ("" if status == 0 else f"ended with {status}")}


def _failure(item: Any) -> str:
    """Run one test with its fixtures and say how it failed, if it did; nothing it prints is shown."""
    runner = importlib.import_module("_pytest.runner")
    reports = runner.runtestprotocol(item, nextitem=None, log=False)
    return "".join(f"{one.longreprtext}\n" for one in reports if one.failed)


def total(results: Results, mutants: Iterable[str]) -> str:
    """Killed of run, with the 95 % interval of Wilson."""
    run = [results[one]["killed"] for one in mutants if one in results]
    if not run:
        return "nothing run"
    n, share, z = len(run), sum(run) / len(run), 1.96
    middle, half = share + z * z / (2 * n), z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = ((middle + side * half) / (1 + z * z / n) for side in (-1, 1))
    return f"{sum(run)} of {n} killed = {share:.1%} (95 %: {low:.1%} to {high:.1%})"


def report(bench: Bench, mutants: list[str]) -> Iterator[str]:
    """The table of modules, and every survivor as a diff."""
    results = bench.results()
    yield "module | mutants | run | killed | survived"
    modules = dict.fromkeys(module_of(one) for one in mutants)
    for module in [*modules, "all"]:
        own = [one for one in mutants if module in {module_of(one), "all"}]
        run = [results[one]["killed"] for one in own if one in results]
        yield f"{module} | {len(own)} | {len(run)} | {sum(run)} | {len(run) - sum(run)}"
    yield total(results, mutants)
    for one in mutants:
        if one in results and not results[one]["killed"]:
            yield "\n".join([f"\n{one} {results[one]['by']}", *_difference(bench, one)])


def _difference(bench: Bench, mutant: str) -> list[str]:
    """The lines a mutant changes."""
    text = (bench.copy / bench.package / f"{module_of(mutant)}.py").read_text(encoding="utf-8")

    def body(name: str) -> list[str]:
        lines = text[re.search(rf"^ *def {name}\(", text, re.MULTILINE).start() :].splitlines()  # type: ignore[union-attr]
        indent = len(lines[0]) - len(lines[0].lstrip())
        end = next(
            (n for n, line in enumerate(lines) if n and re.match(rf"^ {{0,{indent}}}[^\s)]", line)),
            len(lines),
        )
        return lines[1:end]

    name = mutant.rpartition(".")[2]
    pair = body(function_of(name) + "__mutmut_orig"), body(name)
    return [
        line for line in difflib.unified_diff(*pair, n=1, lineterm="") if not line.startswith(("---", "+++"))
    ]


def chosen(args: argparse.Namespace, mutants: list[str], results: Results) -> list[str]:
    """The mutants to run, in the order of the run."""
    dice = random.Random(args.seed)
    if args.sample:
        return dice.sample(mutants, min(args.sample, len(mutants)))
    mutants = [one for one in mutants if args.survivors == (one in results and not results[one]["killed"])]
    dice.shuffle(mutants)
    if args.survivors:
        return mutants
    modules = args.modules or list({module_of(one) for one in mutants})
    fresh = [one for one in mutants if one not in results and module_of(one) in modules]
    return sorted(fresh, key=lambda one: modules.index(module_of(one))) if args.modules else fresh


def main() -> int:
    """Read the command line, run, and print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("package")
    parser.add_argument("--scratch", type=Path, help="folder for the copy, the mutants and the results")
    parser.add_argument("--sample", type=int, help="so many mutants, drawn uniformly from all")
    parser.add_argument("--seed", type=int, default=1, help="of the sample and of the order")
    parser.add_argument("--modules", nargs="+", help="only these modules, one after the other")
    parser.add_argument("--survivors", action="store_true", help="those that survived before")
    parser.add_argument("--minutes", type=float, default=600.0, help="stop after so long")
    parser.add_argument("--report", action="store_true", help="run nothing, print what is known")
    args = parser.parse_args()
    bench = Bench(
        args.package, (args.scratch or Path(tempfile.gettempdir()) / f"mutation-{args.package}").resolve()
    )
    bench.scratch.mkdir(parents=True, exist_ok=True)
    if args.report:
        print("\n".join(report(bench, mutants_of(bench))))
        return 0
    prepare(bench)
    mutants = mutants_of(bench)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    picked = chosen(args, mutants, bench.results())
    trial = Trial(bench, picked, time.monotonic() + 60 * args.minutes)
    options = [
        "-c",
        "mutation.ini",
        "-q",
        "-x",
        "--hypothesis-seed=0",
        "--tb=native",
        "--assert=plain",
        "-p",
        "no:xdist",
        "-p",
        "no:timeout",
        "-p",
        "no:cacheprovider",
    ]
    pytest = importlib.import_module("pytest")
    pytest.main([*options, f"tests/{args.package}"], plugins=[trial])
    print(total(bench.results(), picked), "in this run;", total(bench.results(), mutants), "so far")
    return 0


if __name__ == "__main__":
    sys.exit(main())
