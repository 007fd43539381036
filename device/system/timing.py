"""Measure how long a device takes per frame and per taught sample."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..heads import create_head
from ..model.codes import encode
from ..model.embedder import Embedder
from ..model.modelfile import ModelFile
from . import health

CAMERA_SIZE = (480, 640)  # height and width of the timed frame, a common size of cameras
LESSONS = 30  # timed updates of the head; each takes about as long as the backbone


@dataclass(frozen=True)
class Timing:
    """Times of one step, in milliseconds.

    Attributes:
        step: What was timed.
        runs: Number of runs.
        p50: Median.
        p95: 95th percentile.
        p99: 99th percentile.
    """

    step: str
    runs: int
    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, step: str, seconds: Sequence[float]) -> Timing:
        """Summarize times in seconds.

        Example:
            >>> Timing.of("nap", [0.001, 0.002, 0.009]).p50
            2.0
        """
        ordered = sorted(seconds)
        p50, p95, p99 = (
            round(1000 * ordered[min(len(ordered) - 1, len(ordered) * share // 100)], 4)
            for share in (50, 95, 99)
        )
        return cls(step, len(ordered), p50, p95, p99)


@dataclass(frozen=True)
class Bench:
    """The result of `bench`.

    Attributes:
        model: Name, backbone, dimensions and quantization.
        runtime: Name, version, threads and delegate.
        machine: Board, cpu, governor and load; times mean nothing without them.
        head: Name of the head, and its number of samples and labels.
        timings: One per step.
    """

    model: dict[str, Any]
    runtime: dict[str, Any]
    machine: dict[str, Any]
    head: dict[str, Any]
    timings: tuple[Timing, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-serializable values."""
        return asdict(self)


def bench(
    path: Path,
    *,
    frames: int = 100,
    warm_up: int = 10,
    threads: int | None = None,
    delegate: str | None = None,
    head: str = "exact",
    samples: int = 200,
    labels: int = 5,
    seed: int = 0,
) -> Bench:
    """Time a model file on this machine with random frames; the content of a frame does not change the time.

    Args:
        path: The model file.
        frames: Number of timed frames.
        warm_up: Number of frames before the timed ones.
        threads: CPU threads.
        delegate: ``edgetpu`` for a Coral.
        head: The head that is taught.
        samples: Number of samples in the head when it is timed.
        labels: Number of labels of these samples.
        seed: Seed of the random frames.

    Raises:
        ModelFileError: The file cannot be run.
    """
    model = ModelFile.open(path)
    embedder = Embedder(model, threads=threads, delegate=delegate)
    chooser = np.random.default_rng(seed)
    timings = (
        *_frames(embedder, chooser, frames, warm_up),
        *_lessons(head, model.manifest.dimensions, chooser, samples, labels),
    )
    described = {
        "model": {
            "name": path.name,
            "backbone": model.manifest.backbone,
            "dimensions": model.manifest.dimensions,
            "quantization": model.manifest.quantization,
        },
        "runtime": {
            "name": embedder.runtime.name,
            "version": embedder.runtime.version,
            "threads": embedder.threads,
            "delegate": embedder.delegate or "cpu",
        },
        "head": {"name": head, "samples": samples, "labels": labels},
    }
    embedder.close()
    return Bench(**described, machine=health.describe_machine(), timings=timings)


def doubts(described: dict[str, Any]) -> list[str]:
    """Return the reasons not to trust times from a machine that `describe_machine` described."""
    found = []
    if described["governor"] not in ("performance", "not governed"):
        found.append(
            f"the CPU governor is {described['governor']}, so times vary; "
            "before measuring: echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        )
    if described["throttled"]:
        found.append(f"the CPU is slowed down: {'; '.join(described['throttled'])}")
    if described["load"] > 0.5 * described["cores"]:
        found.append(f"the machine is busy (load {described['load']}); trust ratios only")
    return found


def _frames(embedder: Embedder, chooser: np.random.Generator, frames: int, warm_up: int) -> list[Timing]:
    frame = chooser.integers(0, 256, (*CAMERA_SIZE, 3), np.uint8)
    prepare = embedder.model.manifest.preprocessing.prepare
    steps: dict[str, Callable[[], Any]] = {"preprocessing": lambda: prepare(frame)}
    if embedder.delegate is None:
        features, batch = embedder.signature("features"), prepare(frame)[np.newaxis]
        steps["backbone"] = lambda: features(image=batch)
    steps["embedding, both"] = lambda: embedder.embed_one(frame)
    return [Timing.of(step, _times(action, frames, warm_up)) for step, action in steps.items()]


def _lessons(
    name: str, dimensions: int, chooser: np.random.Generator, samples: int, labels: int
) -> list[Timing]:
    codes = encode(chooser.gamma(0.5, 1.0, (samples + LESSONS, dimensions)).astype(np.float32))
    names = [f"label {number % labels}" for number in range(len(codes))]
    head = create_head(name, dimensions)
    head.learn_many(codes[:samples], names[:samples])
    head.predict_one(codes[0])
    update, answer = [], []
    for code, label in zip(codes[samples:], names[samples:], strict=True):
        # a head may compute its fit at the first prediction: update and first prediction count together
        start = time.perf_counter()
        head.learn_one(code, label)
        head.predict_one(code)
        between = time.perf_counter()
        head.predict_one(code)
        update.append(between - start)
        answer.append(time.perf_counter() - between)
    return [Timing.of("head, update and predict", update), Timing.of("head, predict", answer)]


def _times(action: Callable[[], Any], runs: int, warm_up: int) -> list[float]:
    for _ in range(warm_up):
        action()
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return seconds
