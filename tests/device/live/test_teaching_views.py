"""Photos of a folder: look-alikes become one burst, also when the round is taken up again."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from device.images import encode_jpeg
from device.learner import Learner
from edgetl.cli import main
from tests.scenes import frame, scene, write
from tests.tiny import TINY


def teach(folder: Path, state: Path) -> str:
    """Teach a folder of photos by the command, and return what it says."""
    words = ["teach", str(TINY), "--photos", str(folder), "--state", str(state)]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    return result.output


def bursts(state: Path) -> dict[str, int]:
    """Return the burst of each photo by its name."""
    with Learner.open(TINY, state, read_only=True) as learner:
        return {sample.source: sample.burst for sample in learner.samples()}


def test_frames_of_one_scene_become_one_burst(tmp_path: Path) -> None:
    """Four scenes of three frames and two other photos are six bursts, and the report counts six views."""
    for number in range(4):
        for shot in range(3):
            write(frame(number, shot), tmp_path / "photos", "ab"[number % 2], f"s{number}_{shot}.jpg")
    write(scene(30), tmp_path / "photos", "a", "x.jpg")
    write(scene(31), tmp_path / "photos", "b", "y.jpg")
    said = teach(tmp_path / "photos", tmp_path / "state.db")
    found = bursts(tmp_path / "state.db")
    assert len(found) == 14
    assert len(set(found.values())) == 6
    assert len({found[f"a/s0_{shot}.jpg"] for shot in range(3)}) == 1
    assert "6 separate views" in said


def test_a_frame_added_later_joins_the_burst_of_its_scene(tmp_path: Path) -> None:
    """A round that is taken up again keeps the burst of what is known already."""
    for number in range(3):
        for shot in range(2):
            write(frame(number, shot), tmp_path / "photos", "ab"[number % 2], f"s{number}_{shot}.jpg")
    teach(tmp_path / "photos", tmp_path / "state.db")
    write(frame(1, 7), tmp_path / "photos", "b", "s1_7.jpg")
    said = teach(tmp_path / "photos", tmp_path / "state.db")
    found = bursts(tmp_path / "state.db")
    assert found["b/s1_7.jpg"] == found["b/s1_0.jpg"] == found["b/s1_1.jpg"]
    assert len(set(found.values())) == 3
    assert "--last" not in said  # it would take back the frames of the first round too


def test_the_same_picture_under_two_labels_is_named(tmp_path: Path) -> None:
    """Saved anew it is no equal file; somebody has to decide what it shows."""
    for number in range(5):
        write(scene(number), tmp_path / "photos", "a", f"{number}x.jpg")
        write(scene(number + 10), tmp_path / "photos", "b", f"{number}x.jpg")
    (tmp_path / "photos" / "b" / "again.jpg").write_bytes(encode_jpeg(scene(2), 60))
    assert "under two labels" in teach(tmp_path / "photos", tmp_path / "state.db")
