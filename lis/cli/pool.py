"""Commands about pools: what a design costs and finds, and how many persons a tube should hold now."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click

from lis.cli import data_option, json_option, print_json, print_table
from lis.errors import Invalid


@click.group("pool")
def pool_command() -> None:
    """Pools of single tubes."""


CQ_FILE_HELP = """CSV of measured Cqs: one Cq of a single specimen per line (a header is optional),
or the columns single,pool,size under that header: a positive alone, a pool with it as the only positive,
its members. Empty = undetermined. Sensitivity per size then comes from these Cqs, shifted by log2(size)
with the bias and spread of the pairs (without pairs: the spread of published pools)."""


def _shares(ctx: click.Context, param: click.Parameter, value: str) -> float | list[float]:
    """One number, or one per stage with commas between."""
    del ctx
    try:
        numbers = [float(part) for part in value.split(",")]
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a number, or numbers with commas.", param=param) from None
    return numbers[0] if len(numbers) == 1 else numbers


@pool_command.command("design")
@click.option("--prevalence", type=float, required=True, help="Share of positive persons, 0 to 1.")
@click.option("--size", type=int, default=None, help="Pool size; without it the best one is searched.")
@click.option(
    "--sensitivity", default="1.0", show_default=True, callback=_shares, help="One, or one per stage: .9,.95"
)
@click.option(
    "--specificity", default="1.0", show_default=True, callback=_shares, help="One, or one per stage."
)
@click.option("--stages", type=click.IntRange(1, 3), default=2, show_default=True)
@click.option("--array", default=None, help="Rows x columns, such as 8x12.")
@click.option("--master", is_flag=True, help="Test one pool of the whole array first.")
@click.option("--max-size", type=int, default=None, help="Largest pool that may be used.")
@click.option("--validated", type=int, default=None, help="Largest pool the assay is validated for.")
@click.option("--min-sensitivity", type=float, default=None, help="Sensitivity floor of the whole procedure.")
@click.option(
    "--cq-shift",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=None,
    help=CQ_FILE_HELP,
)
@click.option(
    "--cutoff", type=float, default=40.0, show_default=True, help="Last positive Cq, for --cq-shift."
)
@click.option(
    "--spread", type=float, default=None, help="Cycles (sd) round log2(size), in place of the measured one."
)
@click.option(
    "--tube-ul", type=float, default=None, help="Microlitres in each tube; sizes it cannot serve are refused."
)
@click.option(
    "--pool-ul", type=float, default=200.0, show_default=True, help="Microlitres one pool test needs."
)
@click.option(
    "--single-ul", type=float, default=200.0, show_default=True, help="Microlitres one single test needs."
)
@click.option("--tubes", type=click.IntRange(1, 100_000), default=None, help="Plan a day of this many tubes.")
@json_option
def design_command(*, as_json: bool, **options: Any) -> None:
    """Tests per person, sensitivity and predictive values of a pooling design, and why sizes were refused."""
    from pooling import design

    tubes = options.pop("tubes")
    given = _design_options(options)
    found = design(**given)
    document = {name: getattr(found, name) for name in _DESIGN}
    document["layout"] = list(found.layout)
    document["refused"] = [
        {"size": one.size, "last": one.last, "code": one.code, "sentence": one.sentence}
        for one in found.refused
    ]
    if tubes:
        document["day"] = _day(tubes, found, given)
    if as_json:
        print_json(document)
        return
    for name in _DESIGN:
        click.echo(f"{name.replace('_', ' '):20} {document[name]}")
    for name, value in document.get("day", {}).items():
        click.echo(f"{'day ' + name.replace('_', ' '):20} {value}")
    for reason in found.refused:
        click.echo(f"refused: {reason.sentence} [{reason.code}]", err=True)


@pool_command.command("advise")
@click.option(
    "--by",
    type=click.Choice(["tier", "site", "site-tier"]),
    default="tier",
    show_default=True,
    help="What makes a stream.",
)
@data_option
@json_option
def advise_command(by: str, data: Path | None, *, as_json: bool) -> None:
    """Rolling positivity of each stream by the log, and whether to change between 10:1, 5:1 and single tubes.

    Each choice is shown with what it costs in tests, tubes and hours, and with the positives it misses.
    """
    from lis import config, laboratory

    with laboratory.open_laboratory(config.load(data)) as lab, lab.database.read() as conn:
        found = laboratory.advice_json(lab, conn, by)
    if as_json:
        print_json(found)
        return
    if not found["streams"]:
        click.echo(f"No tube was read in the last {found['window_days']:g} days.")
    for one in found["streams"]:
        named = " / ".join(name or "several sites" for name in (one["site"], one["tier"]) if name is not None)
        click.echo(f"{named} ({one['how']}): {one['sentence']}")
        print_table(_CHOICE_HEAD, [_choice(choice, one) for choice in one["choices"]])
        click.echo("")


_CHOICE_HEAD = [
    "",
    "mode",
    "tests/person",
    "tubes/person",
    "called back",
    "mean hours",
    "missed of 100,000",
]


def _choice(choice: dict[str, Any], one: dict[str, Any]) -> list[Any]:
    marks = [name for name in ("current", "advised") if one[name] == choice["mode"]]
    return [
        ", ".join(marks),
        f"{choice['mode']}:1",
        f"{choice['tests_per_person']:.3f}",
        f"{choice['tubes_per_person']:.3f}",
        f"{choice['called_back']:.1%}",
        f"{choice['hours']:.1f}",
        f"{choice['missed_per_100k']:.1f}",
    ]


_DESIGN = (
    "size",
    "stages",
    "tests_per_person",
    "sensitivity",
    "specificity",
    "ppv",
    "npv",
    "expected_tests",
    "saving",
)


def _design_options(options: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `pooling.design` from those of the command line."""
    from pooling import Volume

    tube_ul, pool_ul, single_ul = (options.pop(name) for name in ("tube_ul", "pool_ul", "single_ul"))
    path, cutoff, spread = (options.pop(name) for name in ("cq_shift", "cutoff", "spread"))
    array = options.pop("array")
    given = {name: value for name, value in options.items() if value is not None}
    if array:
        rows, _, columns = array.lower().partition("x")
        if not (rows.isdigit() and columns.isdigit()):
            raise Invalid("ARRAY", f"An array is rows x columns, such as 8x12, not {array}.")
        given["array"] = (int(rows), int(columns))
    if tube_ul is not None:
        given["volume"] = Volume(tube_ul, pool_ul, single_ul)
    if path is not None:
        given["detection"] = _detection(path, cutoff, spread, given)
    elif spread is not None:
        raise click.UsageError("--spread needs --cq-shift FILE: without Cqs there is nothing to shift.")
    return given


