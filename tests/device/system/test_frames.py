"""The frames of a measurement."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from device.cameras import open_camera
from device.errors import EndOfSource, PhotoError
from device.system.frames import Frames
from tests.tiny import write_photos


def test_a_camera_delivers_a_new_frame_each_time_and_its_capture_is_timed() -> None:
    """The clock moves by 1 at each look."""
    looks = iter(range(100))
    with open_camera("fake:red,blue,end") as camera:
        frames = Frames.of_camera(camera)
        image, seconds = frames.take(0, lambda: next(looks))
        assert seconds == 1
        assert not np.array_equal(image, frames[0])
        with pytest.raises(EndOfSource):
            frames.take(1, lambda: next(looks))


def test_noise_has_no_capture() -> None:
    """It is there already."""
    frames = Frames.noise()
    image, seconds = frames.take(7, lambda: 0.0)
    assert seconds is None
    assert image is frames[0]
    assert frames.describe() == {"source": "noise", "images": 1, "width": 640, "height": 480}


def test_the_password_of_a_camera_is_not_part_of_the_result() -> None:
    """Results are shared."""
    with open_camera("fake:red,end") as camera:
        camera.source = "rtsp://me:secret@camera/1"
        assert "secret" not in Frames.of_camera(camera).describe()["source"]


def test_photos_are_spread_over_the_folder(tmp_path: Path) -> None:
    """At most twenty are kept in RAM."""
    write_photos(tmp_path, 15)
    assert len(Frames.photos(tmp_path).images) <= 20
    assert Frames.photos(tmp_path).source == "photos"


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    """The message names it."""
    with pytest.raises(PhotoError, match="nowhere"):
        Frames.photos(tmp_path / "nowhere")
