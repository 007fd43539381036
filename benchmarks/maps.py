"""How close the exact head is to what it could reach: other embedding maps, and the best ridge in hindsight.

Embeddings of a frozen int8 EfficientNet-Lite0 (`benchmarks.embeddings`), the draws of `benchmarks.few`. Maps are
``l2(sign(e) |e|^p)`` with p = 1/2 (the default), 0.7 and 1 (raw directions), and both p = 1/2 and p = 1 side by side. The
ridge in hindsight is the one with the best mean accuracy on the test samples, the same for all draws. With `--features` the
maps are 2,048 random features of a kernel instead, of the mapped embeddings z with random normal vectors w: ``max(0, w z)`` of
the arc-cosine kernel (Cho and Saul 2009), and ``cos(w z + b)`` of the RBF kernel (Rahimi and Recht 2007). Parts that are not
run keep their last figures.

Usage: python -m benchmarks.maps [--shots 1 5 20] [--draws 10] [--sets NAME...] [--features]
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.heads import create_head
from device.model.codes import Codes, encode

from .draws import standard_error
from .embeddings import load_each
from .few import SETS, draw_even
from .heads_protocols import Task
from .machine import machine_info, parser_of, write_result
from .markdown import markdown_table
from .peers import Owners
from .views import accuracy_of

RESULTS = Path(__file__).parent / "results" / "maps.json"
SHOTS = ("1", "5", "20")
FEATURES = 2048
RIDGES = 10.0 ** np.arange(-2, 3.01, 0.5)  # relative to the mean eigenvalue

Accuracies = dict[str, NDArray[np.float64]]


def main() -> None:
    """Run the comparison, print it and write `results/maps.json`."""
    parser = parser_of(__doc__, out=RESULTS)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--shots", nargs="+", default=SHOTS)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--features", action="store_true")
    options = parser.parse_args()
    result: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    part = "features" if options.features else "sets"
    result |= {"machine": machine_info(), f"draws of {part}": options.draws, part: {}}
    for dataset in load_each(options.sets):
        embeddings = dataset.embeddings.astype(np.float64)
        task, maps = Task(dataset), _features(dataset.mapped) if options.features else _maps(embeddings)
        for shots in options.shots:
            draws = [draw_even(task, shots)(np.random.default_rng([7, at])) for at in range(options.draws)]
            found = {
                how: np.array([accuracy_of(task, codes, *draw) for draw in draws])
                for how, codes in maps.items()
            }
            if not options.features:
                found["ridge in hindsight"] = _in_hindsight(task, maps["default"], draws)
            rows = _summaries(found)
            result[part].setdefault(dataset.name, {})[shots] = rows
            print(dataset.name, shots, rows, flush=True)
        write_result(result, options.out)


def page() -> str:
    """Return the table for docs/heads.md, empty before the first run."""
    if not RESULTS.exists():
        return ""
    result = json.loads(RESULTS.read_text(encoding="utf-8"))
    text = _table(result["sets"])
    if "features" in result:
        draws = result["draws of features"]
        text += f"\nRandom features of a kernel in place of the embedding (`--features`), {draws} draws:\n\n"
        text += _table(result["features"])
    return text


def _table(sets: dict[str, Any]) -> str:
    hows = list(next(iter(next(iter(sets.values())).values())))
    lines = [
        [f"{name}, {at}", *(_cell(rows[how], how == "default") for how in hows)]
        for name, shots in sets.items()
        for at, rows in shots.items()
    ]
    return markdown_table(["set, samples per label", *hows], lines)


def _cell(row: dict[str, float], first: bool) -> str:
    return f"{row['mean']:.3f}" if first else f"{100 * row['gain']:+.1f} ± {100 * row['error']:.1f}"


def _maps(embeddings: NDArray[np.float64]) -> dict[str, Codes]:
    def powered(power: float) -> NDArray[np.float64]:
        values = np.sign(embeddings) * np.abs(embeddings) ** power
        length = np.linalg.norm(values, axis=1, keepdims=True)
        unit: NDArray[np.float64] = values / np.maximum(length, 1e-12)
        return unit

    both = np.concatenate([powered(0.5), powered(1)], axis=1)
    values = {"default": powered(0.5), "power 0.7": powered(0.7), "raw": powered(1), "default and raw": both}
    return {how: encode(one, "l2") for how, one in values.items()}


def _features(mapped: NDArray[np.float64]) -> dict[str, Codes]:
    random = np.random.default_rng(5)
    projected = mapped @ random.normal(size=(mapped.shape[1], FEATURES))
    scale = np.sqrt(2 / FEATURES)  # rows of about length one
    waves = np.cos(projected + random.uniform(0, 2 * np.pi, FEATURES))
    values = {"arc-cosine": np.maximum(projected, 0), "RBF": waves}
    return {
        "default": encode(mapped, "l2"),
        **{how: encode(scale * one, "l2") for how, one in values.items()},
    }


def _in_hindsight(task: Task, codes: Codes, draws: list[tuple[Owners, Owners]]) -> NDArray[np.float64]:
    rows = [_ridges(task, codes, train, test) for train, test in draws]
    accuracies = np.array(rows)  # [draws, ridges]
    best: NDArray[np.float64] = accuracies[:, accuracies.mean(axis=0).argmax()]
    return best


def _ridges(task: Task, codes: Codes, train: Owners, test: Owners) -> list[float]:
    values = codes[train].astype(np.float64) / 4096
    eigenvalue = float(((values - values.mean(axis=0)) ** 2).sum()) / codes.shape[1]
    return [_fixed(task, codes, train, test, float(ridge) * eigenvalue) for ridge in RIDGES]


def _fixed(task: Task, codes: Codes, train: Owners, test: Owners, ridge: float) -> float:
    head = create_head("exact", codes.shape[1], ridge=ridge)
    head.learn_many(codes[train], [f"{owner:03d}" for owner in task.owners[train]])
    answers = np.array([int(label) for label in head.labels])[head.probabilities(codes[test]).argmax(axis=1)]
    return float((answers == task.owners[test]).mean())


def _summaries(found: Accuracies) -> dict[str, dict[str, float]]:
    first = found["default"]
    return {how: _summary(values, values - first) for how, values in found.items()}


def _summary(values: NDArray[np.float64], gain: NDArray[np.float64]) -> dict[str, float]:
    return {
        "mean": round(float(values.mean()), 4),
        "gain": round(float(gain.mean()), 4),
        "error": round(standard_error(gain), 4),
    }


if __name__ == "__main__":
    main()
