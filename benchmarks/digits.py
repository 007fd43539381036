"""How well do the small backbones recognize handwritten digits from few labeled samples?

Usage: ``python -m benchmarks.digits [DIGITS.npz] [--seeds 3] [--methods gan-28,raw-exact]``

With k labeled samples per digit, cnn-28 and resnet-28 are trained from scratch on these samples, converted to int8 and
taught the same samples as a device does it: `Learner.learn_many` with the ``exact`` head. gan-28 is trained without labels
on all digits that no test uses, and taught the same way; beside it, all 2,688 pooled features in float, of which gan-28
keeps 208 numbers, and the same network with random weights. On the same samples: the ``exact`` head on raw pixels, and
scikit-learn's SVC on raw pixels. Other digits of the same set test all of them; nothing is chosen by the test digits.

The digits are those of scikit-learn (1,797 of 8x8 pixels). With DIGITS.npz, an archive with the arrays ``x`` uint8
[N, 28, 28] and ``y`` [N], such as MNIST, its digits are used too.
"""

from __future__ import annotations

import functools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
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
from edgetl.backbones.gan import fit_components
from edgetl.backbones.registry import require_keras
from edgetl.backbones.small import load_small
from edgetl.training.adversarial import GanRecipe, GanTraining, steps_per_epoch
from edgetl.training.crops import Crops, vary_photo
from edgetl.training.pipeline import Batch, Pipeline
from edgetl.training.whole import Recipe, WholeTraining

EPOCHS = {10: 60, 100: 20}  # samples per digit -> epochs from scratch
RATE, BATCH = 2e-3, 16
TESTED = 1000  # digits of the rest, at most
GAN_STEPS = 3000
# with fewer, a GAN is trained for each k, because leaving out the tests of all k leaves too few
FEW_DIGITS = 5000


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
class Task:
    """Digits of which k samples per digit are taught."""

    digits: Digits
    k: int
    seed: int

    @functools.cached_property
    def taught(self) -> Digits:
        """The samples."""
        return split(self.digits, self.k, self.seed)[0]

    @functools.cached_property
    def test(self) -> Digits:
        """Other digits."""
        return split(self.digits, self.k, self.seed)[1]


Method = Callable[[Task], dict[str, float]]


@dataclass(frozen=True)
class InMemory(Pipeline):
    """A pipeline whose photos are arrays."""

    images: Image | None = None

    def training(self, epoch: int, size: tuple[int, int] | None = None) -> Iterator[Batch]:
        """Yield each image once, varied, in an order that depends on the seed and the epoch; `size` is theirs."""
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
    parser.add_argument("--first-seed", type=int, default=0, help="The first of the seeds.  [default: 0]")
    parser.add_argument(
        "--methods",
        type=lambda text: text.split(","),
        default=list(METHODS),
        help="Some of the methods, with commas.",
    )
    parser.add_argument("--without-sklearn", action="store_true", help="Use only the digits of the archive.")
    options = parser.parse_args()
    warn_of_noise()
    require_keras()
    sets = {} if options.without_sklearn else {"scikit-learn": read_sklearn()}
    if options.npz:
        sets[options.npz.stem] = read_archive(options.npz)
    if unknown := set(options.methods) - set(METHODS):
        raise SystemExit(f"unknown methods {', '.join(sorted(unknown))}; choose among {', '.join(METHODS)}")
    results = [
        measure(
            name, digits, k, range(options.first_seed, options.first_seed + options.seeds), options.methods
        )
        for name, digits in sets.items()
        for k in EPOCHS
    ]
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
    taught, rest = _rows(digits, k, seed)
    return digits.take(taught), digits.take(rest)


def unlabeled(digits: Digits, k: int, seed: int) -> Digits:
    """Return the digits to train a GAN on: those that no test uses, or not the test of `k` where they are few."""
    used = (k,) if len(digits.digits) < FEW_DIGITS else tuple(EPOCHS)
    tests = np.concatenate([_rows(digits, each, seed)[1] for each in used])
    return digits.take(np.setdiff1d(np.arange(len(digits.digits)), tests))


