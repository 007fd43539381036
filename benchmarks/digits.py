"""How well do the small backbones recognize handwritten digits from few labeled samples?

Usage: ``python -m benchmarks.digits [DIGITS.npz] [--seeds 3]``

With k labeled samples per digit, cnn-28 and resnet-28 are trained from scratch on these samples, converted to int8 and
taught the same samples as a device does it: `Learner.learn_many` with the ``exact`` head. Beside them, on the same
samples: the ``exact`` head on raw pixels, and scikit-learn's SVC on raw pixels. Other digits of the same set test all of
them; nothing is chosen by the test digits.

The digits are those of scikit-learn (1,797 of 8x8 pixels). With DIGITS.npz, an archive with the arrays ``x`` uint8
[N, 28, 28] and ``y`` [N], such as MNIST, its digits are used too.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import machine_info, parser_of, warn_of_noise, write_result
from converters import TrainedModel, convert
from device.heads import create_head
from device.images import Image
from device.learner import Learner
from device.model.codes import encode
from edgetl.backbones.registry import require_keras
from edgetl.backbones.small import SMALL, load_small
from edgetl.training.crops import Crops, vary_photo
from edgetl.training.pipeline import Batch, Pipeline
from edgetl.training.whole import Recipe, WholeTraining

EPOCHS = {10: 60, 100: 20}  # samples per digit -> epochs from scratch
RATE, BATCH = 2e-3, 16
TESTED = 1000  # digits of the rest, at most


@dataclass(frozen=True)
class Digits:
    """Images uint8 [N, 28, 28, 3] and the digits that they show, int64 [N]."""

    images: Image
    digits: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> Digits:
        """Return some of them."""
        return Digits(self.images[rows], self.digits[rows])

    @property
    def pixels(self) -> NDArray[np.float32]:
        """The gray levels from 0 to 1, float32 [N, 784]."""
        return self.images[..., 0].reshape(len(self.images), -1).astype(np.float32) / np.float32(255)

    @property
    def labels(self) -> list[str]:
        """The digits as labels."""
        return [str(digit) for digit in self.digits]


@dataclass(frozen=True)
class InMemory(Pipeline):
    """A pipeline whose photos are arrays."""

    images: Image | None = None

    def training(self, epoch: int) -> Iterator[Batch]:
        """Yield each image once, varied, in an order that depends on the seed and the epoch."""
        assert self.images is not None
        generator = np.random.default_rng([self.seed, epoch])
        for rows in np.array_split(generator.permutation(len(self.targets)), self.steps):
            varied = [vary_photo(self.images[row], self.preprocessing, self.crops, generator) for row in rows]
            yield self.preprocessing.normalize(np.stack(varied)), self.targets[rows]


def main() -> None:
    """Measure and write the result."""
    parser = parser_of(__doc__)
    parser.add_argument("npz", type=Path, nargs="?", help="Archive with x uint8 [N, 28, 28] and y [N].")
    parser.add_argument("--seeds", type=int, default=3, help="Number of seeds.  [default: 3]")
    parser.add_argument("--without-sklearn", action="store_true", help="Use only the digits of the archive.")
    options = parser.parse_args()
    warn_of_noise()
    require_keras()
    sets = {} if options.without_sklearn else {"scikit-learn": read_sklearn()}
    if options.npz:
        sets[options.npz.stem] = read_archive(options.npz)
    results = [measure(name, digits, k, options.seeds) for name, digits in sets.items() for k in EPOCHS]
    write_result({"benchmark": "digits", "machine": machine_info(0), "results": results}, options.out)


def read_sklearn() -> Digits:
    """Return scikit-learn's digits, enlarged to 28x28 pixels."""
    from sklearn.datasets import load_digits

    values, digits = load_digits(return_X_y=True)
    small = (values.reshape(-1, 8, 8) * 255 / 16).round().astype(np.uint8)
    gray = np.stack([cv2.resize(one, (28, 28), interpolation=cv2.INTER_LINEAR_EXACT) for one in small])
    return Digits(np.repeat(gray[..., None], 3, 3), digits.astype(np.int64))


