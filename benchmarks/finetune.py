"""How much faster is training the head on cached embeddings than ``model.fit`` through the frozen backbone?

Usage: ``python -m benchmarks.finetune [PHOTOS] [--epochs 10]``

Both train a softmax head for the same number of epochs on the same photos in the same process. Our time includes
opening the frozen backbone in LiteRT, embedding each photo once and training in NumPy. The peer follows the Keras
guides: a backbone that is not trainable, a Dense layer on top, ``model.fit``. With ``--measured-epochs`` only some
epochs of the peer are run (each takes the same time) and the rest is extrapolated, which the result states.

Without PHOTOS, drawn images are used: the times are the same, but the accuracies mean nothing.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import machine_info, parser_of, warn_of_noise, write_result
from device.images import read_photo
from device.model.codes import apply_map
from edgetl.backbones import load_backbone
from edgetl.photos import find_photos
from edgetl.training.head import Examples, balance, fit_head, probabilities
from edgetl.training.trunk import compile_trunk

BATCH = 32
TARGET = 10.0  # times faster, with ten epochs


def main() -> None:
    """Run both and write the result."""
    options = _options()
    warn_of_noise()
    started = time.perf_counter()
    backbone, preprocessing = load_backbone(options.backbone)
    images, targets = _examples(options.photos, options.limit, preprocessing, options.seed)
    loading = time.perf_counter() - started
    ours = _ours(backbone, preprocessing, images, targets, options)
    peer = _peer(backbone, preprocessing, images, targets, options)
    speedup = peer["seconds"] / ours["seconds"]
    # opening the backbone takes the same time for any number of photos
    per_photo = peer["seconds"] / (ours["seconds"] - ours["opening_seconds"])
    result = {
        "benchmark": "finetune",
        "machine": machine_info(options.seed),
        "backbone": options.backbone,
        "images": len(images),
        "epochs": options.epochs,
        "data": "photos" if options.photos else "drawn images",
        "loading_seconds": round(loading, 2),
        "cached_embeddings": ours,
        "model_fit": peer,
        "speedup": round(speedup, 1),
        "speedup_without_opening": round(per_photo, 1),
        "target": TARGET,
        "reached": speedup >= TARGET,
    }
    write_result(result, options.out)


def _options() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("photos", type=Path, nargs="?", help="Folder with one folder of photos per class.")
    parser.add_argument("--backbone", default="efficientnet-lite0", help="Name of the backbone.")
    parser.add_argument("--epochs", type=int, default=10, help="Number of epochs.  [default: 10]")
    parser.add_argument("--measured-epochs", type=int, help="Epochs of model.fit to run.  [default: all]")
    parser.add_argument("--limit", type=int, default=256, help="Maximum number of images.  [default: 256]")
    parser.add_argument("--seed", type=int, default=0, help="Seed for the choice of photos and the training.")
    return parser.parse_args()


def _examples(
    photos: Path | None, limit: int, preprocessing: Any, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    generator = np.random.default_rng(seed)
    if photos is None:
        shape = (limit, preprocessing.height, preprocessing.width, preprocessing.channels)
        return generator.integers(0, 256, shape, np.uint8), np.arange(limit) % 2
    found = find_photos(photos)
    chosen = [found.photos[index] for index in generator.permutation(len(found.photos))[:limit]]
    images = np.stack([preprocessing.prepare(read_photo(photo.path)) for photo in chosen])
    return images, np.array([found.labels.index(photo.label) for photo in chosen])


def _ours(
    backbone: Any,
    preprocessing: Any,
    images: NDArray[np.uint8],
    targets: NDArray[np.int64],
    options: argparse.Namespace,
) -> dict[str, Any]:
    classes = int(targets.max()) + 1
    start = time.perf_counter()
    trunk = compile_trunk(backbone, preprocessing, len(images))
    opened = time.perf_counter()
    mapped = apply_map(trunk(images))
    embedded = time.perf_counter()
    fit = fit_head(
        Examples(mapped, targets),
        None,
        balance(targets, classes, True),
        epochs=options.epochs,
        rate=0.02,
        batch=BATCH,
        seed=options.seed,
    )
    done = time.perf_counter()
    accuracy = float((probabilities(mapped, fit.weights, fit.bias).argmax(1) == targets).mean())
    return {
        "seconds": round(done - start, 2),
        "opening_seconds": round(opened - start, 2),
        "embedding_seconds": round(embedded - opened, 2),
        "head_seconds": round(done - embedded, 3),
        "milliseconds_per_photo": round(1000 * (embedded - opened) / len(images), 2),
        "training_accuracy": round(accuracy, 4),
    }


def _peer(
    backbone: Any,
    preprocessing: Any,
    images: NDArray[np.uint8],
    targets: NDArray[np.int64],
    options: argparse.Namespace,
) -> dict[str, Any]:
    import keras

    keras.utils.set_random_seed(options.seed)
    backbone.trainable = False
    head = keras.layers.Dense(int(targets.max()) + 1, activation="softmax")
    model = keras.Sequential([keras.Input(backbone.input_shape[1:]), backbone, head])
    model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    inputs = preprocessing.normalize(images)  # not timed: the peer may keep all inputs in RAM
    epochs = min(options.epochs, options.measured_epochs or options.epochs)
    model.fit(inputs[:BATCH], targets[:BATCH], batch_size=BATCH, verbose=0)  # compiles; not timed
    start = time.perf_counter()
    history = model.fit(inputs, targets, batch_size=BATCH, epochs=epochs, verbose=0)
    seconds = time.perf_counter() - start
    return {
        "seconds": round(seconds * options.epochs / epochs, 2),
        "measured_epochs": epochs,
        "extrapolated": epochs < options.epochs,
        "seconds_per_epoch": round(seconds / epochs, 2),
        "training_accuracy": round(float(history.history["accuracy"][-1]), 4),
    }


if __name__ == "__main__":
    main()
