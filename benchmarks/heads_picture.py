"""The picture of docs/heads.md, as SVG drawn from the result of `benchmarks.heads`: other heads beside the exact one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from statistics import mean

from edgetl.charts import opening, standalone

from .heads_targets import LONGER, OFFLINE, STREAMING

SHOTS = ("1", "5", "20")  # samples per label, a column each
_AT_ONCE = (OFFLINE, "Coral SGD head")
_WIDTH, _LEFT, _GAP, _TOP, _ROW = 800, 196, 22, 52, 34  # pixels
_COLUMN = (_WIDTH - _LEFT - _GAP * (len(SHOTS) - 1)) / len(SHOTS)
_FIGURES = 42  # pixels of a column for the figures
_RANGE = (-15.0, 3.0)  # points; what is further behind is at the end
_STYLE = ".heads .set { opacity: .45; } .heads .zero { stroke: var(--ink); stroke-width: 1.5; }\n"

KShot = Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]]
"""Set -> head -> samples per label -> figures."""


def draw(k_shot: KShot) -> str:
    """Return the SVG: the accuracy of each head against that of the exact head, by samples per label."""
    sets = [name for name in k_shot if name != LONGER]  # the same photos as in digits
    found = {
        name: _columns(k_shot, sets, name) for name in (*STREAMING, *_AT_ONCE) if name in k_shot[sets[0]]
    }
    rows = [
        ("sample by sample", [name for name in STREAMING if name in found]),
        ("on all samples at once", [name for name in _AT_ONCE if name in found]),
    ]
    base = _TOP + _ROW * (len(found) + len(rows)) - 6
    parts = [opening(_WIDTH, base + 28, _describe(found), "heads"), *_axes(base)]
    y = _TOP
    for group, names in rows:
        parts.append(f'<text class="soft" x="0" y="{y + 16}">{group}</text>')
        y += _ROW
        for name in sorted(names, key=lambda name: -mean(found[name][1])):
            parts += _row(name, found[name], y + _ROW / 2 - 6)
            y += _ROW
    parts.append("</svg>")
    return standalone("\n".join(parts), _STYLE, title=conclusion(found), notes=_notes(sets))


def conclusion(found: Mapping[str, Sequence[Sequence[float]]]) -> str:
    """Return what the picture shows, in a line.

    Args:
        found: Points ahead of the exact head: head -> a row per number of samples, with a figure per set.
    """
    ahead = [mean(points) for name in STREAMING for points in found.get(name, ())]
    offline = [abs(mean(points)) for points in found.get(OFFLINE, ())]
    if ahead and offline and max(ahead) < 0.1 and max(offline) < 1:
        return "Sample by sample, the exact head is as accurate as training on all of them at once"
    return "The accuracy of other heads, compared with the exact head"


def _notes(sets: Sequence[str]) -> tuple[str, ...]:
    return (
        f"Accuracy minus that of exact, in points; large: mean, small: {', '.join(sets)}.",
        "EfficientNet-Lite0, int8, frozen; digits are pixels. 20 draws per set. Arrow: further behind than the axis shows.",
    )


def _columns(k_shot: KShot, sets: Sequence[str], name: str) -> list[list[float]]:
    """Return the points that a head is ahead of exact, for each number of samples and each set."""
    return [
        [100 * (k_shot[one][name][k]["accuracy"] - k_shot[one]["exact"][k]["accuracy"]) for one in sets]
        for k in SHOTS
    ]


def _describe(found: Mapping[str, Sequence[Sequence[float]]]) -> str:
    figures = "; ".join(
        f"{name} {', '.join(f'{mean(row):+.1f}' for row in rows)}" for name, rows in found.items()
    )
    return f"Points ahead of the exact head with {', '.join(SHOTS)} samples per label: {figures}."


def _start(column: int) -> float:
    return _LEFT + column * (_COLUMN + _GAP)


def _place(column: int, points: float) -> float:
    low, high = _RANGE
    share = (min(max(points, low), high) - low) / (high - low)
    return round(_start(column) + 8 + (_COLUMN - _FIGURES - 16) * share, 1)


def _axes(base: float) -> Iterator[str]:
    for column, k in enumerate(SHOTS):
        middle = (_place(column, _RANGE[0]) + _place(column, _RANGE[1])) / 2
        text = f"{k} sample{'s' * (k != '1')} per label"
        yield f'<text class="strong middle" x="{middle:.1f}" y="20">{text}</text>'
        for points in (-15, -10, -5, 0):
            x = _place(column, points)
            yield f'<path class="{"axis zero" if points == 0 else "grid"}" d="M{x} {_TOP - 16}V{base}"/>'
            name = "exact" if points == 0 else f"−{-points}"
            yield f'<text class="soft middle" x="{x}" y="{base + 20}">{name}</text>'
    yield f'<text class="soft" x="0" y="{base + 20}">points</text>'


def _row(name: str, columns: Sequence[Sequence[float]], y: float) -> Iterator[str]:
    color = 1 if name in _AT_ONCE else 0
    yield f'<text x="12" y="{y + 4.5}">{escape(name)}</text>'
    for column, figures in enumerate(columns):
        middle = mean(figures)
        yield f'<path class="grid" d="M{_place(column, _RANGE[0])} {y}H{_place(column, _RANGE[1])}"/>'
        for points in figures:
            yield f'<circle class="set f{color}" cx="{_place(column, points)}" cy="{y}" r="3"/>'
        yield _mark(_place(column, middle), y, middle < _RANGE[0], color)
        text = f"{middle:+.1f}".replace("-", "−").replace("+0.0", "0.0").replace("−0.0", "0.0")
        yield f'<text class="right" x="{_start(column) + _COLUMN:.1f}" y="{y + 4.5}">{text}</text>'


def _mark(x: float, y: float, outside: bool, color: int) -> str:
    if outside:
        return f'<path class="f{color}" d="M{x - 7} {y}l9 -7v14z"/>'
    return f'<circle class="f{color}" cx="{x}" cy="{y}" r="6"/>'
