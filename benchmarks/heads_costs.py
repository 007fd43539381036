"""The cost of learning: time relative to the backbone, bytes of state, and the effect of long streams on both."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from converters.projection import learn_projection
from device.arrays import pack_arrays
from device.heads import HEADS, create_head
from device.model.codes import Codes, encode
from device.model.embedder import Embedder
from device.model.modelfile import ModelFile

from .embeddings import Dataset, model_file
from .heads_protocols import Task
from .machine import percentiles
from .peers import coral
from .peers.ours import codes_of

_AMORTIZED = 100
_KEPT = (1000, 10_000, 100_000)
_STREAM = (100, 1000, 10_000, 30_000, 100_000)


def embedding_time(repeats: int = 60) -> dict[str, float]:
    """Time one embedding of a frame that already has the model's input size, with one thread."""
    model = ModelFile.open(model_file())
    embedder = Embedder(model, threads=1)
    size = model.manifest.preprocessing
    frames = np.random.default_rng(0).integers(0, 256, (8, size.height, size.width, 3), np.uint8)
    for frame in frames:
        embedder.embed_one(frame)
    return _timed(lambda at: embedder.embed_one(frames[at % len(frames)]), repeats)


def crowd(dataset: Dataset, count: int, classes: int = 10, seed: int = 0) -> tuple[Codes, list[str]]:
    """Return `count` codes and labels: mixtures of two real embeddings of the same class, with noise."""
    random = np.random.default_rng(seed)
    pools = [np.flatnonzero(np.arange(len(dataset.labels)) % classes == at) for at in range(classes)]
    owners = np.arange(count) % classes
    picks = np.stack([random.choice(pools[at], 2) for at in owners])
    share = random.uniform(0, 1, (count, 1)).astype(np.float32)
    mixed = share * dataset.embeddings[picks[:, 0]] + (1 - share) * dataset.embeddings[picks[:, 1]]
    mixed += random.normal(0, 0.05, mixed.shape).astype(np.float32)
    return encode(mixed), [f"class {at}" for at in owners]


def update_cost(dataset: Dataset, embedding_ms: float) -> dict[str, Any]:
    """Time learning a sample until the new head is active, for several N.

    ``amortized``: 100 samples learned one by one, then one prediction, which solves; divided by 100.
    ``every sample``: a prediction after each sample, so that each one includes a solve.
    """
    rows: dict[str, Any] = {}
    codes, labels = crowd(dataset, 10_200)
    for count in (50, 100, 200, 500, 1000, 2000, 10_000):
        head = create_head("exact", codes.shape[1])
        start = max(count - _AMORTIZED, 0)
        head.learn_many(codes[:start], labels[:start])
        if start:
            head.predict_one(codes[0])
        amortized = min(_once(head.clone(), codes, labels, start, count) for _ in range(5))
        ready = create_head("exact", codes.shape[1])
        ready.learn_many(codes[:count], labels[:count])
        ready.predict_one(codes[0])
        each = _every_sample(ready, codes[10_000:], labels)
        rows[str(count)] = {
            "amortized_ms": round(amortized, 4),
            "amortized_share": round(amortized / embedding_ms, 4),
            "every_sample_ms": round(each["p50_ms"], 4),
            "every_sample_share": round(each["p50_ms"] / embedding_ms, 4),
        }
    return rows


def against_coral(task: Task, seed: int) -> dict[str, Any]:
    """Train on 1,000 samples of 10 classes: our head against Coral's SGD, one thread each.

    Ours is trained on complete embeddings and on 256 principal components, which a model file may return instead
    (they are learned at conversion, here from the same 1,000 samples, and are not timed). Coral's is trained with 500
    iterations as published, and with more iterations at the rate that is best on a quarter of the training part.
    """
    train, test = task.split(np.random.default_rng(seed), held_out=0.4)
    train = train[:1000]
    raw = task.features["raw"].astype(np.float32)
    short = encode(learn_projection(raw[train], 256).apply(raw), "identity")
    taught = [task.labels[owner] for owner in task.owners[train]]

    def exact(codes: Codes) -> Callable[[], Any]:
        def run() -> Any:
            head = create_head("exact", codes.shape[1])
            head.learn_many(codes[train], taught)
            _ = head.fit
            return lambda: head.probabilities(codes[test]).argmax(axis=1)

        return run

    def sgd(iterations: int, rate: float) -> Callable[[], Any]:
        def run() -> Any:
            peer = coral.SoftmaxRegression(raw.shape[1], len(task.labels), iterations, rate)
            peer.learn(raw[train], task.owners[train])
            return lambda: peer.predict(raw[test])

        return run

    rate = _best_rate(raw[train], task.owners[train], len(task.labels))
    runs = {
        "exact": (exact(codes_of(task.features["mapped"])), 9),
        "exact, 256 numbers": (exact(short), 9),
        "coral": (sgd(coral.ITERATIONS, coral.RATE), 5),
        "coral, rate chosen": (sgd(coral.ITERATIONS, rate), 3),
        "coral, rate chosen, 5,000 iterations": (sgd(5000, rate), 1),
        "coral, rate chosen, 50,000 iterations": (sgd(50_000, rate), 1),
    }
    result: dict[str, Any] = {"samples": len(train), "classes": len(task.labels), "set": task.name}
    result["rate_chosen"] = rate
    for name, (run, repeats) in runs.items():
        seconds = []
        for _ in range(repeats):
            began = time.perf_counter()
            answer = run()
            seconds.append(time.perf_counter() - began)
        accuracy = float((answer() == task.owners[test]).mean())
        result[name] = {"seconds": round(min(seconds), 4), "accuracy": round(accuracy, 4)}
    for name in ("exact", "exact, 256 numbers"):
        result[name]["times_faster"] = round(result["coral"]["seconds"] / result[name]["seconds"], 1)
    return result


