"""How much time and RAM does an export take, and how long does teaching wait for it?

Usage: ``python -m benchmarks.export [MODEL] [--samples 20000]``

A state with ``--samples`` samples is written, opened and exported while another thread teaches one sample after another.
Embeddings are random around a mean per label, so no photo is needed; they have the model's number of dimensions.
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

from .machine import machine_info, model_to_measure, parser_of, process_memory, warn_of_noise, write_result

LABELS = 20
AT_ONCE = 500  # samples per transaction while the state is written
BETWEEN = 0.02  # seconds between two taught samples, about those of a camera


class Photos:
    """Random embeddings with a common direction per label, sparse and positive like those after a ReLU."""

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
    """A thread that teaches one sample after another and records the seconds per sample.

    Args:
        learner: An open learner.
        enough: Called before each sample; True ends the thread.
    """

    def __init__(self, learner: Learner, enough: Callable[[], bool]) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._learner, self._enough = learner, enough

    def run(self) -> None:
        """Teach until `enough` returns True."""
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
            idle, start, done = process_memory("VmRSS"), time.perf_counter(), threading.Event()
            work = time.process_time()
            teacher = Teacher(learner, done.is_set)
            teacher.start()
            try:
                exported = learner.export(out)
            finally:
                seconds = time.perf_counter() - start
                done.set()
                teacher.join()
            peak, work = process_memory("VmHWM"), time.process_time() - work
        return {
            "samples": samples,
            "dimensions": exported.manifest.dimensions,
            "head": head,
            "memory_form": type(exported.memory).__name__,
            "file_bytes": out.stat().st_size,
            "open_s": round(opened, 2),
            "export_s": round(seconds, 2),
            "processor_s": round(work, 2),  # of all threads, teaching included
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


def _reset_peak() -> None:
    """Reset the peak of resident RAM, VmHWM (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def main() -> None:
    """Measure and write the result."""
    parser = parser_of(__doc__, model=True)
    parser.add_argument(
        "--samples", type=int, nargs="+", default=[20_000], help="Samples in the state.  [default: 20000]"
    )
    parser.add_argument(
        "--head", default="exact", choices=["exact", "knn", "lda", "ncm", "softmax"], help="Kind of head."
    )
    options = parser.parse_args()
    warn_of_noise()
    model = model_to_measure(options.model)
    runs = [measure(model, samples, options.head) for samples in options.samples]
    write_result({"runs": runs, "machine": machine_info(0)}, options.out)


if __name__ == "__main__":
    main()
