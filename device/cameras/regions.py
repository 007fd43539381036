"""Named parts of a frame, each watched on its own."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..errors import CameraError
from .base import Frame

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
"""Names of cameras and regions: they are parts of file names, topics and addresses."""

_LEAST = 8  # pixels; a backbone sees nothing in less
_LINE = (255, 200, 0)  # RGB of the outline

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Region:
    """A part of a frame.

    Edges are fractions of the frame from 0 to 1, so that the region stays in place when the camera changes its size.

    Attributes:
        name: Its name.
        left: Left edge.
        top: Upper edge.
        right: Right edge.
        bottom: Lower edge.

    Raises:
        CameraError: The name is not a name, or the region is empty or exceeds the frame.

    Example:
        >>> Region.parse("door=0.1,0.2,0.4,0.9").box(640, 480)
        (64, 96, 256, 432)
    """

    name: str
    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        """Check the name and the edges."""
        check_name(self.name, "a region")
        if not (0 <= self.left < self.right <= 1 and 0 <= self.top < self.bottom <= 1):
            raise CameraError(
                f"the region {self.name} must be LEFT,TOP,RIGHT,BOTTOM in fractions of the frame from 0 to 1, with LEFT less "
                f"than RIGHT and TOP less than BOTTOM, but got {self.left:g},{self.top:g},{self.right:g},{self.bottom:g}; "
                "divide pixels by the width or height of the frame"
            )

    @classmethod
    def parse(cls, text: str) -> Region:
        """Return the region of a text ``NAME=LEFT,TOP,RIGHT,BOTTOM``.

        Raises:
            CameraError: The text has another form, or is not a region.
        """
        name, _, edges = text.partition("=")
        try:
            left, top, right, bottom = (float(part) for part in edges.split(","))
        except ValueError:
            raise CameraError(
                f"a region is written NAME=LEFT,TOP,RIGHT,BOTTOM such as door=0.1,0.2,0.4,0.9, but got {text[:100]!r}"
            ) from None
        return cls(name.strip(), left, top, right, bottom)

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return left, top, right and bottom in pixels of a frame."""
        return (
            round(self.left * width),
            round(self.top * height),
            round(self.right * width),
            round(self.bottom * height),
        )

    def cut(self, frame: Frame) -> Frame:
        """Return the frame with only this part of its image.

        Raises:
            CameraError: The part has less than 8 pixels on a side.
        """
        height, width = frame.image.shape[:2]
        left, top, right, bottom = self.box(width, height)
        if right - left < _LEAST or bottom - top < _LEAST:
            raise CameraError(
                f"the region {self.name} has {right - left}x{bottom - top} pixels of a frame of {width}x{height}; it needs at "
                f"least {_LEAST}x{_LEAST}: choose a larger region, or a camera with more pixels"
            )
        return replace(frame, image=np.ascontiguousarray(frame.image[top:bottom, left:right]))

    def outline(self, image: Image) -> Image:
        """Return a copy of a whole frame in which the region is outlined and everything else is darker."""
        height, width = image.shape[:2]
        left, top, right, bottom = self.box(width, height)
        drawn = image // 2
        drawn[top:bottom, left:right] = image[top:bottom, left:right]
        line = max(2, min(width, height) // 150)  # pixels
        inner = np.zeros((height, width), np.bool_)
        inner[top:bottom, left:right] = True
        inner[top + line : bottom - line, left + line : right - line] = False
        drawn[inner] = _LINE
        return drawn


def check_name(name: str, what: str) -> str:
    """Return the name of a camera or region.

    Raises:
        CameraError: It is not a name.
    """
    if not NAME.fullmatch(name):
        raise CameraError(
            f"the name of {what} has 1 to 40 letters, digits, - and _, such as door, but got {name[:50]!r}"
        )
    return name
