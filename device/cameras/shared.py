"""One camera for several loops: it is opened once, and each loop sees a region of its frames."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from ..errors import FrameTimeout
from .base import Camera, Frame, Image
from .regions import Region

_LOOK = 1.0  # seconds to wait for a frame before the thread checks whether there are readers
_PATIENCE = 10.0  # seconds that a reader waits for a frame by default


class SharedCamera:
    """A camera that is opened when the first reader opens, and closed after the last one.

    Of a live camera each reader gets the newest frame. Of a video or a folder each reader gets every frame: the next one is read
    when all have the present one.

    Args:
        open_camera: Opens the camera; called again after it was lost.
    """

    def __init__(self, open_camera: Callable[[], Camera]) -> None:
        self._open_camera = open_camera
        self._changed = threading.Condition()
        self._readers: dict[object, int] = {}  # reader -> number of its last frame
        self._thread: threading.Thread | None = None
        self._frame: Frame | None = None
        self._number = 0
        self._failure: Exception | None = None

    def region(self, region: Region | None) -> Callable[[], Camera]:
        """Return a function that opens a reader of a region, or of whole frames."""
        return lambda: RegionCamera(self, region)

    @property
    def newest(self) -> Frame | None:
        """The newest whole frame; None before the first one."""
        return self._frame

    def enter(self, reader: object) -> None:
        """Add a reader; the first one starts the thread."""
        with self._changed:
            self._readers[reader] = self._number
            if self._thread is None:
                self._failure = None
                self._thread = threading.Thread(target=self._run, name="edgetl-camera", daemon=True)
                self._thread.start()

    def leave(self, reader: object) -> None:
        """Remove a reader; after the last one the camera is closed."""
        with self._changed:
            self._readers.pop(reader, None)
            thread = None if self._readers else self._thread
            self._changed.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join(_PATIENCE)

    def read(self, reader: object, timeout: float) -> Frame:
        """Return a frame that this reader has not seen.

        Raises:
            FrameTimeout: There was none in time.
            CameraError: The camera is lost.
            EndOfSource: The recording has ended.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._failure or self._number > self._readers[reader], timeout)
            if self._frame is not None and self._number > self._readers[reader]:
                self._readers[reader] = self._number
                self._changed.notify_all()
                return self._frame
            if self._failure is not None:
                raise self._failure
            raise FrameTimeout(f"no frame arrived within {timeout:g} s")

    def _run(self) -> None:
        try:
            with self._open_camera() as camera:
                while self._wait(camera.live):
                    with contextlib.suppress(FrameTimeout):
                        self._publish(camera.read(_LOOK))
        except Exception as error:  # each reader reports it
            with self._changed:
                self._failure = error
        with self._changed:
            self._thread = None
            self._changed.notify_all()

    def _wait(self, live: bool) -> bool:
        """Wait until the next frame may be read, and return False when there are no more readers."""
        with self._changed:
            if not live:
                self._changed.wait_for(
                    lambda: not self._readers or all(seen == self._number for seen in self._readers.values())
                )
            return bool(self._readers)

    def _publish(self, frame: Frame) -> None:
        with self._changed:
            self._frame = frame
            self._number += 1
            self._changed.notify_all()


class RegionCamera(Camera):
    """A reader of a shared camera.

    Args:
        shared: The camera.
        region: The part of its frames; None for whole frames.
    """

    kind = "region"

    def __init__(self, shared: SharedCamera, region: Region | None) -> None:
        super().__init__(region.name if region else "camera")
        self._shared, self._region = shared, region
        shared.enter(self)

    def _next(self, timeout: float | None) -> Frame:
        frame = self._shared.read(self, _PATIENCE if timeout is None else timeout)
        return frame if self._region is None else self._region.cut(frame)

    def _release(self) -> None:
        self._shared.leave(self)


def overview(shared: SharedCamera, region: Region) -> Callable[[Frame], Image]:
    """Return a function that draws the region into the newest whole frame."""

    def drawn(frame: Frame) -> Image:
        whole = shared.newest
        return frame.image if whole is None else region.outline(whole.image)

    return drawn
