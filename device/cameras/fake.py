"""A camera without hardware: colored shapes, the same in every run.

A named backend, shipped and tested, that is never the default. The script after ``fake:`` names the scenes:
``fake:red,blue`` changes the scene with each frame, ``fake:red*30,blue*30`` every thirty frames,
``fake:red*5,end`` ends after five, ``fake:@FILE`` shows the scene that FILE names at the time.
"""

from __future__ import annotations

import colorsys
import hashlib
import re
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import CameraError, EndOfSource
from .base import Camera, Frame, Image, Notice, Pace
from .options import Options

DEFAULT_SCRIPT = "red*30,blue*30"
_HEIGHT, _WIDTH = 240, 320
_COLORS = {
    "red": (224, 16, 16),
    "green": (16, 200, 16),
    "blue": (16, 16, 224),
    "yellow": (224, 208, 16),
    "cyan": (16, 208, 208),
    "magenta": (208, 16, 208),
    "orange": (232, 128, 16),
    "gray": (128, 128, 128),
    "grey": (128, 128, 128),  # codespell:ignore grey
    "white": (235, 235, 235),
}
_MAX_REPEATS = 1_000_000


class FakeCamera(Camera):
    """Draw a scene per frame: any name is a scene, names of colors have their color, ``black`` is black.

    A frame depends only on the name of the scene and the number of the frame. `fps` limits the rate; without it,
    frames arrive as fast as they are read.
    """

    kind = "fake"

    def __init__(
        self, source: str = "fake", options: Options | None = None, notice: Notice | None = None
    ) -> None:
        """Parse the script.

        Raises:
            CameraError: The script is empty or malformed.
        """
        super().__init__(source, options, notice)
        script = source.partition(":")[2] or DEFAULT_SCRIPT
        self._file = Path(script[1:]) if script.startswith("@") else None
        self._scenes = _parse("red" if self._file else script)
        self._total = sum(count for _, count in self._scenes)
        self._ends = not self._file and self._scenes[-1] == ("end", 0)
        self._pace = Pace(self.options.fps)
        self._index = 0

    def scene(self, index: int) -> str:
        """Return the name of the scene in frame number `index`."""
        if self._file:
            return _scene_in(self._file)
        place = index % self._total
        for name, count in self._scenes:
            if place < count:
                return name
            place -= count
        raise IndexError(index)  # unreachable: place < total

    def _next(self, timeout: float | None) -> Frame:
        if self._ends and self._index >= self._total:
            raise EndOfSource(f"the script of {self.source} has ended after {self._total} frames")
        self._pace.wait()
        index, self._index = self._index, self._index + 1
        return Frame(draw(self.scene(index), index), time.time(), index, self.source)


def draw(scene: str, index: int = 0) -> Image:
    """Draw frame number `index` of a scene: its color, grain, and its shape at a place that varies.

    Returns:
        uint8 [240, 320, 3] RGB.
    """
    if scene == "black":
        return np.zeros((_HEIGHT, _WIDTH, 3), np.uint8)
    digest = hashlib.sha256(scene.encode()).digest()
    random = np.random.default_rng([int.from_bytes(digest[:4], "little"), index])
    grain = random.integers(-14, 15, size=(_HEIGHT // 8, _WIDTH // 8, 1), dtype=np.int16)
    coarse = np.asarray(_color(scene, digest), np.int16) + grain  # [30, 40, 3]
    image: Image = np.clip(coarse, 0, 255).astype(np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    center = random.uniform((90, 90), (_HEIGHT - 90, _WIDTH - 90))
    image[_shape(digest[4] % 4, center, random.uniform(30, 60))] //= 4  # a darker tone of the same color
    return image


def _color(scene: str, digest: bytes) -> tuple[int, ...]:
    if scene in _COLORS:
        return _COLORS[scene]
    # these bytes give everyday labels well separated colors
    hue, strength, light = (byte / 256 for byte in digest[13:16])
    return tuple(
        round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.5 + strength / 2, 0.4 + 0.6 * light)
    )


def _shape(kind: int, center: npt.NDArray[np.float64], radius: float) -> npt.NDArray[np.bool_]:
    rows, columns = np.ogrid[:_HEIGHT, :_WIDTH]
    y, x = rows - center[0], columns - center[1]
    inside: npt.NDArray[np.bool_]
    if kind == 0:  # disc
        inside = x * x + y * y < radius * radius
    elif kind == 1:  # square
        inside = (abs(x) < radius) & (abs(y) < radius)
    elif kind == 2:  # triangle
        inside = (abs(x) < (y + radius) / 2) & (y < radius)
    else:  # ring
        inside = (x * x + y * y < radius * radius) & (x * x + y * y > radius * radius / 4)
    return inside


def _parse(script: str) -> list[tuple[str, int]]:
    """Parse ``"red*30,blue,end"`` into ``[("red", 30), ("blue", 1), ("end", 0)]``."""
    scenes: list[tuple[str, int]] = []
    for item in script.split(","):
        match = re.fullmatch(r"\s*([^*]*?)\s*(?:\*\s*(\d{1,7}))?\s*", item)
        if not match or not match[1]:
            raise CameraError(
                f"a fake camera's script is SCENE*FRAMES,SCENE*FRAMES such as red*30,blue*30, got {item!r}"
            )
        scenes.append(("end", 0) if match[1] == "end" else (match[1], int(match[2] or 1)))
    total = sum(count for _, count in scenes)
    if not 0 < total <= _MAX_REPEATS or ("end", 0) in scenes[:-1]:
        raise CameraError(
            f"a fake camera's script needs 1 to {_MAX_REPEATS} frames and `end` in the last place only, got {script!r}"
        )
    return scenes


def _scene_in(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip() or "gray"
    except OSError as error:
        raise CameraError(
            f"the fake camera's scene file {file} cannot be read: {error.strerror}; write the name of a scene into it"
        ) from error
