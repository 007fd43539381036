"""Does the accuracy with more photos lie in the interval that `edgetl status --forecast` shows?

k samples per label are drawn from three quarters of a set; the forecast is made from them alone. Then the exact head
learns 2 and 5 times as many of each label, the first k among them, and all of the three quarters, and predicts all other
samples of the set: the mean accuracy of the labels is the truth. *Now* is the forecast for the k samples themselves. Per set and
number of samples: how often the truth is in the 90 % interval, the mean width of the interval, and the mean of
forecast minus truth (bias); and the same per label, for twice as many samples.

Usage: python -m benchmarks.forecast [--shots 10] [--draws 10] [--sets NAME...]
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.heads import create_head
from device.heads.base import Head
from device.heads.curve import Step, learning_curve
from device.heads.extrapolate import ExpectedAccuracy
from device.heads.forecast import FACTOR, extrapolated
from device.heads.report import self_report
from device.model.codes import Codes

from .embeddings import load_each
from .few import SETS
from .machine import machine_info, parser_of, write_result

RESULT = Path(__file__).parent / "results" / "forecast.json"
_SEED = 13
_TIMES = ("1", "2", "5", "all")

Places = NDArray[np.int64]


def main() -> None:
    """Run the benchmark, print its table and write `results/forecast.json`."""
    parser = parser_of(__doc__, out=RESULT)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--shots", type=int, default=10)
    parser.add_argument("--draws", type=int, default=10)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    figures: dict[str, dict[str, str]] = {}
    for dataset in load_each(options.sets):
        name = dataset.name
        names, owners = np.unique(dataset.labels, return_inverse=True)
        for draw in range(options.draws):
            random = np.random.default_rng([_SEED, options.shots, draw])
            rows.append({"set": name, **_draw(dataset.codes, owners, len(names), options.shots, random)})
        figures[name] = _figures([row for row in rows if row["set"] == name])
        print(f"{name}: in the interval, width, bias: {figures[name]}", flush=True)
    figures["all"] = _figures(rows)
    print(f"all: {figures['all']}")
    result = {"machine": machine_info(_SEED), "shots": options.shots, "draws": options.draws}
    write_result(result | {"figures": figures, "rows": rows}, options.out)


def page() -> str:
    """Return the table for docs/heads.md, empty before the first run."""
    if not RESULT.exists():
        return ""
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    table = ["| set | " + " | ".join(_title(times, result["shots"]) for times in _TIMES) + " | per label |"]
    table.append("|---" * (len(_TIMES) + 2) + "|")
    for name, row in result["figures"].items():
        table.append(f"| {name} | " + " | ".join(row[times] for times in (*_TIMES, "label")) + " |")
    return (
        f"\nFrom {result['shots']} samples per label: "
        "the share of the forecasts whose 90 % interval contains the truth, mean width of the interval and mean of forecast\n"
        f"minus truth, {result['draws']} draws (`python -m benchmarks.forecast`). *Per label* is for twice as many samples.\n\n"
        + "\n".join(table)
        + "\n"
    )


def _title(times: str, shots: int) -> str:
    return {"1": "now", "all": "all samples"}.get(
        times, f"{shots * int(times)} per label" if times.isdigit() else ""
    )


def _cell(values: list[list[float]]) -> str:
    if not values:
        return ""
    inside, width, bias = np.mean(values, axis=0)
    return f"{inside:.2f}, {width:.2f}, {bias:+.3f}"


def _figures(rows: list[dict[str, Any]]) -> dict[str, str]:
    """Return the figures of each column of the table."""
    judged = _judged(rows)
    return {times: _cell(judged[times]) for times in (*_TIMES, "label")}


def _judged(rows: list[dict[str, Any]]) -> dict[str, list[list[float]]]:
    """Return [inside, width, bias] of each forecast, by the number of times that the samples grew."""
    judged = defaultdict(list)
    for row in rows:
        views = np.array(row["views"], np.int64)
        steps = [Step(share, np.array(wrong)) for share, wrong in row["steps"]]
        for times, truth in row["truth"].items():
            growth = row["growth"] if times == "all" else float(times)
            made = extrapolated(steps, np.array(row["left_out"]), row["labels"], views, views > 0, growth)
            assert made.then is not None
            judged[times].append(_against(made.then, float(np.mean(truth))))
            if growth == FACTOR:
                judged["label"] += [
                    _against(made.labels[label].then, right)
                    for label, right in zip(row["labels"], truth, strict=True)
                ]
    return judged


def _against(made: ExpectedAccuracy, truth: float) -> list[float]:
    low, high = made.interval
    return [float(low <= truth <= high), high - low, made.accuracy - truth]


def _draw(
    codes: Codes, owners: Places, count: int, shots: int, random: np.random.Generator
) -> dict[str, Any]:
    """Return what was measured in one draw: the errors that the forecast uses, and the true accuracies per label."""
    pools = [random.permutation(np.flatnonzero(owners == owner)) for owner in range(count)]
    pools = [pool[len(pool) // 4 :] for pool in pools]
    names = [str(owner) for owner in range(count)]
    labels = np.array(names)[owners]
    chosen = np.concatenate([pool[:shots] for pool in pools])
    head = _taught(codes, labels, chosen)
    report = self_report(head, codes[chosen], labels[chosen].tolist())
    empty = partial(create_head, "exact", codes.shape[1])
    everyone = np.ones(len(chosen), np.bool_)
    steps = learning_curve(empty, codes[chosen], names, owners[chosen], np.arange(len(chosen)), everyone)
    truth = {}
    for times in _TIMES:
        most = max(map(len, pools)) if times == "all" else shots * int(times)
        if times == "all" or min(map(len, pools)) >= most:
            learned = np.concatenate([pool[:most] for pool in pools])
            test = np.setdiff1d(np.arange(len(owners)), learned)
            truth[times] = _recalls(_taught(codes, labels, learned), codes[test], labels[test], names)
    return {
        "labels": names,
        "views": [shots] * count,
        "steps": [[step.share, step.wrong.tolist()] for step in steps],
        "left_out": [1 - report.recall[name] for name in names],
        "truth": truth,
        "growth": float(np.mean([len(pool) for pool in pools])) / shots,
    }


def _taught(codes: Codes, labels: NDArray[np.str_], chosen: Places) -> Head:
    head = create_head("exact", codes.shape[1])
    head.learn_many(codes[chosen], labels[chosen].tolist())
    return head


def _recalls(head: Head, codes: Codes, labels: NDArray[np.str_], names: Sequence[str]) -> list[float]:
    answers = np.array(head.labels)[head.probabilities(codes).argmax(axis=1)]
    return [float((answers[labels == name] == name).mean()) for name in names]


if __name__ == "__main__":
    main()
