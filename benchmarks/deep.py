"""What a richer embedding gains and costs: the exact head on ``convert --embedding last`` and ``deep``, on the same draws.

Frozen int8 EfficientNet-Lite0, both files converted without photos of the sets (`benchmarks.embeddings`). For each set and
number of samples per label: the accuracy with the last layer and the paired difference. The cost: numbers in an embedding,
bytes of the file and of a stored sample, and the time of an embedding, both in turn.

Usage: python -m benchmarks.deep [--shots 1 3 5 10 20 all] [--draws 10] [--sets NAME...]
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from device.model.embedder import Embedder
from device.model.modelfile import ModelFile

from .draws import standard_error
from .embeddings import load, model_file
from .few import draw_even
from .heads_protocols import Task
from .machine import machine_info, parser_of, write_result
from .markdown import markdown_table
from .views import SETS, accuracy_of

SHOTS = ("1", "3", "5", "10", "20", "all")
RESULTS = Path(__file__).parent / "results" / "deep.json"
_FRAMES = 200


def main() -> None:
    """Run the comparison, print it and write `results/deep.json`."""
    parser = parser_of(__doc__, out=RESULTS)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--shots", nargs="+", default=SHOTS)
    parser.add_argument("--draws", type=int, default=10)
    options = parser.parse_args()
    result: dict[str, Any] = {"machine": machine_info(), "draws": options.draws, "cost": _cost(), "sets": {}}
    print(result["cost"], flush=True)
    for name in options.sets:
        last, deep = load(name), load(name, deep=True)
        if last is None or deep is None:
            print(f"{name}: not available")
            continue
        task, codes = Task(last), (last.codes, deep.codes)
        for shots in options.shots:
            draws = [draw_even(task, shots)(np.random.default_rng([7, at])) for at in range(options.draws)]
            first, second = (np.array([accuracy_of(task, one, *draw) for draw in draws]) for one in codes)
            gain = second - first
            row = {
                "last": round(float(first.mean()), 4),
                "gain": round(float(gain.mean()), 4),
                "error": round(standard_error(gain), 4),
            }
            result["sets"].setdefault(name, {})[shots] = row
            print(name, shots, row, flush=True)
        write_result(result, options.out)


def page() -> str:
    """Return the tables for docs/heads.md, empty before the first run."""
    if not RESULTS.exists():
        return ""
    result = json.loads(RESULTS.read_text(encoding="utf-8"))
    shots = list(next(iter(result["sets"].values())))
    lines = [[name, *(_cell(rows[at]) for at in shots)] for name, rows in result["sets"].items()]
    costs = [
        [name, str(one["numbers"]), f"{one['bytes'] / 1e6:.2f}", str(2 * one["numbers"]), f"{one['ms']:.2f}"]
        for name, one in result["cost"].items()
    ]
    header = ["", "numbers", "model file, MB", "sample, bytes", "embedding, ms"]
    return markdown_table(["", *shots], lines) + "\n" + markdown_table(header, costs)


def _cell(row: dict[str, Any]) -> str:
    return f"{row['last']:.3f}, {100 * row['gain']:+.1f} ± {100 * row['error']:.1f}"


def _cost() -> dict[str, dict[str, float]]:
    """Return what each file costs; times are medians of one thread's processor time, a frame of each file in turn."""
    frame = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    embedders = {
        name: Embedder(ModelFile.open(model_file(deep=name == "deep")), threads=1)
        for name in ("last", "deep")
    }
    times: dict[str, list[float]] = {name: [] for name in embedders}
    for _ in range(_FRAMES):
        for name, embedder in embedders.items():
            started = time.process_time()
            embedder.embed_one(frame)
            times[name].append(time.process_time() - started)
    return {
        name: {
            "numbers": embedder.model.manifest.dimensions,
            "bytes": embedder.model.path.stat().st_size,
            "ms": round(1000 * float(np.median(times[name])), 3),
        }
        for name, embedder in embedders.items()
    }


if __name__ == "__main__":
    main()