def _rows(digits: Digits, k: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    order = np.random.default_rng([seed, k]).permutation(len(digits.digits))
    taught = np.concatenate([order[digits.digits[order] == digit][:k] for digit in range(10)])
    return taught, order[~np.isin(order, taught)][:TESTED]


def measure(name: str, digits: Digits, k: int, seeds: range, methods: Sequence[str]) -> dict[str, Any]:
    """Return mean and standard deviation of the accuracy of each method over the seeds."""
    runs: dict[str, list[dict[str, float]]] = {method: [] for method in methods}
    tested = 0
    for seed in seeds:
        task = Task(digits, k, seed)
        tested = len(task.test.digits)
        for method in methods:
            runs[method].append(METHODS[method](task))
            print(f"{name}, k = {k}, seed {seed}: {method} {runs[method][-1]}", file=sys.stderr, flush=True)
    return {"digits": name, "k": k, "tested": tested, "seeds": list(seeds)} | {
        method: _summary(found) for method, found in runs.items()
    }


def _summary(runs: list[dict[str, float]]) -> dict[str, float]:
    accuracies = [run["accuracy"] for run in runs]
    spread = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
    others = {
        key: round(statistics.mean(run[key] for run in runs), 1) for key in runs[0] if key != "accuracy"
    }
    return {"accuracy": round(statistics.mean(accuracies), 4), "deviation": round(spread, 4), **others}


def train_supervised(name: str, taught: Digits, epochs: int, seed: int) -> TrainedModel:
    """Train a small backbone from scratch on labeled digits."""
    import keras

    keras.utils.set_random_seed(seed)
    network, preprocessing = load_small(name)
    crops = Crops(0.7, flip=False, brightness=0.15)
    paths = [Path(str(row)) for row in range(len(taught.images))]
    pipeline = InMemory(paths, taught.digits, preprocessing, crops, seed, BATCH, Path(), taught.images)
    WholeTraining(network, np.ones(10), Recipe(epochs, RATE, scratch=True, seed=seed)).run(pipeline, None)
    return TrainedModel(network, name, preprocessing, tuned=True, info={"origin": "trained here"})


def train_gan(images: Image, steps: int, seed: int) -> TrainedModel:
    """Train gan-28 without labels on gray digits uint8 [N, 28, 28, 1]; with 0 steps its weights stay random."""
    import keras

    keras.utils.set_random_seed(seed)
    network, preprocessing = load_small("gan-28")
    epochs = -(-steps // steps_per_epoch(len(images), GanRecipe.batch))
    training = GanTraining(network, GanRecipe(epochs, seed=seed))
    training.run(images, preprocessing)
    fit_components(network, preprocessing.normalize(images[:1000]))
    info = {"origin": "trained here"}
    return TrainedModel(network, "gan-28", preprocessing, info=info, generator=training.generator)


@functools.lru_cache(maxsize=16)
def _gan(seen: bytes, steps: int, seed: int) -> tuple[TrainedModel, float]:
    started = time.perf_counter()
    images = np.frombuffer(seen, np.uint8).reshape(-1, 28, 28, 1)
    return train_gan(images, steps, seed), time.perf_counter() - started


def _supervised(name: str) -> Method:
    def run(task: Task) -> dict[str, float]:
        started = time.perf_counter()
        model = train_supervised(name, task.taught, EPOCHS[task.k], task.seed)
        return teach(model, task) | {"train_seconds": time.perf_counter() - started}

    return run


def _unsupervised(steps: int) -> Method:
    def run(task: Task) -> dict[str, float]:
        seen = unlabeled(task.digits, task.k, task.seed).images[..., :1]
        model, seconds = _gan(seen.tobytes(), steps, task.seed)
        return teach(model, task) | {"train_seconds": seconds, "unlabeled": len(seen)}

    return run


def _all_features(task: Task) -> dict[str, float]:
    """Return the accuracy of the exact head on the features as Radford et al. pool them: a grid of 4x4 of all filters."""
    seen = unlabeled(task.digits, task.k, task.seed).images[..., :1]
    model, _ = _gan(seen.tobytes(), GAN_STEPS, task.seed)
    embed = pooled_features(model)
    head = create_head("exact", embed(task.test.images[:1]).shape[1])
    head.learn_many(encode(embed(task.taught.images)), task.taught.labels)
    best = head.probabilities(encode(embed(task.test.images))).argmax(1)
    return {"accuracy": _share([head.labels[column] for column in best], task.test)}


def pooled_features(model: TrainedModel) -> Callable[[Image], NDArray[np.float32]]:
    """Return a function from digits uint8 [N, 28, 28, 3] to all features of gan-28 on grids of 4x4, float32 [N, 2688]."""
    import keras

    grids = [model.backbone.get_layer(f"block{number}_act").output for number in (1, 2, 3)]
    sides = [int(grid.shape[1]) for grid in grids]
    pooled = [
        keras.layers.Flatten()(keras.layers.MaxPooling2D(-(-side // 4), padding="same")(grid))
        for side, grid in zip(sides, grids, strict=True)
    ]
    network = keras.Model(model.backbone.inputs[0], keras.layers.Concatenate()(pooled))

    def embed(images: Image) -> NDArray[np.float32]:
        normalized = model.preprocessing.normalize(images[..., :1])
        parts = [
            np.asarray(network(part, training=False))
            for part in np.array_split(normalized, -(-len(images) // 256))
        ]
        return np.concatenate(parts)

    return embed


def teach(model: TrainedModel, task: Task) -> dict[str, float]:
    """Convert a backbone, teach it the samples as a device does, and return its accuracy on the test digits."""
    taught, test = task.taught, task.test
    with tempfile.TemporaryDirectory() as scratch:
        photos = [Path(scratch, f"{row}.png") for row in range(len(taught.images))]
        for path, image in zip(photos, taught.images, strict=True):
            cv2.imwrite(str(path), image)
        file = convert(model, Path(scratch, "digits.tflite"), calibrate=photos).path
        with Learner.open(file, state=None) as learner:
            learner.learn_many(list(taught.images), taught.labels)
            predicted = [learner.predict_one(image).label for image in test.images]
            estimate = learner.status(wait=True).report
        size = file.stat().st_size
    return {
        "accuracy": _share(predicted, test),
        "estimate": estimate.accuracy if estimate and estimate.accuracy is not None else float("nan"),
        "kilobytes": size / 1000,
    }


def _pixels(task: Task) -> dict[str, float]:
    taught, test = task.taught, task.test
    head = create_head("exact", taught.pixels.shape[1])
    head.learn_many(encode(taught.pixels), taught.labels)
    best = head.probabilities(encode(test.pixels)).argmax(1)
    return {"accuracy": _share([head.labels[column] for column in best], test)}


def _svc(task: Task) -> dict[str, float]:
    from sklearn.svm import SVC

    model = SVC(C=10, gamma="scale").fit(task.taught.pixels, task.taught.digits)
    return {"accuracy": _share([str(digit) for digit in model.predict(task.test.pixels)], task.test)}


METHODS: dict[str, Method] = {
    "cnn-28": _supervised("cnn-28"),
    "resnet-28": _supervised("resnet-28"),
    "gan-28": _unsupervised(GAN_STEPS),
    "gan-28-all-features": _all_features,
    "gan-28-untrained": _unsupervised(0),
    "raw-exact": _pixels,
    "raw-svc": _svc,
}


def _share(predicted: list[str], test: Digits) -> float:
    return float(np.mean([given == label for given, label in zip(predicted, test.labels, strict=True)]))


if __name__ == "__main__":
    main()
