"""How old are the frames that a slow reader receives, through our camera and through plain OpenCV?

Usage: ``python -m benchmarks.latency [MODEL] [--work 0.1] [--seconds 15]``

A server in another process streams frames that contain the time they were drawn, as a barcode of black and white
blocks, which survives JPEG. A slow reader (a prediction plus ``--work`` seconds, which simulate a slow board) measures
how old each frame is when it is delivered and when its prediction is ready. Plain OpenCV queues frames and falls
behind; the reader thread of `device.cameras.live` keeps the newest frame.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import machine_info, parser_of, percentiles, warn_of_noise, write_result
from device.cameras import open_camera
from device.learner import Learner
from tests.device.cameras.servers import MjpegServer, RtspServer

Image = NDArray[np.uint8]
TINY_TAUGHT = Path(__file__).parents[1] / "tests/data/tiny_taught.tflite"
BITS, BLOCK = 48, 16  # microseconds of the monotonic clock, in blocks as large as JPEG's chroma blocks
WIDTH, HEIGHT = 640, 480
WARM_UP = 5  # frames read before measuring
SERVERS = {"mjpeg": MjpegServer, "rtsp": RtspServer}


def stamped(_: int = 0) -> Image:
    """Draw a frame that contains the current time: uint8 [480, 640, 3]."""
    image = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    now = time.monotonic_ns() // 1000
    bits = np.array([now >> place & 1 for place in range(BITS)], np.uint8).reshape(2, BITS // 2) * 255
    image[: 2 * BLOCK, : BITS // 2 * BLOCK] = bits.repeat(BLOCK, 0).repeat(BLOCK, 1)[..., None]
    return image


def age(image: Image) -> float:
    """Return the seconds since a frame was drawn, from its stamp."""
    centers = image[BLOCK // 2 : 2 * BLOCK : BLOCK, BLOCK // 2 : BITS // 2 * BLOCK : BLOCK, 1]  # [2, 24]
    made = sum(1 << place for place, bit in enumerate(centers.reshape(-1) > 127) if bit)
    return time.monotonic_ns() / 1e9 - made / 1e6


@contextmanager
def stream(kind: str, fps: float) -> Iterator[str]:
    """Serve the stamped stream from another process and yield its address."""
    context = multiprocessing.get_context("spawn")
    address: Any = context.Queue()
    process = context.Process(target=_serve, args=(kind, fps, address), daemon=True)
    process.start()
    try:
        yield address.get(timeout=60)
    finally:
        process.terminate()
        process.join()


def _serve(kind: str, fps: float, address: Any) -> None:
    with SERVERS[kind](stamped, fps) as server:
        address.put(server.url)
        time.sleep(3600)


@contextmanager
def ours(url: str) -> Iterator[Callable[[], Image]]:
    """Read through `open_camera`."""
    with open_camera(url) as camera:
        yield lambda: camera.read().image


@contextmanager
def plain_opencv(url: str) -> Iterator[Callable[[], Image]]:
    """Read as most programs do: one `VideoCapture.read` after another."""
    import cv2

    capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG)

    def read() -> Image:
        done, image = capture.read()
        if not done:
            raise RuntimeError(f"OpenCV lost {url}")
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)

    try:
        yield read
    finally:
        capture.release()


def measure(read: Callable[[], Image], learner: Learner, seconds: float, work: float) -> dict[str, Any]:
    """Read, predict and wait for `seconds`; return the ages of the frames."""
    delivered, predicted = [], []
    for _ in range(WARM_UP):
        learner.predict_one(read())
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        image = read()
        delivered.append(age(image))
        learner.predict_one(image)
        predicted.append(age(image) - delivered[-1])
        time.sleep(work)
    return {
        "frames": len(delivered),
        "age_at_delivery": percentiles(delivered),
        "delivery_to_prediction": percentiles(predicted),
        "age_of_last_frame_ms": round(delivered[-1] * 1000, 1),
    }


def main() -> None:
    """Measure every stream with every reader and write the result."""
    parser = parser_of(__doc__)
    parser.add_argument(
        "model",
        type=Path,
        nargs="?",
        default=TINY_TAUGHT,
        help="Model file that was taught.  [default: a tiny one]",
    )
    parser.add_argument("--fps", type=float, default=30.0, help="Frames per second of the stream.")
    parser.add_argument("--work", type=float, default=0.1, help="Seconds of other work per frame.")
    parser.add_argument("--seconds", type=float, default=15.0, help="Duration of each measurement.")
    chosen = parser.parse_args()
    warn_of_noise()
    results: dict[str, Any] = {}
    with Learner.open(chosen.model, None) as learner:
        for kind in SERVERS:
            for name, reader in (("edgetl", ours), ("plain OpenCV", plain_opencv)):
                with stream(kind, chosen.fps) as url, reader(url) as read:
                    result = measure(read, learner, chosen.seconds, chosen.work)
                results[f"{kind}, {name}"] = result
                at = result["age_at_delivery"]
                print(
                    f"{kind:6} {name:13} age p50 {at['p50_ms']:8.1f} ms  p95 {at['p95_ms']:8.1f} ms",
                    file=sys.stderr,
                )
    settings = {
        "fps": chosen.fps,
        "work_s": chosen.work,
        "seconds": chosen.seconds,
        "model": chosen.model.name,
    }
    write_result({"machine": machine_info(), "settings": settings, "results": results}, chosen.out)


if __name__ == "__main__":
    main()
