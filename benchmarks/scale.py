"""How do the cost of a lesson, of a complete fit and of a prediction grow with samples, labels and dimensions?

Usage: ``python -m benchmarks.scale [--samples N ...] [--labels C ...] [--dimensions D ...] [--check]``

One of the three grows while the others stay: 10 labels, 1,280 dimensions and 4,000 samples, or four per label if there are
more than 1,000 labels. The exact head learns samples around a random mean per label. The steps are a sample learned in a batch
of a hundred (*learn*), one lesson and the next prediction (*lesson*), a complete solution (*fit*), and a prediction
(*predict*), in processor time, with BLAS as the product sets it. The exponent is the slope over the growing number on
logarithmic scales. The theory counts multiply-adds of the largest term where there are more samples than dimensions: the
sums of a sample take D^2; a solution takes D^3 + D^2 C; its update by a lesson D^2 + D C; a prediction D C. For small heads
other terms count, so a measured exponent may be below the theory, but should not be far above it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from device.arrays import pack_arrays
from device.heads import create_head
from device.model.codes import Codes, encode

from .figures import EXPONENT, Figure
from .measurement import Measurement, Table, question_parser

SEED = 0
AT_ONCE = 100  # samples per call while the head learns
LESSONS = 20
SAMPLES, LABELS, DIMENSIONS = 4000, 10, 1280
STEPS = ("learn", "lesson", "fit", "predict", "state")
# step -> exponents of samples, labels and dimensions in its largest term, for more samples than dimensions
THEORY = {"learn": (0, 0, 2), "lesson": (0, 1, 2), "fit": (0, 1, 3), "predict": (0, 1, 1), "state": (0, 1, 2)}
AXES = ("samples", "labels", "dimensions")


def measure(samples: int, labels: int, dimensions: int, lessons: int = LESSONS) -> dict[str, float]:
    """Let a head learn `samples` samples, and return the milliseconds of each step and the kilobytes of its state."""
    head = create_head("exact", dimensions)
    learning = 0.0
    batches = drawn(samples + AT_ONCE, labels, dimensions)  # the last hundred are for lessons
    rest: list[tuple[Codes, list[str]]] = []
    seen = 0
    for codes, names in batches:
        if seen >= samples:
            rest.append((codes, names))
            continue
        learning += seconds(lambda codes=codes, names=names: head.learn_many(codes, names))  # type: ignore[misc]
        seen += len(names)
    codes, names = np.concatenate([one for one, _ in rest]), [name for _, own in rest for name in own]
    head.settle()
    lesson = [seconds(lambda at=at: _teach(head, codes[at], names[at])) for at in range(lessons)]  # type: ignore[misc]
    head.learn_one(codes[-1], names[-1])
    fit = seconds(head.settle)
    predict = [seconds(lambda at=at: head.predict_one(codes[at])) for at in range(lessons)]  # type: ignore[misc]
    return {
        "learn": 1000 * learning / seen,
        "lesson": 1000 * float(np.median(lesson)),
        "fit": 1000 * fit,
        "predict": 1000 * float(np.median(predict)),
        "state": len(pack_arrays(head.state(), compress=False)) / 1000,
    }


def drawn(count: int, labels: int, dimensions: int) -> Iterator[tuple[Codes, list[str]]]:
    """Draw codes and labels in batches of a hundred, so that RAM does not limit their number."""
    random = np.random.default_rng(SEED)
    means = 2 * random.normal(size=(labels, dimensions))
    for start in range(0, count, AT_ONCE):
        owners = np.arange(start, start + AT_ONCE) % labels
        values = np.maximum(means[owners] + 2 * random.normal(size=(AT_ONCE, dimensions)), 0)
        yield encode(values.astype(np.float32)), [f"label {owner:04d}" for owner in owners]


def grow(axis: str, values: list[int], lessons: int = LESSONS) -> list[dict[str, float]]:
    """Measure with each value of one of the three, in turn."""
    rows = []
    for value in sorted(values):
        sizes = {"samples": SAMPLES, "labels": LABELS, "dimensions": DIMENSIONS, axis: value}
        sizes["samples"] = max(sizes["samples"], 4 * sizes["labels"])
        rows.append({**sizes, **measure(**sizes, lessons=lessons)})
        print(f"{axis} {value}: {', '.join(f'{step} {rows[-1][step]:.3g}' for step in STEPS)}", flush=True)
    return rows


def exponent(rows: list[dict[str, float]], axis: str, step: str) -> float | None:
    """Return the slope of a step over one of the three, both on logarithmic scales; None for fewer than two values."""
    used = [row for row in rows if row["samples"] > row["dimensions"] and row[step] > 0]
    if len(used) < 2:
        return None
    x, y = (np.log([row[name] for row in used]) for name in (axis, step))
    return round(float(np.polyfit(x, y, 1)[0]), 2)


def seconds(work: Callable[[], Any]) -> float:
    """Return the processor time of this thread."""
    start = time.thread_time()
    work()
    return time.thread_time() - start


def figures(grown: dict[str, list[dict[str, float]]]) -> list[Figure]:
    """Return the exponents."""
    slopes = {
        f"{step} over {axis}": exponent(grown.get(axis, []), axis, step) for axis in AXES for step in STEPS
    }
    return [
        Figure(name, slope, EXPONENT, tolerance=1, slack=0.4)
        for name, slope in slopes.items()
        if slope is not None
    ]


def tables(grown: dict[str, list[dict[str, float]]]) -> list[Table]:
    """Return the exponents beside the theory, and the times."""
    rows = []
    for step in STEPS:
        slopes = [exponent(grown.get(axis, []), axis, step) for axis in AXES]
        pairs = zip(slopes, THEORY[step], strict=True)
        rows.append((step, *("–" if slope is None else f"{slope:.2f} ({theory})" for slope, theory in pairs)))
    times = [_times(axis, grown[axis]) for axis in AXES if grown.get(axis)]
    note = "Only heads with more samples than dimensions count for an exponent."
    return [Table("Exponents, measured (theory)", ("step", *AXES), tuple(rows), note), *times]


def _times(axis: str, rows: list[dict[str, float]]) -> Table:
    sizes = [axis] if axis == "samples" else [axis, "samples"]
    columns = (*sizes, "learn, ms", "lesson, ms", "fit, ms", "predict, ms", "state, kB")
    return Table(
        f"Growing {axis}", columns, tuple(tuple(row[name] for name in (*sizes, *STEPS)) for row in rows)
    )


def _teach(head: Any, code: Codes, name: str) -> None:
    head.learn_one(code, name)
    head.predict_one(code)


def main() -> None:
    """Measure and write the result."""
    parser = question_parser("scale", __doc__)
    defaults = {
        "samples": [2000, 10_000, 30_000, 100_000],
        "labels": [10, 100, 1000],
        "dimensions": [256, 512, 1024, 2048],
    }
    for axis, values in defaults.items():
        shown = " ".join(map(str, values))
        parser.add_argument(f"--{axis}", type=int, nargs="*", default=values, help=f"[default: {shown}]")
    options = parser.parse_args()
    measurement = Measurement("scale", SEED)
    grown = {axis: grow(axis, getattr(options, axis)) for axis in AXES}
    details = {"grown": grown, "theory": THEORY}
    measurement.finish(measurement.result(figures(grown), tables(grown), details), options)


if __name__ == "__main__":
    main()
