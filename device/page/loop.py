"""The one loop behind the page: capture, embed, predict; however many watch."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..addresses import redact
from ..cameras import Camera, EndOfSource, Frame
from ..errors import CameraError, DeviceError, HeadError
from ..images import Image, encode_jpeg
from ..learner.learner import Learner
from ..live.watching import Smoother
from .doubts import Doubts
from .latest import Latest
from .verdict import Verdict

_log = logging.getLogger("edgetl.page")
_READ = 1.0  # seconds to wait for a frame before it is told
_PATIENCE = (0.5, 8.0)  # seconds before a lost camera is opened again: at first, at most
_FRAME_WAIT = 3.0  # seconds that teaching waits for a frame: a camera that was lost may come back
_PREVIEW = 640  # pixels of the longer side of what viewers get
QUALITY = 80
"""JPEG quality of the preview."""

_SLOW = 0.1  # seconds
_REST = 3  # times what a slow solve took
_SMOOTH = 5  # frames averaged over, so that one blurred frame does not flicker


@dataclass(frozen=True, eq=False)
class Moment:
    """A frame with what was made of it.

    Attributes:
        number: Counts frames since the page was started; a folder shown again goes on counting.
        frame: The frame.
        embedding: float32 [D].
        verdict: Smoothed over a few frames; None while nothing is taught.
        seconds: From reading the frame to the prediction.
    """

    number: int
    frame: Frame
    embedding: NDArray[np.float32]
    verdict: Verdict | None
    seconds: float


class Loop:
    """Run capture, embedding and prediction in a thread of its own.

    While somebody else holds `judging`, for a work that keeps the learner busy, pictures go on and the last
    verdict stays. A camera that is lost is opened again with growing patience; that and any other failure is told in
    `condition`, and the loop goes on.

    Args:
        open_camera: Opens the camera; called again when it was lost.
        learner: Embeds and predicts.
        doubts: Gets every frame to choose from.
        changed: Called after each frame and each change of condition; must not fail.
        fps: Frames a second at most.
        clock: Gives seconds.
    """

    def __init__(
        self,
        open_camera: Callable[[], Camera],
        learner: Learner,
        doubts: Doubts,
        changed: Callable[[], None],
        *,
        fps: float = 15.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pictures: Latest[bytes] = Latest()
        self.moment: Moment | None = None
        self.condition, self.message = "starting", "the camera is being opened"
        self._open_camera, self._learner, self._doubts, self._changed = open_camera, learner, doubts, changed
        self._interval = 1.0 / fps
        self._number = 0
        self._labels: tuple[str, ...] = ()
        self._smoother = Smoother(_SMOOTH)
        self._clock, self._rest = clock, 0.0
        self._gap, self._last = 0.0, clock()  # seconds between frames, smoothed
        self._stop = threading.Event()
        self._arrived = threading.Condition()
        self.judging = threading.Lock()
        self._showing, self._shown = threading.Lock(), 0
        self._thread = threading.Thread(target=self._run, name="edgetl-loop", daemon=True)

    def start(self) -> None:
        """Start looking."""
        self._thread.start()

    def stop(self) -> None:
        """Stop, and wait until the camera is closed."""
        self._stop.set()
        with self._arrived:
            self._arrived.notify_all()
        self.pictures.close()
        if self._thread.is_alive():
            self._thread.join(timeout=15.0)

    def newer(self, number: int) -> Moment:
        """Wait for a moment after `number`, so that no frame is taught twice.

        Raises:
            CameraError: No frame came within a few seconds, or none will.
        """
        with self._arrived:
            self._arrived.wait_for(lambda: self._is_over() or self._is_new(number), _FRAME_WAIT)
            if self.moment is None or not self._is_new(number):
                raise CameraError(f"there is no new frame to teach: {self.message or 'the camera is slow'}")
            return self.moment

    def show(self) -> None:
        """Encode the newest frame, once for all viewers; from the loop's thread and from those of viewers that come."""
        with self._showing:
            moment = self.moment
            if moment is not None and moment.number > self._shown:
                self.pictures.publish(encode_jpeg(preview(moment.frame.image), QUALITY))
                self._shown = moment.number

    def figures(self) -> dict[str, Any]:
        """Tell how the camera is, JSON-able."""
        seconds = self.moment.seconds if self.moment else 0.0
        return {
            "condition": self.condition,
            "message": self.message,
            "fps": round(1 / self._gap, 1) if self._gap else 0.0,
            "milliseconds": round(1000 * seconds),
        }

    def _run(self) -> None:
        patience = _PATIENCE[0]
        while not self._stop.is_set():
            before = self._number
            try:
                with self._open_camera() as camera:
                    self._watch(camera)
            except EndOfSource:
                self._tell("ended", "the recording has ended; its last frame stays")
                return
            except DeviceError as error:
                self._tell("lost", str(error))
            except Exception as error:
                # whatever a driver throws: a page that goes on saying so beats a thread that has died
                _log.error("the loop failed: %s: %s", type(error).__name__, redact(str(error)))
                _log.debug("the traceback", exc_info=True)
                self._tell("lost", f"the camera or the model failed: {type(error).__name__}: {error}")
            patience = _PATIENCE[0] if self._number > before else min(2 * patience, _PATIENCE[1])
            self._stop.wait(patience)

    def _watch(self, camera: Camera) -> None:
        due = self._clock()
        while not self._stop.wait(max(0.0, due - self._clock())):
            due = max(due, self._clock() - self._interval) + self._interval
            try:
                frame = camera.read(_READ)
            except TimeoutError as error:  # it may come back by itself
                self._tell("lost", str(error))
                continue
            self._see(frame)

    def _see(self, frame: Frame) -> None:
        began = self._clock()
        embedding = self._learner.embed_one(frame.image)
        verdict = self.moment.verdict if self.moment else None
        if self._clock() >= self._rest and self.judging.acquire(blocking=False):
            try:
                verdict = self._judged(frame, embedding)
            finally:
                self.judging.release()
        now = self._clock()
        self._publish(Moment(self._number + 1, frame, embedding, verdict, now - began), now)
        self._changed()

    def _judged(self, frame: Frame, embedding: NDArray[np.float32]) -> Verdict | None:
        began = self._clock()
        verdict = self._judge(embedding)
        if verdict is not None and len(verdict.scores) > 1:
            self._doubts.offer(embedding, verdict, lambda: encode_jpeg(preview(frame.image)))
        # After a sample is taught the head is solved anew. While a button is held that would be all a small
        # board does, and teaching would crawl: a slow solve buys a rest, in which the last verdict stays.
        cost = self._clock() - began
        self._rest = began + (_REST + 1) * cost if cost > _SLOW else 0.0
        return self._smoothed(verdict)

    def _judge(self, embedding: NDArray[np.float32]) -> Verdict | None:
        try:
            return Verdict.of(self._learner.judge(embedding))
        except HeadError:  # nothing taught yet
            return None

    def _smoothed(self, verdict: Verdict | None) -> Verdict | None:
        labels = () if verdict is None else tuple(sorted(verdict.scores))
        if labels != self._labels:  # renamed, deleted or new: nothing old to average with
            self._labels, self._smoother = labels, Smoother(_SMOOTH)
        return None if verdict is None else Verdict(*self._smoother.add(verdict.scores, verdict.known))

    def _is_over(self) -> bool:
        return self._stop.is_set() or self.condition == "ended"

    def _is_new(self, number: int) -> bool:
        # the last picture of a camera that is lost is old: nobody teaches that
        return self._number > number and self.condition != "lost"

    def _publish(self, moment: Moment, now: float) -> None:
        gap, self._last = now - self._last, now
        self._gap = 0.9 * self._gap + 0.1 * gap if moment.number > 2 else gap
        with self._arrived:
            self.moment, self._number = moment, moment.number
            self.condition, self.message = "live", ""
            self._arrived.notify_all()
        if self.pictures.readers:
            self.show()

    def _tell(self, condition: str, message: str) -> None:
        with self._arrived:
            self.condition, self.message = condition, redact(message)
            self._arrived.notify_all()
        self._changed()


def preview(image: Image) -> Image:
    """Shrink uint8 [H, W, 3] to what a viewer gets; small frames pass as they are."""
    height, width = image.shape[:2]
    scale = _PREVIEW / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    shrunk: Image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return shrunk
