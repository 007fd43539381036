"""The style of all charts: colors for light and dark screens, text, lines, and the card around a chart that is a file.

A chart is an SVG with the class ``chart``. A page that contains charts defines `LIGHT`, `DARK` and `STYLE` once; `standalone`
adds them to a chart that is a file of its own. Text has 14 pixels in a chart of 800 to 860 pixels.
"""

from __future__ import annotations

import re
from html import escape

COLORS = 5
"""Number of colors for data: ``--c0`` to ``--c4``, and the classes ``f0`` (fill) and ``s0`` (stroke) to ``f4`` and ``s4``."""
LIGHT = (
    "--ink:#1c2430;--soft:#5b6675;--line:#e3e7ec;--card:#ffffff;"
    "--c0:#0b66c3;--c1:#b4540a;--c2:#1a7f5a;--c3:#8a4fbe;--c4:#8c6d00;"
)
DARK = (
    "--ink:#e8ecf1;--soft:#9aa6b5;--line:#2e3742;--card:#171c23;"
    "--c0:#62b0ff;--c1:#f2a65a;--c2:#58cfa0;--c3:#c79bf2;--c4:#e0c04a;"
)
STYLE = """
.chart text { font: 14px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: var(--ink); }
.chart .soft { fill: var(--soft); }
.chart .strong { font-weight: 650; }
.chart .right { text-anchor: end; }
.chart .middle { text-anchor: middle; }
.chart .grid { stroke: var(--line); stroke-width: 1; fill: none; }
.chart .axis { stroke: var(--soft); stroke-width: 1; fill: none; }
.chart .line { fill: none; stroke-width: 2.5; stroke-linejoin: round; stroke-linecap: round; }
""" + "".join(
    f".chart .f{n} {{ fill: var(--c{n}); }} .chart .s{n} {{ stroke: var(--c{n}); fill: none; }}\n"
    for n in range(COLORS)
)

_CARD = """
.chart .card { fill: var(--card); stroke: var(--line); }
.chart .title { font-size: 17px; font-weight: 650; }
"""
_MARGIN = 24  # pixels around a chart
_HEAD = 30  # pixels above it for the title
_NOTE = 20  # and for each line below the title
_OPENING = re.compile(r'<svg class="(chart[^"]*)" viewBox="0 0 ([\d.]+) ([\d.]+)"')


def opening(width: float, height: float, description: str, kind: str = "") -> str:
    """Return the opening tag of a chart.

    Args:
        width: Width in pixels.
        height: Height in pixels.
        description: What a screen reader reads.
        kind: Further CSS classes, separated by spaces.
    """
    classes = f"chart {kind}".strip()
    label = escape(description, quote=True)
    return f'<svg class="{classes}" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{label}">'


def standalone(chart: str, style: str = "", *, title: str = "", notes: tuple[str, ...] = ()) -> str:
    """Return a chart as a separate file, with light and dark colors, on a card.

    Args:
        chart: The chart; its first line is what `opening` returns.
        style: CSS that it needs in addition to `STYLE`.
        title: What the chart shows, in one line above it.
        notes: Lines below the title.

    Raises:
        ValueError: The chart does not start with what `opening` returns.
    """
    found = _OPENING.match(chart)
    if found is None:
        raise ValueError(f"a chart starts with the tag of charts.opening, got {chart[:80]!r}")
    classes, inner_width, inner_height = found[1], float(found[2]), float(found[3])
    above = _MARGIN + (_HEAD + _NOTE * len(notes) if title else 0)
    width, height = inner_width + 2 * _MARGIN, inner_height + above + _MARGIN
    box = f"{-_MARGIN} {-above} {width:g} {height:g}"
    tag = f'<svg xmlns="http://www.w3.org/2000/svg" class="{classes}" viewBox="{box}"'
    card = f'<rect class="card" x="{0.5 - _MARGIN}" y="{0.5 - above}" rx="12" width="{width - 1:g}" height="{height - 1:g}"/>'
    lines = [(title, "title"), *((note, "soft") for note in notes)] if title else []
    texts = [
        f'<text class="{kind}" x="0" y="{_MARGIN + 10 - above + _NOTE * number}">{escape(line)}</text>'
        for number, (line, kind) in enumerate(lines)
    ]
    first, rest = chart[found.end() :].split("\n", 1)
    return "\n".join([tag + first, _stylesheet(style), card, *texts, rest, ""])


def _stylesheet(style: str) -> str:
    dark = f"@media (prefers-color-scheme: dark) {{ .chart {{ {DARK} }} }}"
    return f"<style>.chart {{ {LIGHT} }}\n{dark}{STYLE}{_CARD}{style}</style>"
