"""Figures on labeled photos: accuracy with its interval, recall per label, confusion."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.files import shown
from device.heads.intervals import wilson
from device.leftout import describe_left_out, reasons_to_dict
from device.photos import LeftOut
from device.printable import printable

Array = NDArray[np.float64]
_SIMILAR = 0.75  # minimum ratio of difflib for the suggestion of another label


@dataclass(frozen=True)
class Mistake:
    """A photo whose prediction differs from its label."""

    path: Path
    label: str
    predicted: str
    probability: float

    def __repr__(self) -> str:
        labels = f"{printable(self.label[:40])!r} predicted as {printable(self.predicted[:40])!r}"
        return f"<Mistake {self.path.name[:60]}: {labels}, probability {self.probability:.3f}>"


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation on photos.

    Attributes:
        labels: Every label of a photo or a prediction, sorted: the rows and columns of `confusion`.
        confusion: int64 [C, C], row = label of the photo, column = prediction.
        known: Labels the model can predict; empty when that is not recorded.
        root: The folder.
        part: Part of the split that was judged, "" for the whole folder.
        taught: Photos that were not judged, because the model was taught them.
        unrecognizable: Number of taught photos that cannot be recognized.
        left_out: Files that were not read, with the reason of each.
        absent: Labels of the model or the folder without a judged photo.
        mistakes: Photos that were predicted wrongly, most confident first.
        remarks: Warnings about the folder, one sentence each.
        rejected: Number of judged photos that negatives or background make unknown, whatever their label is.
    """

    labels: tuple[str, ...]
    confusion: NDArray[np.int64]
    known: tuple[str, ...] = ()
    root: Path | None = None
    part: str = ""
    taught: tuple[Path, ...] = ()
    unrecognizable: int = 0
    left_out: tuple[LeftOut, ...] = ()
    absent: tuple[str, ...] = ()
    mistakes: tuple[Mistake, ...] = ()
    remarks: tuple[str, ...] = ()
    rejected: int = 0

    def __repr__(self) -> str:
        low, high = self.interval
        correct = f"{self.correct} of {self.photos} photos correct"
        return f"<Evaluation {correct}, accuracy {self.accuracy:.3f} (95 % interval {low:.2f} to {high:.2f})>"

    @property
    def photos(self) -> int:
        """The number of photos that were judged."""
        return int(self.confusion.sum())

    @property
    def correct(self) -> int:
        """The number of photos that were predicted correctly."""
        return int(np.trace(self.confusion))

    @property
    def accuracy(self) -> float:
        """The fraction of photos that were predicted correctly."""
        return float(self.correct / max(1, self.photos))

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the accuracy."""
        return wilson(self.correct, self.photos)

    @property
    def judged(self) -> dict[str, tuple[int, int]]:
        """The number of correct photos and the number of photos, per label with photos."""
        shown, right = self.confusion.sum(1).tolist(), np.diag(self.confusion).tolist()
        return {
            label: (right[place], shown[place]) for place, label in enumerate(self.labels) if shown[place]
        }

    @property
    def recall(self) -> dict[str, float]:
        """The fraction of photos that were predicted correctly, per label with photos."""
        return {label: right / count for label, (right, count) in self.judged.items()}

    @property
    def balanced_accuracy(self) -> float:
        """The mean recall of the labels with photos."""
        return float(np.mean(list(self.recall.values()))) if self.photos else 0.0

    @property
    def confused(self) -> list[tuple[str, str, int]]:
        """The confused pairs (label, prediction, number of photos), most frequent first."""
        wrong = self.confusion - np.diag(np.diag(self.confusion))
        places = zip(*np.nonzero(wrong), strict=True)
        pairs = [(self.labels[row], self.labels[column], int(wrong[row, column])) for row, column in places]
        return sorted(pairs, key=lambda pair: (-pair[2], pair[0], pair[1]))

    @property
    def not_known(self) -> dict[str, str | None]:
        """The judged labels that the model does not know, each with a similar label that it knows, or None."""
        if not self.known:
            return {}
        strangers = [label for label in self.judged if label not in self.known]
        return {label: similar_label(label, self.known) for label in strangers}

    @property
    def on_known(self) -> tuple[int, int]:
        """The number of correct photos and the number of photos, for labels that the model knows."""
        counted = [counts for label, counts in self.judged.items() if label not in self.not_known]
        return sum(right for right, _ in counted), sum(count for _, count in counted)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Limits of the figures, one sentence each."""
        return (*self.remarks, *_warnings(self))

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON-serializable values."""
        root = self.root or Path()
        return {
            "photos": self.photos,
            "correct": self.correct,
            "accuracy": self.accuracy,
            "interval": list(self.interval),
            "balanced_accuracy": self.balanced_accuracy,
            "recall": self.recall,
            "per_label": {
                label: {"photos": count, "correct": right, "interval": list(wilson(right, count))}
                for label, (right, count) in self.judged.items()
            },
            "labels": list(self.labels),
            "confusion": self.confusion.tolist(),
            "confused": [list(pair) for pair in self.confused],
            "part": self.part,
            "taught": len(self.taught),
            "unrecognizable": self.unrecognizable,
            "rejected": self.rejected,
            "not_judged": list(self.absent),
            "not_known": self.not_known,
            "mistakes": [
                {
                    "path": shown(_below(mistake.path, root)),
                    "label": mistake.label,
                    "predicted": mistake.predicted,
                    "said": mistake.predicted,  # the name of version 0.1, until 0.3
                    "probability": mistake.probability,
                }
                for mistake in self.mistakes
            ],
            "left_out": reasons_to_dict(self.left_out, root),
            "warnings": list(self.warnings),
        }


def tabulate(labels: Sequence[str], predicted: Sequence[str], *, known: Sequence[str] = ()) -> Evaluation:
    """Count predictions against labels.

    Args:
        labels: The label of each photo.
        predicted: The predicted label of each photo.
        known: Labels that the model can predict.

    Example:
        >>> tabulate(["cup", "cup", "pen"], ["cup", "pen", "pen"]).balanced_accuracy
        0.75
    """
    every = tuple(sorted({*labels, *predicted}))
    place = {label: index for index, label in enumerate(every)}
    confusion = np.zeros((len(every), len(every)), np.int64)
    np.add.at(confusion, ([place[label] for label in labels], [place[label] for label in predicted]), 1)
    return Evaluation(every, confusion, tuple(known))


def judge(
    probabilities: Array, targets: NDArray[np.int64], class_weights: Array | None = None
) -> dict[str, float]:
    """Return loss (weighted cross-entropy), accuracy and balanced accuracy.

    Args:
        probabilities: [N, C].
        targets: int64 [N].
        class_weights: [C], weight of a photo of each label in the loss.
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


