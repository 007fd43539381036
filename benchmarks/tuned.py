"""What the benchmarks of fine-tuned backbones share: few photos, training of the last blocks or all layers, the exact head.

Usage: imported by `benchmarks.preserve` and `benchmarks.unseen_labels`.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.heads import Head, create_head
from device.heads.memory import learn_memory
from device.images import read_photo
from device.model.codes import apply_map, encode
from device.model.memory import Samples
from edgetl.backbones import load_backbone
from edgetl.backbones.registry import require_keras
from edgetl.photos import TRAINING, Photo, find_photos
from edgetl.split import split_photos
from edgetl.training.blocks import BlockTraining, Rows, embed_rows, make_embed
from edgetl.training.crops import Crops
from edgetl.training.cut import freeze_normalization, split_backbone
from edgetl.training.features import Features
from edgetl.training.head import Examples, fit_head
from edgetl.training.pipeline import Pipeline
from edgetl.training.preserving import NONE, make_penalty
from edgetl.training.settings import Settings
from edgetl.training.trunk import compile_trunk
from edgetl.training.whole import Recipe, WholeTraining

from .machine import machine_info, warn_of_noise, write_result

HELD_OUT = 5  # every fifth photo of the training part does not tune the backbone, but judges the head
TESTED = 0.35  # part of the photos of each label
SETTINGS = ("layers", "side", "photos", "epochs", "seeds")
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


class AllLayers:
    """A backbone whose layers are all trained, with an input of `side` x `side` pixels, which computes faster.

    Args:
        name: Name of the backbone.
        side: Rows and columns of the input.
    """

    def __init__(self, name: str, side: int) -> None:
        import keras

        backbone, preprocessing = load_backbone(name)
        self.network = keras.models.clone_model(backbone, input_tensors=keras.Input((side, side, 3)))
        self.network.set_weights(backbone.get_weights())
        self.preprocessing = replace(preprocessing, height=side, width=side)

    def tune(self, photos: Sequence[Photo], *, epochs: int, seed: int, preserve: str = NONE) -> None:
        """Train on photos, without others that choose the epoch."""
        labels, targets = _targets(photos)
        recipe = Recipe(epochs, seed=seed)
        penalty = make_penalty(self.network, preserve)
        phase = WholeTraining(self.network, np.ones(len(labels)), recipe, penalty=penalty)
        with tempfile.TemporaryDirectory() as folder:
            paths = [photo.path for photo in photos]
            phase.run(Pipeline(paths, targets, self.preprocessing, Crops(), seed, _BATCH, Path(folder)), None)

    def embed(self, photos: Sequence[Photo]) -> NDArray[np.float64]:
        """Return the mapped embeddings of photos as the device prepares them, [N, D]."""
        forward = make_embed(self.network)
        with tempfile.TemporaryDirectory() as folder:
            paths = [photo.path for photo in photos]
            none = np.zeros(len(photos), np.int64)
            pipeline = Pipeline(paths, none, self.preprocessing, Crops(), 0, _BATCH, Path(folder))
            return apply_map(np.concatenate([forward(images) for images, _ in pipeline.plain()]))


class LastBlocks:
    """A backbone whose last two blocks are trained, on features that are computed once, as `finetune` does by default.

    Args:
        name: Name of the backbone.
        photos: Every photo that will be used.
    """

    def __init__(self, name: str, photos: Sequence[Photo]) -> None:
        backbone, preprocessing = load_backbone(name)
        trunk, self.network = split_backbone(backbone, Settings.blocks)
        freeze_normalization(self.network)
        forward = compile_trunk(trunk, preprocessing, len(photos))
        parts = [
            forward(
                np.stack(
                    [
                        preprocessing.prepare(read_photo(photo.path))
                        for photo in photos[start : start + _BATCH]
                    ]
                )
            )
            for start in range(0, len(photos), _BATCH)
        ]
        self._features = Features(
            np.concatenate(parts), np.arange(len(photos)), np.ones(len(photos), np.int64), ()
        )
        self._places = {photo.path: place for place, photo in enumerate(photos)}

    def tune(self, photos: Sequence[Photo], *, epochs: int, seed: int, preserve: str = NONE) -> None:
        """Train on photos, without others that choose the epoch."""
        labels, targets = _targets(photos)
        even = np.ones(len(labels))
        settings = Settings(epochs=epochs, seed=seed, preserve=preserve)
        head = fit_head(
            Examples(self.embed(photos), targets),
            None,
            even,
            epochs=settings.head_epochs,
            rate=settings.head_rate,
            batch=_BATCH,
            seed=seed,
        )
        phase = BlockTraining(self.network, (head.weights, head.bias), even, settings)
        rows = Rows(self._rows(photos), np.ones(len(photos), np.int64), targets)
        phase.run(self._features, rows, None, resume=None, save=lambda arrays, state: None)

    def embed(self, photos: Sequence[Photo]) -> NDArray[np.float64]:
        """Return the mapped embeddings of photos as the device prepares them, [N, D]."""
        return embed_rows(make_embed(self.network), self._features, self._rows(photos))

    def _rows(self, photos: Sequence[Photo]) -> NDArray[np.int64]:
        return np.array([self._places[photo.path] for photo in photos], np.int64)


Tunable = AllLayers | LastBlocks


def load_tunable(options: argparse.Namespace, photos: Sequence[Photo]) -> Tunable:
    """Return the backbone of the options of `add_options`."""
    if options.layers == "all":
        return AllLayers(options.backbone, options.side)
    return LastBlocks(options.backbone, photos)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a benchmark that tunes backbones."""
    parser.add_argument("--backbone", default="efficientnet-lite0", help="Name of the backbone.")
    parser.add_argument(
        "--layers",
        choices=["blocks", "all"],
        default="blocks",
        help="Train the last two blocks or all layers.  [default: blocks]",
    )
    parser.add_argument(
        "--side", type=int, default=128, help="Rows and columns of the input for all layers.  [default: 128]"
    )
    parser.add_argument(
        "--photos", type=int, default=400, help="Photos of each folder, at most.  [default: 400]"
    )
    parser.add_argument("--epochs", type=int, default=8, help="Epochs of each training.  [default: 8]")
    parser.add_argument("--seeds", type=int, default=3, help="Number of seeds.  [default: 3]")
    parser.add_argument("--first-seed", type=int, default=0, help="The first of them.  [default: 0]")


