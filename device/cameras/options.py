"""Options of every camera: rate, size, rotation, mirroring, crop; checked once, applied to each frame."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import CameraError


@dataclass(frozen=True)
class Options:
    """How frames are delivered.

    The order is: crop, scale to `size`, rotate, mirror. `size` is the size of the delivered frame,
    after rotation; a frame of another shape is cropped at its center, never squashed.

    >>> Options.of(size="640x480", rotate=90).size
    (640, 480)

    Attributes:
        fps: Maximum number of frames per second; for a video file, per second of film.
        size: Width and height in pixels, or None for the size of the source.
        rotate: Degrees clockwise: 0, 90, 180 or 270.
        mirror: Swap left and right, as in a mirror.
        crop: Left, top, width, height; as fractions of the frame when none is above 1, else in pixels.
        loop: Start a folder or video file again when it ends.
    """

    fps: float | None = None
    size: tuple[int, int] | None = None
    rotate: int = 0
    mirror: bool = False
    crop: tuple[float, float, float, float] | None = None
    loop: bool = False

    @classmethod
    def of(
        cls,
        *,
        fps: float | None = None,
        size: tuple[int, int] | str | None = None,
        rotate: int = 0,
        mirror: bool = False,
        crop: tuple[float, float, float, float] | str | None = None,
        loop: bool = False,
    ) -> Options:
        """Return options from numbers or from text (``"640x480"``, ``"0.1,0.1,0.8,0.8"``)."""
        return cls(
            fps=fps,
            size=parse_size(size) if isinstance(size, str) else size,
            rotate=rotate,
            mirror=mirror,
            crop=parse_crop(crop) if isinstance(crop, str) else crop,
            loop=loop,
        )

    def __post_init__(self) -> None:
        """Check every option."""
        if self.fps is not None and not (math.isfinite(self.fps) and self.fps > 0):
            raise CameraError(f"fps must be a number above 0, but got {self.fps}; try 10")
        if self.rotate not in (0, 90, 180, 270):
            raise CameraError(f"rotate must be 0, 90, 180 or 270 degrees, but got {self.rotate}")
        if self.size is not None and not _is_size(self.size):
            raise CameraError(f"size must be WIDTHxHEIGHT in pixels, but got {self.size}; try 640x480")
        if self.crop is not None:
            _check_crop(self.crop)

    @property
    def capture_size(self) -> tuple[int, int] | None:
        """Size to request from the device: before rotation; None when frames are cropped."""
        if self.size is None or self.crop is not None:
            return None
        width, height = self.size
        return (height, width) if self.rotate in (90, 270) else (width, height)

    def apply(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return the frame with all options applied; the same array when there is nothing to do."""
        result = image if self.crop is None else _cropped(image, self.crop)
        if self.size is not None:
            width, height = self.size
            result = scale_to(result, (height, width) if self.rotate in (90, 270) else (width, height))
        if self.rotate:
            result = np.rot90(result, k=-self.rotate // 90)
        if self.mirror:
            result = result[:, ::-1]
        return np.ascontiguousarray(result)

    def to_dict(self) -> dict[str, Any]:
        """Return the options, JSON-serializable."""
        return asdict(self)


def parse_size(text: str) -> tuple[int, int]:
    """Return (width, height) from ``"640x480"``.

    Raises:
        CameraError: The text has another form.
    """
    match = re.fullmatch(r"\s*(\d{1,5})\s*[xX×]\s*(\d{1,5})\s*", text)
    if not match:
        raise CameraError(f"size must be WIDTHxHEIGHT such as 640x480, but got {text!r}")
    return int(match[1]), int(match[2])


def parse_crop(text: str) -> tuple[float, float, float, float]:
    """Return four numbers from ``"LEFT,TOP,WIDTH,HEIGHT"``, in fractions or pixels.

    Raises:
        CameraError: The text has another form.
    """
    try:
        left, top, width, height = (float(part) for part in text.split(","))
    except ValueError:
        raise CameraError(
            f"crop must be LEFT,TOP,WIDTH,HEIGHT such as 0.25,0,0.5,1 or 100,0,400,480, but got {text!r}"
        ) from None
    return left, top, width, height


def scale_to(image: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return `image` at exactly `size` (width, height), cropped at the center where its shape differs."""
    rows, columns = image.shape[:2]
    width, height = size
    if (columns, rows) == (width, height):
        return image
    import cv2  # heavy, and not needed without a size

    factor = max(width / columns, height / rows)
    keep_x, keep_y = min(columns, max(1, round(width / factor))), min(rows, max(1, round(height / factor)))
    x, y = (columns - keep_x) // 2, (rows - keep_y) // 2
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    scaled = cv2.resize(image[y : y + keep_y, x : x + keep_x], (width, height), interpolation=method)
    return np.asarray(scaled, dtype=np.uint8)


def _is_size(size: tuple[int, ...]) -> bool:
    return len(size) == 2 and all(1 <= side <= 16384 for side in size)


def _check_crop(crop: tuple[float, float, float, float]) -> None:
    numbers = len(crop) == 4 and all(math.isfinite(number) and number >= 0 for number in crop)
    if not numbers or crop[2] <= 0 or crop[3] <= 0:
        raise CameraError(
            f"crop must be LEFT,TOP,WIDTH,HEIGHT with a width and height above 0, but got {crop}; "
            "try 0.25,0,0.5,1 for the middle half"
        )


def _cropped(image: npt.NDArray[np.uint8], crop: tuple[float, float, float, float]) -> npt.NDArray[np.uint8]:
    rows, columns = image.shape[:2]
    across, down = (columns, rows) if max(crop) <= 1 else (1, 1)
    left, top = round(crop[0] * across), round(crop[1] * down)
    right, bottom = round((crop[0] + crop[2]) * across), round((crop[1] + crop[3]) * down)
    if right > columns or bottom > rows or right <= left or bottom <= top:
        raise CameraError(
            f"crop {crop} exceeds the frame, which is {columns}x{rows} pixels; "
            "choose LEFT,TOP,WIDTH,HEIGHT inside it, or fractions between 0 and 1"
        )
    return image[top:bottom, left:right]
