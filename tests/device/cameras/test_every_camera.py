"""One battery for all backends: a camera behaves the same for every source."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from device.cameras import EndOfSource, Frame
from device.errors import CameraError

from .conftest import BACKENDS, FRAMES, LIVE, Backend, halves, pure_red

# picamera2's null preview still calls Thread.setDaemon
FINITE = [name for name in BACKENDS if name not in LIVE]
FILMING = [name for name in BACKENDS if name != "fake"]  # the fake camera draws its own pictures

pytestmark = pytest.mark.filterwarnings("ignore:setDaemon:DeprecationWarning")


def test_red_is_channel_zero(backend: Backend) -> None:
    """A pure-red source is red in RGB order, whatever order the backend's library uses."""
    with backend.open(pure_red()) as camera:
        red, green, blue = camera.read().image.mean(axis=(0, 1))
    assert red > 200
    assert green < 30
    assert blue < 30


def test_a_frame_has_the_documented_fields(backend: Backend) -> None:
    """Image, time, number and source are as the documentation describes."""
    before = time.time()
    with backend.open(pure_red()) as camera:
        frame = camera.read()
    assert isinstance(frame, Frame)
    assert frame.image.dtype == np.uint8
    assert frame.image.ndim == 3
    assert frame.image.shape[2] == 3
    assert frame.image.flags.c_contiguous
    assert frame.image.flags.writeable
    assert before <= frame.time <= time.time()
    assert frame.index >= 0
    assert frame.source
    assert frame.label is None
    assert "array" not in repr(frame)


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "photo"], indirect=True)
def test_numbers_and_times_increase(backend: Backend) -> None:
    """Later frames have higher numbers and are not older."""
    with backend.open(pure_red()) as camera:
        first, second = camera.read(), camera.read()
    assert second.index > first.index
    assert second.time >= first.time


def test_repr_shows_whether_a_camera_is_open(backend: Backend) -> None:
    """Leaving `with` closes the camera."""
    with backend.open(pure_red()) as camera:
        assert " open>" in repr(camera)
        assert not camera.closed
    assert " closed>" in repr(camera)
    assert camera.closed


def test_reading_a_closed_camera_is_an_error(backend: Backend) -> None:
    """The message is clear; closing twice is allowed."""
    camera = backend.open(pure_red())
    camera.close()
    camera.close()
    with pytest.raises(CameraError, match="is closed"):
        camera.read()
    with pytest.raises(CameraError, match="is closed"), camera:
        pass
    assert list(camera) == []


@pytest.mark.parametrize("backend", FINITE, indirect=True)
def test_a_finite_source_ends(backend: Backend) -> None:
    """Iteration ends; reading at the end raises EndOfSource each time."""
    with backend.open(pure_red()) as camera:
        assert len(list(camera)) == (1 if backend.name == "photo" else FRAMES)
        for _ in range(2):
            with pytest.raises(EndOfSource, match=r"end|shown"):
                camera.read()


def test_delivered_frames_have_the_requested_size(backend: Backend) -> None:
    """Exactly, also after rotation by 90 degrees."""
    with backend.open(pure_red(), size="48x80", rotate=90) as camera:
        assert camera.read().image.shape == (80, 48, 3)


@pytest.mark.parametrize("backend", FILMING, indirect=True)
@pytest.mark.parametrize(
    ("options", "first", "last"),
    [
        ({}, "red", "blue"),
        ({"mirror": True}, "blue", "red"),
        ({"rotate": 180}, "blue", "red"),
        ({"rotate": 180, "mirror": True}, "red", "blue"),
        ({"crop": (0, 0, 0.5, 1)}, "red", "red"),
        ({"crop": "0.5,0,0.5,1"}, "blue", "blue"),
    ],
)
def test_rotation_mirroring_and_crop_change_the_pixels(
    backend: Backend, options: dict[str, object], first: str, last: str
) -> None:
    """Left and right of the frame are where the options place them."""
    with backend.open(halves(), **options) as camera:
        image = camera.read().image
    assert _color(image[image.shape[0] // 2, 2]) == first
    assert _color(image[image.shape[0] // 2, -3]) == last


@pytest.mark.parametrize("backend", FILMING, indirect=True)
def test_rotation_is_clockwise(backend: Backend) -> None:
    """The left side is on top after 90 degrees, and at the bottom after 270."""
    with backend.open(halves(), rotate=90) as camera:
        image = camera.read().image
    assert _color(image[2, image.shape[1] // 2]) == "red"
    assert _color(image[-3, image.shape[1] // 2]) == "blue"


def test_describe_is_json_serializable(backend: Backend) -> None:
    """The properties of a camera can be written as JSON."""
    with backend.open(pure_red(), fps=500, notice=lambda _: None) as camera:
        camera.read()
        described = json.loads(json.dumps(camera.describe()))
    assert described["open"] is True
    assert described["live"] is backend.live
    assert described["delivered"] == 1
    assert described["fps"] == 500
    assert described["kind"]


def _color(pixel: np.ndarray) -> str:
    return {0: "red", 1: "green", 2: "blue"}[int(pixel.argmax())]
