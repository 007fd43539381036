"""The one preprocessing function: fine-tuning, calibration, evaluation and run time all call it.

Resizing takes two steps that are exact in integers on every processor: a box filter by a whole
factor (no aliasing on large photos), then OpenCV's bit-exact linear interpolation. The same photo
becomes the same bytes on the laptop and on the Pi.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import cv2
import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from ..errors import ModelFileError
from ..images import Image, check_image

RESIZE_MODES = ("crop", "squash", "pad")
_MAX_SIDE = 4096

Side = Annotated[int, Meta(ge=1, le=_MAX_SIDE)]  # pixels
Channels = tuple[float, ...]  # R, G, B, or the one channel of gray
# BT.601 luma in units of 1/32768, the constants of OpenCV's RGB2GRAY; they add up to 32768, so gray stays gray
_LUMA = np.array([9798, 19235, 3735], np.uint32)


@dataclass(frozen=True)
class Preprocessing:
    """How a frame of any size becomes the backbone's input.

    Attributes:
        height: Rows of the backbone's input, in pixels.
        width: Columns of the backbone's input, in pixels.
        resize: ``crop`` takes the largest centered window of the input's shape, times `crop_fraction`;
            ``squash`` takes the whole frame and changes its proportions; ``pad`` keeps the whole frame
            and its proportions and fills with gray.
        crop_fraction: Part of the window's sides that ``crop`` keeps; 224/256 is ImageNet's custom.
        mean: Per channel (R, G, B, or gray alone), in pixel values: subtracted inside the model file.
        std: Per channel, in pixel values: divided by inside the model file.
        channels: 3 for RGB, 1 for gray.

    Example:
        >>> prepared = Preprocessing(4, 4).prepare(np.zeros((48, 64, 3), np.uint8))
        >>> prepared.shape, str(prepared.dtype)
        ((4, 4, 3), 'uint8')
        >>> gray = Preprocessing(4, 4, mean=(0.0,), std=(255.0,), channels=1)
        >>> gray.prepare(np.full((48, 64, 3), (255, 0, 0), np.uint8))[0, 0]
        array([76], dtype=uint8)
    """

    height: Side = 224
    width: Side = 224
    resize: str = "crop"
    crop_fraction: float = 0.875
    mean: Channels = (127.0, 127.0, 127.0)
    std: Channels = (128.0, 128.0, 128.0)
    channels: int = 3

    def __post_init__(self) -> None:
        if self.resize not in RESIZE_MODES:
            raise ModelFileError(f"resize must be one of {', '.join(RESIZE_MODES)}, got {self.resize!r}")
        if not (1 <= self.height <= _MAX_SIDE and 1 <= self.width <= _MAX_SIDE):
            raise ModelFileError(
                f"the input size must be 1 to {_MAX_SIDE} pixels, got {self.height}x{self.width}"
            )
        if not 0.05 <= self.crop_fraction <= 1:
            raise ModelFileError(f"crop_fraction must be 0.05 to 1, got {self.crop_fraction}")
        if self.channels not in (1, 3):
            raise ModelFileError(f"channels must be 3 for RGB or 1 for gray, got {self.channels}")
        if not len(self.mean) == len(self.std) == self.channels or not all(
            map(math.isfinite, (*self.mean, *self.std))
        ):
            raise ModelFileError(
                f"mean and std must have one number per channel ({self.channels}), got {self.mean} and {self.std}"
            )
        if not all(value > 0 for value in self.std):
            raise ModelFileError(f"std must be above 0, got {self.std}")

    def prepare(self, image: Image) -> Image:
        """Cut and resize `image`.

        For a gray backbone the resized image is turned gray: BT.601 luma in integers,
        ``(9798 R + 19235 G + 3735 B + 16384) >> 15``, as OpenCV's RGB2GRAY defines it. OpenCV itself is not called,
        because a processor vendor's routine may round in another way.

        Args:
            image: uint8 [H, W, 3] RGB, any size.

        Returns:
            uint8 [height, width, channels], contiguous.

        Raises:
            PhotoError: `image` is not uint8 [H, W, 3].
        """
        check_image(image)
        if self.resize == "crop":
            image = _resize(self._window(image), self.width, self.height)
        elif self.resize == "squash":
            image = _resize(image, self.width, self.height)
        else:
            image = self._pad(image)
        return image if self.channels == 3 else _gray(image)

    def normalize(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return ``(x - mean) / std`` as float32; only training calls it, the model file contains this step."""
        # whole rows at once: loops over the three channels of each pixel take ten times as long
        mean, std = (
            np.broadcast_to(np.array(channels, np.float32), batch.shape[-2:]).ravel()
            for channels in (self.mean, self.std)
        )
        rows = batch.reshape(*batch.shape[:-2], mean.size).astype(np.float32)
        rows -= mean
        rows /= std
        return rows.reshape(batch.shape)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a JSON-serializable dict."""
        return {
            "height": self.height,
            "width": self.width,
            "resize": self.resize,
            "crop_fraction": self.crop_fraction,
            "mean": list(self.mean),
            "std": list(self.std),
            "channels": self.channels,
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Preprocessing:
        """Read what `to_dict` returned; older files have no `channels` and are RGB.

        Raises:
            ModelFileError: A field is missing or of the wrong type; the message names it.
        """
        missing = REQUIRED - fields.keys() if isinstance(fields, dict) else ()
        if missing:
            raise ModelFileError(f"the preprocessing lacks {', '.join(sorted(missing))}")
        try:
            return msgspec.convert(fields, cls)
        except (msgspec.ValidationError, RecursionError) as error:
            raise ModelFileError(f"the preprocessing is wrong: {error}") from error

    def _window(self, image: Image) -> Image:
        rows, columns = image.shape[:2]
        scale = min(rows / self.height, columns / self.width) * self.crop_fraction
        height = min(rows, max(1, round(self.height * scale)))
        width = min(columns, max(1, round(self.width * scale)))
        top, left = (rows - height) // 2, (columns - width) // 2
        return image[top : top + height, left : left + width]  # a view: no copy of the frame

    def _pad(self, image: Image) -> Image:
        rows, columns = image.shape[:2]
        scale = min(self.height / rows, self.width / columns)
        height = min(self.height, max(1, round(rows * scale)))
        width = min(self.width, max(1, round(columns * scale)))
        gray = np.clip(np.round(self.mean), 0, 255).astype(np.uint8)
        canvas: Image = np.broadcast_to(gray, (self.height, self.width, 3)).copy()
        top, left = (self.height - height) // 2, (self.width - width) // 2
        canvas[top : top + height, left : left + width] = _resize(image, width, height)
        return canvas


REQUIRED = frozenset(Preprocessing.__dataclass_fields__) - {"channels"}
"""The fields that every version of the manifest has."""


def _gray(image: Image) -> Image:
    luma = (image @ _LUMA + np.uint32(16384)) >> np.uint32(15)
    gray: Image = luma.astype(np.uint8)[..., np.newaxis]
    return gray


def _resize(image: Image, width: int, height: int) -> Image:
    rows, columns = image.shape[:2]
    if (rows, columns) == (height, width):
        return np.ascontiguousarray(image)
    down, across = max(1, rows // height), max(1, columns // width)
    if down > 1 or across > 1:
        # centered on a whole multiple, so that every output pixel averages whole input pixels
        kept_rows, kept_columns = rows // down * down, columns // across * across
        top, left = (rows - kept_rows) // 2, (columns - kept_columns) // 2
        window = image[top : top + kept_rows, left : left + kept_columns]
        image = cv2.resize(window, (kept_columns // across, kept_rows // down), interpolation=cv2.INTER_AREA)
    if image.shape[:2] == (height, width):
        return np.ascontiguousarray(image)
    resized: Image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR_EXACT)
    return resized
