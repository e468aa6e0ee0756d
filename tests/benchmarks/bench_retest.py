"""How fast specimens are read and decided, one by one and many at once.

Run it by hand: ``python tests/benchmarks/bench_retest.py``. Each limit is printed with PASS or MISS and with the
ratio to a yardstick measured in the same run; nothing asserts by a clock.
"""

import sys
import time
import timeit
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from retest import AssayRules, Case, CaseRules, Finding, Material, Policy, Reading, decide, interpret  # noqa: E402
from retest.batch import decide_many, interpret_many  # noqa: E402
from retest.load import expected_load  # noqa: E402
from retest.sheet import boundary_sheet  # noqa: E402

SPECIMENS = 200_000
REPEATS = 7


def say(line: str) -> None:
    """Print a line."""
    print(line)


def best(work: Callable[[], object], number: int) -> float:
    """The shortest processor time of one call (s): other programs on the machine do not count."""
    return min(timeit.repeat(work, number=number, repeat=REPEATS, timer=time.process_time)) / number


def shown(what: str, value: float, unit: str, limit: float, *, at_least: bool) -> None:
    """One line: figure, limit, verdict."""
    good = value >= limit if at_least else value <= limit
    sign = ">=" if at_least else "<="
    say(f"{what:44} {value:14,.1f} {unit:14} {sign} {limit:,.0f}  {'PASS' if good else 'MISS'}")


def rules_of(assay: str) -> CaseRules:
    """A shipped kit under the Chinese policy."""
    folder = ROOT / "retest"
    text = (folder / "assays" / f"{assay}.toml").read_text("utf-8")
    policy = (folder / "policies" / "china.toml").read_text("utf-8")
    return CaseRules(AssayRules.from_toml(text, assay), Policy.from_toml(policy, "china"))


def one_by_one(rules: CaseRules) -> None:
    """The bench's own path: one tube at a time."""
    assay = rules.assay
    for name, cq in (("positive", 25.0), ("grey", 39.0), ("undetermined", None)):
        readings = [Reading(target.name, 27.0 if target.is_control else cq) for target in assay.targets]
        outcome = interpret(readings, assay)
        seconds = best(lambda readings=readings: interpret(readings, assay), 2_000)  # type: ignore[misc]
        shown(f"{assay.id}: interpret one {name}", 1e6 * seconds, "us", 20, at_least=False)

        def decided(outcome: object = outcome) -> object:
            finding = Finding("S", "R", outcome.call, outcome.rule, "first")  # type: ignore[attr-defined]
            return decide(Case(Material.single, (finding,)), rules)

        shown(f"{assay.id}: decide one {name}", 1e6 * best(decided, 2_000), "us", 20, at_least=False)


def many(rules: CaseRules, rng: np.random.Generator) -> None:
    """The replay's path: arrays."""
    shape = (SPECIMENS, len(rules.assay.targets))
    cqs = np.where(rng.random(shape) < 0.6, np.nan, rng.uniform(15, 45, shape))
    curves = rng.integers(0, 4, shape)
    codes = {
        "materials": rng.integers(0, 3, SPECIMENS),
        "persons": rng.integers(1, 21, SPECIMENS),
        "tier_codes": rng.integers(0, 3, SPECIMENS),
    }
    tiers = ("", "fever", "inpatient")

    def replay() -> object:
        batch = interpret_many(cqs, rules.assay, curves=curves)
        return decide_many(batch, rules, tiers=tiers, **codes)

    alone = best(lambda: interpret_many(cqs, rules.assay, curves=curves), 1)
    both = best(replay, 1)
    name = f"{rules.assay.id}: {shape[1]} targets, {SPECIMENS:,} specimens"
    shown(f"{name}, interpret", SPECIMENS / alone, "specimens/s", 200_000, at_least=True)
    shown(f"{name}, + decide", SPECIMENS / both, "specimens/s", 200_000, at_least=True)


def main() -> None:
    """Print all figures."""
    yardstick = best(lambda: sum(range(10_000)), 200)
    say(f"yardstick: sum(range(10000)) takes {1e6 * yardstick:.0f} us here")
    rng = np.random.default_rng(20221221)
    for assay in ("kinghawk", "liferiver-zj"):
        rules = rules_of(assay)
        one_by_one(rules)
        many(rules, rng)
    rules = rules_of("starprotocols-taqpath-one-step-duplicate")
    say(f"load one assay file   {1e3 * best(lambda: rules_of('kinghawk'), 5):8.2f} ms")
    say(f"boundary sheet        {1e3 * best(lambda: boundary_sheet(rules.assay), 3):8.2f} ms")
    grid = np.linspace(0, 1, 1001)[:, None]
    seconds = best(lambda: expected_load(grid, np.arange(1, 41)), 3)
    say(f"expected load         {1e3 * seconds:8.2f} ms for 1,001 prevalences x 40 sizes")


if __name__ == "__main__":
    main()
