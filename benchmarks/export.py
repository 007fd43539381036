"""How long does an export take, how much memory, and how long does teaching wait for it?

``python -m benchmarks.export --samples 20000``: a state of that many samples is written, opened and exported, while
another thread teaches one sample after another. Embeddings are mixtures of random ones per label, so no photo is
needed; their number of dimensions is the model's.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.cameras.fake import draw
from device.learner import Learner
from device.learner.learner import identity_of
from device.model.codes import encode
from device.model.modelfile import ModelFile
from device.store import NewSample, Store

from .machine import machine_info, model_to_measure, parser_of, warn_of_noise, write_result

LABELS = 20
AT_ONCE = 500  # samples in a transaction while the state is written
BETWEEN = 0.02  # seconds between two lessons, about those of a camera


class Photos:
    """Random embeddings that share a direction within a label, sparse and positive like those behind a ReLU."""

    def __init__(self, dimensions: int, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)
        self._middles = self._random.exponential(1, (LABELS, dimensions))

    def draw(self, count: int) -> tuple[NDArray[np.float32], list[str]]:
        """Return embeddings float32 [count, D] and their labels."""
        owners = self._random.integers(0, LABELS, count)
        noise = self._random.normal(0, 1, (count, self._middles.shape[1]))
        embeddings = np.maximum(self._middles[owners] + noise, 0).astype(np.float32)
        return embeddings, [f"label {owner:02d}" for owner in owners]


def prepare(model: ModelFile, state: Path, samples: int) -> None:
    """Write a state file of `samples` samples."""
    photos = Photos(model.manifest.dimensions)
    with Store.open(state, identity_of(model)) as store:
        for start in range(0, samples, AT_ONCE):
            embeddings, labels = photos.draw(min(AT_ONCE, samples - start))
            codes = encode(embeddings, model.manifest.embedding_map)
            new = zip(labels, codes, range(start, samples), strict=False)
            store.learn([NewSample(label, code, time.time(), "0", burst, None) for label, code, burst in new])


class Teacher(threading.Thread):
    """Teaches one sample after another and keeps the seconds that each took.

    Args:
        learner: An opened learner.
        enough: Asked before each sample; True ends it.
    """

    def __init__(self, learner: Learner, enough: Callable[[], bool]) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._learner, self._enough = learner, enough

    def run(self) -> None:
        """Teach until it is enough."""
        image = draw("red", 1)
        photos = Photos(self._learner.model.manifest.dimensions, seed=1)
        while not self._enough():
            embeddings, labels = photos.draw(1)
            start = time.perf_counter()
            self._learner.learn_one(image, labels[0], embedding=embeddings[0])
            self.seconds.append(time.perf_counter() - start)
            time.sleep(BETWEEN)


def measure(model: Path, samples: int, head: str) -> dict[str, Any]:
    """Open and export a state of `samples` samples."""
    with tempfile.TemporaryDirectory() as scratch:
        state, out = Path(scratch) / "state.db", Path(scratch) / "personal.tflite"
        prepare(ModelFile.open(model), state, samples)
        start = time.perf_counter()
        with Learner.open(model, state, head=head, threads=1, thumbnails=False) as learner:
            opened = time.perf_counter() - start
            quiet = _taught_for(learner, 3.0)
            _reset_peak()
            idle, start, done = _memory("VmRSS"), time.perf_counter(), threading.Event()
            work = time.process_time()
            teacher = Teacher(learner, done.is_set)
            teacher.start()
            try:
                exported = learner.export(out)
            finally:
                seconds = time.perf_counter() - start
                done.set()
                teacher.join()
            peak, work = _memory("VmHWM"), time.process_time() - work
        return {
            "samples": samples,
            "dimensions": exported.manifest.dimensions,
            "head": head,
            "memory_form": type(exported.memory).__name__,
            "file_bytes": out.stat().st_size,
            "open_s": round(opened, 2),
            "export_s": round(seconds, 2),
            "processor_s": round(work, 2),  # of all threads, lessons included
            "peak_above_idle_mb": round((peak - idle) / 1e6, 1),
            "idle_mb": round(idle / 1e6, 1),
            "lessons_meanwhile": len(teacher.seconds),
            "longest_lesson_meanwhile_ms": round(1000 * max(teacher.seconds), 1),
            "longest_lesson_without_export_ms": round(1000 * max(quiet), 1),
        }


def _taught_for(learner: Learner, seconds: float) -> list[float]:
    """Teach without an export, for comparison."""
    end = time.perf_counter() + seconds
    teacher = Teacher(learner, lambda: time.perf_counter() > end)
    teacher.start()
    teacher.join()
    return teacher.seconds


def _memory(field: str) -> int:
    """Return a field of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(field)).split()[1])


def _reset_peak() -> None:
    """Start the peak of resident memory, VmHWM, anew (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def main() -> None:
    """Measure and write the result."""
    parser = parser_of(__doc__)
    parser.add_argument("--samples", type=int, nargs="+", default=[20_000])
    parser.add_argument("--head", default="exact", choices=["exact", "knn", "lda", "ncm", "softmax"])
    options = parser.parse_args()
    warn_of_noise()
    model = model_to_measure(options.model)
    runs = [measure(model, samples, options.head) for samples in options.samples]
    write_result({"runs": runs, "machine": machine_info(0)}, options.out)


if __name__ == "__main__":
    main()
