"""Continue from an earlier trained model: its backbone, its photos, and how much of its task is left afterwards."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.memory import judge_held_out
from converters.source import BACKBONE_FILE, TrainedModel
from device.model.codes import encode
from device.model.memory import Samples
from device.progress import Progress

from ..errors import TrainingError
from ..photos import OLD, OLD_HELD_OUT, TEST, TRAINING, VALIDATION, Photo, PhotoSet
from ..split import number_views
from .comparison import divide
from .head import probabilities
from .preserving import DISTILL, PRESERVE, REPLAY, choose_replay

Mapped = NDArray[np.float64]
"""Mapped embeddings [N, D]."""


@dataclass(frozen=True)
class Start:
    """An earlier trained model to continue from.

    Attributes:
        folder: Its folder.
        model: The model.
        photos: Those of its photos that still exist; their part is ``OLD``, or ``OLD_HELD_OUT`` if they were held out.
        free: The paths of the photos that did not tune its backbone.
        missing: Number of its photos that no longer exist.
    """

    folder: Path
    model: TrainedModel
    photos: tuple[Photo, ...]
    free: frozenset[str]
    missing: int

    @classmethod
    def open(cls, folder: str | Path) -> Start:
        """Open the folder of a trained model; all its layers can be trained again.

        Raises:
            ConversionError: The folder contains no trained model, or is damaged.
        """
        model = TrainedModel.load(folder)
        model.backbone.trainable = True  # training of the last blocks froze some layers
        held_out = model.held_out or (False,) * len(model.photos)
        photos, free = [], []
        for (path, label), out, judge in zip(model.photos, held_out, model.judges, strict=True):
            if path.is_file():
                photos.append(Photo(path, label, OLD_HELD_OUT if out else OLD))
                free += [os.path.realpath(path)] if judge else []
        return cls(Path(folder), model, tuple(photos), frozenset(free), len(model.photos) - len(photos))

    @property
    def identity(self) -> dict[str, Any]:
        """What must be the same for an interrupted run to be continued."""
        return {
            "backbone": hashlib.sha256((self.folder / BACKBONE_FILE).read_bytes()).hexdigest(),
            "photos": len(self.photos),
        }

    @cached_property
    def paths(self) -> frozenset[str]:
        """The paths of the photos."""
        return frozenset(os.path.realpath(photo.path) for photo in self.photos)

    def follows(self, photo: Photo) -> bool:
        """Return whether a photo shows what is left of the earlier task: an old one, or any where no old one exists."""
        if not self.photos:
            return photo.part in (TRAINING, VALIDATION)
        return os.path.realpath(photo.path) in self.paths

    def describe(self, photos: Sequence[Photo], before: Mapped, after: Mapped) -> dict[str, Any]:
        """Return what is left of the earlier task, as ``old_task`` in ``metrics.json``.

        Args:
            photos: The photos of the run that `follows` accepts.
            before: Their mapped embeddings [N, D] by the earlier backbone.
            after: The same by the new one.
        """
        gone = not self.photos
        return {
            "from": str(self.folder),
            "labels": list(self.model.labels),
            "photos": len(self.photos),
            "missing": self.missing,
            "accuracy": None if gone else OldPhotos.of(photos, self).judge(before, after, self.model.tuned),
            "agreement": count_agreement(self, before, after) if gone else None,
        }


def choose_preserve(preserve: str | None, start: Start) -> str:
    """Return how to preserve the earlier task: as asked for, else by replay, or by distillation without old photos.

    Raises:
        TrainingError: `preserve` is unknown, or there are no old photos to replay.
    """
    if preserve is None:
        return REPLAY if start.photos else DISTILL
    if preserve not in PRESERVE:
        raise TrainingError(f"preserve must be one of {', '.join(PRESERVE)}, got {preserve!r}")
    if preserve == REPLAY and not start.photos:
        raise TrainingError(
            f"the old photos of {start.folder} no longer exist, so they cannot be replayed; use --preserve {DISTILL}"
        )
    return preserve


def add_old_photos(
    photo_set: PhotoSet, start: Start, preserve: str, seed: int, progress: Progress
) -> PhotoSet:
    """Add the old photos, so that the new model knows their labels too.

    With replay, some of them become training photos. Photos of both sets belong to the new one; those that tuned the
    earlier backbone do not judge the new one.
    """
    new = [_move_to_training(photo, start) for photo in photo_set.photos]
    mine = {os.path.realpath(photo.path) for photo in new}
    old = [photo for photo in start.photos if os.path.realpath(photo.path) not in mine]
    if preserve == REPLAY:
        count = sum(photo.part == TRAINING for photo in new)
        replayed = {
            photo.path for photo in choose_replay([one for one in old if one.part == OLD], count, seed)
        }
        old = [replace(photo, part=TRAINING) if photo.path in replayed else photo for photo in old]
    moved = sum(photo.part != before.part for photo, before in zip(new, photo_set.photos, strict=True))
    photos = number_views([*new, *old], progress)
    photos.sort(key=lambda photo: (photo.part, photo.label, str(photo.path)))
    return replace(photo_set, photos=tuple(photos), warnings=(*photo_set.warnings, *_warnings(start, moved)))


def _move_to_training(photo: Photo, start: Start) -> Photo:
    path = os.path.realpath(photo.path)
    tuned = path in start.paths and path not in start.free
    return replace(photo, part=TRAINING) if tuned and photo.part in (VALIDATION, TEST) else photo


def _warnings(start: Start, moved: int) -> list[str]:
    warnings = []
    if moved:
        warnings.append(
            f"{moved} photos tuned the backbone of {start.folder}, so they are used for training and do not judge"
        )
    if start.missing and not start.photos:
        labels = ", ".join(start.model.labels)
        warnings.append(
            f"the {start.missing} photos of {start.folder} no longer exist, so the new model does not know its labels: {labels}"
        )
    elif start.missing:
        warnings.append(f"{start.missing} photos of {start.folder} no longer exist")
    return warnings


@dataclass(frozen=True)
class OldPhotos:
    """The old photos among those of a run.

    Attributes:
        labels: Label of each.
        groups: int32 [N]; look-alikes share a number.
        free: bool [N], which tuned neither the earlier backbone nor the new one.
    """

    labels: tuple[str, ...]
    groups: NDArray[np.int32]
    free: NDArray[np.bool_]

    @classmethod
    def of(cls, photos: Sequence[Photo], start: Start) -> OldPhotos:
        """Return those of `photos`, which are all old ones."""
        free = [photo.part != TRAINING and os.path.realpath(photo.path) in start.free for photo in photos]
        return cls(
            tuple(photo.label for photo in photos),
            np.array([photo.view for photo in photos], np.int32),
            np.array(free, np.bool_),
        )

    def judge(self, before: Mapped, after: Mapped, tuned: bool) -> dict[str, Any] | None:
        """Return how many of the free photos the exact head recognizes on either backbone, taught with the old photos.

        Args:
            before: Mapped embeddings [N, D] by the earlier backbone.
            after: The same by the new one.
            tuned: Whether the earlier backbone was tuned; otherwise every old photo may choose the head's ridge on it.
        """
        if not self.free.any():
            return None
        folds = divide(self.labels, self.free, self.groups)
        counts = [
            self._count(before, self.free if tuned else None, folds),
            self._count(after, self.free, folds),
        ]
        if None in counts:
            return None
        return {"judged": int(self.free.sum()), "before": counts[0], "after": counts[1]}

    def _count(
        self, mapped: Mapped, judge: NDArray[np.bool_] | None, folds: list[NDArray[np.bool_]]
    ) -> int | None:
        samples = Samples(encode(mapped, "identity"), self.labels, judge, self.groups)
        figures = [judge_held_out(samples, fold) for fold in folds]
        counts = [figure["correct"] for figure in figures if figure is not None]
        return sum(counts) if len(counts) == len(folds) else None


def count_agreement(start: Start, before: Mapped, after: Mapped) -> dict[str, Any] | None:
    """Return on how many new photos the earlier softmax head predicts the same on either backbone.

    This is what can be measured where the old photos are gone: a head that predicts the same for photos of any kind
    still works. None where the earlier model has no head.
    """
    if start.model.head is None:
        return None
    first, second = (probabilities(mapped, *start.model.head).argmax(axis=1) for mapped in (before, after))
    return {"new_photos": len(first), "same": int((first == second).sum())}
