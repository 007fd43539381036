# ruff: noqa: D101, D102, D106  (names and meaning are libcamera's)
"""A libcamera that exists only at the edge: the real picamera2 runs on top of it.

It films what `Sensor.draw` says, on a thread, into the buffers picamera2 allocates (memory files in place of
DMA buffers), in the byte order libcamera's documentation gives: ``BGR888`` is R, G, B in memory.
"""

from __future__ import annotations

import contextlib
import enum
import os
import threading
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
CHANNELS = {"BGR888": [0, 1, 2], "RGB888": [2, 1, 0], "XBGR8888": [0, 1, 2, 3], "XRGB8888": [2, 1, 0, 3]}


@dataclass
class Sensor:
    """What the fake camera films and how it misbehaves."""

    draw: Callable[[int, tuple[int, int]], Image]  # frame number, (width, height) -> RGB
    formats: tuple[str, ...] = tuple(CHANNELS)  # others are adjusted to the first
    stride_padding: int = 32
    present: bool = True
    busy: bool = False
    stalled: threading.Event = field(default_factory=threading.Event)
    fps: float = 200.0
    configured: list[tuple[str, tuple[int, int]]] = field(default_factory=list)
    started_with: list[dict[str, Any]] = field(default_factory=list)


def modules(sensor: Sensor) -> dict[str, types.ModuleType]:
    """Build the modules ``libcamera`` and its parts for `sys.modules`."""
    controls, properties, inner = (
        types.ModuleType(f"libcamera.{name}") for name in ("controls", "properties", "x")
    )
    for name in (
        "FrameDurationLimits",
        "NoiseReductionMode",
        "ExposureTime",
        "ExposureTimeMode",
        "AnalogueGain",
    ):
        setattr(controls, name, _ControlId(name))
    controls.AnalogueGainMode = _ControlId("AnalogueGainMode")
    controls.draft = types.SimpleNamespace(
        NoiseReductionModeEnum=types.SimpleNamespace(Fast=1, HighQuality=2, Minimal=3)
    )
    properties.draft = types.SimpleNamespace(ColorFilterArrangementEnum=types.SimpleNamespace(MONO=4))
    libcamera = types.ModuleType("libcamera")
    shapes = (Size, Rectangle, Transform, ColorSpace, Orientation, ControlType, StreamRole, PixelFormat)
    for thing in (*shapes, FrameBuffer, FrameMetadata, Request, CameraConfiguration, SensorConfiguration):
        setattr(libcamera, thing.__name__, thing)
        setattr(inner, thing.__name__, thing)
    manager = CameraManager(sensor, controls)
    libcamera.CameraManager = types.SimpleNamespace(singleton=lambda: manager)
    libcamera.controls, libcamera.properties, libcamera._libcamera = controls, properties, inner
    return {
        "libcamera": libcamera,
        "libcamera.controls": controls,
        "libcamera.properties": properties,
        "libcamera._libcamera": inner,
    }


class ControlType(enum.Enum):
    Integer32, Rectangle, Size = range(3)


class StreamRole(enum.Enum):
    StillCapture, Raw, VideoRecording, Viewfinder = range(4)


class Orientation(enum.Enum):
    Rotate0, Rotate0Mirror, Rotate180, Rotate180Mirror = range(4)
    Rotate90, Rotate90Mirror, Rotate270, Rotate270Mirror = range(4, 8)


@dataclass(eq=False)
class Size:
    width: int = 0
    height: int = 0


@dataclass(eq=False)
class Rectangle:
    x: int = 0
    y: int = 0
    width: int = 0
    height: int = 0


class Transform:
    """Compared by value once picamera2 has put its own __eq__ on it."""

    def __init__(
        self, other: Transform | None = None, hflip: int = 0, vflip: int = 0, transpose: int = 0
    ) -> None:
        self.hflip, self.vflip, self.transpose = hflip, vflip, transpose
        if other is not None:
            self.hflip, self.vflip, self.transpose = other.hflip, other.vflip, other.transpose

    def __hash__(self) -> int:
        return id(self)

    def __str__(self) -> str:
        return f"transform {self.hflip}{self.vflip}{self.transpose}"


