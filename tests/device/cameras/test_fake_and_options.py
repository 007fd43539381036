"""Scripts of the fake camera, options, and the choice of a backend by the name of the source."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.cameras import EndOfSource, FrameTimeout, Options, open_camera
from device.cameras.base import Pace
from device.cameras.fake import FakeCamera, draw
from device.cameras.options import parse_crop, parse_size
from device.errors import CameraError, EdgetlError

from .conftest import halves


def test_a_script_lists_the_scenes() -> None:
    """Each scene lasts for its number of frames, and the script starts again."""
    camera = FakeCamera("fake:red*2,mug,blue")
    assert [camera.scene(number) for number in range(6)] == ["red", "red", "mug", "blue", "red", "red"]


def test_the_same_frame_looks_the_same_in_every_run() -> None:
    """A frame depends only on its scene and number, and two frames of one scene differ."""
    assert np.array_equal(draw("mug", 3), draw("mug", 3))
    assert not np.array_equal(draw("mug", 3), draw("mug", 4))


def test_scenes_look_different() -> None:
    """Names that are not colors get a color of their own."""
    means = {scene: draw(scene).mean(axis=(0, 1)) for scene in ("red", "green", "blue", "mug", "spoon")}
    names = list(means)
    for first in names:
        for second in names[names.index(first) + 1 :]:
            assert abs(means[first] - means[second]).max() > 25, (first, second)
    assert draw("black").max() == 0


def test_a_file_can_choose_the_scene(tmp_path: Path) -> None:
    """The fake camera shows the scene that the file names."""
    scene = tmp_path / "scene"
    scene.write_text("red\n")
    with open_camera(f"fake:@{scene}") as camera:
        assert camera.read().image.mean(axis=(0, 1)).argmax() == 0
        scene.write_text("blue")
        assert camera.read().image.mean(axis=(0, 1)).argmax() == 2
        scene.unlink()
        with pytest.raises(CameraError, match="scene file"):
            camera.read()


@pytest.mark.parametrize(
    "script", ["red*0", "red**2", ",", "red*x", "end", "end,red", "red,,blue", "red*9999999"]
)
def test_a_malformed_script_is_refused(script: str) -> None:
    """The error shows the form of a script."""
    with pytest.raises(CameraError, match="script"):
        open_camera(f"fake:{script}")


def test_the_environment_names_the_default_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    """EDGETL_CAMERA is used only when no source is given."""
    monkeypatch.setenv("EDGETL_CAMERA", "fake:green")
    with open_camera() as camera:
        assert camera.source == "fake:green"
    with open_camera("fake:blue") as camera:
        assert camera.source == "fake:blue"


def test_errors_inherit_the_expected_builtins() -> None:
    """Each leaf also inherits the builtin that a caller would catch."""
    assert issubclass(CameraError, OSError)
    assert issubclass(EndOfSource, EOFError)
    assert issubclass(FrameTimeout, TimeoutError)
    assert issubclass(FrameTimeout, EdgetlError)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.mp4", "no camera, file or folder"),
        ("ftp://host/stream", "unknown scheme"),
        ("http:///stream", "expected an address such as rtsp://HOST:PORT/PATH"),
        ("/dev/video99", "edgetl cameras"),
        (-1, "0 or above"),
        ("picamera2:x", "picamera2:NUMBER"),
    ],
)
def test_a_wrong_source_is_refused_with_what_is_possible(source: str | int, message: str) -> None:
    """Each wrong source has its own message."""
    with pytest.raises(CameraError, match=message):
        open_camera(source)


@pytest.mark.parametrize(
    "options",
    [
        {"fps": 0},
        {"fps": -3},
        {"fps": float("nan")},
        {"size": "640"},
        {"size": (0, 10)},
        {"rotate": 45},
        {"crop": "1,2,3"},
        {"crop": (0, 0, 0, 1)},
        {"crop": (-1, 0, 5, 5)},
    ],
)
def test_invalid_options_are_refused_before_anything_opens(options: dict[str, object]) -> None:
    """The message names the option."""
    with pytest.raises(CameraError, match=next(iter(options))):
        open_camera("fake", **options)  # type: ignore[arg-type]


def test_a_crop_outside_the_frame_is_an_error() -> None:
    """A crop in pixels is checked against the frame."""
    with open_camera("fake", crop=(300, 0, 100, 100)) as camera, pytest.raises(CameraError, match="320x240"):
        camera.read()


def test_without_options_frames_are_not_copied() -> None:
    """The same array is delivered."""
    image = halves()
    assert Options().apply(image) is image


def test_scaling_never_squashes() -> None:
    """A square from a wide frame is its center, so a circle stays a circle."""
    image = np.zeros((100, 300, 3), np.uint8)
    image[:, 100:200] = 255
    assert Options(size=(50, 50)).apply(image).min() == 255


@given(st.integers(1, 9999), st.integers(1, 9999))
def test_sizes_survive_a_round_trip_as_text(width: int, height: int) -> None:
    """WIDTHxHEIGHT is parsed to the same numbers."""
    assert parse_size(f"{width}x{height}") == (width, height)


@given(st.text(max_size=20))
def test_no_text_breaks_the_parsers(text: str) -> None:
    """Every text is a value or a CameraError."""
    for parse in (parse_size, parse_crop):
        with contextlib.suppress(CameraError):
            parse(text)


@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from([0, 90, 180, 270]),
    st.booleans(),
)
def test_any_frame_is_delivered_in_the_requested_size(
    have: tuple[int, int], want: tuple[int, int], rotate: int, mirror: bool
) -> None:
    """For every input size and rotation."""
    image = np.zeros((have[1], have[0], 3), np.uint8)
    result = Options(size=want, rotate=rotate, mirror=mirror).apply(image)
    assert result.shape == (want[1], want[0], 3)
    assert result.flags.c_contiguous


def test_pace_holds_the_rate_and_does_not_catch_up() -> None:
    """Rounds are a period apart; after a long pause there is no burst."""
    now, slept = [100.0], []

    def sleep(seconds: float) -> None:
        slept.append(round(seconds, 6))
        now[0] += seconds

    pace = Pace(10, clock=lambda: now[0], sleep=sleep)
    for _ in range(3):
        pace.wait()
    assert slept == [0.1, 0.1]
    now[0] += 5
    pace.wait()
    pace.wait()
    assert slept[2:] == [0.1]
    assert Pace(None).delay() == 0
