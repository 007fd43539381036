# ruff: noqa: D102, N802  (the fakes' methods are OpenCV's)
"""One opener per backend, each on a source that shows the picture of the test."""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from device.cameras import Camera, open_camera
from device.cameras.live import Backoff, LiveCamera
from device.cameras.options import Options
from device.cameras.v4l2 import V4l2Driver

from . import fake_libcamera
from .servers import MjpegServer, RtspServer, SnapshotServer, jpeg

Image = npt.NDArray[np.uint8]
FRAMES = 5  # of every finite source


def halves(size: tuple[int, int] = (96, 64)) -> Image:
    """Pure red on the left, pure blue on the right."""
    width, height = size
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2, 0] = 255
    image[:, width // 2 :, 2] = 255
    return image


def pure_red(size: tuple[int, int] = (96, 64)) -> Image:
    """Red and nothing else."""
    image = np.zeros((size[1], size[0], 3), np.uint8)
    image[:, :, 0] = 255
    return image


@dataclass
class Backend:
    """A backend under test: opens a camera that films `picture`."""

    name: str
    live: bool
    open: Callable[..., Camera]

    def __repr__(self) -> str:
        return self.name


def write_video(path: Path, images: list[Image], fps: float = 25.0, codec: str = "MJPG") -> Path:
    """Write RGB images as a video file."""
    height, width = images[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), fps, (width, height))
    assert writer.isOpened()
    for image in images:
        writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


class FakeCapture:
    """`cv2.VideoCapture` on a V4L2 device: BGR frames, until it is unplugged."""

    def __init__(self, picture: Image) -> None:
        self.picture = picture
        self.settings: dict[int, float] = {}
        self.unplugged = threading.Event()
        self.opened: list[str] = []
        self._tick = threading.Event()  # never set: paces the frames

    def __call__(self, name: str, api: int) -> FakeCapture:
        assert api == cv2.CAP_V4L2
        self.opened.append(name)
        return self

    def isOpened(self) -> bool:
        return not self.unplugged.is_set()

    def set(self, key: int, value: float) -> bool:
        self.settings[key] = value
        return True

    def read(self) -> tuple[bool, Image | None]:
        if self.unplugged.is_set():
            return False, None
        self._tick.wait(0.005)
        return True, cv2.cvtColor(self.picture, cv2.COLOR_RGB2BGR)

    def release(self) -> None:
        pass


def open_v4l2(folder: Path, capture: Any, monkeypatch: pytest.MonkeyPatch, **options: Any) -> LiveCamera:
    """Open a V4L2 camera whose driver is `capture`."""
    node = folder / "video0"
    node.touch()
    monkeypatch.setattr(cv2, "VideoCapture", capture)
    notice, timeout = options.pop("notice", None), options.pop("timeout", 5.0)
    chosen = Options.of(**options)
    return LiveCamera(
        V4l2Driver(str(node), chosen), chosen, notice, timeout=timeout, backoff=Backoff(0.001, 0.01)
    )


def install_picamera2(sensor: fake_libcamera.Sensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the real picamera2 importable on a fake libcamera, DMA heap and display library.

    What it imports for raw files and process names alone (pidng, prctl) has no wheels, and is an empty name here.
    """
    if importlib.util.find_spec("picamera2") is None:
        pytest.skip("picamera2 is not installed: pip install --no-deps --group picamera2")
    for name in [name for name in sys.modules if name.split(".")[0] == "picamera2"]:
        monkeypatch.delitem(sys.modules, name)  # its class attributes keep the libcamera of the last test
    display = types.ModuleType("pykms")
    display.PixelFormat = types.SimpleNamespace(  # type: ignore[attr-defined]
        **dict.fromkeys(("RGB888", "BGR888", "XRGB8888", "XBGR8888", "YUV420", "YVU420", "NV12"))
    )
    unused = {name: types.ModuleType(name) for name in ("pidng", "pidng.camdefs", "pidng.core", "prctl")}
    unused["pidng.camdefs"].Picamera2Camera = None  # type: ignore[attr-defined]
    unused["pidng.core"].PICAM2DNG = None  # type: ignore[attr-defined]
    replaced = {**fake_libcamera.modules(sensor), **unused, "pykms": display}
    for name, module in replaced.items():
        monkeypatch.setitem(sys.modules, name, module)
    from picamera2 import dma_heap
    from picamera2.allocators import dmaallocator

    class MemoryHeap:
        def alloc(self, name: str, size: int) -> Any:
            handle = os.memfd_create(name)
            os.ftruncate(handle, size)
            return dma_heap.UniqueFD(handle)

        def close(self) -> None:
            pass

    monkeypatch.setattr(dmaallocator, "DmaHeap", MemoryHeap)
    monkeypatch.setattr(dmaallocator, "fcntl", types.SimpleNamespace(ioctl=lambda *_: 0))


BACKENDS = ("fake", "folder", "photo", "video", "mjpeg", "snapshot", "rtsp", "v4l2", "picamera2")
LIVE = ("mjpeg", "snapshot", "rtsp", "v4l2", "picamera2")


@pytest.fixture(params=BACKENDS)
def backend(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Backend]:
    """Each backend in turn."""
    name = request.param
    with ExitStack() as stack:
        yield Backend(name, name in LIVE, _opener(name, tmp_path, monkeypatch, stack))


def _opener(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack
) -> Callable[..., Camera]:
    servers = {"mjpeg": MjpegServer, "snapshot": SnapshotServer, "rtsp": RtspServer}

    def of_server(picture: Image, **options: Any) -> Camera:
        server = stack.enter_context(servers[name](lambda _: picture))
        return open_camera(server.url, **{"timeout": 10.0, **options})

    def of_picamera2(picture: Image, **options: Any) -> Camera:
        def film(_: int, size: tuple[int, int]) -> Image:
            return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST), np.uint8)

        install_picamera2(fake_libcamera.Sensor(film), monkeypatch)
        return open_camera("picamera2", **options)

    def of_folder(picture: Image, **options: Any) -> Camera:
        photos = folder / "photos"
        photos.mkdir()
        for number in range(FRAMES):
            cv2.imwrite(str(photos / f"{number}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        return open_camera(photos, **options)

    def of_photo(picture: Image, **options: Any) -> Camera:
        (folder / "photo.jpg").write_bytes(jpeg(picture))
        return open_camera(folder / "photo.jpg", **options)

    def of_video(picture: Image, **options: Any) -> Camera:
        return open_camera(write_video(folder / "film.avi", [picture] * FRAMES), **options)

    openers: dict[str, Callable[..., Camera]] = {
        "fake": lambda _, **options: open_camera(f"fake:red*{FRAMES},end", **options),
        "folder": of_folder,
        "photo": of_photo,
        "video": of_video,
        "v4l2": lambda picture, **options: open_v4l2(folder, FakeCapture(picture), monkeypatch, **options),
        "picamera2": of_picamera2,
    }
    return openers.get(name, of_server)


@pytest.fixture
def notices() -> list[str]:
    """Collects the notices of a camera; pass its `append` as `notice`."""
    return []
