"""What follows a test, and how often: asked of the simulator's own readings and of the policies.

No share is written down here. Specimens are drawn as the simulator draws them, read as it reads them,
and every reading is put before `retest.decide`; counted is what the policy says.
"""

from collections import Counter
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from retest import Call, Conclude, Decision, Material, Recollect, Retest, TestSingly
from sim.now import KINDS, Course, Model, Step
from sim.run import load
from sim.scenario import Scenario
from sim.service import Service, stream
from sim.spec import Laboratory
from sim.specimens import Reader, Specimens, draw_specimens
from sim.verdicts import Past, Verdicts

Found = Counter[tuple[str, str, int, float]]
FURTHER = 4
"""Tests that are read again and again before a case is left; later ones are ever rarer."""


@dataclass
class _Reading:
    """Everything that reads and judges drawn specimens."""

    lab: Laboratory
    tubes: Specimens
    reader: Reader
    verdicts: Verdicts
    codes: np.ndarray
    rng: np.random.Generator
    noise: float


def courses_of(scenario: Scenario, seed: int = 1) -> dict[str, tuple[Course, ...]]:
    """Shares of what follows first and later tests of single tubes, mixed tubes and pools.

    Kinds of tubes that the scenario does not have are taken to fare as its single tubes do, and if it
    has none of these either, as what it has.

    Args:
        scenario: streams, viral Cq, chemistry and the rules of its laboratory.
        seed: of the specimens.
    """
    lab = scenario.laboratory
    assert lab is not None  # noqa: S101 - whoever asks has stations to forecast
    tubes = draw_specimens(scenario, lab, seed, 0)
    verdicts = Verdicts(lab.rules)
    reading = _Reading(
        lab,
        tubes,
        Reader.of(lab, scenario.chemistry),
        verdicts,
        verdicts.classify(tubes.readings),
        stream(seed, 0, "courses"),
        scenario.chemistry.extraction_noise,
    )
    found: dict[str, Found] = {f"{kind} {test}": Counter() for kind in KINDS for test in ("first", "again")}
    for number, source in enumerate(scenario.streams):
        own = np.flatnonzero(tubes.stream == number)
        material = Material.mixed if source.places > 1 else Material.single
        for tube in own.tolist():
            _case(reading, tube, material, source.tier, found)
        if source.lab_pool:
            _pools(reading, own, source.tier, source.lab_pool, found)
    return _shares(found)


def _case(reading: _Reading, tube: int, material: Material, tier: str, found: dict[str, Found]) -> None:
    """One tube from its first test to its last."""
    past: Past = ()
    code = int(reading.codes[tube])
    shift = float(reading.tubes.shift[tube])
    persons, test = int(reading.tubes.persons[tube]), "first"
    for number in range(FURTHER):
        past = (*past, (1, code, test))
        decision = reading.verdicts.decide(material, past, persons, tier)
        leaves = not number and reading.verdicts.outcomes[code].call is Call.negative
        name = f"{material.value} {'again' if number else 'first'}"
        found[name][_next(decision, leaves=leaves and reading.lab.auto_release)] += 1
        if not isinstance(decision, Retest | TestSingly):
            return
        test = decision.kind if isinstance(decision, Retest) else "re-extract"
        if test != "re-amplify":
            shift = float(reading.rng.normal(0, reading.noise))
        viral, control = float(reading.tubes.viral[tube]), float(reading.tubes.control[tube])
        code = reading.verdicts.classify_one(reading.reader.read_one(viral, control, shift, reading.rng))


