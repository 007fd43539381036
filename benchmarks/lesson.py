"""How long after a lesson is the new head active, compared with an embedding?

Heads of 20 to 10,000 samples and 5 or 100 labels, D = 1280. A lesson is one sample learned and then one prediction; a
forgotten sample likewise. Times are those of this thread's processor, with BLAS as the product sets it, so that other
programs on the machine change them little; the embedding is measured in between, on one thread. *status* is
`Learner.status()` directly after each of a row of lessons, which may return the estimate from before them; *wait* is
``status(wait=True)``, with the complete fit and all figures of the present samples, and *again* is the same call when they
are known. Samples are random directions around the mean of their label. Rows that are not run keep their last figures.

Usage: python -m benchmarks.lesson [MODEL] [--samples 20 50 200 1000 3000 10000] [--labels 5 100] [--out FILE]
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.heads import create_head
from device.heads.base import Head
from device.learner import Learner
from device.model.codes import Codes, encode
from device.model.embedder import Embedder
from device.model.modelfile import ModelFile

from .machine import machine_info, model_to_measure, parser_of, percentiles, warn_of_noise, write_result
from .markdown import markdown_table

RESULT = Path(__file__).parent / "results" / "lesson.json"
DIMENSIONS = 1280
SEED = 0
_LESSONS = 60
_STATUSES = 40
_WAITS = 2  # of ``status(wait=True)``, which takes long


def main() -> None:
    """Run the benchmark, print a table and write the result."""
    parser = parser_of(__doc__, model=True, out=RESULT)
    parser.add_argument("--samples", nargs="+", type=int, default=[20, 50, 200, 1000, 3000, 10_000])
    parser.add_argument("--labels", nargs="+", type=int, default=[5, 100])
    given = parser.parse_args()
    warn_of_noise()
    model = ModelFile.open(model_to_measure(given.model))
    embed = _embedding(model)
    known = json.loads(given.out.read_text(encoding="utf-8"))["rows"] if given.out.exists() else []
    found = {(row["labels"], row["samples"]): row for row in known}
    for labels in given.labels:
        for count in given.samples:
            if count >= 2 * labels:
                row = _measure(count, labels, embed) | _status(model, count, labels, embed)
                found[labels, count] = row
                print(_line(row), flush=True)
    rows = [found[at] for at in sorted(found)]
    exponents = {
        axis: {str(of): _exponent([row for row in rows if row[other] == of], axis) for of in values}
        for axis, other in (("samples", "labels"), ("labels", "samples"))
        for values in [sorted({row[other] for row in rows})]
    }
    print("exponents of the median lesson:", exponents)
    result = {"rows": rows, "exponents": exponents, "dimensions": DIMENSIONS, "lessons": _LESSONS}
    write_result({**result, "machine": machine_info(SEED)}, given.out)


def page() -> str:
    """Return the table for docs/heads.md, empty before the first run."""
    if not RESULT.exists():
        return ""
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    header = "samples | labels | lesson, p50 | p95 | forgotten, p50 | p95 | status, p50 | p95 | behind | wait | again"
    lines = []
    for row in result["rows"]:
        times = [row[step][name] for step in ("lesson", "forgotten", "status") for name in ("p50", "p95")]
        waited = [row["behind"], row["status_wait"]["p50"], row["status_again"]["p50"]]
        lines.append([row["samples"], row["labels"], *times, *waited])
    table = markdown_table(header.split(" | "), lines)
    return (
        "\n## A lesson and the next prediction, as multiples of an embedding\n\n"
        f"Processor time of one thread, D = {result['dimensions']}; an embedding takes "
        f"{result['rows'][0]['embedding_ms']} ms. Where p95 is far above p50, a complete fit was due.\n"
        f"*status* is `Learner.status()` directly after each of {_STATUSES} lessons in a row; from 150 samples on it may return\n"
        "the estimate from before the latest lessons, at most *behind* of them, as reported. *wait* is `status(wait=True)`,\n"
        "with the complete fit and all figures of the present samples: at most five embeddings are not possible there, as a\n"
        "Cholesky factor of 1,000 samples and its inverse alone take about six. *again* is the same call when these figures are\n"
        f"known, as in `serve`, `run` and `buttons` half a second after the last lesson.\n\n{table}\n{_curves(result)}\n"
    )


def _curves(result: dict[str, Any]) -> str:
    """Return the fitted exponents as sentences."""
    lines = []
    for axis, other in (("samples", "labels"), ("labels", "samples")):
        fitted = [
            f"{slope} with {of} {other}"
            for of, slope in result["exponents"][axis].items()
            if slope is not None
        ]
        lines.append(f"Exponent of the number of {axis} in the median lesson: {', '.join(fitted)}.")
    return "\n".join(lines)


def _embedding(model: ModelFile) -> Callable[[], float]:
    """Return a function that embeds one image and returns the seconds of processor time."""
    embedder = Embedder(model, threads=1)
    image = np.random.default_rng(SEED).integers(0, 256, (240, 320, 3), np.uint8)
    return lambda: _seconds(lambda: embedder.embed_one(image))


def _measure(count: int, labels: int, embed: Callable[[], float]) -> dict[str, Any]:
    codes, names = _samples(count + _LESSONS, labels)
    head = create_head("exact", DIMENSIONS)
    head.learn_many(codes[:count], names[:count])
    head.settle()
    embeddings, lessons, forgotten = [], [], []
    for at in range(count, count + _LESSONS):
        lessons.append(_seconds(partial(_taught, head, codes[at], names[at])))
        embeddings.append(embed())
    head.settle()
    for at in range(count, count + _LESSONS):
        forgotten.append(_seconds(partial(_forgotten, head, codes[at], names[at])))
        embeddings.append(embed())
    unit = percentiles(embeddings)["p50_ms"]
    return {
        "samples": count,
        "labels": labels,
        "embedding_ms": round(unit, 3),
        "lesson": _shares(lessons, unit),
        "forgotten": _shares(forgotten, unit),
    }


def _status(model: ModelFile, count: int, labels: int, embed: Callable[[], float]) -> dict[str, Any]:
    """Measure `Learner.status()` directly after lessons, with and without waiting for a new estimate."""
    values, names = _values(count + _STATUSES + _WAITS, labels)
    image = np.zeros((8, 8, 3), np.uint8)
    at_once, waited, again, behind, embeddings = [], [], [], [], []
    with Learner.open(model, None, threads=1, thumbnails=False) as learner:
        learner.learn_many([image] * count, names[:count], embeddings=values[:count])
        learner.status(wait=True)
        for at in range(count, len(values)):
            learner.learn_one(image, names[at], embedding=values[at])
            if at < count + _STATUSES:
                at_once.append(_seconds(lambda: behind.append(learner.status().behind)))
            else:
                waited.append(_seconds(partial(learner.status, wait=True)))
                again.append(_seconds(learner.status))
            embeddings.append(embed())
    unit = percentiles(embeddings)["p50_ms"]
    found = {"status": at_once, "status_wait": waited, "status_again": again}
    return {name: _shares(seconds, unit) for name, seconds in found.items()} | {"behind": max(behind)}


def _taught(head: Head, code: Codes, name: str) -> None:
    head.learn_one(code, name)
    head.predict_one(code)


def _forgotten(head: Head, code: Codes, name: str) -> None:
    head.forget(code[np.newaxis], [name])
    head.predict_one(code)


def _samples(count: int, labels: int) -> tuple[Codes, list[str]]:
    values, names = _values(count, labels)
    return encode(values), names


def _values(count: int, labels: int) -> tuple[NDArray[np.float32], list[str]]:
    random = np.random.default_rng(SEED)
    means = 2 * random.normal(size=(labels, DIMENSIONS))
    owners = np.arange(count) % labels
    values = np.maximum(means[owners] + 2 * random.normal(size=(count, DIMENSIONS)), 0)
    return values.astype(np.float32), [f"label {owner:03d}" for owner in owners]


def _seconds(work: Callable[[], Any]) -> float:
    started = time.thread_time()
    work()
    return time.thread_time() - started


def _shares(seconds: list[float], unit: float) -> dict[str, float]:
    """Return p50 and p95 as multiples of an embedding."""
    found = percentiles(seconds)
    return {name: round(found[f"{name}_ms"] / unit, 3) for name in ("p50", "p95")}


def _exponent(rows: list[dict[str, Any]], axis: str) -> float | None:
    """Return the slope of the median lesson over the number of samples or labels, both on logarithmic scales."""
    if len(rows) < 2:
        return None
    x = np.log([row[axis] for row in rows])
    y = np.log([row["lesson"]["p50"] for row in rows])
    return round(float(np.polyfit(x, y, 1)[0]), 2)


def _line(row: dict[str, Any]) -> str:
    shown = [
        f"{name} {row[name]['p50']:.2f} (p95 {row[name]['p95']:.2f})"
        for name in ("lesson", "forgotten", "status", "status_wait", "status_again")
    ]
    return f"{row['samples']:6d} samples, {row['labels']:3d} labels: {', '.join(shown)} of {row['embedding_ms']:.1f} ms"


if __name__ == "__main__":
    main()
