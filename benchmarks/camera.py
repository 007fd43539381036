"""How many frames does a slow reader lose, and how old are those that it receives, through our camera and through plain OpenCV?

Usage: ``python -m benchmarks.camera [MODEL] [--work 0.1] [--seconds 6] [--check]``

A *paced* driver in this process produces frames at a fixed rate, as a camera does, whether or not they are read. A server in
another process streams them as MJPEG and RTSP. Frames contain the time they were drawn, as a barcode of black and white
blocks, which survives JPEG. A slow reader (a prediction plus ``--work`` seconds, which simulate a slow board) measures
how old each frame is when it is delivered and when its prediction is ready. Plain OpenCV queues frames and falls
behind; the reader thread of `device.cameras.live` keeps the newest frame and counts the others as dropped.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.cameras import open_camera
from device.cameras.live import Driver, LiveCamera
from device.learner import Learner
from tests.device.cameras.servers import MjpegServer, RtspServer

from .figures import Figure
from .machine import percentiles
from .measurement import Measurement, Table, question_parser

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


class PacedDriver(Driver):
    """A camera that draws stamped frames at a fixed rate, whether or not they are read.

    Args:
        fps: Frames per second.
    """

    kind = "paced"

    def __init__(self, fps: float) -> None:
        super().__init__("paced")
        self.produced = 0
        self._interval, self._due = 1 / fps, 0.0

    def open(self) -> None:
        """Start the clock."""
        self._due = time.monotonic()

    def grab(self) -> Image:
        """Wait until the next frame is due and draw it; one that is late does not delay the later ones."""
        self._due = max(self._due + self._interval, time.monotonic() - self._interval)
        time.sleep(max(0.0, self._due - time.monotonic()))
        self.produced += 1
        return stamped()

    def decode(self, packet: Any) -> Image:
        """Return the frame."""
        image: Image = packet
        return image

    def close(self) -> None:
        """Do nothing."""


def paced(learner: Learner, fps: float, seconds: float, work: float) -> dict[str, Any]:
    """Read the paced camera; return the ages, and what became of its frames."""
    driver = PacedDriver(fps)
    with LiveCamera(driver) as camera:
        delivered = 0

        def read() -> Image:
            nonlocal delivered
            delivered += 1
            return camera.read().image

        result = measure(read, learner, seconds, work)
    return {**result, "produced": driver.produced, "delivered": delivered, "dropped": camera.dropped}


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


READERS = {"edgetl": ours, "plain OpenCV": plain_opencv}


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


def figures(fake: dict[str, Any], streams: dict[str, Any], fps: float) -> list[Figure]:
    """Return what is compared: ages in intervals between frames, and beside those of plain OpenCV."""
    found = []
    for name, run in fake.items():
        age_ms, lost = run["age_at_delivery"]["p50_ms"], run["produced"] - run["delivered"] - run["dropped"]
        found.append(
            Figure(
                f"age at delivery / interval of frames, {name}",
                round(age_ms * fps / 1000, 3),
                tolerance=1.5,
                slack=0.3,
            )
        )
        found.append(
            Figure(f"frames neither delivered nor counted, {name}", lost, "frames", tolerance=1, slack=1)
        )
    for kind in SERVERS:
        ours_, theirs = (streams[f"{kind}, {name}"]["age_at_delivery"]["p50_ms"] for name in READERS)
        found.append(Figure(f"age at delivery / plain OpenCV, {kind}", round(ours_ / theirs, 4), tolerance=4))
    return found


def tables(fake: dict[str, Any], streams: dict[str, Any]) -> list[Table]:
    """Return the ages of all readers, and what became of the frames of the paced camera."""
    ages = Table(
        "Age of a frame at its delivery",
        ("source and reader", "frames", "p50, ms", "p95, ms", "age of the last, ms"),
        tuple(
            (
                name,
                run["frames"],
                run["age_at_delivery"]["p50_ms"],
                run["age_at_delivery"]["p95_ms"],
                run["age_of_last_frame_ms"],
            )
            for name, run in {**fake, **streams}.items()
        ),
    )
    fates = Table(
        "Frames of the paced camera",
        ("reader", "produced", "delivered", "counted as dropped"),
        tuple((name, run["produced"], run["delivered"], run["dropped"]) for name, run in fake.items()),
        "A slow reader has to lose frames; it receives the newest.",
    )
    return [ages, fates]


def main() -> None:
    """Measure every source with every reader and write the result."""
    parser = question_parser("camera", __doc__)
    parser.add_argument(
        "model",
        type=Path,
        nargs="?",
        default=TINY_TAUGHT,
        help="Model file that was taught.  [default: a tiny one]",
    )
    parser.add_argument("--fps", type=float, default=30.0, help="Frames per second of the sources.")
    parser.add_argument("--work", type=float, default=0.1, help="Seconds of other work per frame.")
    parser.add_argument("--seconds", type=float, default=6.0, help="Duration of each measurement.")
    chosen = parser.parse_args()
    measurement = Measurement("camera")
    fake, streams = {}, {}
    with Learner.open(chosen.model, None) as learner:
        for name, work in (("fast reader", 0.0), ("slow reader", chosen.work)):
            fake[f"paced, {name}"] = paced(learner, chosen.fps, chosen.seconds, work)
        for kind in SERVERS:
            for name, reader in READERS.items():
                with stream(kind, chosen.fps) as url, reader(url) as read:
                    streams[f"{kind}, {name}"] = measure(read, learner, chosen.seconds, chosen.work)
    settings = {
        "fps": chosen.fps,
        "work_s": chosen.work,
        "seconds": chosen.seconds,
        "model": chosen.model.name,
    }
    details = {"settings": settings, "paced": fake, "streams": streams}
    compared = figures(fake, streams, chosen.fps)
    measurement.finish(measurement.result(compared, tables(fake, streams), details), chosen)


if __name__ == "__main__":
    main()
