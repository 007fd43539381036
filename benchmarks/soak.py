"""Does anything leak or slow down over 100,000 frames of capture, embedding and prediction, with teaching in between?

Usage: ``python -m benchmarks.soak [MODEL] [--frames 100000] [--teach-every 250]``

During the first 1,000 frames the learner is taught 200 samples. After that each new sample replaces the oldest one,
which is forgotten, so that any growth is a leak. RAM may grow by less than 5 % after the first 1,000 frames, no file
descriptor may leak, and the p99 latency of the last tenth may be at most 1.5 times that of the first tenth. The
latency needs an idle machine. The RAM and disk space of the samples themselves are reported too.
"""

from __future__ import annotations

import contextlib
import gc
import tempfile
import time
from array import array
from pathlib import Path
from typing import Any

from device.cameras import open_camera
from device.learner import Learner

from .figures import Figure
from .machine import model_to_measure, percentiles, process_memory
from .measurement import Measurement, question_parser

SETTLED = 1_000  # frames before the RAM is taken as the baseline
GROWTH_LIMIT, LATENCY_LIMIT = 1.05, 1.5
KEPT = 200  # samples kept after the first frames
LABELS = ("first", "second", "third")
_TRACED = 10  # minimum frames between two measurements of the RAM, because each collects garbage first


def memory_kb() -> int:
    """Return the resident RAM of this process in KiB."""
    return process_memory("VmRSS") // 1024


def descriptors() -> int:
    """Return the number of open file descriptors."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def soak(model: Path, frames: int, teach_every: int) -> dict[str, Any]:
    """Run `frames` frames of the fake camera through a learner with a state file.

    Args:
        model: The model file.
        frames: Number of frames.
        teach_every: Frames between two taught samples after the first 1,000 frames.
    """
    trace: list[dict[str, int]] = []
    seconds = array("d", bytes(8 * frames))  # allocated at once: a growing list would count as a leak
    done = 0
    taught: list[int] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        Learner.open(model, Path(folder) / "soak.db") as learner,
        open_camera("fake") as camera,
    ):
        for label in LABELS:
            taught.append(learner.learn_one(camera.read().image, label).id)
        learner.predict_one(camera.read().image)
        opened = memory_kb()
        with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C ends the run early, with a result
            for number in range(frames):
                start = time.perf_counter()
                frame = camera.read()
                learner.predict_one(frame.image)
                seconds[number] = time.perf_counter() - start
                done = number + 1
                if number % (teach_every if number > SETTLED else SETTLED // KEPT) == 0:
                    _teach(learner, frame.image, number, taught)
                if number == SETTLED or number % max(_TRACED, frames // 50) == 0:
                    gc.collect()
                    trace.append({"frame": number, "memory_kb": memory_kb(), "descriptors": descriptors()})
        state_bytes = sum(file.stat().st_size for file in Path(folder).iterdir())  # with the write-ahead log
    return {
        **_judged(trace, list(seconds[:done])),
        "samples_held": len(taught),
        "memory_kb_of_three_samples": opened,
        "state_bytes": state_bytes,
        "trace": trace,
    }


def _teach(learner: Learner, image: Any, number: int, taught: list[int]) -> None:
    taught.append(learner.learn_one(image, LABELS[number % len(LABELS)]).id)
    if len(taught) > KEPT:
        learner.forget(taught.pop(0))


def _judged(trace: list[dict[str, int]], seconds: list[float]) -> dict[str, Any]:
    settled = next((row for row in trace if row["frame"] >= SETTLED), trace[0])
    tenth = max(1, len(seconds) // 10)
    # the first tenth begins after the warm-up
    first, last = percentiles(seconds[min(SETTLED, tenth) :][:tenth]), percentiles(seconds[-tenth:])
    growth = max(row["memory_kb"] for row in trace if row["frame"] >= settled["frame"]) / settled["memory_kb"]
    leaked = trace[-1]["descriptors"] - settled["descriptors"]
    steady = last["p99_ms"] / first["p99_ms"]
    return {
        "frames": len(seconds),
        "memory_growth": round(growth, 4),
        "descriptors_leaked": leaked,
        "latency": {"first_tenth": first, "last_tenth": last, "p99_ratio": round(steady, 3)},
        "limits": {"memory_growth": GROWTH_LIMIT, "descriptors": 0, "p99_ratio": LATENCY_LIMIT},
        "passed": growth < GROWTH_LIMIT and leaked <= 0 and steady <= LATENCY_LIMIT,
    }


def figures(result: dict[str, Any]) -> list[Figure]:
    """Return what is compared."""
    return [
        Figure("RAM / RAM after 1,000 frames", result["memory_growth"], tolerance=1.03, goal=GROWTH_LIMIT),
        Figure("descriptors leaked", result["descriptors_leaked"], "", tolerance=1, goal=0),
        Figure(
            "p99 of the last / first tenth", result["latency"]["p99_ratio"], tolerance=1.5, goal=LATENCY_LIMIT
        ),
        Figure("frames", result["frames"], "", "higher", tolerance=1),
    ]


def main() -> None:
    """Run the frames and write the result."""
    parser = question_parser("soak", __doc__, model=True)
    parser.add_argument("--frames", type=int, default=100_000, help="Number of frames.  [default: 100000]")
    parser.add_argument(
        "--teach-every", type=int, default=250, help="Frames between two taught samples.  [default: 250]"
    )
    options = parser.parse_args()
    model = model_to_measure(options.model)
    measurement = Measurement("soak")
    result = soak(model, options.frames, options.teach_every)
    finished = measurement.result(figures(result), details=result)
    measurement.finish(finished, options, passed=result["passed"])


if __name__ == "__main__":
    main()
