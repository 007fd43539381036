"""How photos are split: look-alikes stay in one part, and every label is judged if possible."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgetl.photos import TRAINING, VALIDATION, PhotoSet, find_photos
from edgetl.split import split_photos
from tests.scenes import frame, scene, write


def bursts(root: Path, scenes: int = 12, frames: int = 5) -> Path:
    """Write scenes of several frames each, with alternating labels."""
    for number in range(scenes):
        for shot in range(frames):
            write(frame(number, shot), root, "ab"[number % 2], f"s{number:02}_{shot}.jpg")
    return root


def parts_of_scenes(cut: PhotoSet) -> dict[str, set[str]]:
    """Return the parts that the frames of each scene are in."""
    found: dict[str, set[str]] = {}
    for photo in cut.photos:
        found.setdefault(photo.path.stem.split("_")[0], set()).add(photo.part)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_frames_of_one_scene_stay_in_one_part(tmp_path: Path, seed: int) -> None:
    """No frame is judged by its near-duplicate, for any seed, and both labels are judged."""
    cut = split_photos(find_photos(bursts(tmp_path)), 0.2, seed)
    assert all(len(parts) == 1 for parts in parts_of_scenes(cut).values())
    assert cut.views() == 12
    assert cut.counts(VALIDATION) == {"a": 5, "b": 5}
    assert any("60 photos, 12 separate views" in warning for warning in cut.warnings)


def test_the_split_depends_only_on_the_seed(tmp_path: Path) -> None:
    """The same folder and seed lead to the same split; another seed leads to another."""
    found = find_photos(bursts(tmp_path))
    cuts = [split_photos(found, 0.2, seed).part(VALIDATION) for seed in (0, 0, 1, 2, 3)]
    assert cuts[0] == cuts[1]
    assert any(cut != cuts[0] for cut in cuts[2:])


def test_one_of_two_large_views_of_a_label_judges(tmp_path: Path) -> None:
    """A view larger than the share still judges if another one is left for training."""
    for shot in range(6):
        write(frame(0, shot), tmp_path, "a", f"x{shot}.jpg")
        write(frame(1, shot), tmp_path, "a", f"y{shot}.jpg")
        write(scene(20 + shot), tmp_path, "b", f"z{shot}q.jpg")
    cut = split_photos(find_photos(tmp_path), 0.2)
    assert cut.counts(VALIDATION)["a"] == 6
    assert cut.counts(TRAINING)["a"] == 6


def test_a_label_of_one_view_is_listed_and_not_judged(tmp_path: Path) -> None:
    """Its near-duplicate would judge it."""
    for shot in range(8):
        write(frame(0, shot), tmp_path, "mug", f"{shot}.jpg")
        write(scene(20 + shot), tmp_path, "bowl", f"{shot}q.jpg")
    cut = split_photos(find_photos(tmp_path), 0.25)
    assert cut.counts(VALIDATION) == {"bowl": 2, "mug": 0}
    assert any("one view" in warning and "mug" in warning for warning in cut.warnings)


def test_a_picture_under_two_labels_is_listed_and_kept_in_one_part(tmp_path: Path) -> None:
    """The files differ, as JPEG and PNG, so that their bytes cannot be compared."""
    import cv2

    for number in range(8):
        write(scene(number), tmp_path, "a", f"{number}.jpg")
        (tmp_path / "b").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "b" / f"{number}.png"), cv2.cvtColor(scene(number), cv2.COLOR_RGB2BGR))
    cut = split_photos(find_photos(tmp_path), 0.25)
    assert any("two labels" in warning and "0.jpg" in warning for warning in cut.warnings)
    assert cut.views() == 8
    assert not {photo.view for photo in cut.part(TRAINING)} & {photo.view for photo in cut.part(VALIDATION)}


def test_black_photos_are_reported(tmp_path: Path) -> None:
    """A covered lens produces no data."""
    for number in range(6):
        write(np.zeros((60 + number, 60, 3), np.uint8), tmp_path, "a", f"{number}.jpg")
        write(np.zeros((80, 60 + number, 3), np.uint8), tmp_path, "b", f"{number}.jpg")
    cut = split_photos(find_photos(tmp_path))
    assert any("all photos look alike" in warning for warning in cut.warnings)
    assert not cut.part(VALIDATION)


def test_look_alikes_across_given_parts_lead_to_a_warning(tmp_path: Path) -> None:
    """The user who split the folder learns that frames of one scene are in both parts."""
    for number in range(6):
        for part, shot in (("train", 0), ("train", 1), ("val", 2)):
            write(frame(number, shot), tmp_path, part, "ab"[number % 2], f"{number}_{shot}.jpg")
    cut = split_photos(find_photos(tmp_path))
    assert len(cut.part(VALIDATION)) == 6
    assert any("6 of 6 validation photos look like training photos" in warning for warning in cut.warnings)


def test_an_unreadable_photo_is_split_like_others(tmp_path: Path) -> None:
    """It is in no group; reading it later shows the error."""
    for label in "ab":
        for number in range(5):
            write(scene(number + 10 * (label == "a")), tmp_path, label, f"{number}q.jpg")
    damaged = tmp_path / "a" / "0q.jpg"
    damaged.write_bytes(damaged.read_bytes()[:2000])
    assert split_photos(find_photos(tmp_path)).counts(VALIDATION) == {"a": 1, "b": 1}