def _best_rate(features: Any, owners: Any, classes: int) -> float:
    held_out = np.arange(len(owners)) % 4 == 0
    scores = {}
    for rate in (0.01, 0.03, 0.1, 0.3, 1.0):
        peer = coral.SoftmaxRegression(features.shape[1], classes, 2000, rate)
        peer.learn(features[~held_out], owners[~held_out])
        scores[rate] = float((peer.predict(features[held_out]) == owners[held_out]).mean())
    return max(scores, key=lambda rate: scores[rate])


def stream(dataset: Dataset) -> dict[str, Any]:
    """Learn 100,000 samples in batches of 100; return the time per batch, solve and prediction, and the bytes kept."""
    base, names = crowd(dataset, 10_000, seed=1)
    head = create_head("exact", base.shape[1])
    random = np.random.default_rng(2)
    rows: dict[str, Any] = {}
    seen = 0
    for target in _STREAM:
        while seen < target:
            at = int(random.integers(0, len(base) - _AMORTIZED))
            batch = base[at : at + _AMORTIZED] + random.integers(-3, 4, (1, base.shape[1]), np.int16)
            last = (batch, names[at : at + _AMORTIZED])
            began = time.perf_counter()
            head.learn_many(*last)
            learning = time.perf_counter() - began
            seen += _AMORTIZED
        began = time.perf_counter()
        head.predict_one(base[0])
        solving = time.perf_counter() - began
        predicting = _timed(lambda at: head.predict_one(base[at]), 30)
        rows[str(target)] = {
            "learn_100_ms": round(1000 * learning, 2),
            "solve_ms": round(1000 * solving, 1),
            "predict_ms": round(predicting["p50_ms"], 3),
            "state_bytes": len(pack_arrays(head.state(), compress=False)),
        }
    return rows


def sizes(dataset: Dataset) -> dict[str, Any]:
    """Return the number of bytes that each head stores after 1,000 and 5,000 samples of 10 classes."""
    codes, labels = crowd(dataset, 5000)
    rows: dict[str, Any] = {}
    for name in HEADS:
        counts = (1000,) if name == "softmax" else (1000, 5000)
        rows[name] = {}
        for count in counts:
            head = create_head(name, codes.shape[1])
            head.learn_many(codes[:count], labels[:count])
            rows[name][str(count)] = len(pack_arrays(head.state(), compress=False))
    return rows


def projected(task: Task, seed: int, draws: int = 3, dimensions: int = 256) -> dict[str, Any]:
    """Compare the exact head on complete embeddings and on principal components learned on the training part."""
    rows = []
    for draw in range(draws):
        train, test = task.split(np.random.default_rng([seed, draw]))
        projection = learn_projection(task.features["raw"][train].astype(np.float32), dimensions)
        short = encode(projection.apply(task.features["raw"].astype(np.float32)), "identity")
        rows.append(
            [_accuracy(task, codes, train, test) for codes in (codes_of(task.features["mapped"]), short)]
        )
    whole, less = np.mean(rows, axis=0)
    labels = [task.labels[owner] for owner in task.owners]
    return {
        "accuracy": round(float(whole), 4),
        "accuracy_projected": round(float(less), 4),
        "bytes": {str(count): _bytes(short, labels, count) for count in _KEPT},
    }


def _bytes(codes: Codes, labels: list[str], count: int) -> dict[str, int]:
    """Return the bytes that the exact head stores after `count` samples: the set repeated, with a little noise."""
    head, random = create_head("exact", codes.shape[1]), np.random.default_rng(3)
    for start in range(0, count, 500):
        places = np.arange(start, min(start + 500, count)) % len(codes)
        noise = random.integers(-3, 4, (len(places), codes.shape[1]), np.int16)
        head.learn_many(codes[places] + noise, [labels[at] for at in places])
    state = head.state()
    sketch = sum(array.nbytes for name, array in state.items() if name.startswith("sketch"))
    return {"statistics": sum(array.nbytes for array in state.values()) - sketch, "sketch": sketch}


def _accuracy(task: Task, codes: Codes, train: Any, test: Any) -> float:
    head = create_head("exact", codes.shape[1])
    head.learn_many(codes[train], [task.labels[owner] for owner in task.owners[train]])
    return float((head.probabilities(codes[test]).argmax(axis=1) == task.owners[test]).mean())


def _once(head: Any, codes: Codes, labels: list[str], start: int, stop: int) -> float:
    if start:
        head.predict_one(codes[0])
    began = time.perf_counter()
    for at in range(start, stop):
        head.learn_one(codes[at], labels[at])
    head.predict_one(codes[0])
    return 1000 * (time.perf_counter() - began) / (stop - start)


def _every_sample(head: Any, codes: Codes, labels: list[str]) -> dict[str, float]:
    def teach(at: int) -> None:
        head.learn_one(codes[at], labels[at])
        head.predict_one(codes[at])

    return _timed(teach, 8)


def _timed(step: Callable[[int], Any], repeats: int) -> dict[str, float]:
    seconds = []
    for at in range(repeats):
        began = time.perf_counter()
        step(at)
        seconds.append(time.perf_counter() - began)
    return percentiles(seconds)
