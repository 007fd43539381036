"""Pictures of a measurement as inline SVG: distributions, stages, accuracy against latency, and growth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..charts import COLORS, opening
from ..evaluation.page import escape
from .axes import LEFT, RIGHT, WIDTH, Axis
from .text import FRAME, LESSON, median_of, shot_name, shown_megabytes

Found = Mapping[str, Any]

STYLE = """
.chart .other { fill: var(--soft); }
.chart .mark { stroke: var(--ink); stroke-width: 2; }
.chart .thin { stroke: var(--ink); stroke-dasharray: 2 3; }
"""
"""What these pictures need in addition to `edgetl.charts.STYLE`."""

_ROW = 50  # pixels per combination
_BINS = 80
_TEXT_HEIGHT = 13  # pixels between two texts that can be read

PREDICTION = ("capture", "preprocessing", "backbone", "head, predict")
_LESSON = ("embedding", "picture and commit", "first prediction")


def draw_distributions(names: Sequence[str], results: Sequence[Found]) -> str:
    """Return the distribution of "frame to prediction" per combination; empty if it was not timed."""
    rows = [
        (name, timing)
        for name, found in zip(names, results, strict=True)
        if (timing := _timing(found, FRAME))
    ]
    if not rows:
        return ""
    low = min(timing["minimum"] for _, timing in rows)
    axis = Axis.of(low, max(timing["p99"] for _, timing in rows), logarithmic=True)
    base = 8 + _ROW * len(rows)
    parts = list(
        axis.drawn(4, base, "milliseconds per prediction, logarithmic; line: median, dotted: 95th percentile")
    )
    for number, (name, timing) in enumerate(rows):
        parts += _distribution(axis, name, timing, 8 + _ROW * (number + 1) - 4)
    return _svg(parts, base + 46, f"Time per prediction: {_medians(rows)}")


def draw_stages(names: Sequence[str], results: Sequence[Found]) -> str:
    """Return the medians of the stages of a prediction as stacked bars."""
    rows = [(name, _prediction_stages(found)) for name, found in zip(names, results, strict=True)]
    return _stacked(rows, PREDICTION, "milliseconds per prediction, medians of the stages")


def draw_lessons(names: Sequence[str], results: Sequence[Found]) -> str:
    """Return the medians of the stages from a lesson to the new head as stacked bars."""
    rows = [(name, _lesson_stages(found)) for name, found in zip(names, results, strict=True)]
    return _stacked(rows, _LESSON, "milliseconds from a lesson to the new head, medians of the stages")


def draw_accuracy(names: Sequence[str], results: Sequence[Found], accuracy: Found | None) -> str:
    """Return accuracy against latency: a line per combination, from few photos per label to all."""
    points = list(_points(names, results, accuracy)) if accuracy else []
    if not points:
        return ""
    times = [ms for _, ms, _, _ in points]
    axis = replace(Axis.of(min(times) / 1.3, max(times) * 1.3, logarithmic=True, left=56), right=WIDTH - 56)
    lowest = min(shot["accuracy"] for _, _, _, shots in points for shot in shots)
    bottom, base, top = max(0.0, int(lowest * 10 - 0.5) / 10), 300.0, 16.0
    parts = list(
        axis.drawn(
            top, base, "milliseconds per prediction, median, logarithmic; at the points: photos per label"
        )
    )
    for tenth in range(round(bottom * 10), 11):
        y = _height(tenth / 10, bottom, base, top)
        parts.append(f'<path class="grid" d="M{axis.left} {y}H{axis.right}"/>')
        parts.append(f'<text class="soft right" x="{axis.left - 8}" y="{y + 4.5}">{10 * tenth} %</text>')
    for number, point in enumerate(points):
        parts += _accuracy_line(axis, point, number % COLORS, (bottom, base, top))
    legend = [f"{name}, {shown_megabytes(size)}" for name, _, size, _ in points]
    parts += _legend(legend, base + 62, 1)
    height = base + 66 + 20 * len(legend)
    return _svg(parts, height, "Accuracy against time per prediction")


def draw_growth(names: Sequence[str], results: Sequence[Found]) -> str:
    """Return the time of a lesson against the number of samples; empty if only one number was measured."""
    groups: dict[str, list[tuple[int, float]]] = {}
    for name, found in zip(names, results, strict=True):
        median = median_of(found, LESSON)
        if median is not None:
            groups.setdefault(_without_samples(name, found), []).append((found["head"]["samples"], median))
    groups = {
        name: sorted(points) for name, points in groups.items() if len({count for count, _ in points}) > 1
    }
    if not groups:
        return ""
    counts = [count for points in groups.values() for count, _ in points]
    times = [time for points in groups.values() for _, time in points]
    axis = Axis.of(min(counts), max(counts), logarithmic=True, left=64)
    up = Axis(min(times) / 1.15, max(times) * 1.15, logarithmic=True, left=260.0, right=16.0)  # upwards
    parts = list(axis.drawn(16, 260, "samples that the head has learned, logarithmic"))
    for value in up.ticks():
        parts.append(f'<path class="grid" d="M{axis.left} {up.place(value)}H{axis.right}"/>')
        parts.append(
            f'<text class="soft right" x="{axis.left - 8}" y="{up.place(value) + 4.5}">{value:g} ms</text>'
        )
    for number, points in enumerate(groups.values()):
        line = "L".join(f"{axis.place(count)} {up.place(time)}" for count, time in points)
        parts.append(f'<path class="s{number % COLORS}" stroke-width="2.5" d="M{line}"/>')
        parts += [
            f'<circle class="f{number % COLORS}" cx="{axis.place(count)}" cy="{up.place(time)}" r="4"/>'
            for count, time in points
        ]
    parts += _legend(list(groups), 322, 1)
    return _svg(parts, 326 + 20 * len(groups), "Time of a lesson against the number of samples")


def draw_ops(profile: Found) -> str:
    """Return the time of each layer of a backbone, in the order in which they run, colored by the kind of op."""
    layers, kinds = profile["layers"], [row["op"] for row in profile["by_op"]][:COLORS]
    high = max((layer["ms"] for layer in layers), default=0.0)
    up = Axis(0.0, max(high, 1e-6), left=220.0, right=50.0)  # upwards
    left, width = 64, (WIDTH - 64 - LEFT) / max(1, len(layers))
    parts = list(_legend(kinds, 14, 3))
    for value in up.ticks():
        parts.append(f'<path class="grid" d="M{left} {up.place(value)}H{WIDTH - LEFT}"/>')
        parts.append(
            f'<text class="soft right" x="{left - 8}" y="{up.place(value) + 4.5}">{value:g} ms</text>'
        )
    for number, layer in enumerate(layers):
        y = up.place(layer["ms"])
        color = f"f{kinds.index(layer['op'])}" if layer["op"] in kinds else "other"
        title = escape(f"{layer['index']} {layer['op']} {layer['name']}: {layer['ms']:.3g} ms")
        parts.append(
            f'<rect class="{color}" x="{left + width * number:.1f}" y="{y}" width="{max(1.0, width - 1):.1f}" '
            f'height="{max(0.0, 220 - y):.1f}"><title>{title}</title></rect>'
        )
    parts.append(
        f'<text class="soft middle" x="{(left + WIDTH) / 2}" y="242">layers, in the order in which they run</text>'
    )
    return _svg(parts, 250, f"Time per layer of {profile['name']}")


def _distribution(axis: Axis, name: str, timing: Found, base: float) -> Iterator[str]:
    places = np.array([axis.place(sample) for sample in timing["samples"]])
    counts, edges = np.histogram(places, _BINS, (axis.left, axis.right))
    smooth = np.convolve(counts, (0.25, 0.5, 0.25), mode="same")
    heights = 22 * smooth / max(1e-9, float(smooth.max()))
    outline = "".join(
        f"L{(left + right) / 2:.1f} {base - height:.1f}"
        for left, right, height in zip(edges[:-1], edges[1:], heights.tolist(), strict=True)
    )
    yield f'<path class="f0" opacity=".75" d="M{axis.left} {base}{outline}L{axis.right} {base}Z"/>'
    yield f'<path class="mark" d="M{axis.place(timing["p50"])} {base}v-26"/>'
    yield f'<path class="thin" d="M{axis.place(timing["p95"])} {base}v-26"/>'
    yield f'<text x="{LEFT}" y="{base - 29}">{escape(name)}</text>'
    yield f'<text x="{WIDTH - RIGHT + 10}" y="{base - 14}">{timing["p50"]:.3g} ms</text>'
    yield f'<text class="soft" x="{WIDTH - RIGHT + 10}" y="{base + 2}">p95 {timing["p95"]:.3g} ms</text>'


def _stacked(rows: Sequence[tuple[str, Mapping[str, float]]], stages: Sequence[str], caption: str) -> str:
    rows = [(name, times) for name, times in rows if times]
    if not rows:
        return ""
    shown = [stage for stage in stages if any(stage in times for _, times in rows)]
    axis, top = Axis.of(0, max(sum(times.values()) for _, times in rows)), 30
    base = top + 46 * len(rows) + 4
    parts = [*_legend(shown, 14, len(shown)), *axis.drawn(top, base, caption)]
    for number, (name, times) in enumerate(rows):
        y, total = top + 46 * number + 24, 0.0
        parts.append(f'<text x="{LEFT}" y="{y - 6}">{escape(name)}</text>')
        for stage in shown:
            start, end = axis.place(total), axis.place(total + times.get(stage, 0.0))
            total += times.get(stage, 0.0)
            title = f"<title>{stage}: {times.get(stage, 0.0):.3g} ms</title>"
            color = shown.index(stage) % COLORS
            parts.append(
                f'<rect class="f{color}" x="{start}" y="{y}" width="{max(0.0, end - start):.1f}" height="16">{title}</rect>'
            )
        parts.append(f'<text x="{WIDTH - RIGHT + 10}" y="{y + 13}">{total:.3g} ms</text>')
    return _svg(parts, base + 46, caption)


def _prediction_stages(found: Found) -> dict[str, float]:
    return {stage: median for stage in PREDICTION if (median := median_of(found, stage)) is not None}


def _lesson_stages(found: Found) -> dict[str, float]:
    total, embedding = median_of(found, LESSON), median_of(found, "embedding, both")
    prediction = median_of(found, "first prediction after a lesson")
    if total is None or embedding is None or prediction is None:
        return {}
    rest = max(0.0, total - embedding - prediction)
    return dict(zip(_LESSON, (embedding, rest, prediction), strict=True))


Point = tuple[str, float, float, Sequence[Found]]  # name, milliseconds, megabytes, accuracies


def _points(names: Sequence[str], results: Sequence[Found], accuracy: Found) -> Iterator[Point]:
    known = {(model["sha256"], model["head"]): model["shots"] for model in accuracy["models"]}
    drawn = set()
    for name, found in zip(names, results, strict=True):
        shots = known.get((found["model"]["sha256"], found["head"]["name"]))
        median, without = median_of(found, FRAME), _without_samples(name, found)
        if shots and median is not None and without not in drawn:  # one for all numbers of samples
            drawn.add(without)
            yield without, median, found["model"]["bytes"] / 1e6, shots


def _without_samples(name: str, found: Found) -> str:
    return name.replace(f", {found['head']['samples']} samples", "")


def _height(share: float, bottom: float, base: float, top: float) -> float:
    return round(base - (base - top) * (share - bottom) / max(1e-9, 1 - bottom), 1)


def _accuracy_line(axis: Axis, point: Point, color: int, plot: tuple[float, float, float]) -> Iterator[str]:
    _, ms, _, shots = point
    x = axis.place(ms)
    heights = [_height(shot["accuracy"], *plot) for shot in shots]
    yield f'<path class="s{color}" stroke-width="1.5" opacity=".6" d="M{x} {max(heights)}V{min(heights)}"/>'
    for shot, y in zip(shots, heights, strict=True):
        radius = 6 if not shot["shots"] else 4
        yield f'<circle class="f{color}" cx="{x}" cy="{y}" r="{radius}"><title>{shot["accuracy"]:.1%}</title></circle>'
    for y, names in _apart(heights, [shot_name(shot) for shot in shots]):
        yield f'<text class="soft" x="{x + 10}" y="{y + 4.5}">{names}</text>'


def _apart(heights: Sequence[float], names: Sequence[str]) -> list[tuple[float, str]]:
    """Return the texts beside points; points too close to each other share one."""
    texts: list[tuple[float, str]] = []
    for y, name in sorted(zip(heights, names, strict=True), key=lambda text: -text[0]):
        if texts and texts[-1][0] - y < _TEXT_HEIGHT:
            texts[-1] = texts[-1][0], f"{texts[-1][1]}, {name}"
        else:
            texts.append((y, name))
    return texts


def _legend(names: Sequence[str], y: float, columns: int) -> Iterator[str]:
    width = (WIDTH - LEFT) / max(1, columns)
    for number, name in enumerate(names):
        x, down = LEFT + width * (number % columns), y + 20 * (number // columns)
        yield f'<rect class="f{number % COLORS}" x="{x:.1f}" y="{down - 10}" width="12" height="12" rx="2"/>'
        yield f'<text x="{x + 18:.1f}" y="{down}">{escape(name)}</text>'


def _timing(found: Found, step: str) -> Found | None:
    return next((timing for timing in found["timings"] if timing["step"] == step), None)


def _medians(rows: Sequence[tuple[str, Found]]) -> str:
    return ", ".join(f"{name} {timing['p50']:.3g} ms" for name, timing in rows)


def _svg(parts: Sequence[str], height: float, description: str) -> str:
    return "\n".join([opening(WIDTH, round(height), description), *parts, "</svg>"])
