"""The loop behind the page: capture, embed and predict, once for all viewers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..addresses import redact
from ..cameras import Camera, EndOfSource, Frame
from ..errors import CameraError, EdgetlError, HeadError
from ..heads import Prediction
from ..images import Image, encode_jpeg, preview
from ..learner.doubts import Doubts
from ..learner.learner import Learner
from ..live.hours import Hours
from ..live.motion import MotionGate
from ..live.watching import GatedEmbedder, Observation, Smoother, closed_observation, shown_label
from .latest import Latest

_log = logging.getLogger("edgetl.page")
_READ = 1.0  # seconds to wait for a frame before the camera counts as lost
_PATIENCE = (0.5, 8.0)  # seconds before a lost camera is opened again: first and maximum
_FRAME_WAIT = 3.0  # seconds that teaching waits for a frame, because a lost camera may come back
QUALITY = 80
"""JPEG quality of the preview."""

_SLOW = 0.1  # seconds
_LOOK = 0.5  # seconds between two looks at the clock while the camera is closed
_REST = 3  # rest after a slow prediction, as a multiple of its time
_SMOOTH = 5  # frames to average over, so that one blurred frame does not change the label


@dataclass(frozen=True, eq=False)
class Capture:
    """A frame, its embedding and what it shows.

    Attributes:
        frame: The frame.
        embedding: float32 [D]; of an earlier frame if the motion gate was closed.
        own: Whether the embedding is of this frame.
        observation: What the frame shows, averaged over a few frames. Its number counts frames since the page was
            started, also when a folder of photos is shown again.
    """

    frame: Frame
    embedding: NDArray[np.float32]
    observation: Observation
    own: bool = True

    @property
    def number(self) -> int:
        """Number of the frame since the page was started, from 1."""
        return self.observation.frame


class Loop:
    """Run capture, embedding and prediction in a thread.

    While another thread holds `judging`, because it keeps the learner busy, pictures continue and the last prediction
    stays. A camera that is lost is opened again after increasing delays. `condition` shows that and any other failure,
    and the loop continues. Outside its hours the camera is closed, and there is no prediction.

    Args:
        open_camera: Opens the camera; called again when it was lost. None: there is no camera.
        learner: Embeds and predicts.
        doubts: The queue of uncertain frames; every frame is offered to it.
        changed: Called after each frame and each change of condition; must not fail.
        fps: Maximum number of frames per second.
        gate: While it is closed, the last embedding is predicted again instead of embedding the frame.
        draw: Returns the picture of a frame for viewers; None shows the frame itself.
        region: Name of the camera or region, where there are several; else "".
        hours: When the camera is open; None for always.
        clock: Returns seconds.
        now: Returns seconds since the epoch.
    """

    def __init__(
        self,
        open_camera: Callable[[], Camera] | None,
        learner: Learner,
        doubts: Doubts,
        changed: Callable[[], None],
        *,
        fps: float = 15.0,
        gate: MotionGate | None = None,
        draw: Callable[[Frame], Image] | None = None,
        region: str = "",
        hours: Hours | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.pictures: Latest[bytes] = Latest()
        self.capture: Capture | None = None
        self.condition, self.message = "starting", "the camera is being opened"
        self._open_camera, self._learner, self._doubts, self._changed = open_camera, learner, doubts, changed
        self._interval = 1.0 / fps
        self.region = region
        self._embedder, self._draw = GatedEmbedder(learner, gate), draw or (lambda frame: frame.image)
        self._hours, self._now = hours, now
        self._number = 0
        self._smoother = Smoother(_SMOOTH)
        self._clock, self._rest = clock, 0.0
        self._gap, self._last = 0.0, clock()  # seconds between frames, smoothed
        self._listeners: list[Callable[[Observation], None]] = []
        self._stop = threading.Event()
        self._arrived = threading.Condition()
        self.judging = threading.Lock()
        self._showing, self._shown = threading.Lock(), 0
        self._thread = threading.Thread(target=self._run, name="edgetl-loop", daemon=True)

    def start(self) -> None:
        """Start the thread, if there is a camera."""
        if self._open_camera is None:
            self._report("off", "the server was started with --no-camera")
        else:
            self._thread.start()

    def listen(self, seen: Callable[[Observation], None]) -> None:
        """Call `seen` with every observation, from the thread of the loop; it must neither wait nor fail."""
        self._listeners.append(seen)

    def stop(self) -> None:
        """Stop, and wait until the camera is closed."""
        self._stop.set()
        with self._arrived:
            self._arrived.notify_all()
        self.pictures.close()
        if self._thread.is_alive():
            self._thread.join(timeout=15.0)

    def newer(self, number: int) -> Capture:
        """Wait for a frame after `number`, so that no frame is taught twice.

        Raises:
            CameraError: No frame arrived within a few seconds, or none will.
        """
        with self._arrived:
            self._arrived.wait_for(lambda: self._is_over() or self._is_new(number), _FRAME_WAIT)
            if self.capture is None or not self._is_new(number):
                raise CameraError(f"there is no new frame to teach: {self.message or 'the camera is slow'}")
            return self.capture

    def show(self) -> None:
        """Encode the newest frame once for all viewers; called by the thread of the loop and for new viewers."""
        with self._showing:
            capture = self.capture
            if capture is not None and capture.number > self._shown:
                self.pictures.publish(encode_jpeg(preview(self._draw(capture.frame)), QUALITY))
                self._shown = capture.number

    def snapshot(self) -> bytes:
        """Return the newest frame as JPEG, in full size.

        Raises:
            CameraError: There is no frame, or the camera is lost, so that the frame is out of date.
        """
        capture = self.capture
        if capture is None or self.condition in ("lost", "closed"):
            raise CameraError(f"there is no picture: {self.message or 'the camera is starting'}")
        return encode_jpeg(capture.frame.image)

    def figures(self) -> dict[str, Any]:
        """Return the condition and speed of the camera, JSON-serializable."""
        seen = self.capture.observation if self.capture else None
        return {
            "condition": self.condition,
            "message": self.message,
            "fps": round(1 / self._gap, 1) if self._gap else 0.0,
            "milliseconds": round(seen.embed_ms + seen.head_ms) if seen else 0,
        } | self._motion()

    def _motion(self) -> dict[str, Any]:
        """Return what the gate found in the newest frame; nothing without a gate."""
        gate = self._embedder.gate
        if gate is None:
            return {}
        found = gate.last
        motion = {"share": round(found.share, 4), "threshold": gate.threshold, "open": found.open}
        return {"motion": motion}

    def _run(self) -> None:
        patience = _PATIENCE[0]
        if self._open_camera is None:
            return
        while not self._stop.is_set():
            if not self._in_hours():
                self._close()
                self._stop.wait(_LOOK)
                continue
            before = self._number
            try:
                with self._open_camera() as camera:
                    self._watch(camera)
            except EndOfSource:
                self._report("ended", "the recording has ended; its last frame stays")
                return
            except EdgetlError as error:
                self._report("lost", str(error))
            except Exception as error:
                # a driver may raise anything; the page must go on and report it
                _log.error("the loop failed: %s: %s", type(error).__name__, redact(str(error)))
                _log.debug("the traceback", exc_info=True)
                self._report("lost", f"the camera or the model failed: {type(error).__name__}: {error}")
            patience = _PATIENCE[0] if self._number > before else min(2 * patience, _PATIENCE[1])
            self._stop.wait(patience)

    def _in_hours(self) -> bool:
        return self._hours is None or self._hours.is_open(self._now())

    def _close(self) -> None:
        """Show that the camera is closed, and report once that nothing is in view."""
        if self._hours is None:
            return
        message = self._hours.closed(self._now())
        if (self.condition, self.message) == ("closed", message):
            return
        first, self.capture = self.condition != "closed", None
        self._smoother.clear()
        self._report("closed", message)
        if first:
            self._notify(closed_observation(self._number, self._now(), self.region))

    def _watch(self, camera: Camera) -> None:
        due = self._clock()
        while not self._stop.wait(max(0.0, due - self._clock())) and self._in_hours():
            due = max(due, self._clock() - self._interval) + self._interval
            try:
                frame = camera.read(_READ)
            except TimeoutError as error:  # frames may arrive again without reconnecting
                self._report("lost", str(error))
                continue
            self._see(frame)

    def _see(self, frame: Frame) -> None:
        start = self._clock()
        embedding, own = self._embedder.embed(frame)
        middle = self._clock()
        before = self.capture.observation if self.capture else None
        prediction = before.prediction if before else None
        if middle >= self._rest and self.judging.acquire(blocking=False):
            try:
                prediction = self._predicted(frame, embedding, own)
            finally:
                self.judging.release()
        end = self._clock()
        observation = Observation(
            frame=self._number + 1,
            time=frame.time,
            source=frame.source,
            changed=before is None or shown_label(prediction) != before.label,
            prediction=prediction,
            familiar=prediction is not None and prediction.known,
            truth=frame.label,
            region=self.region,
            image=frame.image,
            embed_ms=1e3 * (middle - start),
            head_ms=1e3 * (end - middle),
        )
        self._publish(Capture(frame, embedding, observation, own), end)
        self._notify(observation)
        self._changed()

    def _notify(self, observation: Observation) -> None:
        for seen in self._listeners:
            seen(observation)

    def _predicted(self, frame: Frame, embedding: NDArray[np.float32], own: bool) -> Prediction | None:
        start = self._clock()
        try:
            prediction = self._learner.predict_embedding(embedding, all_scores=True)
        except HeadError:  # nothing taught yet
            self._smoother.clear()
            return None
        if own:  # else the picture would not be that of the embedding
            self._doubts.offer(
                embedding,
                prediction,
                lambda: encode_jpeg(preview(frame.image)),
                time=frame.time,
                source=frame.source,
            )
        # After a sample is taught the head is solved again. While a button is held, a small board would do nothing
        # else and teaching would be slow: after a slow solve the last prediction stays for a while.
        cost = self._clock() - start
        self._rest = start + (_REST + 1) * cost if cost > _SLOW else 0.0
        return self._smoother.add(prediction, self._learner.position)

    def _is_over(self) -> bool:
        return self._stop.is_set() or self.condition in ("ended", "off", "closed")

    def _is_new(self, number: int) -> bool:
        # the last picture of a lost camera is out of date and must not be taught
        return self._number > number and self.condition not in ("lost", "closed")

    def _publish(self, capture: Capture, now: float) -> None:
        gap, self._last = now - self._last, now
        self._gap = 0.9 * self._gap + 0.1 * gap if capture.number > 2 else gap
        with self._arrived:
            self.capture, self._number = capture, capture.number
            self.condition, self.message = "live", ""
            self._arrived.notify_all()
        if self.pictures.readers:
            self.show()

    def _report(self, condition: str, message: str) -> None:
        with self._arrived:
            self.condition, self.message = condition, redact(message)
            self._arrived.notify_all()
        self._changed()
