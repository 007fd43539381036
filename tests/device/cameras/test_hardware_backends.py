"""V4L2 with a fake driver, and the real picamera2 with a fake libcamera. No camera device was available."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from device.cameras import FrameTimeout, open_camera
from device.cameras import v4l2 as v4l2_module
from device.cameras.picamera import list_cameras
from device.errors import CameraError

from .conftest import FakeCapture, install_picamera2, open_v4l2, pure_red
from .fake_libcamera import Image, Sensor

# picamera2's null preview still calls Thread.setDaemon
pytestmark = pytest.mark.filterwarnings("ignore:setDaemon:DeprecationWarning")


def red(_: int, size: tuple[int, int]) -> Image:
    """A red frame."""
    return pure_red(size)


@pytest.fixture
def sensor(monkeypatch: pytest.MonkeyPatch) -> Sensor:
    """A ribbon camera under the real picamera2."""
    sensor = Sensor(red)
    install_picamera2(sensor, monkeypatch)
    return sensor


def test_v4l2_is_configured_for_mjpg_size_rate_and_one_buffer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The size is the size before rotation."""
    capture = FakeCapture(pure_red())
    with open_v4l2(tmp_path, capture, monkeypatch, size=(480, 640), rotate=90, fps=15) as camera:
        assert camera.read().image.shape == (640, 480, 3)
    asked = capture.settings
    assert asked[cv2.CAP_PROP_FOURCC] == cv2.VideoWriter_fourcc(*"MJPG")
    assert (asked[cv2.CAP_PROP_FRAME_WIDTH], asked[cv2.CAP_PROP_FRAME_HEIGHT]) == (640, 480)
    assert asked[cv2.CAP_PROP_FPS] == 15
    assert asked[cv2.CAP_PROP_BUFFERSIZE] == 1


def test_a_usb_camera_that_comes_back_under_another_number_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, notices: list[str]
) -> None:
    """Unplugged as video0, plugged in again as video1."""
    capture = FakeCapture(pure_red())
    monkeypatch.setattr(v4l2_module, "fingerprint", lambda _: ("C920", "usb-1.3"))
    monkeypatch.setattr(v4l2_module, "same_camera", lambda mark: str(tmp_path / "video1") if mark else None)
    with open_v4l2(tmp_path, capture, monkeypatch, notice=notices.append) as camera:
        camera.read()
        (tmp_path / "video0").unlink()
        capture.unplugged.set()
        with pytest.raises(FrameTimeout):
            _drain(camera)
        (tmp_path / "video1").touch()
        capture.unplugged.clear()
        camera.read()
        assert camera.describe()["node"] == str(tmp_path / "video1")
    assert "unplugged" in notices[0]
    assert capture.opened[-1] == str(tmp_path / "video1")


def test_gray_frames_become_rgb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some drivers deliver frames [H, W]."""

    class Gray(FakeCapture):
        def read(self) -> tuple[bool, Image | None]:
            done, image = super().read()
            return done, None if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)

    with open_v4l2(tmp_path, Gray(pure_red()), monkeypatch) as camera:
        assert camera.read().image.shape == (64, 96, 3)


def test_a_device_that_does_not_open_is_reported_with_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenCV only returns False."""
    capture = FakeCapture(pure_red())
    capture.unplugged.set()
    with pytest.raises(CameraError, match="edgetl cameras"):
        open_v4l2(tmp_path, capture, monkeypatch)


@pytest.mark.parametrize("form", ["BGR888", "RGB888", "XBGR8888", "XRGB8888"])
def test_every_pixel_format_of_libcamera_becomes_rgb(sensor: Sensor, form: str) -> None:
    """Libcamera's BGR888 is R, G, B in memory; other formats are converted by their names."""
    sensor.formats = (form,)
    with open_camera("picamera2", size=(100, 60)) as camera:
        image = camera.read().image
        assert camera.describe()["format"] == form
    assert image.shape == (60, 100, 3)
    assert image[..., 0].min() == 255
    assert image[..., 1:].max() == 0


def test_the_ribbon_camera_uses_its_whole_field_of_view_by_default(sensor: Sensor) -> None:
    """The default is 4:3 and RGB in memory; a rate becomes libcamera's frame duration."""
    with open_camera("picamera2", fps=20) as camera:
        assert camera.read().image.shape == (768, 1024, 3)
    assert sensor.configured[-1] == ("BGR888", (1024, 768))
    assert sensor.started_with[-1]["FrameDurationLimits"] == (50000, 50000)


def test_odd_sizes_are_delivered_although_libcamera_refuses_them(sensor: Sensor) -> None:
    """An even size is requested, and the frame is scaled."""
    with open_camera("picamera2", size=(101, 61)) as camera:
        assert camera.read().image.shape == (61, 101, 3)
    assert sensor.configured[-1][1] == (100, 60)


def test_a_stalled_ribbon_camera_is_closed_and_opened_again(sensor: Sensor, notices: list[str]) -> None:
    """A loose cable is reported, and frames arrive again when it is fixed."""
    with open_camera("picamera2", size=(64, 48), timeout=0.5, notice=notices.append) as camera:
        camera.read()
        sensor.stalled.set()
        with pytest.raises(FrameTimeout):
            _drain(camera)
        sensor.stalled.clear()
        camera.read(timeout=10)
    assert "ribbon cable" in " ".join(notices)
    assert len(sensor.started_with) >= 2


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # picamera2 leaves a pipe open when it cannot be made
def test_a_ribbon_camera_in_use_is_reported(sensor: Sensor) -> None:
    """Only one program can use it."""
    sensor.busy = True
    with pytest.raises(CameraError, match=r"busy.*another program"):
        open_camera("picamera2")
    gc.collect()


def test_a_missing_ribbon_camera_is_reported(sensor: Sensor) -> None:
    """A missing camera and a wrong number name the command that lists cameras."""
    with pytest.raises(CameraError, match="rpicam-hello --list-cameras"):
        open_camera("picamera2:3")
    sensor.present = False
    with pytest.raises(CameraError, match="rpicam-hello --list-cameras"):
        open_camera("picamera2")


def test_ribbon_cameras_are_listed_without_opening_them(sensor: Sensor) -> None:
    """Listing works while another program uses the camera."""
    sensor.busy = True
    assert list_cameras() == [(0, "imx219")]


def test_missing_picamera2_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """The apt command is named."""
    monkeypatch.setitem(__import__("sys").modules, "picamera2", None)
    with pytest.raises(CameraError, match="apt install -y python3-picamera2"):
        open_camera("picamera2")


def test_frames_of_a_ribbon_camera_are_copies(sensor: Sensor) -> None:
    """The buffer of the camera is filled again while a frame is in use."""
    sensor.draw = lambda number, size: np.full((size[1], size[0], 3), 50 + number % 200, np.uint8)
    with open_camera("picamera2", size=(64, 48)) as camera:
        frame = camera.read()
        value = int(frame.image[0, 0, 0])
        for _ in range(8):
            camera.read()
    assert (frame.image == value).all()
    assert threading.active_count() < 20


def _drain(camera: object) -> None:
    while True:
        camera.read(timeout=0.6)  # type: ignore[attr-defined]
