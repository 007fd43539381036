"""What the benchmarks of fine-tuned backbones share: few photos, a small input, training of all layers, the exact head.

Usage: imported by `benchmarks.preserve` and `benchmarks.unseen_labels`.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.heads import Head, create_head
from device.heads.memory import learn_memory
from device.model.codes import encode
from device.model.memory import Samples
from device.model.preprocess import Preprocessing
from edgetl.backbones import load_backbone
from edgetl.photos import TRAINING, Photo, find_photos
from edgetl.split import split_photos
from edgetl.training.crops import Crops
from edgetl.training.pipeline import Pipeline
from edgetl.training.preserving import Penalty, hold_embeddings, hold_weights
from edgetl.training.whole import Recipe, WholeTraining

HELD_OUT = 5  # every fifth photo of the training part does not tune the backbone, but judges the head
TESTED = 0.35  # part of the photos of each label
_BATCH = 32


@dataclass(frozen=True)
class Split:
    """The photos of one task: those that are taught, and others that test.

    Attributes:
        taught: Photos to teach the head with.
        held_out: bool [N], which of them do not tune the backbone.
        tested: Photos of other views.
    """

    taught: tuple[Photo, ...]
    held_out: NDArray[np.bool_]
    tested: tuple[Photo, ...]

    @property
    def tuning(self) -> list[Photo]:
        """The photos that tune the backbone."""
        return [photo for photo, out in zip(self.taught, self.held_out, strict=True) if not out]


def split_folder(folder: Path, most: int, seed: int) -> Split:
    """Split at most `most` photos of a folder, evenly over its labels; look-alikes stay together."""
    found = find_photos(folder)
    generator = np.random.default_rng(seed)
    chosen: list[Photo] = []
    for label in found.labels:
        mine = [photo for photo in found.photos if photo.label == label]
        chosen += [mine[place] for place in generator.permutation(len(mine))[: most // len(found.labels)]]
    parted = split_photos(replace(found, photos=tuple(chosen)), TESTED, seed).photos
    taught = tuple(photo for photo in parted if photo.part == TRAINING)
    held_out = np.arange(len(taught)) % HELD_OUT == 0
    return Split(taught, held_out, tuple(photo for photo in parted if photo.part != TRAINING))


def load_at(name: str, side: int) -> tuple[Any, Preprocessing]:
    """Return a pretrained backbone with an input of `side` x `side` pixels, which computes faster, and its preprocessing."""
    import keras

    backbone, preprocessing = load_backbone(name)
    small = keras.models.clone_model(backbone, input_tensors=keras.Input((side, side, 3)))
    small.set_weights(backbone.get_weights())
    return small, replace(preprocessing, height=side, width=side)


def copy_of(backbone: Any) -> Any:
    """Return a copy with weights of its own."""
    import keras

    copy = keras.models.clone_model(backbone)
    copy.set_weights(backbone.get_weights())
    return copy


def tune(
    backbone: Any,
    preprocessing: Preprocessing,
    photos: Sequence[Photo],
    *,
    epochs: int,
    seed: int,
    penalty: Penalty | None = None,
) -> None:
    """Train all layers of `backbone` in place, without photos that choose the epoch."""
    labels = sorted({photo.label for photo in photos})
    phase = WholeTraining(backbone, np.ones(len(labels)), Recipe(epochs, seed=seed), penalty=penalty)
    with tempfile.TemporaryDirectory() as folder:
        targets = np.array([labels.index(photo.label) for photo in photos], np.int64)
        paths = [photo.path for photo in photos]
        phase.run(Pipeline(paths, targets, preprocessing, Crops(), seed, _BATCH, Path(folder)), None)
    print(f"  tuned in {sum(entry['seconds'] for entry in phase.history):.0f} s", file=sys.stderr, flush=True)


def embed(backbone: Any, preprocessing: Preprocessing, photos: Sequence[Photo]) -> NDArray[np.float32]:
    """Return the embeddings of photos as the device prepares them, float32 [N, D]."""
    from edgetl.training.blocks import make_embed

    forward = make_embed(backbone)
    with tempfile.TemporaryDirectory() as folder:
        paths = [photo.path for photo in photos]
        none = np.zeros(len(photos), np.int64)
        pipeline = Pipeline(paths, none, preprocessing, Crops(), 0, _BATCH, Path(folder))
        return np.concatenate([forward(images) for images, _ in pipeline.plain()])


def teach(embeddings: NDArray[np.float32], photos: Sequence[Photo], judge: NDArray[np.bool_] | None) -> Head:
    """Return the exact head taught with the photos; those of `judge` choose its ridge, None for all."""
    head = create_head("exact", embeddings.shape[1])
    learn_memory(head, Samples(encode(embeddings), tuple(photo.label for photo in photos), judge))
    return head


def hits(head: Head, embeddings: NDArray[np.float32], photos: Sequence[Photo]) -> NDArray[np.bool_]:
    """Return which photos the head recognizes, bool [N]."""
    predicted = np.array(head.labels)[head.probabilities(encode(embeddings)).argmax(axis=1)]
    found: NDArray[np.bool_] = predicted == np.array([photo.label for photo in photos])
    return found


def penalty_of(way: str, backbone: Any) -> Penalty | None:
    """Return the penalty that a name such as ``weights:0.01`` or ``distill:10`` means, for a backbone as it is now."""
    method, _, strength = way.partition(":")
    if method == "weights":
        return hold_weights(backbone, float(strength))
    return hold_embeddings(backbone, float(strength)) if method == "distill" else None


def summarize(runs: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Return the mean of each figure over the runs, and their standard deviations."""

    def deviation(name: str) -> float:
        values = [run[name] for run in runs]
        return round(statistics.stdev(values), 4) if len(values) > 1 else 0.0

    means = {name: round(statistics.mean(run[name] for run in runs), 4) for name in runs[0]}
    return means | {"deviation": {name: deviation(name) for name in runs[0]}}
