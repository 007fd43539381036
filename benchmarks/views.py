"""What the average with the mirror image gains: the exact head with one view and with `flip`, on the same draws.

Embeddings of a frozen int8 EfficientNet-Lite0 (`benchmarks.embeddings`). For each set and number of samples per label:
the accuracy with one view, the paired difference, and the gain that leaving samples out reports to the user
(`device.learner.views`).

Usage: python -m benchmarks.views [--shots 1 2 3 5 10 20 all] [--draws 10] [--sets NAME...]
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from device.learner.views import judge_views
from device.model.codes import Codes, encode

from .draws import standard_error
from .embeddings import Dataset, load
from .few import SHOTS, draw_even
from .heads_protocols import Task
from .machine import machine_info, parser_of, write_result
from .markdown import markdown_table
from .peers import Owners
from .peers.ours import Ours

SETS = ("flower-photos5", "elpv", "ants-bees", "digits-photos")
RESULTS = Path(__file__).parent / "results" / "views.json"


def main() -> None:
    """Run the comparison, print it and write `results/views.json`."""
    parser = parser_of(__doc__, out=RESULTS)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--shots", nargs="+", default=SHOTS)
    parser.add_argument("--draws", type=int, default=10)
    options = parser.parse_args()
    result: dict[str, Any] = {"machine": machine_info(), "draws": options.draws, "sets": {}}
    for name in options.sets:
        one, mirrored = load(name), load(name, mirrored=True)
        if one is None or mirrored is None:
            print(f"{name}: not available")
            continue
        both = (one.embeddings + mirrored.embeddings) / 2
        for shots in options.shots:
            row = _compared(one, encode(both), shots, options.draws)
            result["sets"].setdefault(name, {})[shots] = row
            print(name, shots, row, flush=True)
    write_result(result, options.out)


def page() -> str:
    """Return the table for docs/heads.md, empty before the first run."""
    if not RESULTS.exists():
        return ""
    result = json.loads(RESULTS.read_text(encoding="utf-8"))
    shots = list(next(iter(result["sets"].values())))
    lines = [[name, *(_cell(rows[at]) for at in shots)] for name, rows in result["sets"].items()]
    return markdown_table(["", *shots], lines)


def _cell(row: dict[str, Any]) -> str:
    said = "" if row["left_out"] is None else f" ({100 * row['left_out']:+.1f})"
    return f"{row['one']:.3f}, {100 * row['gain']:+.1f} ± {100 * row['error']:.1f}{said}"


def _compared(one: Dataset, flip: Codes, shots: str, draws: int) -> dict[str, Any]:
    """Return mean accuracy with one view, mean gain, its standard error, and the mean gain by leaving samples out."""
    task, codes = Task(one), one.codes
    accuracy, gain, left_out = [], [], []
    for number in range(draws):
        train, test = draw_even(task, shots)(np.random.default_rng([7, number]))
        first, second = (accuracy_of(task, view, train, test) for view in (codes, flip))
        accuracy.append(first)
        gain.append(second - first)
        labels = [task.labels[owner] for owner in task.owners[train]]
        found = judge_views(codes[train], flip[train], labels, np.arange(len(train)))
        if found.gain is not None:
            left_out.append(found.gain)
    return {
        "one": round(float(np.mean(accuracy)), 4),
        "gain": round(float(np.mean(gain)), 4),
        "error": round(standard_error(gain), 4),
        "left_out": round(float(np.mean(left_out)), 4) if left_out else None,
    }


def accuracy_of(task: Task, codes: Codes, train: Owners, test: Owners) -> float:
    """Return the accuracy of an exact head on `test` that has learned `train`."""
    peer = Ours("exact", codes.shape[1], len(task.labels))
    peer.learn(codes[train] / 4096, task.owners[train])
    return float((peer.predict(codes[test] / 4096) == task.owners[test]).mean())


if __name__ == "__main__":
    main()
