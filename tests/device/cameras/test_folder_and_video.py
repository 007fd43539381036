"""Photos and films: order, labels, damage, rate."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from device.cameras import EndOfSource, open_camera
from device.cameras.folder import FolderCamera
from device.errors import CameraError
from device.formats import Reason

from .conftest import halves, pure_red, write_video
from .servers import jpeg


def _photo(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jpeg(pure_red()))
    return path


def test_photos_are_sorted_and_labeled_by_subfolder(tmp_path: Path) -> None:
    """The order does not depend on the file system, and a subfolder's name is the label."""
    for name in ("mug/b.jpg", "cup/z.jpg", "mug/a.JPG", "cup/more/a.jpg", "top.jpg"):
        _photo(tmp_path / name)
    with open_camera(tmp_path) as camera:
        shown = [(frame.source, frame.label) for frame in camera]
    assert shown == [
        ("cup/more/a.jpg", "cup"),
        ("cup/z.jpg", "cup"),
        ("mug/a.JPG", "mug"),
        ("mug/b.jpg", "mug"),
        ("top.jpg", None),
    ]


def test_damaged_photos_are_reported_and_skipped(tmp_path: Path, notices: list[str]) -> None:
    """A text file and a truncated JPEG cost a remark each, not the run."""
    _photo(tmp_path / "1.jpg")
    (tmp_path / "2.jpg").write_text("not a photo")
    (tmp_path / "3.jpg").write_bytes(jpeg(pure_red())[:300])
    _photo(tmp_path / "4.jpg")
    (tmp_path / "notes.txt").write_text("ignored")
    (tmp_path / ".hidden.jpg").write_text("ignored")
    with open_camera(tmp_path, notice=notices.append) as camera:
        frames = list(camera)
        assert isinstance(camera, FolderCamera)
        left_out = [(item.path.name, item.reason) for item in camera.left_out]
    assert left_out == [
        ("2.jpg", Reason.DAMAGED),
        ("notes.txt", Reason.NOT_A_PHOTO),
        ("3.jpg", Reason.CUT_OFF),
    ]
    assert [(frame.source, frame.index) for frame in frames] == [("1.jpg", 0), ("4.jpg", 2)]
    assert len(notices) == 2
    assert "2.jpg" in notices[0]


def test_a_folder_of_damaged_photos_ends_even_when_looping(tmp_path: Path, notices: list[str]) -> None:
    """A folder without a readable photo is an error, not an endless loop."""
    (tmp_path / "1.jpg").write_bytes(jpeg(pure_red())[:300])
    with (
        open_camera(tmp_path, loop=True, notice=notices.append) as camera,
        pytest.raises(CameraError, match="none of"),
    ):
        camera.read()


def test_a_folder_without_photos_is_refused_with_what_was_expected(tmp_path: Path) -> None:
    """An empty folder is refused when it is opened."""
    with pytest.raises(CameraError, match=r"no photo.*LABEL/NAME\.jpg"):
        open_camera(tmp_path)


@pytest.mark.parametrize("kind", ["folder", "video"])
def test_loop_starts_again(tmp_path: Path, kind: str) -> None:
    """With `loop`, the first frame follows the last, and time continues."""
    if kind == "folder":
        source = tmp_path / "photos"
        _photo(source / "1.jpg")
        _photo(source / "2.jpg")
    else:
        source = write_video(tmp_path / "film.avi", [pure_red()] * 2)
    with open_camera(source, loop=True) as camera:
        frames = [camera.read() for _ in range(5)]
    assert [frame.index for frame in frames] == [0, 1, 0, 1, 0]
    assert [frame.time for frame in frames] == sorted(frame.time for frame in frames)


@pytest.mark.parametrize(
    ("fps", "expected"),
    [
        (None, range(50)),
        (25, range(50)),
        (100, range(50)),
        (12.5, range(0, 50, 2)),
        (10, [0, 2, 5, 7, 10]),
        (1, [0, 25]),
    ],
)
def test_a_video_is_sampled_by_its_own_time(tmp_path: Path, fps: float | None, expected: list[int]) -> None:
    """`fps` selects frames by their position, at the requested rate on average."""
    film = write_video(tmp_path / "film.avi", [pure_red()] * 50, fps=25)
    with open_camera(film, fps=fps) as camera:
        frames = list(camera)
    numbers = [frame.index for frame in frames]
    assert numbers[: len(expected)] == list(expected)
    assert len(frames) == math.ceil(50 / max(1, 25 / (fps or 25)))
    assert frames[-1].time - frames[0].time == pytest.approx(numbers[-1] / 25, abs=1e-4)