def similar_label(label: str, known: Sequence[str]) -> str | None:
    """Return the label of `known` that `label` probably means, or None.

    Upper case, spaces, hyphens and a plural are ignored first; then similar spelling counts.

    Example:
        >>> similar_label("Rose", ["daisy", "roses"])
        'roses'
    """
    plain = {_plain(other): other for other in known}
    close = difflib.get_close_matches(_plain(label), list(plain), 1, _SIMILAR)
    return plain[close[0]] if close else None


def _plain(label: str) -> str:
    word = "".join(character for character in label.casefold() if character.isalnum()) or label
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word


def _warnings(result: Evaluation) -> list[str]:
    warnings = describe_left_out(result.left_out)
    if result.taught:
        one = len(result.taught) == 1
        warnings.append(
            f"{len(result.taught)} {'photo was' if one else 'photos were'} not judged, because the model was taught "
            f"{'it' if one else 'them'}; the figures are on the other {result.photos}"
        )
    if result.unrecognizable:
        warnings.append(
            f"{result.unrecognizable} photos that the model was taught cannot be recognized, because the model file keeps "
            "only their sums, or the files no longer exist; if such photos were judged here, the figures are too good"
        )
    if result.not_known:
        warnings.append(_strangers(result))
    if result.absent:
        warnings.append(
            f"not judged, because there are no photos of them: {name_labels(result.absent)} "
            f"({len(result.absent)} of {len({*result.known, *result.labels, *result.absent})} labels)"
        )
    return warnings


def _strangers(result: Evaluation) -> str:
    named = [f"{label} (did you mean {near}?)" if near else label for label, near in result.not_known.items()]
    right, count = result.on_known
    wrong = result.photos - count
    low, high = wilson(right, count)
    return (
        f"the model does not know {name_labels(named)}: {wrong} photos can only be wrong. On the other {count} photos "
        f"the accuracy is {right / max(1, count):.1%} (95 % interval {low:.0%} to {high:.0%})"
    )


def name_labels(labels: Sequence[str], limit: int = 10) -> str:
    """Return the first labels and the number of the others."""
    more = f" and {len(labels) - limit} more" if len(labels) > limit else ""
    return ", ".join(labels[:limit]) + more


def _below(path: Path, root: Path) -> Path:
    return path.relative_to(root) if path.is_relative_to(root) else path
