"""Studies as one page for managers: opens without network, reads on paper, in Chinese or English."""

import csv
import io
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from sim import drawings
from sim.faults import phrase
from sim.page_words import Language, Words
from sim.refusal import refused
from sim.statistics import interval
from sim.study import Study, compare, document

TARGETS = (6, 12, 24)
MEASURES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("on_time", ("on_time_share",), "{:.2%}"),
    ("late", ("late",), "{:,.1f}"),
    ("p50", ("tat", "p50"), "{:.2f}"),
    ("p90", ("tat", "p90"), "{:.2f}"),
    ("p95", ("tat", "p95"), "{:.2f}"),
    ("p99", ("tat", "p99"), "{:.2f}"),
    ("max", ("tat", "max"), "{:.2f}"),
    ("tubes", ("tubes",), "{:,.0f}"),
    ("plates", ("plates",), "{:,.1f}"),
    ("tests_per_person", ("tests_per_person",), "{:.3f}"),
    ("recollections", ("recollections",), "{:,.1f}"),
)
STYLE = """
body { font: 15px/1.5 system-ui, "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif;
  color: #222; max-width: 60rem; margin: 1.5rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; } h2 { font-size: 1.3rem; margin: 2rem 0 .4rem;
  border-bottom: 2px solid #0072B2; } h3 { font-size: 1.05rem; margin: 1.3rem 0 .3rem; }
p { margin: .3rem 0 .6rem; } .soft { color: #555; font-size: .9rem; }
table { border-collapse: collapse; font-size: .9rem; margin: .4rem 0 .8rem; }
th, td { padding: .2rem .7rem .2rem 0; text-align: right; border-bottom: 1px solid #ddd;
  font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; } th { color: #444; font-weight: 600; }
.chart { margin: .3rem 0 .6rem; min-width: 0; } .chart > svg { display: block; width: 100%; height: auto; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 0 1rem; }
pre { font-size: .8rem; line-height: 1.45; white-space: pre-wrap; background: #f7f7f7; padding: .6rem; }
mark { padding: 0 .2em; color: inherit; }
mark.assumed { background: #ffe3b3; } mark.stated { background: #d5ecdc; }
.key { display: inline-block; width: .8em; height: .8em; margin: 0 .3em 0 1em; }
.c0, .work { background: #0072B2; } .c1 { background: #D55E00; } .c2 { background: #009E73; }
.c3 { background: #CC79A7; } .c4, .wait { background: #E69F00; } .c5 { background: #56B4E9; }
.late { background: #B3261E; }
.scroll { overflow-x: auto; }
@page { margin: 14mm; }
@media print { body { max-width: none; margin: 0; font-size: 11px; } .screen { display: none; }
  svg, tr { break-inside: avoid; } h2, h3 { break-after: avoid; } pre { font-size: 8.5px; }
  mark, svg, .key { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""


def page(studies: Sequence[Study], *, language: Language = "zh", made_at: str = "") -> str:
    """One self-contained HTML page about one study or several.

    Its charts are drawings; where scripts may run, plotly (inside the page) makes them live.

    Args:
        studies: the first is what the others are compared with; all of one seed.
        language: `zh` or `en`.
        made_at: when, as text; the page itself asks no clock.

    Raises:
        ScenarioError: `BAD_STUDY` when there is nothing, or studies of several seeds.
    """
    names = " / ".join(study.scenario.name for study in studies)
    return whole(content(studies, language=language, made_at=made_at), names, language)


def content(studies: Sequence[Study], *, language: Language = "zh", made_at: str = "") -> str:
    """What the page says, to be put into a page; raises what :func:`page` raises."""
    if not studies or len({study.seed for study in studies}) > 1:
        raise refused("BAD_STUDY", phrase("study-page"))
    words = Words(language)
    body = [_head(studies, words, made_at)]
    if len(studies) > 1:
        body.append(_compared(studies, words))
    body += [_scenario(study, words) for study in studies]
    return "".join(body)


def whole(content: str, names: str, language: Language) -> str:
    """A page around the content that names its scenarios."""
    words = Words(language)
    return (
        f'<!doctype html>\n<html lang="{"zh-CN" if language == "zh" else "en"}">\n<head>\n'
        '<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(words('title'))} - {escape(names)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n{content}\n<script>{plotly()}</script>\n<script>{LIVE}</script>\n</body>\n</html>\n"
    )


def plotly() -> str:
    """The program that makes the charts live, from the installed package."""
    return files("plotly").joinpath("package_data", "plotly.min.js").read_text(encoding="utf-8")


LIVE = files("sim").joinpath("charts.js").read_text(encoding="utf-8")
"""Puts a live chart in the place of every drawing."""


def _head(studies: Sequence[Study], words: Words, made_at: str) -> str:
    first = studies[0]
    facts = [
        f"{words('seed')} {first.seed}",
        f"{words('replications')} {', '.join(str(len(study.runs)) for study in studies)}",
        f"{words('versions')} {_versions()}",
        *([f"{words('made')} {made_at}"] if made_at else []),
    ]
    stopped = f"<p><strong>{words('stopped')}</strong></p>" if any(s.stopped for s in studies) else ""
    link = (
        f'<p class="screen"><a download="simulation.csv" href="{_csv(studies)}">{words("download")}</a></p>'
    )
    about = f"{words('lead')}<br>{escape(' · '.join(facts))}"
    return f"<h1>{words('title')}</h1><p class='soft'>{about}</p>{stopped}{link}"


def _versions() -> str:
    found = [f"Python {sys.version.split()[0]}"]
    for name in ("nat-lis", "numpy", "simpy"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} (from source)")
    return ", ".join(found)


def _csv(studies: Sequence[Study]) -> str:
    """Every replication of every study as a data address; the mark at its head tells spreadsheets UTF-8."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\r\n")
    table.writerow(["scenario", "seed", "replication", *(name for name, _, _ in MEASURES)])
    for study in studies:
        columns = [study.values(*path) for _, path, _ in MEASURES]
        for number, row in enumerate(zip(*columns, strict=True), start=1):
            table.writerow([study.scenario.name, study.seed, number, *(f"{value:.6g}" for value in row)])
    return f"data:text/csv;charset=utf-8,%EF%BB%BF{quote(text.getvalue())}"


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table; cells are HTML already."""
    head = "".join(f"<th>{cell}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<div class='scroll'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


# -- several scenarios -----------------------------------------------------------------------------


def _compared(studies: Sequence[Study], words: Words) -> str:
    names = [escape(study.scenario.name) for study in studies]
    header = [words("measure"), names[0]]
    for name in names[1:]:
        header += [name, words("difference")]
    rows = []
    for key, path, shape in MEASURES:
        row = [words(key), shape.format(studies[0].mean(*path))]
        for study in studies[1:]:
            row += [shape.format(study.mean(*path)), _difference(studies[0], study, path, shape)]
        rows.append(row)
    lines = [(study.scenario.name, done_by(study)) for study in studies]
    single = min(len(study.runs) for study in studies) < 2
    note = words("unpaired") if single else words("compared_note")
    return (
        f"<h2>{words('compared')}</h2><p class='soft'>{note}</p>{table(header, rows)}"
        f"{drawings.shares(lines, TARGETS, words)}"
    )


def _difference(first: Study, other: Study, path: tuple[str, ...], shape: str) -> str:
    mean, low, high = compare(first, other, *path)
    signed = shape.replace("{:", "{:+")
    if min(len(first.runs), len(other.runs)) < 2:
        return signed.format(mean)
    text = f"{signed.format(mean)} ({signed.format(low)} … {signed.format(high)})"
    return f"<strong>{text}</strong>" if low > 0 or high < 0 else text


def done_by(study: Study) -> NDArray[np.float64]:
    """Share of all tubes done by the end of every bin of turnaround."""
    total = np.sum([run["histogram"] for run in study.runs], axis=0)
    found: NDArray[np.float64] = np.cumsum(total) / max(int(total.sum()), 1)
    return found


# -- one scenario ----------------------------------------------------------------------------------


def _scenario(study: Study, words: Words) -> str:
    found = document(study)
    traces = [run["trace"] for run in study.runs if "trace" in run]
    lab = study.scenario.laboratory
    parts = [
        f"<h2>{escape(study.scenario.name)}</h2><p>{escape(study.scenario.note)}</p>",
        f"<h3>{words('figures')}</h3>",
        _warm_up(found, words),
        _figures(study, words),
        f"<h3>{words('turnaround')}</h3>",
        drawings.figure(drawings.distribution(study, TARGETS, words)),
    ]
    if lab is not None and traces:
        parts += [f"<h3>{words('by_hour')}</h3>", drawings.figure(drawings.by_hour(traces, words))]
    parts += [
        f"<h3>{words('time_goes')}</h3><p class='soft'>{words('time_note')}</p>",
        drawings.figure(drawings.waterfall(found, words)),
        drawings.waterfall_keys(found, words),
    ]
    if traces:
        parts.append(f"<h3>{words('over_time')}</h3><p class='soft'>{words('band_note')}</p>")
        units = {name: one["unit"] for name, one in found["stations"].items()}
        parts.append(drawings.over_time(traces, units, words))
    parts += [f"<h3>{words('stations')}</h3>", _stations(found, words)]
    if found["groups"]:
        parts += [f"<h3>{words('groups')}</h3>", _groups(found, words)]
    parts += [f"<h3>{words('inputs')}</h3>", _inputs(study.scenario.text, words)]
    return "".join(parts)


def _warm_up(found: Mapping[str, Any], words: Words) -> str:
    """What was left out, for laboratories that go on."""
    if found["warm_up_days"] is None:
        return ""
    tubes = f"{found['warm_up_tubes']:,}"
    return f"<p class='soft'>{words('warm_up', days=found['warm_up_days'], tubes=tubes)}</p>"


def _figures(study: Study, words: Words) -> str:
    rows = []
    for key, path, shape in MEASURES:
        pair = study.share_ci(*path) if key == "on_time" else study.ci(*path)
        # nothing counted here can be below 0
        held = f"{shape.format(max(pair[0], 0.0))} … {shape.format(pair[1])}" if pair else "-"
        rows.append([words(key), shape.format(study.mean(*path)), held])
    for hours in TARGETS:
        bins = round(hours * drawings.BINS_PER_HOUR)
        each = [run["histogram"][:bins].sum() / max(run["histogram"].sum(), 1) for run in study.runs]
        mean, low, high = interval(each)
        held = f"{max(low, 0):.2%} … {min(high, 1):.2%}" if len(each) > 1 else "-"
        rows.append([words("within", hours=hours), f"{mean:.2%}", held])
    return table([words("measure"), words("value"), words("interval")], rows)


def _stations(found: Mapping[str, Any], words: Words) -> str:
    header = [words(key) for key in ("station", "use", "wait_mean", "wait_p95", "work_mean", "longest")]
    rows = [
        [
            escape(words.name(name)),
            f"{one['utilisation']:.0%}",
            f"{one['wait_h_mean']:.2f}",
            f"{one['wait_h_p95']:.2f}",
            f"{one['work_h_mean']:.2f}",
            f"{one['queue_max']:,} {words(one['unit'])}",
        ]
        for name, one in found["stations"].items()
    ]
    return table(header, rows)


def _groups(found: Mapping[str, Any], words: Words) -> str:
    rows = [
        [
            escape(words.name(name)),
            f"{one['tubes']:,.0f}",
            f"{one['on_time_share']:.2%}",
            f"{one['p50']:.2f}",
            f"{one['p95']:.2f}",
        ]
        for name, one in found["groups"].items()
    ]
    return table([words(key) for key in ("group", "tubes", "on_time", "p50", "p95")], rows)


def _inputs(text: str, words: Words) -> str:
    """The file with a mark behind every value that is assumed, and behind every one that has a source."""
    if not text:
        return f"<p class='soft'>{words('no_text')}</p>"
    counts = {"assumed": 0, "stated": 0}
    lines = []
    for line in text.rstrip().split("\n"):
        code, sign, comment = line.partition("#")
        if not sign or ('"' in comment.split("#")[0] and code.count('"') % 2):
            lines.append(escape(line))
            continue
        kind = "assumed" if re.search(r"\bassumed\b", comment) else "stated"
        counts[kind] += 1
        lines.append(f"{escape(code)}<mark class='{kind}'>#{escape(comment)}</mark>")
    note = words("inputs_note", **counts)
    return f"<p class='soft'>{note}</p><pre>{chr(10).join(lines)}</pre>"
