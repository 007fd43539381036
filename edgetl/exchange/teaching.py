"""Teach the photos of another tool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from device.errors import PhotoError
from device.images import Image, thumbnail_pixels
from device.learner import Learner
from device.lookalikes import Shot, group_lookalikes
from device.looks import look_at
from device.progress import Progress, no_progress
from device.store import Sample
from device.store.records import new_burst

from .photos import Collection, Photo, Skipped

_BATCH = 32  # photos per transaction; an interruption loses at most this number


@dataclass
class Import:
    """The result of teaching a collection; updated while it runs, so that it is valid after an interruption.

    Attributes:
        samples: The samples taught; each is durable.
        known: Number of photos skipped because they were taught before.
        skipped: Files that are not taught.
    """

    samples: list[Sample] = field(default_factory=list)
    known: int = 0
    skipped: list[Skipped] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """Return the number of samples taught per label, without background."""
        labels = [sample.label for sample in self.samples if sample.label is not None]
        return dict(sorted(Counter(labels).items()))

    @property
    def background(self) -> int:
        """Number of background samples taught."""
        return sum(sample.label is None for sample in self.samples)


def teach_collection(
    learner: Learner,
    found: Collection,
    origin: str,
    *,
    result: Import | None = None,
    progress: Progress = no_progress,
) -> Import:
    """Teach every photo with its label, several per transaction; the RAM in use is that of one photo.

    A photo that was taught before with the same name, label and embedding is skipped, so an interrupted import can simply
    be started again. Photos that look alike become one burst, so that they do not judge each other.

    Args:
        learner: The learner.
        found: The photos.
        origin: Name of the tool; the source of a sample is ``ORIGIN:NAME``.
        result: Updated while teaching.
        progress: Called after each photo.
    """
    result = result or Import()
    result.skipped += found.skipped
    readable, views = _views(found.photos, result, progress)
    taught, bursts = _taught_before(learner), dict[int, int]()
    batch: list[tuple[Photo, Image, NDArray[np.float32], int]] = []
    for done, (photo, view) in enumerate(zip(readable, views, strict=True), 1):
        image = photo.image()
        embedding = learner.embed_one(image)
        if learner.knows(embedding, taught.get((f"{origin}:{photo.name}", photo.label), ())):
            result.known += 1
        else:
            # the embedding is made already, and whole photos would fill the RAM
            batch.append((photo, thumbnail_pixels(image), embedding, bursts.setdefault(view, new_burst())))
        if len(batch) == _BATCH or done == len(readable):
            result.samples += _learn(learner, batch, origin)
            batch = []
        progress("Teaching photos", done, len(readable))
    return result


def _views(photos: Sequence[Photo], result: Import, progress: Progress) -> tuple[list[Photo], list[int]]:
    """Return the photos that can be decoded, and the number of the view that each shows."""
    readable, shots = [], []
    for done, photo in enumerate(photos, 1):
        try:
            look = look_at(photo.image())
        except PhotoError as error:
            result.skipped.append(Skipped(photo.name, str(error.reason)))
        else:
            readable.append(photo)
            shots.append(Shot(photo.label or "", photo.name, look))
        progress("Comparing photos", done, len(photos))
    return readable, group_lookalikes(shots).groups.tolist() if shots else []


def _taught_before(learner: Learner) -> dict[tuple[str, str | None], list[int]]:
    found: dict[tuple[str, str | None], list[int]] = {}
    for sample in learner.store.samples(thumbnails=False):
        found.setdefault((sample.source, sample.label), []).append(sample.id)
    return found


def _learn(
    learner: Learner, batch: Sequence[tuple[Photo, Image, NDArray[np.float32], int]], origin: str
) -> list[Sample]:
    if not batch:
        return []
    return learner.learn_many(
        [image for _, image, _, _ in batch],
        [photo.label for photo, _, _, _ in batch],
        [f"{origin}:{photo.name}" for photo, _, _, _ in batch],
        bursts=[burst for _, _, _, burst in batch],
        embeddings=np.stack([embedding for _, _, embedding, _ in batch]),
    )
