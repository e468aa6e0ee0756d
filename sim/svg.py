"""Charts, described once: as SVG that needs no program and prints as it looks, and as a figure of plotly."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

Points = Sequence[tuple[float, float]]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito: told apart by people who do not see red and green as others do."""
WORK, WAIT, LATE, PALE = "#0072B2", "#E69F00", "#B3261E", "#888888"


@dataclass
class Chart:
    """A plane with two axes; marks are added in the order in which they lie on each other.

    Attributes:
        width, height: of the drawing, axes included.
        x, y: (lowest, highest) value of each axis.
        title: what it shows, for people who cannot see it; drawn above it when `headed`.
        parts: the marks as SVG.
        traces, layout: the same marks in units of the axes, as plotly takes them.
    """

    width: float
    height: float
    x: tuple[float, float]
    y: tuple[float, float]
    title: str
    headed: bool = True
    left: float = 52.0
    bottom: float = 34.0
    top: float = 22.0
    right: float = 12.0
    parts: list[str] = field(default_factory=list)
    traces: list[dict[str, Any]] = field(default_factory=list)
    layout: dict[str, Any] = field(default_factory=lambda: {"shapes": [], "annotations": []})

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the plane lies on the drawing."""
        wide, high = self.width - self.left - self.right, self.height - self.top - self.bottom
        right = (x - self.x[0]) / ((self.x[1] - self.x[0]) or 1.0)
        up = (y - self.y[0]) / ((self.y[1] - self.y[0]) or 1.0)
        return self.left + wide * right, self.top + high * (1 - up)

    def text(self, x: float, y: float, words: str, anchor: str = "middle", more: str = "") -> None:
        """Words at a place of the drawing."""
        halo = 'paint-order="stroke" stroke="#ffffff" stroke-width="3"'  # readable across a line
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {halo} {more}>{escape(words)}</text>'
        )

    def axes(
        self, x_ticks: Sequence[tuple[float, str]], y_ticks: Sequence[tuple[float, str]], below: str = ""
    ) -> None:
        """Ticks with their words, and what the horizontal axis is."""
        low, high = self.at(self.x[0], self.y[0]), self.at(self.x[1], self.y[1])
        for value, words in y_ticks:
            level = self.at(0, value)[1]
            self._line(low[0], level, high[0], level, "#dddddd", 1)
            self.text(low[0] - 6, level + 4, words, "end")
        for value, words in x_ticks:
            place = self.at(value, 0)[0]
            self._line(place, low[1], place, low[1] + 4, "#444444", 1)
            self.text(place, low[1] + 16, words)
        self._line(low[0], low[1], high[0], low[1], "#444444", 1)
        if below:
            self.text((low[0] + high[0]) / 2, self.height - 4, below, more='fill="#555555"')
        self.layout["xaxis"] = _axis(self.x, x_ticks) | {"title": {"text": below}}
        self.layout["yaxis"] = _axis(self.y, y_ticks)

    def bar(self, x: float, wide: float, y: float, colour: str, hint: str = "") -> None:
        """A bar from the horizontal axis up."""
        own = self._trace({"type": "bar", "marker": {"color": colour}, "hoverinfo": "text"})
        for key, value in (("x", x + wide / 2), ("y", y), ("width", wide), ("hovertext", hint)):
            own.setdefault(key, []).append(_short(value))
        (a, b), (c, d) = self.at(x, y), self.at(x + wide, self.y[0])
        self._box(a, b, max(c - a - 0.6, 0.4), max(d - b, 0.0), colour, hint)

    def stretch(
        self, x: float, wide: float, row: float, high: float, colour: str, hint: str, name: str
    ) -> None:
        """A bar lying on its side between two values; `row` is its place on the drawing from above."""
        own = self._trace(
            {"type": "bar", "orientation": "h", "marker": {"color": colour}, "hoverinfo": "y+text"}
        )
        for key, value in (("base", x), ("x", wide), ("y", name), ("hovertext", hint)):
            own.setdefault(key, []).append(_short(value))
        a, c = self.at(x, 0)[0], self.at(x + wide, 0)[0]
        self._box(a, row, max(c - a, 0.5), high, colour, hint)

    def line(self, points: Points, colour: str, wide: float = 1.8, dash: str = "", name: str = "") -> None:
        """Points joined by straight lines; `name` is what a pointer on it tells."""
        line = {"color": colour, "width": wide} | ({"dash": "dash"} if dash else {})
        shown: dict[str, Any] = {"name": name} if name else {"hoverinfo": "skip"}
        self.traces.append(_scatter(points) | {"line": line} | shown)
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in (self.at(*point) for point in points))
        more = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{wide}"{more}/>'
        )

    def band(self, low: Points, high: Points, colour: str, opacity: float) -> None:
        """The plane between two lines."""
        unseen = {"line": {"width": 0}, "hoverinfo": "skip"}
        filled = {"fill": "tonexty", "fillcolor": _faint(colour, opacity)}
        self.traces += [_scatter(low) | unseen, _scatter(high) | unseen | filled]
        edge = [self.at(*point) for point in (*low, *reversed(high))]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in edge)
        self.parts.append(f'<polygon points="{path}" fill="{colour}" fill-opacity="{opacity}"/>')

    def upright(self, x: float, words: str, colour: str = LATE) -> None:
        """A vertical line with words at its head."""
        line = {"color": colour, "width": 1.4, "dash": "dash"}
        self._shape(x, 0.0, x, 1.0, line, "paper")
        note = {"x": x, "y": 1, "yref": "paper", "yanchor": "top", "showarrow": False, "text": escape(words)}
        side = "right" if x > self.x[0] + 0.8 * (self.x[1] - self.x[0]) else "left"
        self.layout["annotations"].append(note | {"xanchor": side, "font": {"color": colour, "size": 11}})
        (place, high), low = self.at(x, self.y[1]), self.at(x, self.y[0])[1]
        self._line(place, high, place, low, colour, 1.4, "5 3")
        late = place > self.width * 0.8
        self.text(
            place + (-4 if late else 4), high + 10, words, "end" if late else "start", f'fill="{colour}"'
        )

    def whisker(self, x: float, low: float, high: float) -> None:
        """An interval as a thin upright line."""
        self._shape(x, low, x, high, {"color": "#222222", "width": 1})
        (a, b), (_, d) = self.at(x, low), self.at(x, high)
        self._line(a, b, a, d, "#222222", 1)

    def _trace(self, like: dict[str, Any]) -> dict[str, Any]:
        """The trace of plotly that bars of this colour share."""
        for own in self.traces:
            if all(own.get(key) == value for key, value in like.items()):
                return own
        self.traces.append(dict(like))
        return self.traces[-1]

    def _shape(self, a: float, b: float, c: float, d: float, line: dict[str, Any], y_of: str = "y") -> None:
        ends = {"x0": _short(a), "y0": _short(b), "x1": _short(c), "y1": _short(d)}
        self.layout["shapes"].append({"type": "line", "yref": y_of, "line": line} | ends)

    def _line(self, a: float, b: float, c: float, d: float, colour: str, wide: float, dash: str = "") -> None:
        more = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(
            f'<line x1="{a:.1f}" y1="{b:.1f}" x2="{c:.1f}" y2="{d:.1f}" stroke="{colour}" '
            f'stroke-width="{wide}"{more}/>'
        )

    def _box(self, a: float, b: float, wide: float, high: float, colour: str, hint: str) -> None:
        inner = f"<title>{escape(hint)}</title>" if hint else ""
        self.parts.append(
            f'<rect x="{a:.1f}" y="{b:.1f}" width="{wide:.1f}" height="{high:.1f}" fill="{colour}">'
            f"{inner}</rect>"
        )

    def svg(self) -> str:
        """The whole drawing."""
        name = escape(self.title)
        head = f'<text x="{self.left:.0f}" y="14" font-weight="600">{name}</text>' if self.headed else ""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width:.0f} {self.height:.0f}" '
            f'role="img" aria-label="{name}" font-family="sans-serif" font-size="11" fill="#222222">'
            f"{head}{''.join(self.parts)}</svg>"
        )

    def figure(self) -> dict[str, Any]:
        """The whole drawing for plotly: `data` and `layout`."""
        margins = {"l": self.left, "r": self.right, "t": self.top + 6, "b": self.bottom + 8}
        layout: dict[str, Any] = {
            "height": self.height + 40,
            "margin": margins,
            "showlegend": False,
            "barmode": "overlay",
            "bargap": 0.25,
            "font": {"size": 11, "color": "#222222"},
            "hovermode": "closest",
        }
        if self.headed:
            layout["title"] = {"text": escape(self.title), "font": {"size": 12}, "x": 0.02}
        return {"data": self.traces, "layout": layout | self.layout}


def _short(value: float | str) -> float | str:
    """Five digits are more than a screen can show."""
    return value if isinstance(value, str) else float(f"{value:.5g}")


def _scatter(points: Points) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [_short(x) for x, _ in points],
        "y": [_short(y) for _, y in points],
    }


def _faint(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[n : n + 2], 16) for n in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def _axis(ends: tuple[float, float], marks: Sequence[tuple[float, str]]) -> dict[str, Any]:
    """An axis of plotly with the ticks of the drawing; without any it shows its categories."""
    if not marks:
        return {"autorange": "reversed", "automargin": True}
    return {
        "range": list(ends),
        "tickvals": [_short(value) for value, _ in marks],
        "ticktext": [words for _, words in marks],
        "zeroline": False,
    }


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round values between two values, about `count` of them."""
    span = (high - low) or 1.0
    raw = span / count
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * n for n in (1, 2, 2.5, 5, 10) if unit * n >= raw - 1e-12)
    first = math.ceil(low / step - 1e-9) * step
    return [first + step * n for n in range(int((high - first) / step + 1e-9) + 1)]


def plain(value: float) -> str:
    """A number for an axis: no more digits than it needs, large ones in groups."""
    return f"{value:,.0f}" if abs(value) >= 10 or value == int(value) else f"{value:.2g}"
