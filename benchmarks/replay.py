"""What does the replay of generated images gain or lose against the replay of stored samples?

Usage: ``python -m benchmarks.replay DIGITS.npz [--seeds 5]``

A softmax head learns ten digits one after another, 20 samples of each, as a device teaches labels. Between old and new digits
only the replay differs: none, class-balanced stored samples (the default), or images of the generator of gan-28 under the
labels that the head assigns (``--replay generated``). The ``exact`` head, which never forgets, is the reference. All
heads learn the same embeddings of an int8 file; gan-28 is trained without labels on digits that are not tested.

DIGITS.npz is an archive with the arrays ``x`` uint8 [N, 28, 28] and ``y`` [N], such as MNIST.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.digits import GAN_STEPS, Digits, read_archive, split, train_gan, unlabeled
from benchmarks.machine import machine_info, parser_of, warn_of_noise, write_result
from converters import convert
from device.heads import Head, create_head
from device.learner.signatures import GeneratedImages, GuardedSignatures
from device.model.codes import Codes, encode
from device.model.embedder import Embedder
from device.model.modelfile import ModelFile
from edgetl.backbones.registry import require_keras

PER_DIGIT = 20
HEADS = ("none", "stored", "generated", "exact")
_MOST_TAUGHT = 100  # samples per digit to draw from


@dataclass(frozen=True)
class Embedded:
    """Codes int16 [N, D] of digits and the digits themselves, int64 [N]."""

    codes: Codes
    digits: NDArray[np.int64]

    def of(self, digit: int) -> Codes:
        """Return the codes of one digit."""
        found: Codes = self.codes[self.digits == digit]
        return found


def main() -> None:
    """Measure and write the result."""
    parser = parser_of(__doc__)
    parser.add_argument("npz", type=Path, help="Archive with x uint8 [N, 28, 28] and y [N].")
    parser.add_argument("--seeds", type=int, default=5, help="Number of orders of the digits.  [default: 5]")
    parser.add_argument("--steps", type=int, default=GAN_STEPS, help="Steps of the GAN.  [default: 3000]")
    parser.add_argument(
        "--keep", type=Path, help="Folder for the model file, which is used again if it is there."
    )
    options = parser.parse_args()
    warn_of_noise()
    require_keras()
    digits = read_archive(options.npz)
    with tempfile.TemporaryDirectory() as scratch:
        embedder = Embedder(ModelFile.open(make_file(digits, options.steps, options.keep or Path(scratch))))
        taught, test = (embed(embedder, part) for part in split(digits, _MOST_TAUGHT, 0))
        source = GeneratedImages(GuardedSignatures(embedder, threading.Lock()), "signed_sqrt_l2")
        results = {name: measure(name, source, taught, test, options.seeds) for name in HEADS}
    write_result({"benchmark": "replay", "machine": machine_info(0), "results": results}, options.out)


def make_file(digits: Digits, steps: int, folder: Path) -> Path:
    """Return the model file of gan-28 with its generator in a folder, trained on digits that are not tested."""
    file = folder / "digits.tflite"
    if file.exists():
        return file
    folder.mkdir(parents=True, exist_ok=True)
    seen = unlabeled(digits, _MOST_TAUGHT, 0).images
    model = train_gan(seen[..., :1], steps, 0)
    photos = [folder / f"{number}.png" for number in range(100)]
    for path, image in zip(photos, seen, strict=False):
        cv2.imwrite(str(path), image)
    return convert(model, file, calibrate=photos, generator=True).path


def embed(embedder: Embedder, digits: Digits) -> Embedded:
    """Return the codes of digits."""
    return Embedded(encode(embedder.embed_many(digits.images)), digits.digits)


def measure(name: str, source: Any, taught: Embedded, test: Embedded, seeds: int) -> dict[str, Any]:
    """Return what a head recognizes after the last digit: of all digits, and of the first five, over the orders."""
    runs = [learn_in_order(name, source, taught, test, seed) for seed in range(seeds)]
    for seed, run in enumerate(runs):
        print(f"{name}, seed {seed}: {run}", file=sys.stderr, flush=True)
    return {
        figure: {
            "mean": round(statistics.mean(run[figure] for run in runs), 4),
            "deviation": round(statistics.stdev(run[figure] for run in runs), 4) if seeds > 1 else 0.0,
        }
        for figure in runs[0]
    }


def learn_in_order(name: str, source: Any, taught: Embedded, test: Embedded, seed: int) -> dict[str, float]:
    """Teach one digit after another in a random order, and judge the head on the test digits."""
    random = np.random.default_rng(seed)
    order = random.permutation(10)
    head = make_head(name, source, taught.codes.shape[1], seed)
    for digit in order:
        codes = random.permutation(taught.of(digit))[:PER_DIGIT]
        head.learn_many(codes, [str(digit)] * len(codes))
    best = head.probabilities(test.codes).argmax(axis=1)
    right = np.array([head.labels[column] for column in best]) == test.digits.astype(str)
    first = np.isin(test.digits, order[:5])
    return {"accuracy": float(right.mean()), "first_five": float(right[first].mean())}


def make_head(name: str, source: Any, dimensions: int, seed: int) -> Head:
    """Return an empty head: exact, or softmax with a kind of replay."""
    if name == "exact":
        return create_head("exact", dimensions)
    sources = {
        "none": lambda count, random: np.zeros((0, dimensions), np.int16),
        "stored": None,
        "generated": source,
    }
    return create_head("softmax", dimensions, seed=seed, source=sources[name])


if __name__ == "__main__":
    main()
