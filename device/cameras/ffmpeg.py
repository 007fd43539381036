"""OpenCV's video reading, quiet: the libraries below it write to stderr on their own unless told not to."""

from __future__ import annotations

import os
from typing import Any

from ..errors import CameraError
from ..images import Image

_AV_LOG_QUIET = "-8"  # libav's own scale; OpenCV writes it to stdout, where results belong


def load_cv2() -> Any:
    """Import OpenCV with the noise of its video libraries turned off.

    What they say (`moov atom not found`, `error while decoding MB`) is reported by the cameras as one clear
    message instead. Whoever needs it back sets ``OPENCV_FFMPEG_LOGLEVEL`` before starting.

    Raises:
        CameraError: OpenCV is not installed.
    """
    # read by OpenCV's FFmpeg plugin when the first video is opened, so setting it here is early enough
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", _AV_LOG_QUIET)
    # RTP inside the RTSP connection: UDP loses packets on Wi-Fi and does not pass every router
    os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;tcp")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")  # read when OpenCV is imported
    try:
        import cv2
    except ImportError as error:
        raise CameraError(
            f"this camera needs OpenCV, which cannot be imported ({error}); install it with: "
            "pip install 'edgetl[device]'"
        ) from error
    return cv2


def to_rgb(cv2: Any, image: Image) -> Image:
    """Turn what OpenCV gives (BGR, or grey from some cameras) into uint8 [H, W, 3] RGB."""
    grey = image.ndim == 2 or image.shape[2] == 1
    code = cv2.COLOR_GRAY2RGB if grey else cv2.COLOR_BGR2RGB
    rgb: Image = cv2.cvtColor(image, code)
    return rgb
