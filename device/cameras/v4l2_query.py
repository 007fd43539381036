"""Query V4L2 devices by ioctl: names, formats, sizes and rates, without any dependency.

Numbers and layouts are those of the kernel header ``linux/videodev2.h``; they are the same on 32 and 64 bit.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

Ioctl = Callable[[int, int, bytearray], object]  # fcntl.ioctl, filling the buffer in place

QUERYCAP = 0x80685600
ENUM_FMT = 0xC0405602
ENUM_FRAMESIZES = 0xC02C564A
ENUM_FRAMEINTERVALS = 0xC034564B

# driver, card, bus, version, capabilities, capabilities of this node, reserved
_CAPABILITY = struct.Struct("=16s32s32sIII3I")
_FORMAT = struct.Struct("=III32sII3I")  # index, type, flags, description, fourcc, bus code, reserved
_FRAME_SIZE = struct.Struct("=III6I2I")  # index, fourcc, type, width and height (min, max, step), reserved
_INTERVAL = struct.Struct("=IIIII6I2I")  # index, fourcc, width, height, type, fractions, reserved

_VIDEO_CAPTURE, _VIDEO_CAPTURE_MPLANE, _DEVICE_CAPS = 0x1, 0x1000, 0x80000000
_DISCRETE = 1
_MOST = 256  # limit for faulty drivers whose enumeration never ends

# Nodes of these drivers are internal parts of the Raspberry Pi's camera and codec hardware; libcamera uses them.
PIPELINE_DRIVERS = (
    "unicam", "rp1-cfe", "bcm2835-isp", "pispbe", "bcm2835-codec", "rpivid", "rpi-hevc-dec", "hevc_dec",
)  # fmt: skip


@dataclass(frozen=True)
class Format:
    """One pixel format of a device: its code, its name, and its sizes as (width, height, maximum frames per second)."""

    fourcc: str
    description: str
    sizes: tuple[tuple[int, int, float], ...]


@dataclass(frozen=True)
class VideoNode:
    """One ``/dev/video*`` file, with the properties that could be queried."""

    path: str
    card: str = ""
    driver: str = ""
    bus: str = ""
    captures: bool = False
    formats: tuple[Format, ...] = ()
    problem: str | None = None

    @property
    def pipeline(self) -> bool:
        """Whether the node is an internal part of a Raspberry Pi's camera or codec hardware."""
        return self.driver.startswith(PIPELINE_DRIVERS)

    @property
    def usable(self) -> bool:
        """Whether frames can be read from the node."""
        return self.captures and bool(self.formats) and not self.pipeline and self.problem is None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-serializable values."""
        return {**asdict(self), "usable": self.usable}


def list_nodes(dev: Path, ioctl: Ioctl | None = None) -> list[VideoNode]:
    """Query every ``video*`` in the folder `dev`, ordered by number."""
    numbered = [
        (int(match[1]), path) for path in dev.glob("video*") if (match := re.search(r"(\d+)$", path.name))
    ]
    return [query(path, ioctl) for _, path in sorted(numbered)]


def query(path: Path, ioctl: Ioctl | None = None) -> VideoNode:
    """Query one device; an error becomes its `problem`."""
    call = ioctl or _system_ioctl()
    try:
        handle = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError as error:
        return VideoNode(str(path), problem=error.strerror or str(error))
    try:
        return _ask(str(path), handle, call)
    except OSError as error:
        return VideoNode(str(path), problem=error.strerror or str(error))
    finally:
        os.close(handle)


def _ask(path: str, handle: int, call: Ioctl) -> VideoNode:
    driver, card, bus, _, everything, own, *_ = _exchange(
        call, handle, QUERYCAP, _CAPABILITY, b"", b"", b"", *[0] * 6
    )
    abilities = own if everything & _DEVICE_CAPS else everything
    kinds = [kind for kind, bit in ((1, _VIDEO_CAPTURE), (9, _VIDEO_CAPTURE_MPLANE)) if abilities & bit]
    formats = tuple(found for kind in kinds for found in _formats(call, handle, kind))
    return VideoNode(path, _text(card), _text(driver), _text(bus), bool(kinds), formats)


def _formats(call: Ioctl, handle: int, kind: int) -> Iterator[Format]:
    for answer in _enumerate(call, handle, ENUM_FMT, _FORMAT, kind, 0, b"", *[0] * 5):
        code = answer[4]
        yield Format(_fourcc(code), _text(answer[3]), tuple(_sizes(call, handle, code)))


def _sizes(call: Ioctl, handle: int, code: int) -> Iterator[tuple[int, int, float]]:
    for answer in _enumerate(call, handle, ENUM_FRAMESIZES, _FRAME_SIZE, code, *[0] * 9):
        # discrete: width, height; stepwise: min width, max width, step, min height, max height, step
        width, height = (answer[3], answer[4]) if answer[2] == _DISCRETE else (answer[4], answer[7])
        yield width, height, _fastest(call, handle, code, width, height)


def _fastest(call: Ioctl, handle: int, code: int, width: int, height: int) -> float:
    """Return the maximum number of frames per second, 0.0 when it is unknown."""
    answers = _enumerate(call, handle, ENUM_FRAMEINTERVALS, _INTERVAL, code, width, height, *[0] * 9)
    # the first fraction is the interval (or, stepwise, the shortest one)
    rates = [answer[6] / answer[5] for answer in answers if answer[5]]
    return round(max(rates, default=0.0), 2)


def _enumerate(
    call: Ioctl, handle: int, request: int, layout: struct.Struct, *rest: Any
) -> Iterator[tuple[Any, ...]]:
    """Query index 0, 1, 2... until the driver returns EINVAL (or ENOTTY: it cannot enumerate)."""
    for index in range(_MOST):
        try:
            yield _exchange(call, handle, request, layout, index, *rest)
        except OSError:
            return


def _exchange(call: Ioctl, handle: int, request: int, layout: struct.Struct, *values: Any) -> tuple[Any, ...]:
    buffer = bytearray(layout.pack(*values))
    call(handle, request, buffer)
    return layout.unpack(buffer)


def _system_ioctl() -> Ioctl:
    import fcntl  # does not exist on Windows, where the host side may run

    return lambda handle, request, buffer: fcntl.ioctl(handle, request, buffer, True)


def _text(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode("utf-8", "replace")


def _fourcc(code: int) -> str:
    return struct.pack("<I", code & 0x7FFFFFFF).decode("ascii", "replace").strip()
