"""The results of the ways, and which of them is recommended."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from device.heads.intervals import held_out_interval

from ..evaluation.figures import Evaluation, tabulate

SCRATCH, FROZEN, BLOCKS, ALL = "scratch", "frozen", "blocks", "all"
NAMES = {
    SCRATCH: "from scratch",
    FROZEN: "frozen",
    BLOCKS: "last blocks",
    ALL: "all layers",
}
"""The ways in the order of the table, with their names."""
SIMPLEST = (FROZEN, BLOCKS, ALL, SCRATCH)
"""The ways in the order in which they are trained; of two equally good ones the first is recommended."""


@dataclass(frozen=True)
class WayResult:
    """The int8 model file of one way, with the exact head, on the judging photos.

    Attributes:
        way: ``scratch``, ``frozen``, ``blocks`` or ``all``.
        labels: The label of each judging photo.
        predicted: The predicted label of each; empty where the way was not trained.
        views: Number of independent views among the photos.
        seconds: Time of the training, without the conversion.
        bytes: Size of the model file.
        epochs: Epochs that trained layers of the backbone.
        note: What is particular, such as why the way was not trained; "" for nothing.
    """

    way: str
    labels: tuple[str, ...]
    predicted: tuple[str, ...] = ()
    views: float = 0.0
    seconds: float = 0.0
    bytes: int = 0
    epochs: int = 0
    note: str = ""

    def __repr__(self) -> str:
        if not self.trained:
            return f"<WayResult {self.way}: not trained>"
        return f"<WayResult {self.way}: accuracy {self.evaluation.accuracy:.3f} on {len(self.labels)} photos>"

    @property
    def name(self) -> str:
        """The name for people."""
        return NAMES[self.way]

    @property
    def trained(self) -> bool:
        """Whether there are figures."""
        return bool(self.predicted)

    @property
    def evaluation(self) -> Evaluation:
        """The figures: accuracy, balanced accuracy, recall per label, confusion."""
        return tabulate(self.labels, self.predicted)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy; look-alikes count as one view."""
        figures = self.evaluation
        return held_out_interval(figures.correct, figures.photos, self.views)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-serializable values."""
        shared = {"way": self.way, "name": self.name, "trained": self.trained, "note": self.note}
        if not self.trained:
            return shared
        figures = self.evaluation
        return shared | {
            "accuracy": figures.accuracy,
            "interval": list(self.interval),
            "balanced_accuracy": figures.balanced_accuracy,
            "correct": figures.correct,
            "recall": figures.recall,
            "seconds": round(self.seconds, 1),
            "bytes": self.bytes,
            "epochs": self.epochs,
        }


@dataclass(frozen=True)
class WayComparison:
    """All ways on the same photos.

    Attributes:
        out: The folder with a trained model and a model file per way.
        part: The part that judges: ``test`` or ``validation``.
        photos: Number of photos per part.
        ways: The results, in the order of the table.
        partial: Whether Ctrl-C ended the comparison early.
        warnings: Warnings for the user, one sentence each.
    """

    out: Path
    part: str
    photos: dict[str, int]
    ways: tuple[WayResult, ...]
    partial: bool = False
    warnings: tuple[str, ...] = field(default=())

    def __repr__(self) -> str:
        done = sum(way.trained for way in self.ways)
        return f"<WayComparison {self.out.name[:60]}: {done} of {len(self.ways)} ways, recommended: {self.recommended}>"

    @property
    def trained(self) -> tuple[WayResult, ...]:
        """The ways that have figures."""
        return tuple(way for way in self.ways if way.trained)

    @property
    def recommended(self) -> str | None:
        """The way with the most correct photos; of equally good ones the simplest. None where none was trained."""
        ranked = _rank(self.trained)
        return ranked[0].way if ranked else None

    @property
    def reason(self) -> str:
        """Why this way, in a sentence."""
        return _explain(_rank(self.trained))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-serializable values."""
        return {
            "out": str(self.out),
            "judged_on": self.part,
            "photos": self.photos,
            "ways": [way.to_dict() for way in self.ways],
            "recommended": self.recommended,
            "reason": self.reason,
            "partial": self.partial,
            "warnings": list(self.warnings),
        }


def _rank(ways: Sequence[WayResult]) -> list[WayResult]:
    return sorted(ways, key=lambda way: (-way.evaluation.correct, SIMPLEST.index(way.way)))


def _explain(ranked: Sequence[WayResult]) -> str:
    if not ranked:
        return "no way was trained"
    best, *others = ranked
    figures = best.evaluation
    most = f"{best.name} recognizes {figures.correct} of {figures.photos} photos"
    if not others:
        return f"{most}; no other way was trained"
    simpler = [way for way in others if SIMPLEST.index(way.way) < SIMPLEST.index(best.way)]
    if not simpler:
        tied = [way.name for way in others if way.evaluation.correct == figures.correct]
        equal = f", as many as {' and '.join(tied)}," if tied else ", the most,"
        return f"{most}{equal} and needs the least training"
    rival = simpler[0]
    gained, lost = _exchanged(best, rival)
    chance = mcnemar(gained, lost)
    certain = "so the gain is hardly chance" if chance < 0.05 else "so the gain may be chance"
    return (
        f"{most}, the most: {gained} that {rival.name} does not, which recognizes {lost} others "
        f"(McNemar's test: p = {chance:.2g}), {certain}"
    )


def _exchanged(best: WayResult, rival: WayResult) -> tuple[int, int]:
    """Return how many photos only one of two ways recognizes."""
    truth = np.array(best.labels)
    first, second = np.array(best.predicted) == truth, np.array(rival.predicted) == truth
    return int((first & ~second).sum()), int((second & ~first).sum())


def mcnemar(first: int, second: int) -> float:
    """Return the two-sided p value of McNemar's exact test.

    Args:
        first: Number of photos that only the first of two models recognizes.
        second: Number of photos that only the second one recognizes.

    Example:
        >>> mcnemar(5, 0), mcnemar(3, 3)
        (0.0625, 1.0)
    """
    total = first + second
    tail = sum(math.comb(total, count) for count in range(min(first, second) + 1))
    return min(1.0, float(2 * tail / 2**total))
