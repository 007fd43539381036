"""How much faster is training the head on cached embeddings than ``model.fit`` through the frozen backbone?

Usage: ``python -m benchmarks.finetune [PHOTOS] [--epochs 10] [--limit 256] [--measured-epochs N] [--check]``

Both train a softmax head for the same number of epochs on the same photos in the same process, from the loaded backbone to
the trained head. Our time includes opening the frozen backbone in LiteRT, embedding each photo once and training in NumPy.
The peer follows the Keras guides: a backbone that is not trainable, a Dense layer on top, ``model.fit``. Its time includes
building the graphs, measured as the first batch. With ``--measured-epochs`` only some epochs of the peer are run (each takes
the same time) and the rest is extrapolated, which the result states.

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

from device.images import read_photo
from device.model.codes import apply_map
from edgetl.backbones import load_backbone
from edgetl.photos import find_photos
from edgetl.training.head import Examples, balance, fit_head, probabilities
from edgetl.training.trunk import compile_trunk

from .figures import Figure
from .measurement import Measurement, Table, question_parser

BATCH = 32
CLOCKS = ("clock", "processor")
TARGET = 10.0  # times faster, with ten epochs


def main() -> None:
    """Run both and write the result."""
    options = _options()
    measurement = Measurement("finetune", options.seed)
    backbone, preprocessing = load_backbone(options.backbone)
    images, targets = _examples(options.photos, options.limit, preprocessing, options.seed)
    ours = _ours(backbone, preprocessing, images, targets, options)
    peer = _peer(backbone, preprocessing, images, targets, options)
    # opening the backbone takes the same time for any number of photos
    result = {
        "backbone": options.backbone,
        "images": len(images),
        "epochs": options.epochs,
        "data": "photos" if options.photos else "drawn images",
        "cached_embeddings": ours,
        "model_fit": peer,
        "speedup": {clock: round(peer[clock] / ours[clock], 2) for clock in CLOCKS},
        "speedup_without_opening": {
            clock: round(
                (peer[clock] - peer[f"opening_{clock}"]) / (ours[clock] - ours[f"opening_{clock}"]), 2
            )
            for clock in CLOCKS
        },
    }
    measurement.finish(measurement.result(figures(result), [table(result)], result), options)


def figures(result: dict[str, Any]) -> list[Figure]:
    """Return what is compared: processor time, because other programs change it less."""
    speedup, without = (result[name]["processor"] for name in ("speedup", "speedup_without_opening"))
    epochs = f"{result['epochs']} epochs on {result['images']} photos"
    return [
        Figure(f"model.fit / cached embeddings, {epochs}", speedup, "x", "higher", 1.4, goal=TARGET),
        Figure(f"the same without opening, {epochs}", without, "x", "higher", 1.4),
        Figure(
            "embedding a photo, processor time",
            result["cached_embeddings"]["milliseconds_per_photo"],
            "ms",
            tolerance=1.5,
        ),
    ]


def table(result: dict[str, Any]) -> Table:
    """Return the times of both."""
    peer, ours = result["model_fit"], result["cached_embeddings"]
    measured = f", measured epochs: {peer['measured_epochs']}" if peer["extrapolated"] else ""
    rows = (
        (f"model.fit through the frozen backbone{measured}", peer["processor"], peer["clock"]),
        ("of this, building the graphs", peer["opening_processor"], peer["opening_clock"]),
        ("edgetl: open the backbone, embed once, train the head", ours["processor"], ours["clock"]),
        ("of this, opening the backbone", ours["opening_processor"], ours["opening_clock"]),
        ("of this, training the head", ours["head_processor"], ours["head_clock"]),
    )
    note = (
        f"{result['epochs']} epochs on {result['images']} {result['data']}, {result['backbone']}. Opening the backbone takes "
        "the same time for any number of photos, so the gain grows with their number."
    )
    return Table("Training a head", ("", "processor, s", "on the clock, s"), rows, note)


def _now() -> dict[str, float]:
    return {"clock": time.perf_counter(), "processor": time.process_time()}


def _between(start: dict[str, float], end: dict[str, float], prefix: str = "") -> dict[str, float]:
    return {f"{prefix}{clock}": round(end[clock] - start[clock], 3) for clock in CLOCKS}


def _options() -> argparse.Namespace:
    parser = question_parser("finetune", __doc__)
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
    start = _now()
    trunk = compile_trunk(backbone, preprocessing, len(images))
    opened = _now()
    mapped = apply_map(trunk(images))
    embedded = _now()
    fit = fit_head(
        Examples(mapped, targets),
        None,
        balance(targets, classes, True),
        epochs=options.epochs,
        rate=0.02,
        batch=BATCH,
        seed=options.seed,
    )
    done = _now()
    accuracy = float((probabilities(mapped, fit.weights, fit.bias).argmax(1) == targets).mean())
    return {
        **_between(start, done),
        **_between(start, opened, "opening_"),
        **_between(opened, embedded, "embedding_"),
        **_between(embedded, done, "head_"),
        "milliseconds_per_photo": round(
            1000 * (embedded["processor"] - opened["processor"]) / len(images), 2
        ),
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
    start = _now()
    model.fit(inputs[:BATCH], targets[:BATCH], batch_size=BATCH, verbose=0)
    built = _now()
    history = model.fit(inputs, targets, batch_size=BATCH, epochs=epochs, verbose=0)
    building, taken = _between(start, built), _between(built, _now())
    return {
        **{clock: round(building[clock] + taken[clock] * options.epochs / epochs, 2) for clock in CLOCKS},
        **{f"opening_{clock}": building[clock] for clock in CLOCKS},
        "measured_epochs": epochs,
        "extrapolated": epochs < options.epochs,
        "training_accuracy": round(float(history.history["accuracy"][-1]), 4),
    }


if __name__ == "__main__":
    main()