def _pools(reading: _Reading, own: np.ndarray, tier: str, size: int, found: dict[str, Found]) -> None:
    """Pools of tubes as they come; loads add up and are diluted as in `sim.pools`."""
    groups = own[: own.size // size * size].reshape(-1, size)
    if not groups.size:
        return
    loads = np.where(np.isnan(reading.tubes.viral), 0.0, np.exp2(-reading.tubes.viral))[groups].sum(axis=1)
    with np.errstate(divide="ignore"):
        viral = np.where(loads > 0, np.log2(size) - np.log2(loads), np.nan)
    control = -np.log2(np.exp2(-reading.tubes.control[groups]).mean(axis=1))
    shift = reading.rng.normal(0, reading.noise, len(groups))
    codes = reading.verdicts.classify(reading.reader.read(viral, control, shift, reading.rng))
    for code in codes.tolist():
        decision = reading.verdicts.decide(Material.pool, ((1, int(code), "first"),), size, tier)
        negative = isinstance(decision, Conclude) and decision.result == "negative"
        found["pool first"][_of_pool(decision, negative=negative, auto=reading.lab.auto_release)] += 1


def _next(decision: Decision, *, leaves: bool) -> tuple[str, str, int, float]:
    match decision:
        case Conclude():
            return ("report" if leaves else "review", "", 0, 0.0)
        case Retest():
            return ("retest", decision.kind, decision.priority, decision.hours)
        case TestSingly():
            return ("retest", "re-extract", decision.priority, decision.hours)
        case Recollect():
            return ("recollect", "", 0, 0.0)


def _of_pool(decision: Decision, *, negative: bool, auto: bool) -> tuple[str, str, int, float]:
    """What becomes of the members: they leave, or are tested singly."""
    if negative:
        return ("report" if auto else "review", "", 0, 0.0)
    if isinstance(decision, TestSingly | Retest):
        return ("retest", "singly", decision.priority, decision.hours)
    return ("retest", "singly", 0, 0.0)


def _shares(found: dict[str, Found]) -> dict[str, tuple[Course, ...]]:
    """Counts as shares; where nothing was counted, those of another kind."""
    made = {}
    for name, counts in found.items():
        kind, test = name.split()
        instead = (counts, found[f"single {test}"], found[f"mixed {test}"], found[f"{kind} first"])
        chosen = next((one for one in instead if one), Counter({("review", "", 0, 0.0): 1}))
        made[name] = as_courses(chosen)
    return made


def as_courses(counts: Found) -> tuple[Course, ...]:
    """Shares from how often each course was taken, the commonest first."""
    total = counts.total()
    return tuple(
        Course(what, count / total, test, priority, hours)
        for (what, test, priority, hours), count in sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    )


def model_of(scenario: Scenario, seed: int = 1) -> Model:
    """The laboratory of a scenario as forecasts see it, station by station.

    Staff is taken as always there in the number of its positions, and a run holds one plate.
    """
    lab = scenario.laboratory
    assert lab is not None  # noqa: S101 - whoever asks has stations to forecast
    steps = tuple(
        Step(
            bench.name,
            bench.service,
            bench.servers or lab.staff[bench.staff].rota.positions,
            bench.reads,
            bench.per_positive,
        )
        for bench in lab.stations[1:]
    )
    return Model(steps, courses_of(scenario, seed), lab.fill, failing=lab.control_failure)


@cache
def usual_model(name: str) -> Model:
    """A shipped scenario in three steps: prepare, cycler, review; its specimens in every kind of tube."""
    scenario = load(name)
    lab = scenario.laboratory
    assert lab is not None  # noqa: S101 - whoever asks names one with stations
    before = lab.stations[1 : lab.reads_at]
    rng = stream(1, 0, "reference")
    minutes = np.sum([bench.service.draw(500, rng) for bench in before], axis=0)
    servers = {b.name: b.servers or lab.staff[b.staff].rota.positions for b in lab.stations[1:]}
    slowest = max(bench.service.average / servers[bench.name] for bench in before)
    cycler, last = lab.stations[lab.reads_at], lab.stations[-1]
    prepare = Service("observed", values=tuple(minutes.tolist()))
    return Model(
        steps=(
            Step("prepare", prepare, round(minutes.mean() / slowest)),
            Step("cycler", cycler.service, servers[cycler.name], reads=True),
            Step("review", last.service, 0),
        ),
        courses=courses_of(_of_every_kind(scenario)),
        fill=lab.fill,
        failing=lab.control_failure,
        travel=Service("uniform", low=30.0, high=120.0),
    )


def _of_every_kind(scenario: Scenario) -> Scenario:
    """The same specimens in single tubes, in pools and in mixed tubes."""
    fever, voluntary = scenario.streams
    mixed = replace(voluntary, name="mixed", mode="mixed", places=10, lab_pool=0)
    return replace(scenario, streams=(fever, voluntary, mixed))
