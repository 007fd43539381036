"""USB cameras and other V4L2 devices through OpenCV."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..errors import CameraError
from ..images import Image
from .discover import advise_on_node, fingerprint, same_camera
from .ffmpeg import load_cv2, to_rgb
from .live import Driver
from .options import Options

_SELECT_SECONDS = "5"


class V4l2Driver(Driver):
    """A ``/dev/video*`` device, read as MJPG where possible: raw frames over USB 2 are slow or small."""

    kind = "v4l2"

    def __init__(self, name: str, options: Options | None = None) -> None:
        """Prepare to open ``0``, ``/dev/video0``, or a permanent name such as ``/dev/v4l/by-id/...``."""
        super().__init__(f"/dev/video{name}" if name.isdecimal() else name)
        self._options = options or Options()
        # seconds that OpenCV waits for a frame; it reads this when the first camera is opened
        os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", _SELECT_SECONDS)
        self._cv2 = load_cv2()
        self._capture: Any = None
        self._node = self.source
        self._fingerprint: tuple[str, str] | None = None

    def open(self) -> None:
        """Open the device under its present number: after it was unplugged, the number may differ."""
        self._node = (
            self.source if Path(self.source).exists() else same_camera(self._fingerprint) or self.source
        )
        advise_on_node(self._node)
        cv2 = self._cv2
        self._capture = cv2.VideoCapture(self._node, cv2.CAP_V4L2)
        if not self._capture.isOpened():
            self.close()
            advise_on_node(self._node, failed=True)
        self._fingerprint = self._fingerprint or fingerprint(self._node)
        self._configure()

    def _configure(self) -> None:
        cv2, capture = self._cv2, self._capture
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter_fourcc(*"MJPG"))  # ignored where there is no MJPG
        if self._options.capture_size:
            width, height = self._options.capture_size
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
        if self._options.fps:
            capture.set(cv2.CAP_PROP_FPS, self._options.fps)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)

    def grab(self) -> Any:
        """Wait for the next frame, as BGR."""
        done, image = self._capture.read() if self._capture is not None else (False, None)
        if not done or image is None:
            raise CameraError(
                f"{self._node} delivered no frame: "
                + ("it stalled" if Path(self._node).exists() else "it was unplugged")
            )
        return image

    def decode(self, packet: Any) -> Image:
        """Convert BGR or gray to RGB."""
        return to_rgb(self._cv2, packet)

    def close(self) -> None:
        """Release the device, so that its number is free when it is plugged in again."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def describe(self) -> dict[str, Any]:
        """Return the device file in use."""
        return {"node": self._node}
