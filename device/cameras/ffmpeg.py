"""Video reading of OpenCV without messages: its libraries write to stderr unless they are turned off."""

from __future__ import annotations

import os
from typing import Any

from ..errors import CameraError
from ..images import Image

_AV_LOG_QUIET = "-8"  # on the scale of libav; OpenCV would write messages to stdout, among the results


def load_cv2() -> Any:
    """Import OpenCV with the messages of its video libraries turned off.

    The cameras report what these mean (`moov atom not found`, `error while decoding MB`) in one clear message.
    To see the originals, set ``OPENCV_FFMPEG_LOGLEVEL`` before starting.

    Raises:
        CameraError: OpenCV is not installed.
    """
    # the FFmpeg plugin of OpenCV reads this when the first video is opened
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
    """Return an image of OpenCV (BGR, or gray from some cameras) as uint8 [H, W, 3] RGB."""
    gray = image.ndim == 2 or image.shape[2] == 1
    code = cv2.COLOR_GRAY2RGB if gray else cv2.COLOR_BGR2RGB
    rgb: Image = cv2.cvtColor(image, code)
    return rgb
