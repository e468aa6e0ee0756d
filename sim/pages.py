"""The page `docs/scenarios.md`: inputs from the scenario files, results from the simulator.

`python -m sim.pages NAME ...` prints the sections of the named scenarios; a test holds the page to it.
`python -m sim.pages --pictures FOLDER` writes the pictures of the documentation.
"""

import sys
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from sim import drawings
from sim.page_words import Words
from sim.run import load, replicate
from sim.scenario import Scenario
from sim.spec import Laboratory
from sim.study import document

SEED = 1
RUNS = {
    "zhengzhou-2022-01": 1,
    "jiangmen-2022-12": 5,
    "yangzhou-2021-08": 20,
    "fever-clinic": 10,
    "county-hospital": 20,
}


def section(name: str) -> str:
    """Inputs and results of one shipped scenario, as Markdown."""
    scenario = load(name)
    lab = scenario.laboratory
    if lab is None:
        raise ValueError(f"{name} has no laboratory")
    found = document(replicate(scenario, RUNS[name], SEED, workers=1))
    tat, share, pair = found["tat_hours"], found["on_time_share"], found["tat_hours"]["ci95_p95"]
    sure = f" (95 % interval {pair[0]:.2f} to {pair[1]:.2f})" if pair else " (one run, no interval)"
    held = f", {share['ci95'][0]:.2%} to {share['ci95'][1]:.2%}" if share["ci95"] else ""
    result = (
        f"{found['replications']} replications, seed {SEED}: {found['tubes']} tubes, P50 {tat['p50']:.2f} h, "
        f"P95 {tat['p95']:.2f} h{sure}, longest {tat['max']:.2f} h; on time {share['mean']:.2%}{held}; "
        f"{found['plates']:.0f} plates, {found['tests_per_person']:.3f} tests a person, "
        f"{found['recollections']:.0f} persons re-collected."
    )
    lines = [
        f"## {name}",
        "",
        scenario.note,
        "",
        *_inputs(scenario, lab),
        "",
        f"*Results.* {result}",
        *_shown(name),
        "",
        "| tier and mode | tubes | on time | P50 h | P95 h |",
        "|---|---|---|---|---|",
        *(
            f"| {group} | {one['tubes']:.0f} | {one['on_time_share']:.2%} "
            f"| {one['p50']:.2f} | {one['p95']:.2f} |"
            for group, one in found["groups"].items()
        ),
        "",
        "| station | used | mean wait h | P95 wait h | longest queue |",
        "|---|---|---|---|---|",
        *(
            f"| {station} | {one['utilisation']:.0%} | {one['wait_h_mean']:.2f} | {one['wait_h_p95']:.2f} "
            f"| {one['queue_max']} {one['unit']}s |"
            for station, one in found["stations"].items()
        ),
    ]
    return "\n".join(lines) + "\n"


def _inputs(scenario: Scenario, lab: Laboratory) -> list[str]:
    """What goes in: numbers, the sources stated in the file, and how much of it is assumed."""
    stations = ", ".join(
        f"{b.name} {b.servers or f'by {b.staff}'} ({b.service.average:.3g} min)" for b in lab.stations
    )
    lines = scenario.text.splitlines()
    # a statement may run over several lines of the head
    stated = " ".join(line[1:].strip() for line in takewhile(lambda line: line.startswith("#"), lines))
    sources = [part.split("assumed:")[0].strip() for part in stated.split("stated:")[1:]]
    assumed = sum("assumed" in line.partition("#")[2] for line in lines)
    inputs = (
        f"*Inputs.* {len(scenario.streams)} streams over {lab.days} day(s); assay `{lab.assay.id}`, policy "
        f"`{lab.rules.policy.id}`, filling `{lab.fill.policy}`. Stations: {stations}."
    )
    said = (
        f"*Sources.* {' '.join(f'Stated: {source}' for source in sources)} **Assumed**: {assumed} lines of "
        f"the file, each marked; `lis simulate {scenario.name} --toml` prints it."
    )
    return [inputs, "", said]


PICTURED = ("county-hospital", "fever-clinic", "jiangmen-2022-12", "yangzhou-2021-08")


def _shown(name: str) -> list[str]:
    if name not in PICTURED:
        return []
    return [
        "",
        f"![Turnaround](img/{name}-turnaround.svg)",
        "",
        f"![Where the time goes](img/{name}-time.svg)",
    ]


def pictures(name: str) -> dict[str, str]:
    """File name -> SVG: turnaround, and where the time goes, of one shipped scenario."""
    study = replicate(load(name), RUNS[name], SEED, workers=1)
    words = Words("en")
    drawn = {
        f"{name}-turnaround.svg": drawings.distribution(study, (6, 12, 24), words),
        f"{name}-time.svg": drawings.waterfall(document(study), words),
    }
    return {file: f"{chart.svg()}\n" for file, chart in drawn.items()}


def main(arguments: Sequence[str]) -> None:
    """Print the sections of the named scenarios, of all when none is named; or write the pictures."""
    if arguments[:1] == ["--pictures"]:
        folder = Path(arguments[1])
        folder.mkdir(parents=True, exist_ok=True)
        for name in PICTURED:
            for file, text in pictures(name).items():
                (folder / file).write_text(text, encoding="utf-8")
        return
    sys.stdout.write("\n".join(section(name) for name in arguments or sorted(RUNS)))


if __name__ == "__main__":
    main(sys.argv[1:])
