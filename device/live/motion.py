"""A gate that stays closed while nothing moves, so that the backbone does not run."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..images import Image

THRESHOLD = 0.01
"""Default share of the picture that has to change."""

_WIDTH = 64  # pixels of the small picture that is compared
_LEVELS = 12.0  # of 255; less is the noise of a camera
_HOLD = 5  # frames for which the gate stays open, so that the mean of a few predictions settles


@dataclass(frozen=True)
class Motion:
    """What the gate found in a frame.

    Attributes:
        share: Share of the picture that has changed since the last open frame, 0 to 1.
        open: Whether the frame has to be embedded.
    """

    share: float
    open: bool


class MotionGate:
    """Compare each frame with the last one that was embedded.

    Because the comparison is not with the frame before, slow movement adds up until the gate opens. The mean
    brightness is subtracted, so that a camera that adjusts its exposure does not open it.

    Args:
        threshold: Share of the picture that has to change, 0 to 1.

    Attributes:
        last: What was found in the last frame.

    Example:
        >>> gate = MotionGate(0.01)
        >>> scene = np.zeros((48, 64, 3), np.uint8)
        >>> [gate.check(scene).open for _ in range(7)]
        [True, True, True, True, True, False, False]
    """

    def __init__(self, threshold: float = THRESHOLD) -> None:
        self.threshold = threshold
        self.last = Motion(1.0, True)
        self._embedded: NDArray[np.float32] | None = None
        self._hold = 0

    def check(self, image: Image) -> Motion:
        """Return whether a frame has to be embedded; uint8 [H, W, 3] RGB.

        A frame of another shape than before always has to.
        """
        small = _small(image)
        share = 1.0
        if self._embedded is not None and self._embedded.shape == small.shape:
            share = float(np.mean(np.abs(small - self._embedded) > _LEVELS))
        self._hold = _HOLD if share > self.threshold else max(0, self._hold - 1)
        self.last = Motion(share, self._hold > 0)
        if self.last.open:
            self._embedded = small
        return self.last


def _small(image: Image) -> NDArray[np.float32]:
    """Return the gray levels of a small, blurred picture without their mean: float32 [H, W]."""
    height, width = image.shape[:2]
    size = (_WIDTH, max(1, round(_WIDTH * height / width)))
    gray = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    blurred: NDArray[np.float32] = cv2.GaussianBlur(gray, (3, 3), 0).astype(np.float32)
    blurred -= blurred.mean()
    return blurred
