"""How good a model is on labelled photos: accuracy, balanced accuracy, confusion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Evaluation:
    """What came out on a set of photos.

    Attributes:
        labels: Every label that was given or predicted, sorted: rows and columns of `confusion`.
        confusion: int64 [C, C], row = what it was, column = what was said.
        skipped: What was wrong with each photo that could not be read.
    """

    labels: tuple[str, ...]
    confusion: NDArray[np.int64]
    skipped: tuple[str, ...] = ()

    @property
    def photos(self) -> int:
        """How many photos were judged."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """The part of the photos that was right."""
        return float(np.trace(self.confusion) / max(1, self.photos))

    @property
    def recall(self) -> dict[str, float]:
        """The part that was right, of each class that has photos."""
        shown = self.confusion.sum(1)
        right = np.diag(self.confusion)
        return {
            label: float(right[index] / shown[index])
            for index, label in enumerate(self.labels)
            if shown[index]
        }

    @property
    def balanced_accuracy(self) -> float:
        """The mean recall of the classes that have photos."""
        return float(np.mean(list(self.recall.values()))) if self.photos else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Give the figures as JSON-able values."""
        return {
            "photos": self.photos,
            "accuracy": self.accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "recall": self.recall,
            "labels": list(self.labels),
            "confusion": self.confusion.tolist(),
            "skipped": list(self.skipped),
        }


def tabulate(given: Sequence[str], said: Sequence[str], skipped: Sequence[str] = ()) -> Evaluation:
    """Count what was said against what was given.

    Example:
        >>> tabulate(["cup", "cup", "pen"], ["cup", "pen", "pen"]).balanced_accuracy
        0.75
    """
    labels = tuple(sorted({*given, *said}))
    place = {label: index for index, label in enumerate(labels)}
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(confusion, ([place[label] for label in given], [place[label] for label in said]), 1)
    return Evaluation(labels, confusion, tuple(skipped))


def judge(
    probabilities: Array, targets: NDArray[np.int64], class_weights: Array | None = None
) -> dict[str, float]:
    """Give loss (weighted cross-entropy), accuracy and balanced accuracy.

    Args:
        probabilities: [N, C].
        targets: int64 [N].
        class_weights: [C], what an example of each class counts in the loss.
    """
    picked = np.clip(probabilities[np.arange(len(targets)), targets], 1e-12, 1)
    weights = np.ones(len(targets)) if class_weights is None else class_weights[targets]
    right = probabilities.argmax(1) == targets
    recalls = [right[targets == target].mean() for target in np.unique(targets)]
    return {
        "loss": float(-(weights * np.log(picked)).sum() / weights.sum()),
        "accuracy": float(right.mean()),
        "balanced_accuracy": float(np.mean(recalls)),
    }