def _detection(path: Path, cutoff: float, spread: float | None, given: dict[str, Any]) -> dict[int, float]:
    """Detection by pool size from a file of measured Cqs; what was used is said on stderr."""
    from pooling import OBSERVED, Spread, detection_by_size, read_cqs
    from pooling.design import DEFAULT_CAP

    try:
        evidence = read_cqs(path.read_text(encoding="utf-8-sig"), cutoff)
    except UnicodeDecodeError:
        raise Invalid("CQ_FILE", f"{path.name} is not a UTF-8 text. Save it as CSV (UTF-8).") from None
    used = evidence.spread or OBSERVED
    if spread is not None:
        used = Spread(used.bias, spread, used.pairs)
    rows, columns = given.get("array", (1, 1))
    whole = rows * columns if given.get("master") else max(rows, columns)
    largest = max(given.get("max_size", DEFAULT_CAP), given.get("size") or 1, whole, 2)
    click.echo(
        f"shift log2(size) {used.bias:+.2f} +/- {used.sd:.2f} cycles from {used.pairs} pools, "
        f"{len(evidence.cqs)} Cqs, cutoff {cutoff:g}",
        err=True,
    )
    return detection_by_size(evidence.cqs, cutoff, range(2, largest + 1), used)


def _day(tubes: int, found: Any, given: dict[str, Any]) -> dict[str, Any]:
    """The tests of a day of so many tubes: pools of the size found, the remainder in the cheapest pools."""
    from pooling import Accuracy, day_tests, pools_of_day
    from pooling.hierarchy import persons

    if found.array:
        raise Invalid(
            "DAY_OF_ARRAYS", "A day is planned for pools, not for arrays. Leave out --array or --tubes."
        )
    stages = given.get("stages", 2)
    shares = [_per_stage(given[name], stages) for name in ("sensitivity", "specificity")]
    accuracy = [Accuracy(se, sp, given.get("detection")) for se, sp in zip(*shares, strict=True)]
    pools = pools_of_day(tubes, found.size, given["prevalence"], accuracy, stages if found.size > 1 else 1)
    day = day_tests(pools, given["prevalence"], accuracy)
    counts = Counter(persons(pool) for pool in pools)
    return {
        "tubes": tubes,
        "pools": {str(size): counts[size] for size in sorted(counts, reverse=True)},
        "expected_tests": day.mean,
        "sd": day.sd,
        **{f"p{share}": day.quantile(share / 100) for share in (50, 90, 95, 99)},
    }


def _per_stage(value: float | list[float], stages: int) -> list[float]:
    return value if isinstance(value, list) else [value] * stages
