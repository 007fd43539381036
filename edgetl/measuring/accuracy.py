"""What each model learns from labeled photos: the accuracy on held-out photos, by number of photos per label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.errors import MeasurementError, PhotoError
from device.files import shown
from device.heads import create_head
from device.heads.intervals import independent, wilson
from device.images import read_photo
from device.model.codes import Codes, encode
from device.model.embedder import Embedder
from device.model.modelfile import ModelFile
from device.progress import Progress, no_progress

from ..photos import Photo
from .held_out import Parted, part_photos

ALL = 0  # photos per label: as many as there are
DRAWS = 5
SHOTS = (1, 5, 10, ALL)


@dataclass(frozen=True)
class ShotAccuracy:
    """The accuracy with a number of photos per label.

    Attributes:
        shots: Number of photos per label; 0 is all of them.
        draws: How often these photos were drawn; the judged photos are always the same.
        accuracy: Mean share of the judged photos that are predicted correctly.
        lowest: That of the worst draw.
        highest: That of the best draw.
        interval: 95 % interval of the mean, from the number of separate views among the judged photos.
        right: Per judged photo, the number of draws in which it was predicted correctly.
    """

    shots: int
    draws: int
    accuracy: float
    lowest: float
    highest: float
    interval: tuple[float, float]
    right: tuple[int, ...]


@dataclass(frozen=True)
class ModelAccuracy:
    """What one model learns with one head.

    Attributes:
        name: Name of the model file.
        sha256: Checksum of its model part.
        head: Name of the head.
        shots: One per number of photos.
    """

    name: str
    sha256: str
    head: str
    shots: tuple[ShotAccuracy, ...]


@dataclass(frozen=True)
class Accuracy:
    """The accuracies of several models on the same photos.

    Attributes:
        folder: Name of the folder.
        labels: Number of labels.
        taught: Number of photos that may be taught.
        judged: Number of photos that judge.
        views: Number of separate views among those that judge.
        models: One per model and head.
        notes: Reasons not to trust the figures.
    """

    folder: str
    labels: int
    taught: int
    judged: int
    views: int
    models: tuple[ModelAccuracy, ...]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-serializable values; docs/json.md describes them."""
        return {
            **{name: value for name, value in asdict(self).items() if name not in ("models", "notes")},
            "notes": list(self.notes),
            "models": [
                {**asdict(model), "shots": [_shot_dict(shot) for shot in model.shots]}
                for model in self.models
            ],
        }


def measure_accuracy(
    models: Sequence[ModelFile],
    photos: Path,
    *,
    heads: Sequence[str] = ("exact",),
    shots: Sequence[int] = SHOTS,
    seed: int = 0,
    threads: int | None = None,
    progress: Progress = no_progress,
) -> Accuracy:
    """Teach heads with photos, and judge them with others.

    Nothing that the host taught takes part. The test or validation folder of `photos` judges, else a quarter of the
    photos of each label; look-alikes stay on one side.

    Args:
        models: The models.
        photos: A folder with one folder per label.
        heads: Names of heads.
        shots: Numbers of photos per label; `ALL` is all of them.
        seed: Seed of the split and of the draws.
        threads: CPU threads.
        progress: Receives the number of photos per model.

    Raises:
        PhotoFolderError: The folder cannot be used.
        MeasurementError: No photo of it can judge, or a head has no room for the labels.
    """
    parted = part_photos(photos, seed, progress)
    found: list[ModelAccuracy] = []
    notes = list(parted.notes)
    for model in {model.sha256: model for model in models}.values():
        codes = _embed(model, (*parted.taught, *parted.judged), threads, progress)
        data = _Data.of(parted, codes)
        if unreadable := sum(code is None for code in codes):
            notes.append(f"{unreadable} photos cannot be read and are left out")
        notes += _seen_before(model, data.judging)
        found += [_judge(model, head, data, shots, seed) for head in heads]
    return Accuracy(
        shown(photos.resolve().name),
        len({photo.label for photo in parted.taught}),
        len(parted.taught),
        len(parted.judged),
        len({photo.view for photo in parted.judged}),
        tuple(found),
        tuple(dict.fromkeys(notes)),
    )


