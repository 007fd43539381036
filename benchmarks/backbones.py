"""How accurate is the exact head on frozen backbones, in float and in int8?

Usage: ``python -m benchmarks.backbones PHOTOS... [--backbones efficientnet-lite0 mobilenet-v2] [--splits 5]``

Each folder of photos is split at random, three quarters to learn and one quarter to test, with the same splits for all
backbones. A float file and an int8 file of each backbone embed the photos; the int8 file is calibrated on sample photos of
installed packages, which belong to none of the sets. The head learns the codes that a device stores. Beside the accuracies:
the cosine between float and int8 embeddings, with and without the part that all photos share. Differences between
backbones are paired by split.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import machine_info, parser_of, warn_of_noise, write_result
from device.heads import create_head
from device.images import Image, read_photo
from device.model.codes import encode
from device.model.embedder import Embedder
from device.model.modelfile import ModelFile
from edgetl import convert
from edgetl.photos import find_photos

FORMS = ("none", "int8")
TESTED = 0.25
REFERENCE = "efficientnet-lite0"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the result."""
    parser = parser_of(__doc__)
    parser.add_argument("photos", type=Path, nargs="+", help="Folders with one folder of photos per label.")
    parser.add_argument(
        "--backbones", nargs="+", default=[REFERENCE, "mobilenet-v2"], help="Names of backbones."
    )
    parser.add_argument("--splits", type=int, default=5, help="Number of random splits.  [default: 5]")
    options = parser.parse_args(arguments)
    warn_of_noise()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        models = {name: _convert(name, Path(folder)) for name in options.backbones}
        for photos in options.photos:
            results += measure(photos, models, options.splits)
    write_result({"benchmark": "backbones", "machine": machine_info(0), "results": results}, options.out)


def measure(photos: Path, models: dict[str, dict[str, Path]], splits: int) -> list[dict[str, Any]]:
    """Return a row per backbone for a folder of photos."""
    found = find_photos(photos)
    images = [read_photo(photo.path) for photo in found.photos]
    labels = np.array([photo.label for photo in found.photos])
    rows, reference = [], None
    for name, paths in models.items():
        embeddings = {form: _embed(path, images) for form, path in paths.items()}
        accuracies = {
            form: [accuracy(values, labels, seed) for seed in range(splits)]
            for form, values in embeddings.items()
        }
        reference = reference or accuracies["int8"]
        rows.append(
            {
                "photos": photos.name,
                "backbone": name,
                "count": len(labels),
                "splits": splits,
                **{form: _summary(values) for form, values in accuracies.items()},
                "int8_minus_float": _paired(accuracies["int8"], accuracies["none"]),
                "int8_minus_first": _paired(accuracies["int8"], reference),
                "cosine": round(_cosine(embeddings["none"], embeddings["int8"]), 4),
                "centered_cosine": round(
                    _cosine(*(values - values.mean(0) for values in embeddings.values())), 4
                ),
            }
        )
    return rows


def accuracy(embeddings: NDArray[np.float32], labels: NDArray[np.str_], seed: int) -> float:
    """Teach three quarters of the photos, chosen by the seed, and return the accuracy on the others."""
    order = np.random.default_rng(seed).permutation(len(labels))
    tested, taught = np.split(order, [round(TESTED * len(labels))])
    codes = encode(embeddings)
    head = create_head("exact", embeddings.shape[1])
    head.learn_many(codes[taught], list(labels[taught]))
    predicted = np.array([prediction.label for prediction in head.predict_many(codes[tested])])
    return float((predicted == labels[tested]).mean())


def _convert(name: str, folder: Path) -> dict[str, Path]:
    paths = {form: folder / f"{name.replace(':', '-')}-{form}.tflite" for form in FORMS}
    for form, path in paths.items():
        convert(name, path, quantize=form)  # type: ignore[arg-type]
    return paths


def _embed(path: Path, images: Sequence[Image]) -> NDArray[np.float32]:
    embedder = Embedder(ModelFile.open(path))
    try:
        return np.stack([embedder.embed_one(image) for image in images])
    finally:
        embedder.close()


def _cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return the mean cosine between rows."""
    products = (one * other).sum(1) / (np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1))
    return float(products.mean())


def _summary(values: Sequence[float]) -> dict[str, Any]:
    return {
        "accuracy": round(statistics.mean(values), 4),
        "by_split": [round(value, 4) for value in values],
    }


def _paired(values: Sequence[float], others: Sequence[float]) -> dict[str, float]:
    """Return the mean difference and its standard deviation over splits."""
    differences = np.subtract(values, others)
    return {
        "mean": round(float(differences.mean()), 4),
        "deviation": round(float(differences.std(ddof=1)) if len(differences) > 1 else 0.0, 4),
    }


if __name__ == "__main__":
    main()
