"""Which score detects best what was never taught: near (a class that was left out) and far (another set)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.heads.base import softmax
from device.heads.discriminant import read_out
from device.heads.exact import ExactHead
from device.heads.nearest import directions, unit
from device.model.codes import Codes

from .heads_protocols import Task
from .peers.ours import codes_of

Scores = dict[str, NDArray[np.float64]]


def unknown(
    tasks: Sequence[Task], seed: int, counts: Sequence[int] = (10, 50), draws: int = 2
) -> dict[str, Any]:
    """Return the area under the ROC curve per score, and the share of known samples that are rejected as unknown."""
    found: dict[str, dict[str, list[float]]] = {}
    rejected: dict[str, list[float]] = {}
    for task in tasks:
        others = [other for other in tasks if other is not task]
        for count in counts:
            for draw in range(draws):
                random = np.random.default_rng([seed, count, draw])
                _far(task, others, count, random, found, rejected)
                if len(task.labels) > 2:
                    for owner in range(len(task.labels)):
                        _near(task, owner, count, random, found)
    return {
        "auroc": {
            where: {name: round(float(np.mean(values)), 3) for name, values in scores.items()}
            for where, scores in _by_place(found).items()
        },
        "false_rejection": {name: round(float(np.mean(values)), 3) for name, values in rejected.items()},
    }


def _by_place(found: dict[str, dict[str, list[float]]]) -> dict[str, dict[str, list[float]]]:
    return dict(sorted(found.items()))


def _far(
    task: Task,
    others: Sequence[Task],
    count: int,
    random: np.random.Generator,
    found: dict[str, dict[str, list[float]]],
    rejected: dict[str, list[float]],
) -> None:
    train, test = task.shots(random, count)
    head, codes = _head(task, train), codes_of(task.features["mapped"])
    known = _scores(head, codes[test])
    share = (known["combined"] > head.fit.threshold).mean()
    rejected.setdefault(f"{task.name}, {count} per label", []).append(float(share))
    for other in others:
        strange = random.permutation(len(other.owners))[:200]
        _add(
            found,
            f"far, {count} per label",
            known,
            _scores(head, codes_of(other.features["mapped"])[strange]),
        )


def _near(
    task: Task,
    left_out: int,
    count: int,
    random: np.random.Generator,
    found: dict[str, dict[str, list[float]]],
) -> None:
    train, test = task.shots(random, count)
    train, test = train[task.owners[train] != left_out], test[task.owners[test] != left_out]
    head, codes = _head(task, train), codes_of(task.features["mapped"])
    strange = _scores(head, codes[task.owners == left_out])
    _add(found, f"near, {count} per label", _scores(head, codes[test]), strange)


def _head(task: Task, train: NDArray[np.int64]) -> ExactHead:
    head = ExactHead(task.features["mapped"].shape[1])
    head.learn_many(
        codes_of(task.features["mapped"][train]), [task.labels[owner] for owner in task.owners[train]]
    )
    return head


def _scores(head: ExactHead, codes: Codes) -> Scores:
    solution = head.solution()
    readout = read_out(solution.centered(codes) @ solution.W, solution.P, solution.moments.counts)
    means = directions(head.statistics.sums()[1].astype(np.float64))
    return {
        "combined": head.unknown_scores(codes),
        "relative Mahalanobis": readout.distance,
        "cosine to nearest mean": 1 - (unit(codes) @ means.T).max(axis=1),
        "ridge score": -readout.ridge.max(axis=1),
        "softmax probability": -softmax(head.linear().logits(codes)).max(axis=1),  # type: ignore[union-attr]
    }


def _add(found: dict[str, dict[str, list[float]]], where: str, known: Scores, strange: Scores) -> None:
    for name, values in known.items():
        found.setdefault(where, {}).setdefault(name, []).append(auroc(values, strange[name]))


def auroc(low: NDArray[np.float64], high: NDArray[np.float64]) -> float:
    """Return the probability that a score of `high` is above one of `low` (Mann and Whitney 1947)."""
    order = np.argsort(np.concatenate([low, high]), kind="stable")
    ranks = np.empty(len(order))
    ranks[order] = np.arange(1, len(order) + 1)
    return float((ranks[len(low) :].sum() - len(high) * (len(high) + 1) / 2) / (len(low) * len(high)))
