"""How much CPU time does the motion gate save, and what does it miss?

Usage: ``python -m benchmarks.motion VIDEO... [--model MODEL] [--threshold 0.01]``

Each video is watched twice on one thread, without and with the gate; the CPU time is that of the process, decoding included.
``embedded`` is the share of frames that the gate lets through. For the other frames the prediction uses an older embedding:
``cosine`` compares it with the embedding of the frame itself (minimum, and mean over these frames). ``still`` is the first
frame of the first video with the noise of a camera, 300 times: a camera before which nothing happens.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.cameras import Frame, open_camera
from device.images import Image
from device.learner import Learner
from device.live.motion import THRESHOLD, MotionGate
from device.live.watching import Watcher

from .machine import machine_info, model_to_measure, parser_of, warn_of_noise, write_result

STILL = 300  # frames
NOISE = 3.0  # standard deviation, of 255

Source = Callable[[], Iterator[Frame]]


def main() -> None:
    """Measure and write the result."""
    parser = parser_of(__doc__)
    parser.add_argument("videos", type=Path, nargs="+", help="Video files.")
    parser.add_argument("--model", type=Path, help="Model file.  [default: int8 EfficientNet-Lite0]")
    parser.add_argument("--threshold", type=float, default=THRESHOLD, help="Share that has to change.")
    given = parser.parse_args()
    warn_of_noise()
    model = model_to_measure(given.model)
    sources: dict[str, Source] = {path.name: _video(path) for path in given.videos}
    sources["still"] = _still(next(_video(given.videos[0])()).image)
    with Learner.open(model, None, threads=1) as learner:
        _teach(learner, given.videos[0])
        found = {name: _compare(learner, source, given.threshold) for name, source in sources.items()}
    result = {"videos": found, "threshold": given.threshold, "model": Path(model).name}
    write_result({**result, "machine": machine_info()}, given.out)


def _compare(learner: Learner, source: Source, threshold: float) -> dict[str, Any]:
    without, _ = _watch(learner, source(), None)
    gated, watcher = _watch(learner, source(), MotionGate(threshold))
    frames = sum(1 for _ in source())
    cosines = _cosines(learner, source(), MotionGate(threshold))
    return {
        "frames": frames,
        "embedded": round(watcher.embedded / frames, 4),
        "cpu_seconds": round(without, 2),
        "cpu_seconds_gated": round(gated, 2),
        "ratio": round(gated / without, 3),
        "cosine_min": round(min(cosines), 4) if cosines else None,
        "cosine_mean": round(float(np.mean(cosines)), 4) if cosines else None,
    }


def _watch(learner: Learner, frames: Iterator[Frame], gate: MotionGate | None) -> tuple[float, Watcher]:
    """Return the CPU seconds of watching, and the watcher."""
    watcher = Watcher(learner, gate=gate)
    began = time.process_time()
    for frame in frames:
        watcher.observe(frame)
    return time.process_time() - began, watcher


def _cosines(learner: Learner, frames: Iterator[Frame], gate: MotionGate) -> list[float]:
    """Return, for each frame that is not embedded, the cosine of its embedding and the one used instead."""
    found: list[float] = []
    used: NDArray[np.float32] | None = None
    for frame in frames:
        embedding = learner.embed_one(frame.image)
        if gate.check(frame.image).open or used is None:
            used = embedding
        else:
            found.append(float(embedding @ used / np.linalg.norm(embedding) / np.linalg.norm(used)))
    return found


def _teach(learner: Learner, video: Path) -> None:
    """Teach two labels, so that predicting costs what it usually does."""
    images = [frame.image for frame, _ in zip(_video(video)(), range(20), strict=False)]
    learner.learn_many(images, [("one", "two")[number % 2] for number in range(len(images))])


def _video(path: Path) -> Source:
    def frames() -> Iterator[Frame]:
        with open_camera(path) as camera:
            yield from camera

    return frames


def _still(image: Image) -> Source:
    noise = np.random.default_rng(0).normal(0, NOISE, (8, *image.shape))
    pictures: Sequence[Image] = [np.clip(image + one, 0, 255).astype(np.uint8) for one in noise]

    def frames() -> Iterator[Frame]:
        for number in range(STILL):
            yield Frame(pictures[number % len(pictures)], 0.0, number, "still")

    return frames


if __name__ == "__main__":
    main()