def test_every_frame_of_a_video_has_the_right_number(tmp_path: Path) -> None:
    """The number of a frame is its position in the video, which its pixels show."""
    grays = [np.full((64, 96, 3), 5 * number, np.uint8) for number in range(50)]
    with open_camera(write_video(tmp_path / "film.avi", grays), fps=5) as camera:
        for frame in camera:
            assert abs(int(frame.image.mean()) - 5 * frame.index) <= 2


@pytest.mark.parametrize("codec", ["MJPG", "mp4v"])
def test_a_truncated_video_ends_with_a_remark_or_is_refused(
    tmp_path: Path, codec: str, notices: list[str]
) -> None:
    """AVI plays up to the end and reports it; an MP4 without its index cannot be opened."""
    film = write_video(tmp_path / f"film.{'avi' if codec == 'MJPG' else 'mp4'}", [halves()] * 50, codec=codec)
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    if codec == "mp4v":
        with pytest.raises(CameraError, match="cannot be read as a video"):
            open_camera(film)
    else:
        with open_camera(film, notice=notices.append) as camera:
            frames = list(camera)
            with pytest.raises(EndOfSource):
                camera.read()
        assert 10 < len(frames) < 40
        assert len(notices) == 1
        assert f"{len(frames)} of 50" in notices[0]


def test_libav_writes_no_messages(tmp_path: Path) -> None:
    """The cameras report what is wrong in a damaged video; libraries write nothing to stdout or stderr."""
    film = write_video(tmp_path / "film.avi", [halves()] * 50)
    data = bytearray(film.read_bytes())
    data[3000:3400] = bytes(400)
    film.write_bytes(data)
    (tmp_path / "no.mp4").write_bytes(b"not a film" * 50)
    script = (
        "import sys, contextlib\n"
        "from device.cameras import open_camera\n"
        "for frame in open_camera(sys.argv[1], notice=str): pass\n"
        "with contextlib.suppress(OSError): open_camera(sys.argv[2])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, film, tmp_path / "no.mp4"], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_a_video_with_damage_inside_continues_after_it(tmp_path: Path, notices: list[str]) -> None:
    """Overwritten bytes in the middle lose at most some frames."""
    film = write_video(tmp_path / "film.avi", [halves()] * 50)
    data = bytearray(film.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = bytes(2000)
    film.write_bytes(data)
    with open_camera(film, notice=notices.append) as camera:
        assert len(list(camera)) >= 30
    assert "of 50 frames" in notices[0]


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "is empty"), (b"not a film" * 50, "cannot be read as a video")]
)
def test_a_file_that_is_not_a_video_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """An empty file and a text file named .mp4 have a clear message."""
    (tmp_path / "film.mp4").write_bytes(content)
    with pytest.raises(CameraError, match=message):
        open_camera(tmp_path / "film.mp4")


def test_a_video_without_frames_is_an_error(tmp_path: Path) -> None:
    """A container that opens but has no frames is not taken for a video that has ended."""
    film = write_video(tmp_path / "film.avi", [pure_red()])
    data = film.read_bytes()
    film.write_bytes(data[: data.index(b"movi") + 4])
    with pytest.raises(CameraError, match=r"no frame|cannot be read"), open_camera(film) as camera:
        camera.read()


def test_real_videos_are_read_to_their_end(dev_data: Path) -> None:
    """MP4, MKV and AVI from other people's cameras, one frame per second."""
    films = [dev_data / "video/bottle-detection.mp4", next((dev_data / "video/asl_gestures").glob("*.mkv"))]
    for film in films:
        count = int(cv2.VideoCapture(str(film)).get(cv2.CAP_PROP_FRAME_COUNT))
        with open_camera(film, fps=1) as camera:
            frames = list(camera)
        assert frames[-1].index > count - 40
