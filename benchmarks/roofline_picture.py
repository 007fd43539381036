"""The picture of `benchmarks.roofline`, as SVG drawn from its JSON: the roofs of the machine, and the backbone below them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from typing import Any

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 20, 50
_COLORS = {"int8": "#0b6e4f", "float32": "#8a5a00"}
_STYLE = "font-family:sans-serif;font-size:12px;background:#fff"


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
        parts.append(axes.line((x, axes.low[1]), (x, top), "#999", "stroke-dasharray:3 3"))
        parts.append(axes.text(x, axes.low[1] * 1.15, name, turned=True))
    parts.append(axes.dot(intensity, reached))
    label = f"{found['backbone']}, {found['format']}: {reached:.0f}"
    parts.append(axes.text(intensity, reached * 1.16, label, anchor="middle"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" style="{_STYLE}" role="img">\n'
        f"<title>{escape(label)}</title>\n" + "\n".join(parts) + "\n</svg>\n"
    )


def _roof(axes: _Axes, name: str, roof: float, bandwidth: float) -> str:
    ridge = roof / bandwidth
    color = _COLORS[name]
    slope = axes.line((axes.low[0], axes.low[0] * bandwidth), (ridge, roof), color)
    flat = axes.line((ridge, roof), (axes.high[0], roof), color)
    return "\n".join(
        [
            slope,
            flat,
            axes.text(axes.high[0] * 0.97, roof * 1.08, f"{name}, {roof:.0f} at most", color, "end"),
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

    def line(self, start: tuple[float, float], end: tuple[float, float], color: str, style: str = "") -> str:
        """Return a line; the part below the axes is cut off."""
        (x1, y1), (x2, y2) = self._cut(start, end), end
        (left, low), (right, high) = self.place(x1, y1), self.place(x2, y2)
        return f'<path d="M{left} {low}L{right} {high}" fill="none" stroke="{color}" stroke-width="2" style="{style}"/>'

    def _cut(self, start: tuple[float, float], end: tuple[float, float]) -> tuple[float, float]:
        if start[1] >= self.low[1] or end[1] == start[1]:
            return start
        share = math.log(self.low[1] / start[1]) / math.log(end[1] / start[1])
        return start[0] * (end[0] / start[0]) ** share, self.low[1]

    def dot(self, x: float, y: float) -> str:
        """Return a dot."""
        left, top = self.place(x, y)
        return f'<circle cx="{left}" cy="{top}" r="5" fill="#b3261e"/>'

    def text(
        self, x: float, y: float, text: str, color: str = "#333", anchor: str = "start", turned: bool = False
    ) -> str:
        """Return a text beside a point, or that rises beside it."""
        left, top = self.place(x, y)
        left = round(left - 4, 1) if turned else left
        turn = f' transform="rotate(-90 {left} {top})"' if turned else ""
        return f'<text x="{left}" y="{top}" fill="{color}" text-anchor="{anchor}"{turn}>{escape(text)}</text>'

    def grid(self) -> list[str]:
        """Return the axes with a line per power of ten."""
        parts = [f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>']
        for axis in (0, 1):
            for power in range(round(math.log10(self.low[axis])), round(math.log10(self.high[axis])) + 1):
                ends = [list(self.low), list(self.high)]
                ends[0][axis] = ends[1][axis] = 10.0**power
                (x1, y1), (x2, y2) = (self.place(*end) for end in ends)
                parts.append(f'<path d="M{x1} {y1}L{x2} {y2}" stroke="#ddd"/>')
                where = (
                    f'x="{x1}" y="{y1 + 16}" text-anchor="middle"'
                    if axis == 0
                    else f'x="{x1 - 6}" y="{y1 + 4}" text-anchor="end"'
                )
                parts.append(f'<text {where} fill="#333">{10.0**power:g}</text>')
        middle = (TOP + HEIGHT - BOTTOM) / 2
        parts.append(
            f'<text x="{WIDTH / 2}" y="{HEIGHT - 10}" text-anchor="middle">multiply-adds per byte</text>'
        )
        parts.append(
            f'<text x="14" y="{middle}" text-anchor="middle" transform="rotate(-90 14 {middle})">'
            "giga multiply-adds per second</text>"
        )
        return parts
