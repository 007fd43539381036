"""The base class of cameras: a context manager that yields RGB frames until it ends or is closed."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from ..addresses import redact
from ..errors import CameraError, EndOfSource, FrameTimeout
from ..printable import printable
from .options import Options

Image = npt.NDArray[np.uint8]  # [H, W, 3] RGB
Notice = Callable[[str], None]


@dataclass(frozen=True, eq=False, slots=True)
class Frame:
    """One frame from a camera.

    Attributes:
        image: uint8 [H, W, 3], RGB.
        time: Seconds since the epoch at which the frame arrived. In a video file: the time at which it was opened
            plus the position in the film.
        index: Number of the frame in its source, from 0. Gaps are frames that were skipped or dropped.
        source: Name of the camera; for a folder, the path of the photo in it. Never contains a password.
        label: Name of the subfolder when the source is a folder with one subfolder per label, else None.
    """

    image: Image = field(repr=False)
    time: float
    index: int
    source: str
    label: str | None = None


class Camera(ABC):
    """A source of frames; use it in a ``with`` statement.

    Example:
        >>> from device.cameras import open_camera
        >>> with open_camera("fake:red*2,end", size=(64, 48)) as camera:
        ...     [frame.image.shape for frame in camera]
        [(48, 64, 3), (48, 64, 3)]
        >>> camera
        <FakeCamera 'fake:red*2,end' closed>
    """

    kind: str
    live: ClassVar[bool] = False

    def __init__(self, source: str, options: Options | None = None, notice: Notice | None = None) -> None:
        """Prepare; subclasses open what they need after calling this."""
        self.source = source
        self.options = options or Options()
        self._notice = notice
        self._closed = False
        self._delivered = 0

    def read(self, timeout: float | None = None) -> Frame:
        """Return the next frame of a finite source, or the newest one of a live source.

        Args:
            timeout: Seconds to wait for a live source; None means the timeout of the camera. Finite sources never wait.

        Raises:
            EndOfSource: A finite source is at its end.
            FrameTimeout: A live source delivered no new frame in time.
            CameraError: The camera is closed or cannot be read.
        """
        self._check_open()
        frame = self._next(timeout)
        self._delivered += 1
        image = self.options.apply(frame.image)
        return frame if image is frame.image else replace(frame, image=image)

    @abstractmethod
    def _next(self, timeout: float | None) -> Frame:
        """Return the next frame of the source: RGB, neither cropped nor scaled."""

    def close(self) -> None:
        """Release the source; closing it again does nothing."""
        if not self._closed:
            self._closed = True
            self._release()

    def _release(self) -> None:  # noqa: B027  (a hook: most finite sources hold nothing)
        """Release the resources of the backend."""

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def describe(self) -> dict[str, Any]:
        """Return the properties of the camera, JSON-serializable."""
        return {
            "source": self.source,
            "kind": self.kind,
            "live": self.live,
            "open": not self._closed,
            "delivered": self._delivered,
            **self.options.to_dict(),
        }

    def notify(self, message: str) -> None:
        """Pass a message to the `notice` callback, or to the log (stderr) where there is none.

        Secrets in addresses are hidden, and control characters are shown as escapes.
        """
        message = printable(redact(message))
        if self._notice is not None:
            self._notice(message)
        else:
            import logging

            logging.getLogger("edgetl.camera").warning("%s", message)

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames to the end of a finite source; a live source is waited for without limit."""
        while True:
            try:
                yield self.read()
            except EndOfSource:
                return
            except FrameTimeout:
                continue  # the camera reports this itself and keeps trying
            except CameraError:
                if self.closed:  # by the body of the loop or by another thread
                    return
                raise

    def __enter__(self) -> Self:
        """Return the camera itself; it is open already."""
        self._check_open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the camera."""
        self.close()

    def __repr__(self) -> str:
        """Return a description that shows whether the camera is open."""
        return f"<{type(self).__name__} {self.source!r} {'closed' if self._closed else 'open'}>"

    def _check_open(self) -> None:
        if self._closed:
            raise CameraError(
                f"camera {self.source} is closed, so it delivers no more frames; open it again with open_camera()"
            )


class Pace:
    """Limit a loop to `fps` rounds per second; None means no limit."""

    def __init__(
        self,
        fps: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """Start without a delay: the first round never waits."""
        self._interval = 1.0 / fps if fps else 0.0
        self._clock = clock
        self._sleep = sleep
        self._due = -math.inf

    def delay(self) -> float:
        """Return the seconds until the next round is due, 0.0 when it is."""
        return max(0.0, self._due - self._clock()) if self._interval else 0.0

    def mark(self) -> None:
        """Record that a round has begun; a late round does not shorten the following delays."""
        if self._interval:
            now = self._clock()
            late = now - self._due >= self._interval
            self._due = (now if late else self._due) + self._interval

    def wait(self) -> None:
        """Sleep until the next round is due, and record that it has begun."""
        delay = self.delay()
        if delay:
            self._sleep(delay)
        self.mark()
