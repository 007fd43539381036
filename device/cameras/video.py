"""A video file as a camera: every frame, or a number of frames per second of film."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import NoReturn

from ..errors import CameraError, EndOfSource
from ..images import Image
from .base import Camera, Frame, Notice
from .ffmpeg import load_cv2, to_rgb
from .options import Options

_ASSUMED_FPS = 25.0
_MAX_FPS = 1000.0
_TRIES_AT_DAMAGE = 5


class VideoCamera(Camera):
    """Frames of a video file through OpenCV's FFmpeg.

    With `fps`, that number of frames per second of film is delivered and the others are skipped without being
    converted; the file is never played in real time. A file that is shorter than its header states is reported.
    `Frame.index` is the number of the frame in the film.
    """

    kind = "video"

    def __init__(
        self, source: str | Path, options: Options | None = None, notice: Notice | None = None
    ) -> None:
        """Open the file.

        Raises:
            CameraError: The file is missing, empty, or not a video that FFmpeg can read.
        """
        super().__init__(str(source), options, notice)
        _check_file(Path(source))
        self._cv2 = load_cv2()
        self._open()
        self._started = time.time()
        self._past = 0.0  # seconds of film in the rounds already shown (`loop`)

    def _open(self) -> None:
        cv2 = self._cv2
        self._capture = cv2.VideoCapture(self.source, cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            self._capture.release()
            raise CameraError(
                f"{self.source} cannot be read as a video: it is damaged, cut off before its index, or of an unknown "
                "kind; try to play it with ffplay or VLC, or convert it with: ffmpeg -i FILE new.mp4"
            )
        self._film_fps = self._plausible_fps(self._capture.get(cv2.CAP_PROP_FPS))
        self._expected = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self._position = 0  # frames of the film passed so far
        self._wanted = 0  # frames of the film delivered or tried so far

    def _plausible_fps(self, fps: float) -> float:
        if math.isfinite(fps) and 0 < fps <= _MAX_FPS:
            return fps
        self.notify(
            f"{self.source} does not state its frames per second (got {fps}); {_ASSUMED_FPS:g} are assumed"
        )
        return _ASSUMED_FPS

    def _next(self, timeout: float | None) -> Frame:
        image = self._advance()
        if image is None and self.options.loop and self._position:
            self._start_again()
            image = self._advance()
        if image is None:
            self._end()
        index = self._position - 1
        at = self._started + self._past + index / self._film_fps
        return Frame(to_rgb(self._cv2, image), at, index, self.source)

    def _advance(self) -> Image | None:
        """Return the next frame that `fps` selects as BGR, or None at the end."""
        target = self._wanted
        if self.options.fps and self.options.fps < self._film_fps:
            target = math.floor(self._wanted * self._film_fps / self.options.fps + 1e-6)
        self._wanted += 1
        while self._position <= target:
            if not self._grab():
                return None
            self._position += 1
        done, image = self._capture.retrieve()
        return image if done else None

    def _grab(self) -> bool:
        """Advance one frame; at a damaged place OpenCV fails a few times before it finds the next intact frame."""
        return any(self._capture.grab() for _ in range(_TRIES_AT_DAMAGE))

    def _start_again(self) -> None:
        self._past += self._position / self._film_fps
        self._capture.release()
        self._open()

    def _end(self) -> NoReturn:
        if self._position == 0:
            raise CameraError(
                f"{self.source} opens as a video but contains no frame that can be decoded; "
                "copy it again, or convert it with: ffmpeg -i FILE new.mp4"
            )
        tolerance = max(2, self._expected // 50)  # containers miscount by one or two
        if self._expected - self._position > tolerance:
            self.notify(
                f"{self.source} delivered only {self._position} of {self._expected} frames: it is damaged or cut off"
            )
            self._expected = 0  # report it once
        raise EndOfSource(f"{self.source} has ended after {self._position} frames")

    def _release(self) -> None:
        self._capture.release()


def _check_file(path: Path) -> None:
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise CameraError(
            f"{path} cannot be opened: {error.strerror}; check the path and its permissions"
        ) from error
    if empty:
        raise CameraError(f"{path} is empty, expected a video file; copy it again")
