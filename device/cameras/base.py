"""What every camera is: a context manager that hands out RGB frames until it ends or is closed."""

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
from ..errors import CameraError
from ..printable import printable
from .options import Options

Image = npt.NDArray[np.uint8]  # [H, W, 3] RGB
Notice = Callable[[str], None]


class EndOfSource(CameraError, EOFError):  # noqa: N818  (an end, not a fault)
    """A finite source (folder, video file, scripted fake) has no more frames."""


class FrameTimeout(CameraError, TimeoutError):  # noqa: N818  (it may pass by itself)
    """A live camera gave no new frame in time; it may come back, so reading again is allowed."""


@dataclass(frozen=True, eq=False, slots=True)
class Frame:
    """One picture from a camera.

    Attributes:
        image: uint8 [H, W, 3], RGB.
        time: Seconds since the epoch at which the frame arrived. In a video file: when it was opened plus
            the position in the film, so that frames far apart in the film are far apart here too.
        index: Number of the frame in its source, from 0. Gaps are frames that were skipped or dropped.
        source: Where it came from; for a folder, the photo's path inside it. Never holds a password.
        label: The subfolder's name when the source is a folder with one subfolder per label, else None.
    """

    image: Image = field(repr=False)
    time: float
    index: int
    source: str
    label: str | None = None


class Camera(ABC):
    """A source of frames; use it in a ``with`` statement.

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
            timeout: Seconds to wait for a live source; None takes the camera's own. Finite sources never wait.

        Raises:
            EndOfSource: A finite source is at its end.
            FrameTimeout: A live source gave no new frame in time.
            CameraError: The camera is closed or cannot be read.
        """
        self._check_open()
        frame = self._next(timeout)
        self._delivered += 1
        image = self.options.apply(frame.image)
        return frame if image is frame.image else replace(frame, image=image)

    @abstractmethod
    def _next(self, timeout: float | None) -> Frame:
        """Return the next frame as the source gives it: RGB, but neither cropped nor scaled."""

    def close(self) -> None:
        """Let go of the source; closing twice is fine."""
        if not self._closed:
            self._closed = True
            self._release()

    def _release(self) -> None:  # noqa: B027  (a hook: most finite sources hold nothing)
        """Free what the backend holds."""

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def describe(self) -> dict[str, Any]:
        """Return what is known about the camera, as plain JSON-able data."""
        return {
            "source": self.source,
            "kind": self.kind,
            "live": self.live,
            "open": not self._closed,
            "delivered": self._delivered,
            **self.options.to_dict(),
        }

    def tell(self, message: str) -> None:
        """Pass a remark to the `notice` callback, or to the log (stderr) where there is none.

        Secrets of addresses in it are hidden, and control characters are shown as escapes.
        """
        message = printable(redact(message))
        if self._notice is not None:
            self._notice(message)
        else:
            import logging

            logging.getLogger("edgetl.camera").warning("%s", message)

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames to the end of a finite source; a live one is waited for as long as it takes."""
        while True:
            try:
                yield self.read()
            except EndOfSource:
                return
            except FrameTimeout:
                continue  # told by the camera itself, which keeps on trying
            except CameraError:
                if self.closed:  # by the loop's own body or by another thread
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
        """Tell an open camera from a closed one."""
        return f"<{type(self).__name__} {self.source!r} {'closed' if self._closed else 'open'}>"

    def _check_open(self) -> None:
        if self._closed:
            raise CameraError(
                f"camera {self.source} is closed, so it gives no more frames; open it again with open_camera()"
            )


class Pace:
    """Hold a loop to at most `fps` rounds a second; None lets it run freely."""

    def __init__(
        self,
        fps: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """Start at once: the first round never waits."""
        self._interval = 1.0 / fps if fps else 0.0
        self._clock = clock
        self._sleep = sleep
        self._due = -math.inf

    def delay(self) -> float:
        """Seconds until the next round is due, 0.0 when it is."""
        return max(0.0, self._due - self._clock()) if self._interval else 0.0

    def mark(self) -> None:
        """Note that a round has begun; one that came late does not make the next ones hurry."""
        if self._interval:
            now = self._clock()
            late = now - self._due >= self._interval
            self._due = (now if late else self._due) + self._interval

    def wait(self) -> None:
        """Sleep until the next round is due and begin it."""
        delay = self.delay()
        if delay:
            self._sleep(delay)
        self.mark()
