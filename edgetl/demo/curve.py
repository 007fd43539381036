"""The learning curve as an SVG picture, for a page that defines the colors or as a separate file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from ..charts import opening, standalone
from .results import FieldResult, Spread

STYLE = """
.curve .field { stroke: var(--c0); }
.curve .balanced { stroke: var(--c0); stroke-width: 1.6; stroke-dasharray: 2 5; }
.curve .lab { stroke: var(--c1); }
.curve .always { stroke: var(--soft); stroke-width: 1.4; stroke-dasharray: 6 4; }
.curve .band { fill: var(--c0); opacity: .14; }
.curve .dot { stroke: var(--card); stroke-width: 1.5; }
.curve .dot.field { fill: var(--c0); stroke: var(--card); }
.curve .dot.lab { fill: var(--c1); stroke: var(--card); }
"""
"""What the curve needs in addition to `edgetl.charts.STYLE`."""

BOTTOM, TOP = 0.2, 1.0  # ends of the vertical axis; a lower accuracy lowers the bottom
_ROW = 21  # pixels per row of figures below the axis


@dataclass(frozen=True)
class Size:
    """The dimensions of the picture in pixels.

    Attributes:
        width: Width of the picture.
        plot: Height of the part above the axis.
        left: Width of the column with the names of the rows.
        unit: Text after each figure.
    """

    width: int
    plot: int
    left: int
    unit: str


WIDE = Size(width=860, plot=300, left=216, unit=" %")
NARROW = Size(width=370, plot=230, left=104, unit="")


@dataclass(frozen=True)
class Line:
    """One line of the chart: its CSS class, its names, and a share per number of taught cells."""

    style: str
    name: str
    short: str
    shares: list[float]


class Plot:
    """Coordinates of the picture; the horizontal axis is a square root, which spreads the first steps."""

    right = 20.0
    top = 16.0

    def __init__(self, size: Size, most: int, lowest: float) -> None:
        self.size = size
        self.most = max(1, most)
        self.bottom = min(BOTTOM, math.floor(lowest * 10) / 10)
        self.base = self.top + size.plot

    def x(self, taught: int) -> float:
        """Return the horizontal coordinate of a number of taught cells."""
        inner = self.size.width - self.size.left - self.right
        return round(self.size.left + inner * math.sqrt(taught / self.most), 1)

    def y(self, share: float) -> float:
        """Return the vertical coordinate of a share between `bottom` and 1."""
        return round(self.base - self.size.plot * (share - self.bottom) / (TOP - self.bottom), 1)


def inline_curve(result: FieldResult, size: Size = WIDE, kind: str = "") -> str:
    """Return the curve for a page that defines the colors; it contains no address, not even a namespace.

    Args:
        result: The result in the field.
        size: The dimensions of the picture.
        kind: Further CSS classes, separated by spaces.
    """
    taught = [step["taught"] for step in result["steps"]]
    lines = _lines(result)
    plot = Plot(size, taught[-1], min(min(line.shares) for line in lines))
    height = int(plot.base + 34 + (len(lines) + bool(result["spread"])) * _ROW)
    parts = [
        opening(size.width, height, _description(result), f"curve {kind}"),
        *_grid(plot, taught),
        _band(plot, result),
        *_always(plot, result),
        *(part for line in reversed(lines) for part in _drawn(plot, line, taught)),
        *_figures(plot, lines, taught, result["spread"]),
        "</svg>",
    ]
    return "\n".join(part for part in parts if part)


def standalone_curve(result: FieldResult) -> str:
    """Return the curve as a separate file with a title, light and dark colors and a background."""
    counts = sum(sum(row) for row in result["confusion_after"])
    title = f"Accuracy in the field on {counts} solar cells that were never taught"
    return standalone(inline_curve(result), STYLE, title=title)


def always_share(result: FieldResult) -> tuple[str, float]:
    """Return the most frequent label in the field, and the accuracy of always answering it."""
    rows = [sum(row) for row in result["confusion_after"]]
    best = max(range(len(rows)), key=rows.__getitem__)
    return result["labels"][best], rows[best] / max(1, sum(rows))


def percent(share: float, digits: int = 0) -> str:
    """Return a share as a percentage without the percent sign."""
    return f"{100 * share:.{digits}f}"


def _lines(result: FieldResult) -> list[Line]:
    steps = result["steps"]
    return [
        Line("field", "in the field", "field", [step["field"]["accuracy"] for step in steps]),
        Line("balanced", "in the field, balanced", "balanced", [step["field"]["balanced"] for step in steps]),
        Line("lab", "in the lab", "lab", [step["lab"]["accuracy"] for step in steps]),
    ]


def _grid(plot: Plot, taught: Sequence[int]) -> list[str]:
    left, right = plot.size.left, plot.size.width - plot.right
    parts = []
    for tenth in range(round(plot.bottom * 10), 11, 2):
        y = plot.y(tenth / 10)
        style = "axis" if tenth == round(plot.bottom * 10) else "grid"
        parts.append(f'<path class="{style}" d="M{left} {y}H{right}"/>')
        unit = " %" if tenth == 10 else ""
        parts.append(f'<text class="soft right" x="{left - 10}" y="{y + 4.5}">{tenth * 10}{unit}</text>')
    parts += [f'<path class="axis" d="M{plot.x(count)} {plot.base}v5"/>' for count in taught]
    return parts


def _band(plot: Plot, result: FieldResult) -> str:
    spread = result["spread"]
    if not spread:
        return ""
    first, last = result["steps"][0], result["steps"][-1]
    ends = [(step["taught"], step["field"]["accuracy"]) for step in (first, last)]
    upper = [ends[0], *((row["taught"], row["high"]) for row in spread), ends[1]]
    lower = [ends[1], *((row["taught"], row["low"]) for row in reversed(spread)), ends[0]]
    points = " ".join(f"{plot.x(taught)},{plot.y(share)}" for taught, share in [*upper, *lower])
    return f'<polygon class="band" points="{points}"/>'


def _always(plot: Plot, result: FieldResult) -> list[str]:
    label, share = always_share(result)
    right, y = plot.size.width - plot.right, plot.y(share)
    text = f"always answering “{escape(label)}”: {percent(share)} %"
    return [
        f'<path class="line always" d="M{plot.size.left} {y}H{right}"/>',
        f'<text class="soft right" x="{right}" y="{y + 18}">{text}</text>',
    ]


def _drawn(plot: Plot, line: Line, taught: Sequence[int]) -> list[str]:
    points = [(plot.x(count), plot.y(share)) for count, share in zip(taught, line.shares, strict=True)]
    path = " ".join(f"{x},{y}" for x, y in points)
    parts = [f'<polyline class="line {line.style}" points="{path}"/>']
    if line.style != "balanced":
        parts += [f'<circle class="dot {line.style}" cx="{x}" cy="{y}" r="4.5"/>' for x, y in points]
    return parts


def _figures(plot: Plot, lines: Sequence[Line], taught: Sequence[int], spread: Sequence[Spread]) -> list[str]:
    """Return the rows of figures below the axis; the names of the rows are the legend."""
    wide = bool(plot.size.unit)
    y = plot.base + 24
    name = "cells taught in the field" if wide else "cells taught"
    parts = [f'<text class="soft" x="0" y="{y}">{name}</text>']
    parts += [f'<text class="soft middle" x="{plot.x(count)}" y="{y}">{count}</text>' for count in taught]
    for line in lines:
        y += _ROW
        style = "strong" if line.style == "field" else ""
        swatch = f'<path class="line {line.style}" d="M0 {y - 4.5}h22"/>'
        figures = zip(taught, line.shares, strict=True)
        parts += [swatch, *_row(plot, y, line.name if wide else line.short, figures, style)]
    if spread:
        y += _ROW
        means = [(row["taught"], row["mean"]) for row in spread]
        swatch = f'<rect class="band" x="0" y="{y - 11}" width="22" height="13"/>'
        name = "field, mean of other orders" if wide else "mean"
        parts += [swatch, *_row(plot, y, name, means, "soft")]
    return parts


def _row(plot: Plot, y: float, name: str, figures: Iterable[tuple[int, float]], style: str) -> list[str]:
    unit = plot.size.unit
    return [f'<text class="{style}" x="30" y="{y}">{name}</text>'] + [
        f'<text class="middle {style}" x="{plot.x(count)}" y="{y}">{percent(share)}{unit}</text>'
        for count, share in figures
    ]


def _description(result: FieldResult) -> str:
    steps = result["steps"]
    figures = ", ".join(f"{percent(step['field']['accuracy'])} % after {step['taught']}" for step in steps)
    return f"Accuracy in the field by number of cells taught there: {figures}."
