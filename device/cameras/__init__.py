"""Cameras: one way to get RGB frames from hardware, files, streams, or without any of them.

`open_camera` chooses the backend by the name of the source. Each backend is a separate file that imports
what it needs only when it is used.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from ..addresses import redact
from ..errors import CameraError, EndOfSource, FrameTimeout
from .base import Camera, Frame, Notice
from .options import Options

__all__ = ["Camera", "EndOfSource", "Frame", "FrameTimeout", "Notice", "Options", "open_camera"]

_STREAMS = ("rtsp", "rtsps", "http", "https")


def open_camera(
    source: str | int | Path | None = None,
    *,
    fps: float | None = None,
    size: tuple[int, int] | str | None = None,
    rotate: int = 0,
    mirror: bool = False,
    crop: tuple[float, float, float, float] | str | None = None,
    loop: bool = False,
    timeout: float = 10.0,
    notice: Notice | None = None,
) -> Camera:
    """Open a source of frames; every frame is uint8 [H, W, 3] RGB.

    Args:
        source: ``0`` or ``/dev/video0`` (V4L2), ``picamera2`` or ``picamera2:1``, a video file, a photo or a folder
            of photos, an ``rtsp://`` or ``http://`` stream, ``fake`` or ``fake:SCRIPT``. None uses the environment
            variable ``EDGETL_CAMERA``, or else the first camera found.
        fps: Maximum number of frames per second; for a video file, per second of film.
        size: Width and height of the delivered frames, or ``"640x480"``; other shapes are cropped at the center.
        rotate: Degrees clockwise: 0, 90, 180 or 270.
        mirror: Swap left and right.
        crop: Left, top, width, height, in pixels or as fractions of the frame; applied first.
        loop: Start a folder or a video file again when it ends.
        timeout: Seconds to wait for a new frame of a live camera.
        notice: Called with remarks such as "unplugged, trying again in 2 s"; default: the log, which goes to stderr.

    Raises:
        CameraError: There is no such camera, it is busy, permission is missing, or an option is invalid.

    Example:
        >>> with open_camera("fake:red,blue") as camera:
        ...     int(camera.read().image.mean(axis=(0, 1)).argmax())  # channel 0 is red
        0
    """
    options = Options.of(fps=fps, size=size, rotate=rotate, mirror=mirror, crop=crop, loop=loop)
    name = _choose(source)
    scheme = name.partition("://")[0].lower() if "://" in name else ""
    if name == "fake" or name.startswith("fake:"):
        from .fake import FakeCamera

        return FakeCamera(name, options, notice)
    if scheme and scheme not in _STREAMS:
        raise CameraError(
            f"the camera {redact(name)!r} has the unknown scheme {scheme}://; expected one of {', '.join(_STREAMS)}"
        )
    if scheme or name.isdecimal() or name.startswith("/dev/") or name.partition(":")[0] == "picamera2":
        return _open_live(name, scheme, options, timeout, notice)
    return _open_path(Path(name), options, notice)


def _choose(source: str | int | Path | None) -> str:
    if source is None or source == "":
        source = os.environ.get("EDGETL_CAMERA") or _first_found()
    if isinstance(source, int) and source < 0:
        raise CameraError(
            f"a camera's number must be 0 or above, but got {source}; `edgetl cameras` lists them"
        )
    return str(source).strip()


def _first_found() -> str:
    from .discover import first_camera

    return first_camera()


def _open_live(name: str, scheme: str, options: Options, timeout: float, notice: Notice | None) -> Camera:
    from .live import Driver, LiveCamera

    driver: Driver
    if scheme:
        from .stream import stream_driver

        driver = stream_driver(name, timeout)
    elif name.startswith("picamera2"):
        from .picamera import PicameraDriver

        driver = PicameraDriver(name, options, timeout)
    else:
        from .v4l2 import V4l2Driver

        driver = V4l2Driver(name, options)
    return LiveCamera(driver, options, notice, timeout=timeout)


def _open_path(path: Path, options: Options, notice: Notice | None) -> Camera:
    if not path.exists():
        raise CameraError(
            f"there is no camera, file or folder {redact(str(path))!r}; expected 0, /dev/video0, picamera2, a video file, "
            "a folder of photos, an rtsp:// or http:// stream, or fake; `edgetl cameras` lists the cameras"
        )
    if path.is_dir() or _is_still(path):
        from .folder import FolderCamera

        return FolderCamera(path, options, notice)
    from .video import VideoCamera

    return VideoCamera(path, options, notice)


def _is_still(path: Path) -> bool:
    """Return whether a file is a photo by its content or its suffix; a GIF may move, so it counts as a video."""
    from ..formats import HEAD_BYTES, PHOTO_SUFFIXES, photo_format

    form = ""
    if path.is_file():  # opening a pipe would wait for its writer
        with contextlib.suppress(OSError), path.open("rb") as stream:
            form = photo_format(stream.read(HEAD_BYTES))
    if form:
        return form not in ("video", "GIF")
    return path.suffix.lower() in PHOTO_SUFFIXES - {".gif"}