class ColorSpace:
    YcbcrEncoding = types.SimpleNamespace(Null=0)
    Range = types.SimpleNamespace(Full=0)

    def __init__(self, other: ColorSpace | str) -> None:
        name = other.primaries if isinstance(other, ColorSpace) else other
        self.primaries = self.transferFunction = name
        self.ycbcrEncoding, self.range = 1, 1

    def __hash__(self) -> int:
        return hash(self.primaries)

    def __str__(self) -> str:
        return str(self.primaries)


for _name in ("Sycc", "Smpte170m", "Rec709", "Raw"):
    setattr(ColorSpace, _name, staticmethod(lambda name=_name: ColorSpace(name)))


class PixelFormat(str):
    """A pixel format's name."""


class FrameMetadata:
    class Status(enum.Enum):
        Success, Error = range(2)


class FrameBuffer:
    class Plane:
        fd, offset, length = 0, 0, 0

    def __init__(self, planes: list[FrameBuffer.Plane]) -> None:
        self.planes = planes
        self.memory = os.dup(planes[0].fd)  # as libcamera, which keeps its own handle
        self.metadata = types.SimpleNamespace(status=FrameMetadata.Status.Success)

    def __del__(self) -> None:
        os.close(self.memory)


@dataclass(eq=False)
class SensorConfiguration:
    bit_depth: int = 0
    output_size: Size = field(default_factory=Size)


@dataclass(eq=False)
class _Stream:
    configuration: Any = None


