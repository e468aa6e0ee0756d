"""The charts of the page for managers."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.page_words import Words
from sim.report import BIN_HOURS
from sim.statistics import interval
from sim.study import Study
from sim.svg import COLOURS, LATE, WAIT, WORK, Chart, plain, ticks

BINS_PER_HOUR = round(1 / BIN_HOURS)
WIDE, HALF = 860.0, 420.0
MOST_BARS = 60
SEEN = 0.05
"""A station that was never busier than this share of a stretch has no chart."""


def figure(chart: Chart) -> str:
    """A chart on a page: the drawing, and what a script needs to put a live one in its place."""
    live = json.dumps(chart.figure(), ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return f"<figure class='chart'>{chart.svg()}<script type='application/json'>{live}</script></figure>"


def key(kind: str, words: str) -> str:
    """A colour and what it means."""
    return f"<span class='key {kind}'></span>{escape(words)}"


def shares(lines: Sequence[tuple[str, NDArray[np.float64]]], targets: Sequence[int], words: Words) -> str:
    """Share of tubes done by turnaround, one line a scenario."""
    top = _reach([line for _, line in lines], targets)
    chart = Chart(WIDE, 270, (0, top), (0, 1), words("shares"))
    chart.axes(_hours(top), [(n / 4, f"{n * 25} %") for n in range(5)], words("hours_axis"))
    for hours in (one for one in targets if one <= top):
        chart.upright(hours, f"{hours} {words('hours')}", "#777777")
    last = round(top * BINS_PER_HOUR)
    for number, (_, line) in enumerate(lines):
        points = [(0.0, 0.0)] + [((n + 1) * BIN_HOURS, float(line[n])) for n in range(last)]
        chart.line(points, COLOURS[number % len(COLOURS)], name=lines[number][0])
    keys = "".join(key(f"c{n % len(COLOURS)}", name) for n, (name, _) in enumerate(lines))
    return f"{figure(chart)}<p class='soft'>{keys}</p>"


def _reach(lines: Sequence[NDArray[np.float64]], targets: Sequence[int]) -> float:
    """How far the axis of hours goes: past nearly all tubes, and past a target that is near."""
    far = max((int(np.searchsorted(line, 0.999)) + 1) * BIN_HOURS for line in lines)
    near = [hours for hours in targets if hours <= 1.6 * far]
    return float(np.ceil(max([far * 1.05, *(hours * 1.05 for hours in near), 1.0])))


def _hours(top: float) -> list[tuple[float, str]]:
    step = next(step for step in (1, 2, 3, 6, 12, 24, 48, 96) if top / step <= 13)
    return [(float(hour), str(hour)) for hour in range(0, int(top) + 1, step)]


def distribution(study: Study, targets: Sequence[int], words: Words) -> Chart:
    """How long tubes took, against the targets."""
    total = np.sum([run["histogram"] for run in study.runs], axis=0)
    reached = np.cumsum(total) / max(int(total.sum()), 1)
    top = _reach([reached], targets)
    size = max(1, int(np.ceil(top * BINS_PER_HOUR / MOST_BARS)))
    used = total[: int(np.ceil(top * BINS_PER_HOUR / size)) * size]
    bars = used.reshape(-1, size).sum(axis=1) / max(int(total.sum()), 1)
    high = float(bars.max(initial=0.01)) * 1.25
    chart = Chart(WIDE, 260, (0, top), (0, high), words("turnaround"), headed=False)
    chart.axes(_hours(top), [(v, f"{v * 100:.3g} %") for v in ticks(0, high)], words("hours_axis"))
    wide = size * BIN_HOURS
    for number, share in enumerate(bars.tolist()):
        if share:
            hint = f"{number * wide:.2f}-{(number + 1) * wide:.2f} {words('hours')}: {share:.2%}"
            chart.bar(number * wide, wide, share, WORK, hint)
    for hours in targets:
        if hours <= top:
            share = f"{reached[round(hours * BINS_PER_HOUR) - 1]:.1%}"
            chart.upright(hours, words("done_in", hours=hours, share=share))
    return chart


def by_hour(traces: Sequence[Mapping[str, Any]], words: Words) -> Chart:
    """On-time share by hour of arrival, with its interval over replications."""
    tubes = np.array([trace["hour_tubes"] for trace in traces], dtype=float)
    late = np.array([trace["hour_late"] for trace in traces], dtype=float)
    chart = Chart(WIDE, 220, (0, 24), (0, 1), words("by_hour"), headed=False)
    chart.axes(
        [(hour + 0.5, f"{hour:02d}") for hour in range(24)],
        [(n / 4, f"{n * 25} %") for n in range(5)],
        words("hour_axis"),
    )
    for hour in range(24):
        there = tubes[:, hour] > 0
        if not there.any():
            continue
        share = 1 - late[:, hour].sum() / tubes[:, hour].sum()
        hint = f"{hour:02d}: {share:.2%}, {tubes[:, hour].mean():.0f} {words('tubes')}"
        chart.bar(hour + 0.08, 0.84, share, WORK if share >= 0.95 else LATE, hint)
        _, low, high = interval(1 - late[there, hour] / tubes[there, hour])
        if there.sum() > 1:
            chart.whisker(hour + 0.5, max(low, 0.0), min(high, 1.0))
    return chart


def waterfall(found: Mapping[str, Any], words: Words) -> Chart:
    """Waiting and working of every station, one after the other; the line is the mean turnaround."""
    rows = [(name, one["wait_h_mean"], one["work_h_mean"]) for name, one in found["stations"].items()]
    rows = [row for row in rows if row[0] != "re-reception"]
    mean = found["tat_hours"]["mean"]
    top = max(sum(wait + work for _, wait, work in rows), mean) * 1.12 or 1.0
    chart = Chart(WIDE, 60 + 26 * len(rows), (0, top), (0, 1), words("time_goes"), headed=False, left=130)
    chart.axes(_hours(top) if top > 3 else [(v, plain(v)) for v in ticks(0, top)], [], words("hours"))
    chart.upright(mean, "", LATE)
    reached = 0.0
    for number, (name, wait, work) in enumerate(rows):
        level = 26.0 + 26 * number
        chart.text(122, level + 13, words.name(name), "end")
        title = words.name(name)
        chart.stretch(reached, wait, level, 18, WAIT, f"{words('waiting')} {wait:.2f}", title)
        chart.stretch(reached + wait, work, level, 18, WORK, f"{words('working')} {work:.2f}", title)
        reached += wait + work
        chart.text(chart.at(reached, 0)[0] + 5, level + 13, f"{wait:.2f} + {work:.2f}", "start")
    return chart


def waterfall_keys(found: Mapping[str, Any], words: Words) -> str:
    """What the colours of the waterfall mean."""
    mean = words("mean_tat", hours=f"{found['tat_hours']['mean']:.2f}")
    keys = key("wait", words("waiting")) + key("work", words("working")) + key("late", mean)
    return f"<p class='soft'>{keys}</p>"


def over_time(traces: Sequence[Mapping[str, Any]], units: Mapping[str, str], words: Words) -> str:
    """Queue and use of every station, with bands over replications."""
    step = float(traces[0]["step"])
    parts = []
    for name, unit in units.items():
        held = [trace["stations"][name] for trace in traces if name in trace["stations"]]
        if max(one["used"].max(initial=0.0) for one in held) < SEEN:
            continue
        title = words.name(name)
        queue, used = words("queue", name=title, unit=words(unit)), words("used", name=title)
        parts.append(_banded([one["queue"] for one in held], step, queue, words, share=False))
        parts.append(_banded([one["used"] for one in held], step, used, words, share=True))
    return f"<div class='pair'>{''.join(parts)}</div>"


def _banded(
    runs: Sequence[NDArray[np.float64]], step: float, title: str, words: Words, *, share: bool
) -> str:
    size = max(run.size for run in runs)
    all_runs = np.zeros((len(runs), size))
    for number, run in enumerate(runs):
        all_runs[number, : run.size] = run
    bands = np.quantile(all_runs, [0.05, 0.25, 0.5, 0.75, 0.95], axis=0)
    hours = (np.arange(size) + 1) * step / 60
    high = 1.0 if share else max(float(bands[4].max(initial=0)) * 1.1, 1.0)
    chart = Chart(HALF, 150, (0, float(hours[-1])), (0, high), title, left=46)
    levels = [(v, f"{v:.0%}" if share else plain(v)) for v in ticks(0, high, 4)]
    chart.axes(_days(float(hours[-1]), words), levels)
    low5, low25, middle, high75, high95 = (
        list(zip(hours.tolist(), line.tolist(), strict=True)) for line in bands
    )
    chart.band(low5, high95, WORK, 0.15)
    chart.band(low25, high75, WORK, 0.35)
    chart.line(middle, WORK, 1.4, name=title)
    return figure(chart)


def _days(hours: float, words: Words) -> list[tuple[float, str]]:
    if hours <= 60:
        return [(float(h), f"{h % 24:02d}:00") for h in range(0, int(hours) + 1, 6 if hours <= 36 else 12)]
    step = next(step for step in (24, 48, 72, 120, 240, 2400, 24000) if hours / step <= 6)
    return [(float(h), words("day", n=h // 24 + 1)) for h in range(0, int(hours) + 1, step)]