@dataclass(frozen=True)
class _Data:
    """Codes of the photos that can be read; `views` are those of the photos to teach."""

    teaching: Codes
    labels: tuple[str, ...]
    views: tuple[int, ...]
    judging: Codes
    truth: tuple[str, ...]
    judging_views: NDArray[np.int64]

    @classmethod
    def of(cls, parted: Parted, codes: Sequence[Codes | None]) -> _Data:
        count = len(parted.taught)
        taught = [(p, c) for p, c in zip(parted.taught, codes[:count], strict=True) if c is not None]
        judged = [(p, c) for p, c in zip(parted.judged, codes[count:], strict=True) if c is not None]
        if not taught or not judged:
            raise MeasurementError("none of the photos can be read, so nothing can be taught or judged")
        return cls(
            np.stack([code for _, code in taught]),
            tuple(photo.label for photo, _ in taught),
            tuple(photo.view for photo, _ in taught),
            np.stack([code for _, code in judged]),
            tuple(photo.label for photo, _ in judged),
            np.array([photo.view for photo, _ in judged]),
        )

    def draw(self, shots: int, chooser: np.random.Generator) -> list[int]:
        """Return places of photos to teach: `shots` per label, of as many views as possible."""
        if shots == ALL:
            return list(range(len(self.labels)))
        places: list[int] = []
        for label in sorted(set(self.labels)):
            mine = [place for place, name in enumerate(self.labels) if name == label]
            order = [mine[place] for place in chooser.permutation(len(mine))]
            rank: dict[int, int] = {}
            ranked: list[tuple[int, int, int]] = []
            for place in order:
                rank[self.views[place]] = rank.get(self.views[place], 0) + 1
                ranked.append((rank[self.views[place]], len(ranked), place))
            places += [place for _, _, place in sorted(ranked)[:shots]]
        return places


def _embed(
    model: ModelFile, photos: Sequence[Photo], threads: int | None, progress: Progress
) -> list[Codes | None]:
    embedder = Embedder(model, threads=threads)
    codes: list[Codes | None] = []
    try:
        for photo in photos:
            try:
                embedding = embedder.embed_one(read_photo(photo.path))
            except PhotoError:
                codes.append(None)
            else:
                codes.append(encode(embedding, model.manifest.embedding_map))
            progress(f"photos for {shown(model.path.name)}", len(codes), len(photos))
    finally:
        embedder.close()
    return codes


def _judge(model: ModelFile, head: str, data: _Data, shots: Sequence[int], seed: int) -> ModelAccuracy:
    if head == "softmax" and len(set(data.labels)) > model.manifest.capacity:
        raise MeasurementError(
            f"the softmax head of {model.path.name} has room for {model.manifest.capacity} labels, the photos have "
            f"{len(set(data.labels))}; use --head exact"
        )
    return ModelAccuracy(
        model.path.name,
        model.sha256,
        head,
        tuple(_judge_shots(model, head, data, count, seed) for count in shots),
    )


def _judge_shots(model: ModelFile, head: str, data: _Data, shots: int, seed: int) -> ShotAccuracy:
    draws = 1 if shots == ALL else DRAWS
    truth = np.array(data.truth)
    rows = []
    for draw in range(draws):
        places = data.draw(shots, np.random.default_rng([seed, shots, draw]))
        learned = create_head(head, model.manifest.dimensions)
        learned.learn_many(data.teaching[places], [data.labels[place] for place in places])
        learned.settle()
        rows.append(np.array([found.label for found in learned.predict_many(data.judging)]) == truth)
    right = np.array(rows)  # [draws, N]
    each = right.mean(axis=1)
    mean = float(each.mean())
    judgments = independent(data.judging_views)
    low, high = wilson(mean * judgments, judgments)
    return ShotAccuracy(
        shots,
        draws,
        round(mean, 4),
        round(float(each.min()), 4),
        round(float(each.max()), 4),
        (round(low, 4), round(high, 4)),
        tuple(right.sum(axis=0).tolist()),
    )


def _seen_before(model: ModelFile, judging: Codes) -> list[str]:
    """Return a note where the host taught photos that judge, or may have trained the backbone on them."""
    if model.memory is not None:
        from device.model.codes import content_keys

        seen = int(np.isin(content_keys(judging), model.memory.content_keys()).sum())
        if seen:
            return [
                f"{shown(model.path.name)} was taught {seen} of the {len(judging)} photos that judge, so if they also trained "
                "its backbone, its accuracy is too good; use other photos"
            ]
    if model.manifest.origin in ("fine-tuned", "trained here"):
        return [
            f"the backbone of {shown(model.path.name)} was {model.manifest.origin}; if these photos took part, its accuracy is "
            "too good"
        ]
    return []


def _shot_dict(shot: ShotAccuracy) -> dict[str, Any]:
    return {
        **asdict(replace(shot, right=())),
        "interval": list(shot.interval),
        "right": list(shot.right),
    }