def read_archive(path: Path) -> Digits:
    """Return the digits of an archive; exit with a message if it has another form."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            images, digits = arrays["x"], arrays["y"]
    except (OSError, ValueError, KeyError) as error:
        raise SystemExit(f"{path} must be an .npz with the arrays x and y: {error}") from error
    if images.dtype != np.uint8 or images.shape[1:] != (28, 28) or digits.shape != images.shape[:1]:
        raise SystemExit(
            f"{path} must have x uint8 [N, 28, 28] and y [N], got {images.dtype} {images.shape} and {digits.shape}"
        )
    return Digits(np.repeat(images[..., None], 3, 3), digits.astype(np.int64))


def split(digits: Digits, k: int, seed: int) -> tuple[Digits, Digits]:
    """Return k random samples per digit, and other digits to test with."""
    order = np.random.default_rng([seed, k]).permutation(len(digits.digits))
    taught = np.concatenate([order[digits.digits[order] == digit][:k] for digit in range(10)])
    rest = order[~np.isin(order, taught)][:TESTED]
    return digits.take(taught), digits.take(rest)


def measure(name: str, digits: Digits, k: int, seeds: int) -> dict[str, Any]:
    """Return mean and standard deviation of the accuracy of each method over the seeds."""
    ways: dict[str, Callable[[Digits, Digits, int], dict[str, float]]] = {
        **{name: _backbone(name, EPOCHS[k]) for name in SMALL},
        "raw pixels, exact head": _pixels,
        "raw pixels, SVC": _svc,
    }
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    tested = 0
    for seed in range(seeds):
        taught, test = split(digits, k, seed)
        tested = len(test.digits)
        for way, run in ways.items():
            runs[way].append(run(taught, test, seed))
            print(f"{name}, k = {k}, seed {seed}: {way} {runs[way][-1]}", file=sys.stderr, flush=True)
    return {"digits": name, "k": k, "tested": tested, "seeds": seeds} | {
        way: _summary(found) for way, found in runs.items()
    }


def _summary(runs: list[dict[str, float]]) -> dict[str, float]:
    accuracies = [run["accuracy"] for run in runs]
    spread = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
    others = {
        key: round(statistics.mean(run[key] for run in runs), 1) for key in runs[0] if key != "accuracy"
    }
    return {"accuracy": round(statistics.mean(accuracies), 4), "deviation": round(spread, 4), **others}


def _backbone(name: str, epochs: int) -> Callable[[Digits, Digits, int], dict[str, float]]:
    def run(taught: Digits, test: Digits, seed: int) -> dict[str, float]:
        started = time.perf_counter()
        model = _train(name, taught, epochs, seed)
        seconds = time.perf_counter() - started
        with tempfile.TemporaryDirectory() as scratch:
            photos = [Path(scratch, f"{row}.png") for row in range(len(taught.images))]
            for path, image in zip(photos, taught.images, strict=True):
                cv2.imwrite(str(path), image)
            file = convert(model, Path(scratch, "digits.tflite"), calibrate=photos).path
            with Learner.open(file, state=None) as learner:
                learner.learn_many(list(taught.images), taught.labels)
                said = [learner.predict_one(image).label for image in test.images]
            size = file.stat().st_size
        return {"accuracy": _share(said, test), "train_seconds": seconds, "kilobytes": size / 1000}

    return run


def _train(name: str, taught: Digits, epochs: int, seed: int) -> TrainedModel:
    import keras

    keras.utils.set_random_seed(seed)
    network, preprocessing = load_small(name)
    crops = Crops(0.7, flip=False, brightness=0.15)
    paths = [Path(str(row)) for row in range(len(taught.images))]
    pipeline = InMemory(paths, taught.digits, preprocessing, crops, seed, BATCH, Path(), taught.images)
    WholeTraining(network, np.ones(10), Recipe(epochs, RATE, scratch=True, seed=seed)).run(pipeline, None)
    return TrainedModel(network, name, preprocessing, tuned=True, info={"origin": "trained here"})


def _pixels(taught: Digits, test: Digits, seed: int) -> dict[str, float]:
    head = create_head("exact", taught.pixels.shape[1])
    head.learn_many(encode(taught.pixels), taught.labels)
    best = head.probabilities(encode(test.pixels)).argmax(1)
    return {"accuracy": _share([head.labels[column] for column in best], test)}


def _svc(taught: Digits, test: Digits, seed: int) -> dict[str, float]:
    from sklearn.svm import SVC

    model = SVC(C=10, gamma="scale").fit(taught.pixels, taught.digits)
    return {"accuracy": _share([str(digit) for digit in model.predict(test.pixels)], test)}


def _share(said: list[str], test: Digits) -> float:
    return float(np.mean([given == label for given, label in zip(said, test.labels, strict=True)]))


if __name__ == "__main__":
    main()
