"""The accuracies of the ways with their intervals as an SVG picture, for a page or as a separate file."""

from __future__ import annotations

import math
from html import escape

from ..charts import opening, standalone
from .results import WayComparison, WayResult

STYLE = """
.ways .interval { stroke: var(--c0); stroke-width: 2.5; stroke-linecap: round; }
.ways .dot { fill: var(--card); stroke: var(--c0); stroke-width: 2.5; }
.ways .best .dot { fill: var(--c0); }
.ways .balanced { stroke: var(--c0); stroke-width: 1.6; }
"""
"""What the picture needs in addition to `edgetl.charts.STYLE`."""

_WIDTH, _LEFT, _RIGHT, _ROW, _TOP = 860, 190, 150, 44, 12  # pixels


def inline_picture(comparison: WayComparison) -> str:
    """Return the picture for a page that defines the colors; it contains no address, not even a namespace."""
    base = _TOP + _ROW * len(comparison.ways)
    lowest = _lowest(comparison)
    parts = [opening(_WIDTH, base + 48, _description(comparison), "ways"), *_grid(lowest, base)]
    for number, way in enumerate(comparison.ways):
        parts += _row(way, _TOP + _ROW * (number + 0.5), lowest, way.way == comparison.recommended)
    judges = len(comparison.trained[0].labels) if comparison.trained else 0
    parts += [
        f'<text class="soft middle" x="{_place(1, 0) - (_WIDTH - _LEFT - _RIGHT) / 2}" y="{base + 42}">'
        f"accuracy on {judges} photos with its 95 % interval; the short line is the balanced accuracy</text>",
        "</svg>",
    ]
    return "\n".join(part for part in parts if part)


def standalone_picture(comparison: WayComparison) -> str:
    """Return the picture as a separate file, with light and dark colors and a background."""
    return standalone(inline_picture(comparison), STYLE)


def _lowest(comparison: WayComparison) -> float:
    """Return the left end of the axis: a tenth below everything that is drawn."""
    shares = [min(way.interval[0], way.evaluation.balanced_accuracy) for way in comparison.trained]
    return min(0.9, math.floor(min(shares, default=0.0) * 10) / 10)


def _place(share: float, lowest: float) -> float:
    return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * (share - lowest) / (1 - lowest), 1)


def _grid(lowest: float, base: float) -> list[str]:
    first = round(10 * lowest)
    step = 1 if first >= 5 else 2
    parts = [f'<path class="axis" d="M{_LEFT} {base}H{_WIDTH - _RIGHT}"/>']
    for tenth in range(10, first - 1, -step):
        x = _place(tenth / 10, lowest)
        parts.append(f'<path class="grid" d="M{x} {_TOP}V{base}"/>')
        parts.append(f'<text class="soft middle" x="{x}" y="{base + 20}">{10 * tenth} %</text>')
    return parts


def _row(way: WayResult, y: float, lowest: float, best: bool) -> list[str]:
    strong = ' class="strong"' if best else ""
    name = f'<text{strong} x="0" y="{y - 3}">{escape(way.name)}{" ✓" if best else ""}</text>'
    if not way.trained:
        return [name, f'<text class="soft" x="{_LEFT + 10}" y="{y + 4}">not trained</text>']
    figures, (low, high) = way.evaluation, way.interval
    x, balanced = _place(figures.accuracy, lowest), _place(figures.balanced_accuracy, lowest)
    detail = f"{describe_time(way.seconds)}, {way.bytes / 1e6:.1f} MB"
    shares = f"{100 * figures.accuracy:.1f} %"
    return [
        name,
        f'<text class="soft" x="0" y="{y + 14}">{detail}</text>',
        f'<g class="{"best" if best else "other"}">'
        f'<path class="interval" d="M{_place(low, lowest)} {y}H{_place(high, lowest)}"/>'
        f'<path class="balanced" d="M{balanced} {y - 9}v18"/>'
        f'<circle class="dot" cx="{x}" cy="{y}" r="6"/></g>',
        f'<text{strong} x="{_WIDTH - _RIGHT + 16}" y="{y - 3}">{shares}</text>',
        f'<text class="soft" x="{_WIDTH - _RIGHT + 16}" y="{y + 14}">{100 * low:.0f} to {100 * high:.0f} %</text>',
    ]


def describe_time(seconds: float) -> str:
    """Return a duration for people."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _description(comparison: WayComparison) -> str:
    figures = [f"{way.name} {100 * way.evaluation.accuracy:.1f} %" for way in comparison.trained]
    return f"Accuracy by what was trained: {', '.join(figures)}."