class _StreamConfiguration:
    def __init__(self, role: StreamRole, sensor: Sensor) -> None:
        self.raw = role is StreamRole.Raw
        self.pixel_format = PixelFormat("SRGGB10_CSI2P" if self.raw else "XBGR8888")
        self.size, self.buffer_count, self.color_space = Size(1640, 1232), 4, None
        self.stride = self.frame_size = 0
        self.stream = _Stream(self)
        self._sensor = sensor

    @property
    def formats(self) -> Any:
        sizes = [Size(640, 480), Size(1640, 1232), Size(3280, 2464)]
        return types.SimpleNamespace(pixel_formats=[PixelFormat("SRGGB10_CSI2P")], sizes=lambda _: sizes)

    def validate(self) -> bool:
        adjusted = not self.raw and self.pixel_format not in self._sensor.formats
        if adjusted:
            self.pixel_format = PixelFormat(self._sensor.formats[0])
        width = self.size.width * 5 // 4 if self.raw else self.size.width * len(CHANNELS[self.pixel_format])
        padding = self._sensor.stride_padding
        self.stride = -(-width // padding) * padding
        self.frame_size = self.stride * self.size.height
        return adjusted


class CameraConfiguration:
    class Status(enum.Enum):
        Valid, Adjusted, Invalid = range(3)

    def __init__(self, roles: list[StreamRole], sensor: Sensor) -> None:
        self._streams = [_StreamConfiguration(role, sensor) for role in roles]
        self.orientation, self.sensor_config = Orientation.Rotate0, None

    def at(self, index: int) -> _StreamConfiguration:
        return self._streams[index]

    def __iter__(self) -> Iterator[_StreamConfiguration]:
        return iter(self._streams)

    def validate(self) -> Status:
        adjusted = [stream.validate() for stream in self._streams]
        return self.Status.Adjusted if any(adjusted) else self.Status.Valid


class _ControlId:
    def __init__(self, name: str) -> None:
        self.name, self.type = name, ControlType.Integer32


class Request:
    class Status(enum.Enum):
        Pending, Complete, Cancelled = range(3)  # codespell:ignore cancelled

    def __init__(self, camera: _Camera, cookie: int) -> None:
        self.camera, self.cookie = camera, cookie
        self.buffers: dict[_Stream, FrameBuffer] = {}
        self.status, self.metadata = Request.Status.Pending, {}

    def add_buffer(self, stream: _Stream, buffer: FrameBuffer) -> None:
        self.buffers[stream] = buffer

    def reuse(self) -> None:
        self.status = Request.Status.Pending

    def set_control(self, *_: object) -> None:
        pass


class _Camera:
    """One camera: it fills queued requests on a thread while it is started."""

    id = "/base/soc/i2c0mux/i2c@1/imx219@10"

    def __init__(self, sensor: Sensor, controls: Any, finished: Callable[[Request], None]) -> None:
        self._sensor, self._finished = sensor, finished
        self.controls = {
            controls.FrameDurationLimits: types.SimpleNamespace(min=100, max=1_000_000, default=33_333),
            controls.NoiseReductionMode: types.SimpleNamespace(min=0, max=4, default=0),
        }
        self.properties = {_ControlId("Model"): "imx219", _ControlId("ColorFilterArrangement"): 0}
        self._queue: list[Request] = []
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._acquired = False

    def acquire(self) -> None:
        if self._sensor.busy:
            raise RuntimeError("Failed to acquire camera: Device or resource busy")
        self._acquired = True

    def release(self) -> None:
        assert self._acquired
        assert self._thread is None
        self._acquired = False

    def generate_configuration(self, roles: list[StreamRole]) -> CameraConfiguration:
        return CameraConfiguration(roles, self._sensor)

    def configure(self, configuration: CameraConfiguration) -> int:
        main = configuration.at(0)
        self._sensor.configured.append((str(main.pixel_format), (main.size.width, main.size.height)))
        return 0

    def create_request(self, cookie: int) -> Request:
        return Request(self, cookie)

    def start(self, controls: dict[_ControlId, Any]) -> None:
        self._sensor.started_with.append({control.name: value for control, value in controls.items()})
        self._stop.clear()
        self._thread = threading.Thread(target=self._film, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join()
        self._thread = None
        self._queue.clear()

    def queue_request(self, request: Request) -> None:
        with self._lock:
            self._queue.append(request)

    def _film(self) -> None:
        number = 0
        while not self._stop.wait(1 / self._sensor.fps):
            with self._lock:
                request = self._queue.pop(0) if self._queue and not self._sensor.stalled.is_set() else None
            if request is not None:
                self._fill(request, number)
                request.status = Request.Status.Complete
                self._finished(request)
                number += 1

    def _fill(self, request: Request, number: int) -> None:
        for stream, buffer in request.buffers.items():
            form = stream.configuration
            if not form.raw:
                order = CHANNELS[form.pixel_format]
                rgb = self._sensor.draw(number, (form.size.width, form.size.height))
                opaque = np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])[:, :, order]
                rows = np.zeros((form.size.height, form.stride), np.uint8)
                rows[:, : form.size.width * len(order)] = opaque.reshape(form.size.height, -1)
                os.pwrite(buffer.memory, rows.tobytes(), 0)


class CameraManager:
    """Hands finished requests over through a file descriptor, as libcamera's Python bindings do."""

    def __init__(self, sensor: Sensor, controls: Any) -> None:
        self._sensor = sensor
        self._camera = _Camera(sensor, controls, self._finish)
        self._lock = threading.Lock()
        self._ready: list[Request] = []
        self.event_fd = os.eventfd(0, os.EFD_NONBLOCK)

    @property
    def cameras(self) -> list[_Camera]:
        return [self._camera] if self._sensor.present else []

    def _finish(self, request: Request) -> None:
        with self._lock:
            self._ready.append(request)
        os.eventfd_write(self.event_fd, 1)

    def get_ready_requests(self) -> list[Request]:
        with self._lock:
            ready, self._ready = self._ready, []
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.event_fd)
        return ready
