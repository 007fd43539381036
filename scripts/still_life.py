"""Drawn things on a table for the screenshots, which therefore need neither a camera nor photos."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from device.cameras import Camera, Frame
from device.images import Image
from device.learner import Learner

_HEIGHT, _WIDTH = 480, 640
_SIZE = 480  # pixels of the square that a thing is drawn in, upright and centered
_FINE = 4  # fractional bits of pixel coordinates

Layer = NDArray[np.uint8]  # [_SIZE, _SIZE, 4] RGBA
Point = tuple[float, float]
Color = tuple[int, int, int]


class Table(Camera):
    """A camera over a table that shows `thing` in a different pose in each frame.

    Args:
        thing: One of `THINGS`, or ``nothing``.
    """

    kind = "drawn"

    def __init__(self, thing: str = "nothing") -> None:
        super().__init__("drawn")
        self.thing = thing
        self._number = 0

    def _next(self, timeout: float | None) -> Frame:
        self._number += 1
        return Frame(draw(self.thing, self._number), time.time(), self._number, self.source)


def teach(learner: Learner, plan: Mapping[str, Mapping[str, int]]) -> None:
    """Teach labels; each is drawn as some things, with a number of pictures of each."""
    for place, (label, things) in enumerate(plan.items()):
        images = [
            draw(thing, (-number - 101 * place) % 997)
            for thing, count in things.items()
            for number in range(count)
        ]
        learner.learn_many(images, [label] * len(images))


def draw(thing: str, number: int) -> Image:
    """Draw a thing in pose `number`; return uint8 [480, 640, 3] RGB, always the same for the same arguments."""
    random = np.random.default_rng([zlib.crc32(thing.encode()), number])
    picture = _table(random)
    if thing in THINGS:
        _lay(picture, THINGS[thing](), random)
    return np.clip(picture, 0, 255).astype(np.uint8)


def _table(random: np.random.Generator) -> NDArray[np.float32]:
    down, across = np.mgrid[0:1:480j, 0:1:640j].astype(np.float32)
    light = 1.0 - 0.16 * down - 0.10 * np.abs(across - random.uniform(0.35, 0.5))
    color = np.array([233, 226, 216], np.float32) * np.float32(random.uniform(0.95, 1.02))
    table: NDArray[np.float32] = light[..., None] * color
    return table


def _lay(picture: NDArray[np.float32], layer: Layer, random: np.random.Generator) -> None:
    turn = cv2.getRotationMatrix2D((_SIZE / 2, _SIZE / 2), random.uniform(-18, 18), random.uniform(0.85, 1.1))
    turn[:, 2] += (_WIDTH / 2 - _SIZE / 2 + random.uniform(-90, 90), random.uniform(-30, 30))
    laid = cv2.warpAffine(layer, turn, (_WIDTH, _HEIGHT), flags=cv2.INTER_LINEAR).astype(np.float32)
    cover = laid[..., 3:] / 255
    fall = np.array([[1, 0, 14], [0, 1, 20]], np.float32)
    shadow = cv2.GaussianBlur(cv2.warpAffine(cover, fall, (_WIDTH, _HEIGHT)), (0, 0), 14)[..., None]
    picture *= 1 - 0.42 * shadow
    picture += cover * (laid[..., :3] - picture)


def _empty() -> Layer:
    return np.zeros((_SIZE, _SIZE, 4), np.uint8)


def _fill(layer: Layer, points: list[Point], color: Color) -> None:
    fine = np.round(np.asarray(points) * (1 << _FINE)).astype(np.int32)
    cv2.fillPoly(layer, [fine], (*color, 255), cv2.LINE_AA, _FINE)


def _oval(center: Point, width: float, height: float, bend: float = 2.0) -> list[Point]:
    """Return the points of a superellipse; with `bend` 2 it is an ellipse, with more it has corners."""
    angles = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    across, down = np.cos(angles), np.sin(angles)
    rounded = [np.sign(part) * np.abs(part) ** (2 / bend) for part in (across, down)]
    return list(zip(center[0] + width * rounded[0], center[1] + height * rounded[1], strict=True))


def _mug() -> Layer:
    layer = _empty()
    cv2.ellipse(layer, (330, 245), (58, 64), 0, 0, 360, (24, 94, 106, 255), 24, cv2.LINE_AA)
    _fill(layer, _oval((230, 250), 100, 118, 5), (31, 122, 134))
    _fill(layer, _oval((180, 255), 26, 96, 4), (62, 152, 160))
    _fill(layer, _oval((230, 142), 100, 26), (222, 240, 240))
    _fill(layer, _oval((230, 146), 84, 18), (74, 46, 32))
    return layer


def _lemon() -> Layer:
    layer = _empty()
    _fill(layer, _oval((240, 240), 150, 34, 1.4), (226, 176, 20))
    _fill(layer, _oval((240, 240), 122, 92), (243, 200, 36))
    _fill(layer, _oval((214, 208), 62, 34), (252, 224, 110))
    return layer


def _leaf() -> Layer:
    layer = _empty()
    along = np.linspace(0, 1, 60)
    bulge = 92 * np.sin(np.pi * along) ** 1.3
    for side, color in ((1, (72, 140, 62)), (-1, (92, 164, 76))):
        edge = list(zip(240 + side * bulge, 60 + 330 * along, strict=True))
        _fill(layer, [*edge, (240, 390), (240, 60)], color)
    cv2.line(layer, (240, 80), (240, 440), (50, 104, 46, 255), 7, cv2.LINE_AA)
    for down in range(140, 340, 50):
        for side in (-1, 1):
            cv2.line(layer, (240, down + 34), (240 + side * 58, down), (58, 116, 52, 255), 3, cv2.LINE_AA)
    return layer


def _nut() -> Layer:
    layer = _empty()
    for size, shift, color in (
        (128, 10, (104, 112, 122)),
        (128, 0, (160, 168, 178)),
        (112, 0, (178, 186, 195)),
    ):
        angles = np.arange(6) * np.pi / 3
        _fill(layer, [(240 + size * np.cos(a), 240 + shift + size * np.sin(a)) for a in angles], color)
    _fill(layer, _oval((240, 240), 62, 62), (96, 104, 114))
    layer[..., :4][cv2.circle(np.zeros((_SIZE, _SIZE), np.uint8), (240, 246), 54, 1, -1) > 0] = 0
    return layer


def _brick() -> Layer:
    layer = _empty()
    _fill(layer, _oval((240, 262), 150, 92, 12), (158, 42, 40))
    _fill(layer, _oval((240, 240), 150, 92, 12), (206, 60, 54))
    for across in (166, 240, 314):
        for down in (204, 278):
            _fill(layer, _oval((across, down + 5), 27, 25), (158, 42, 40))
            _fill(layer, _oval((across, down), 27, 25), (222, 86, 78))
    return layer


THINGS: dict[str, Callable[[], Layer]] = {
    "mug": _mug, "lemon": _lemon, "leaf": _leaf, "nut": _nut, "brick": _brick,
}  # fmt: skip
"""Name -> a function that draws the thing."""
