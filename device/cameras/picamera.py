"""Ribbon cameras of the Raspberry Pi through picamera2 (libcamera).

libcamera names pixel formats by their order in a little-endian word: its ``BGR888`` is R, G, B in memory, and its
``RGB888`` is B, G, R. ``BGR888`` is requested; frames are converted according to the format that was set.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from typing import Any

import numpy as np

from ..errors import CameraError
from ..images import Image
from .live import Driver
from .options import Options

# 4:3 at this size lets every Pi camera use a mode with its whole field of view; 640x480 of camera module 2 is a
# crop from the middle.
_DEFAULT_SIZE = (1024, 768)
_BUFFERS = 3
_INSTALL = "sudo apt install -y python3-picamera2 --no-install-recommends"
_RIBBON = "check the ribbon cable, then run: rpicam-hello --list-cameras"


class PicameraDriver(Driver):
    """The camera ``picamera2`` (the first) or ``picamera2:1``."""

    kind = "picamera2"

    def __init__(self, name: str, options: Options | None = None, timeout: float = 10.0) -> None:
        """Prepare to open camera `name`; a frame that takes longer than `timeout` seconds counts as lost."""
        super().__init__(name)
        match = re.fullmatch(r"picamera2(?::(\d{1,2}))?", name)
        if not match:
            raise CameraError(f"a ribbon camera is named picamera2 or picamera2:NUMBER, got {name!r}")
        self._number = int(match[1] or 0)
        self._options = options or Options()
        self._timeout = timeout
        self._camera: Any = None
        self._format = ""

    def open(self) -> None:
        """Configure and start the camera."""
        picamera2 = load_picamera2()
        # first, because each failing Picamera2() leaks a pipe, and retrying all night would use up all of them
        found = picamera2.Picamera2.global_camera_info()
        if self._number >= len(found):
            raise CameraError(
                f"{self.source} does not exist: libcamera detects {len(found)} camera{'' if len(found) == 1 else 's'}; {_RIBBON}"
            )
        try:
            self._camera = picamera2.Picamera2(self._number)
            configuration = self._configuration()
            self._camera.configure(configuration)
            self._format = str(self._camera.camera_configuration()["main"]["format"])
            self._camera.start()
        except Exception as error:  # picamera2 raises RuntimeError, IndexError and more for a missing camera
            self.close()
            raise CameraError(f"{self.source} cannot be opened: {_reason(error)}") from error

    def _configuration(self) -> Any:
        width, height = self._options.capture_size or _DEFAULT_SIZE
        size = (max(2, width // 2 * 2), max(2, height // 2 * 2))  # picamera2 refuses odd sizes
        rate = {"FrameRate": self._options.fps} if self._options.fps else {}
        # no queue: a frame that was finished before it was requested is out of date
        return self._camera.create_video_configuration(
            main={"format": "BGR888", "size": size}, buffer_count=_BUFFERS, controls=rate, queue=False
        )

    def grab(self) -> Any:
        """Wait for the next frame and return a copy of it, so that its buffer is free at once."""
        if self._camera is None:
            raise CameraError("the camera is not open")
        try:
            return self._camera.capture_array("main", wait=self._timeout)
        except TimeoutError as error:
            raise CameraError(f"it delivered no frame for {self._timeout:g} s; {_RIBBON}") from error

    def decode(self, packet: Any) -> Image:
        """Return the frame with its channels in the order R, G, B."""
        if self._format == "BGR888":
            return np.asarray(packet, dtype=np.uint8)
        if self._format in ("RGB888", "XRGB8888"):
            return np.ascontiguousarray(packet[:, :, 2::-1])
        if self._format == "XBGR8888":
            return np.ascontiguousarray(packet[:, :, :3])
        raise CameraError(
            f"the camera delivers {self._format}, which is not supported here; read a USB camera as 0 or 1"
        )

    def close(self) -> None:
        """Stop the camera and release it for other programs."""
        camera, self._camera = self._camera, None
        if camera is not None:
            with contextlib.suppress(Exception):  # closing a broken camera may fail; nothing more can be done
                camera.cancel_all_and_flush()
            with contextlib.suppress(Exception):
                camera.close()

    def describe(self) -> dict[str, Any]:
        """Return the pixel format in use."""
        return {"format": self._format}


def load_picamera2() -> Any:
    """Import picamera2, with the log of libcamera reduced to errors.

    Raises:
        CameraError: It is not installed, or cannot be imported here.
    """
    os.environ.setdefault("LIBCAMERA_LOG_LEVELS", "*:ERROR")
    try:
        import picamera2
    # a wrong version of NumPy raises ValueError, a missing device OSError
    except Exception as error:
        raise CameraError(
            f"picamera2 cannot be imported ({type(error).__name__}: {error}); install it with: {_INSTALL} "
            "and make a virtual environment with --system-site-packages"
        ) from error
    # what it logs before raising is in the error we raise; with logging set up it is still shown
    logging.getLogger("picamera2").addHandler(logging.NullHandler())
    return picamera2


def list_cameras() -> list[tuple[int, str]]:
    """Return number and name of each camera that libcamera detects, without opening any.

    Raises:
        CameraError: picamera2 cannot be imported or libcamera fails.
    """
    picamera2 = load_picamera2()
    try:
        found = picamera2.Picamera2.global_camera_info()
    except Exception as error:
        raise CameraError(f"libcamera fails: {error}") from error
    # libcamera lists USB cameras too, but V4L2 reads them better
    return [
        (number, str(info.get("Model", "camera")))
        for number, info in enumerate(found)
        if "/usb" not in str(info.get("Id", ""))
    ]


def _reason(error: BaseException) -> str:
    """Return the root cause of nested RuntimeErrors of picamera2, and what to do about it."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(error) or type(error).__name__
    if "busy" in text.lower() or "acquire" in text.lower():
        return f"{text}; another program uses it: stop that program first (rpicam-hello, a service, a second edgetl)"
    return f"{text}; {_RIBBON}"
