"""What learning costs: time beside the backbone's, bytes of state, and what long streams do to both."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from converters.projection import learn_projection
from device.arrays import pack_arrays
from device.codes import Codes, encode
from device.embedder import Embedder
from device.heads import HEADS, create_head
from device.modelfile import ModelFile

from .embeddings import Dataset, model_file
from .heads_protocols import Task
from .machine import percentiles
from .peers import coral
from .peers.ours import codes_of

_AMORTISED = 100
_STREAM = (100, 1000, 10_000, 30_000, 100_000)


def embedding_time(repeats: int = 60) -> dict[str, float]:
    """Time one embedding of a frame already at the model's size, one thread."""
    model = ModelFile.open(model_file())
    embedder = Embedder(model, threads=1)
    size = model.manifest.preprocessing
    frames = np.random.default_rng(0).integers(0, 256, (8, size.height, size.width, 3), np.uint8)
    for frame in frames:
        embedder.embed_one(frame)
    return _timed(lambda at: embedder.embed_one(frames[at % len(frames)]), repeats)


def crowd(dataset: Dataset, count: int, classes: int = 10, seed: int = 0) -> tuple[Codes, list[str]]:
    """Make `count` codes of ten classes out of real embeddings: mixtures of two of one class, and noise."""
    random = np.random.default_rng(seed)
    pools = [np.flatnonzero(np.arange(len(dataset.labels)) % classes == at) for at in range(classes)]
    owners = np.arange(count) % classes
    picks = np.stack([random.choice(pools[at], 2) for at in owners])
    share = random.uniform(0, 1, (count, 1)).astype(np.float32)
    mixed = share * dataset.embeddings[picks[:, 0]] + (1 - share) * dataset.embeddings[picks[:, 1]]
    mixed += random.normal(0, 0.05, mixed.shape).astype(np.float32)
    return encode(mixed), [f"class {at}" for at in owners]


def update_cost(dataset: Dataset, embedding_ms: float) -> dict[str, Any]:
    """Time learning and having the new head active, for several N.

    ``amortised``: 100 samples learned one by one, then one prediction, which solves; a hundredth of it.
    ``every sample``: a prediction after each sample, so that each one pays for a solve.
    """
    rows: dict[str, Any] = {}
    codes, labels = crowd(dataset, 10_200)
    for count in (50, 100, 200, 500, 1000, 2000, 10_000):
        head = create_head("exact", codes.shape[1])
        start = max(count - _AMORTISED, 0)
        head.learn_many(codes[:start], labels[:start])
        if start:
            head.predict_one(codes[0])
        amortised = min(_once(head.clone(), codes, labels, start, count) for _ in range(5))
        ready = create_head("exact", codes.shape[1])
        ready.learn_many(codes[:count], labels[:count])
        ready.predict_one(codes[0])
        each = _every_sample(ready, codes[10_000:], labels)
        rows[str(count)] = {
            "amortised_ms": round(amortised, 4),
            "amortised_share": round(amortised / embedding_ms, 4),
            "every_sample_ms": round(each["p50_ms"], 4),
            "every_sample_share": round(each["p50_ms"] / embedding_ms, 4),
        }
    return rows


def against_coral(task: Task, seed: int) -> dict[str, Any]:
    """Train on 1,000 samples of 10 classes: ours against Coral's 500 iterations, one thread each."""
    train, test = task.split(np.random.default_rng(seed), held_out=0.4)
    train = train[:1000]
    codes = codes_of(task.features["mapped"])
    labels = [task.labels[owner] for owner in task.owners]
    taught = [labels[at] for at in train]

    def exact() -> float:
        head = create_head("exact", codes.shape[1])
        head.learn_many(codes[train], taught)
        return float((head.probabilities(codes[test]).argmax(axis=1) == task.owners[test]).mean())

    def sgd() -> float:
        peer = coral.SoftmaxRegression(codes.shape[1], len(task.labels))
        peer.learn(task.features["raw"][train], task.owners[train])
        return float((peer.predict(task.features["raw"][test]) == task.owners[test]).mean())

    result: dict[str, Any] = {"samples": len(train), "classes": len(task.labels), "set": task.name}
    for name, run in (("exact", exact), ("coral", sgd)):
        seconds, accuracy = [], 0.0
        for _ in range(3):
            began = time.perf_counter()
            accuracy = run()
            seconds.append(time.perf_counter() - began)
        result[name] = {"seconds": round(min(seconds), 4), "accuracy": round(accuracy, 4)}
    result["times_faster"] = round(result["coral"]["seconds"] / result["exact"]["seconds"], 1)
    return result


def stream(dataset: Dataset) -> dict[str, Any]:
    """Learn 100,000 samples in batches of 100; the time of a batch with one solve, and the bytes kept."""
    base, names = crowd(dataset, 10_000, seed=1)
    head = create_head("exact", base.shape[1])
    random = np.random.default_rng(2)
    rows: dict[str, Any] = {}
    seen = 0
    for target in _STREAM:
        while seen < target:
            at = int(random.integers(0, len(base) - _AMORTISED))
            batch = base[at : at + _AMORTISED] + random.integers(-3, 4, (1, base.shape[1]), np.int16)
            last = (batch, names[at : at + _AMORTISED])
            began = time.perf_counter()
            head.learn_many(*last)
            learning = time.perf_counter() - began
            seen += _AMORTISED
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
    """Give the bytes each head stores after 1,000 and 5,000 samples of 10 classes."""
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
    """Compare the exact head on all numbers and on 256 principal components learned on the training part."""
    rows = []
    for draw in range(draws):
        train, test = task.split(np.random.default_rng([seed, draw]))
        projection = learn_projection(task.features["raw"][train].astype(np.float32), dimensions)
        short = encode(projection.apply(task.features["raw"].astype(np.float32)), "identity")
        rows.append(
            [_accuracy(task, codes, train, test) for codes in (codes_of(task.features["mapped"]), short)]
        )
    whole, less = np.mean(rows, axis=0)
    head = create_head("exact", dimensions)
    labels = [task.labels[owner] for owner in task.owners]
    head.learn_many(short, labels)
    state = head.state()
    kept = sum(array.nbytes for name, array in state.items() if not name.startswith("sketch"))
    return {
        "accuracy": round(float(whole), 4),
        "accuracy_projected": round(float(less), 4),
        "samples": len(labels),
        "statistics_bytes": kept,
        "sketch_bytes": sum(array.nbytes for name, array in state.items() if name.startswith("sketch")),
    }


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
