"""The picture of `benchmarks.roofline`, as SVG drawn from its JSON: the roofs of the machine, and the backbone below them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from typing import Any

from edgetl.charts import opening, standalone

WIDTH, HEIGHT = 800, 440
LEFT, RIGHT, TOP, BOTTOM = 64, 8, 12, 50
_COLORS = {"int8": 0, "float32": 1}  # of edgetl.charts
_STYLE = ".roofline .limit { stroke-dasharray: 3 3; } .roofline .dot { fill: var(--c2); }\n"


def draw(result: Mapping[str, Any]) -> str:
    """Return the SVG of a result of `benchmarks.roofline`."""
    found = result["roofline"]
    bandwidth, roofs = found["gigabytes_per_second"], found["peaks"]
    points = [
        (row["name"], row["multiply_adds"] / row["bytes"], row["bytes"])
        for row in found["ops"]
        if row["multiply_adds"]
    ]
    intensity = found["multiply_adds"] / found["bytes"]
    reached = found["multiply_adds"] / found["embedding_ms"] / 1e6
    axes = _Axes(
        [intensity, *(point[1] for point in points), *(roof / bandwidth for roof in roofs.values())],
        [reached, *roofs.values()],
    )
    parts = [*axes.grid(), *(_roof(axes, name, roof, bandwidth) for name, roof in roofs.items())]
    for name, x, _ in points:
        top = min(roofs[found["format"]], x * bandwidth)
        parts.append(axes.line((x, axes.low[1]), (x, top), "axis limit"))
        parts.append(axes.text(x, axes.low[1] * 1.15, name, turned=True))
    parts.append(axes.dot(intensity, reached))
    label = f"{found['backbone']}, {found['format']}: {reached:.0f}"
    parts.append(axes.text(intensity, reached * 1.16, label, "strong middle"))
    chart = "\n".join([opening(WIDTH, HEIGHT, label, "roofline"), *parts, "</svg>"])
    share = found["limit_ms"] / found["embedding_ms"]
    title = f"{found['backbone']} reaches {100 * share:.0f} % of what one thread of this machine can do"
    return standalone(chart, _STYLE, title=title)


def _roof(axes: _Axes, name: str, roof: float, bandwidth: float) -> str:
    ridge = roof / bandwidth
    color = _COLORS.get(name, 2)
    slope = axes.line((axes.low[0], axes.low[0] * bandwidth), (ridge, roof), f"line s{color}")
    flat = axes.line((ridge, roof), (axes.high[0], roof), f"line s{color}")
    return "\n".join(
        [
            slope,
            flat,
            axes.text(axes.high[0] * 0.97, roof * 1.08, f"{name}, {roof:.0f} at most", f"right f{color}"),
        ]
    )


class _Axes:
    """Logarithmic axes: multiply-adds per byte, and giga multiply-adds per second.

    Args:
        xs: Values that must be visible on the x axis.
        ys: Values that must be visible on the y axis.
    """

    def __init__(self, xs: list[float], ys: list[float]) -> None:
        self.low = (10 ** math.floor(math.log10(min(xs))), 10 ** math.floor(math.log10(min(ys) / 2)))
        self.high = (10 ** math.ceil(math.log10(max(xs) * 2)), 10 ** math.ceil(math.log10(max(ys) * 1.3)))

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return the pixels of a point; points outside are moved to the border."""
        shares = [
            (math.log10(max(value, low)) - math.log10(low)) / (math.log10(high) - math.log10(low))
            for value, low, high in zip((x, y), self.low, self.high, strict=True)
        ]
        return (
            round(LEFT + shares[0] * (WIDTH - LEFT - RIGHT), 1),
            round(HEIGHT - BOTTOM - shares[1] * (HEIGHT - TOP - BOTTOM), 1),
        )

    def line(self, start: tuple[float, float], end: tuple[float, float], kind: str) -> str:
        """Return a line of a CSS class; the part below the axes is cut off."""
        (x1, y1), (x2, y2) = self._cut(start, end), end
        (left, low), (right, high) = self.place(x1, y1), self.place(x2, y2)
        return f'<path class="{kind}" d="M{left} {low}L{right} {high}"/>'

    def _cut(self, start: tuple[float, float], end: tuple[float, float]) -> tuple[float, float]:
        if start[1] >= self.low[1] or end[1] == start[1]:
            return start
        share = math.log(self.low[1] / start[1]) / math.log(end[1] / start[1])
        return start[0] * (end[0] / start[0]) ** share, self.low[1]

    def dot(self, x: float, y: float) -> str:
        """Return a dot."""
        left, top = self.place(x, y)
        return f'<circle class="dot" cx="{left}" cy="{top}" r="6"/>'

    def text(self, x: float, y: float, text: str, kind: str = "soft", turned: bool = False) -> str:
        """Return a text of a CSS class beside a point, or one that rises beside it."""
        left, top = self.place(x, y)
        left = round(left - 4, 1) if turned else left
        turn = f' transform="rotate(-90 {left} {top})"' if turned else ""
        return f'<text class="{kind}" x="{left}" y="{top}"{turn}>{escape(text)}</text>'

    def grid(self) -> list[str]:
        """Return a line per power of ten with its value, and the captions."""
        parts = []
        for axis in (0, 1):
            for power in range(round(math.log10(self.low[axis])), round(math.log10(self.high[axis])) + 1):
                ends = [list(self.low), list(self.high)]
                ends[0][axis] = ends[1][axis] = 10.0**power
                (x1, y1), (x2, y2) = (self.place(*end) for end in ends)
                parts.append(f'<path class="grid" d="M{x1} {y1}L{x2} {y2}"/>')
                place = (
                    f'middle" x="{x1}" y="{y1 + 20}' if axis == 0 else f'right" x="{x1 - 8}" y="{y1 + 4.5}'
                )
                parts.append(f'<text class="soft {place}">{10.0**power:g}</text>')
        middle = (TOP + HEIGHT - BOTTOM) / 2
        return [
            *parts,
            f'<text class="soft middle" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}">multiply-adds per byte</text>',
            f'<text class="soft middle" x="14" y="{middle}" transform="rotate(-90 14 {middle})">'
            "giga multiply-adds per second</text>",
        ]
