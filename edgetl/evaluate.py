"""How good a model is on labelled photos: accuracy, balanced accuracy, confusion."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.errors import PhotoError
from device.images import Image, read_photo

from .errors import PhotosError
from .photos import TEST, VALIDATION, Photo, find_photos

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


def evaluate(
    model: str | Path,
    photos: str | Path,
    *,
    state: str | Path | None = None,
    head: str = "exact",
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Judge a model on a folder of photos with one folder a class.

    Args:
        model: A model file, judged as a device would run it, or the folder of a trained model.
        photos: The folder. Its test part is used, else its validation part, else all of it.
        state: What a device learned; for a model file only.
        head: Kind of head that is derived from memory and state.
        progress: Called with photos done and all.

    Raises:
        PhotosError: No photos, none that can be read, or a state beside a trained model's folder.
        DeviceError: The model or the state cannot be used.
    """
    chosen = _judged_part(photos)
    if Path(model).is_dir():
        if state is not None:
            raise PhotosError(
                f"{model} is a trained model's folder, which has no state; convert it, or leave --state out"
            )
        given, said, problems = _say_trained(Path(model), chosen, progress)
    else:
        given, said, problems = _say_device(Path(model), chosen, state, head, progress)
    if not given:
        raise PhotosError(
            f"none of the {len(chosen)} photos in {photos} can be read; the first: {problems[0]}"
        )
    return tabulate(given, said, problems)


def _judged_part(photos: str | Path) -> Sequence[Photo]:
    found = find_photos(Path(photos))
    return found.part(TEST) or found.part(VALIDATION) or found.photos


def _readable(
    photos: Sequence[Photo], problems: list[str], progress: Callable[[int, int], None] | None
) -> Iterator[tuple[Image, str]]:
    for number, photo in enumerate(photos, 1):
        try:
            image = read_photo(photo.path)
        except PhotoError as error:
            problems.append(str(error))
        else:
            yield image, photo.label
        if progress:
            progress(number, len(photos))


def _say_device(
    model: Path,
    photos: Sequence[Photo],
    state: str | Path | None,
    head: str,
    progress: Callable[[int, int], None] | None,
) -> tuple[list[str], list[str], list[str]]:
    from device.learner import Learner

    given, said, problems = [], [], list[str]()
    with Learner.open(model, state, head=head, read_only=state is not None) as learner:
        learner.require_taught()
        for image, label in _readable(photos, problems, progress):
            given.append(label)
            said.append(learner.predict_one(image).label)
    return given, said, problems


def _say_trained(
    folder: Path, photos: Sequence[Photo], progress: Callable[[int, int], None] | None
) -> tuple[list[str], list[str], list[str]]:
    from converters.source import TrainedModel
    from device.model.codes import apply_map

    model = TrainedModel.load(folder)
    if model.head is None:
        raise PhotosError(f"{folder} holds a backbone without a head; train it with 'edgetl finetune' first")
    weights, bias = model.head
    given, said, problems = [], [], list[str]()
    for image, label in _readable(photos, problems, progress):
        batch = model.preprocessing.normalise(model.preprocessing.prepare(image)[np.newaxis])
        embedding = np.asarray(model.backbone(batch, training=False))
        given.append(label)
        said.append(model.labels[int((apply_map(embedding) @ weights + bias).argmax())])
    return given, said, problems