def run_seeds(
    benchmark: str,
    options: argparse.Namespace,
    measure: Callable[[argparse.Namespace, int], dict[str, dict[str, float]]],
) -> None:
    """Measure each seed and write the mean figures of each way.

    Args:
        benchmark: Name of the benchmark.
        options: The options of `add_options` and those of the benchmark.
        measure: Returns the figures of each way for one seed.
    """
    warn_of_noise()
    require_keras()
    runs: dict[str, list[dict[str, float]]] = {}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for way, figures in measure(options, seed).items():
            runs.setdefault(way, []).append(figures)
    result = {
        "benchmark": benchmark,
        "machine": machine_info(options.first_seed),
        "settings": {name: getattr(options, name) for name in SETTINGS},
        "ways": {way: summarize(found) for way, found in runs.items()},
    }
    write_result(result, options.out)


def _targets(photos: Sequence[Photo]) -> tuple[list[str], NDArray[np.int64]]:
    labels = sorted({photo.label for photo in photos})
    return labels, np.array([labels.index(photo.label) for photo in photos], np.int64)


def teach(mapped: NDArray[np.float64], photos: Sequence[Photo], judge: NDArray[np.bool_] | None) -> Head:
    """Return the exact head taught with the photos; those of `judge` choose its ridge, None for all."""
    head = create_head("exact", mapped.shape[1])
    learn_memory(head, Samples(encode(mapped, "identity"), tuple(photo.label for photo in photos), judge))
    return head


def hits(head: Head, mapped: NDArray[np.float64], photos: Sequence[Photo]) -> NDArray[np.bool_]:
    """Return which photos the head recognizes, bool [N]."""
    predicted = np.array(head.labels)[head.probabilities(encode(mapped, "identity")).argmax(axis=1)]
    found: NDArray[np.bool_] = predicted == np.array([photo.label for photo in photos])
    return found


def summarize(runs: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Return the mean of each figure over the runs, and their standard deviations."""

    def deviation(name: str) -> float:
        values = [run[name] for run in runs]
        return round(statistics.stdev(values), 4) if len(values) > 1 else 0.0

    means = {name: round(statistics.mean(run[name] for run in runs), 4) for name in runs[0]}
    return means | {"deviation": {name: deviation(name) for name in runs[0]}}
