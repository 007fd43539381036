"""Photos that teach and photos that judge."""

from __future__ import annotations

from pathlib import Path

import cv2

from edgetl.measuring.held_out import part_photos
from tests.tiny import photo, write_photos

LABELS = ("blue", "green", "red")


def test_no_photo_is_taught_and_judges_and_no_view_is_on_both_sides(tmp_path: Path) -> None:
    """All labels judge."""
    write_photos(tmp_path, 12)
    parted = part_photos(tmp_path)
    assert {entry.label for entry in parted.judged} == set(LABELS)
    assert {entry.path for entry in parted.judged}.isdisjoint(entry.path for entry in parted.taught)
    assert {entry.view for entry in parted.judged}.isdisjoint(entry.view for entry in parted.taught)
    assert len(parted.judged) + len(parted.taught) == 36


def test_copies_with_another_name_stay_on_one_side(tmp_path: Path) -> None:
    """Judging with a shifted shot of a taught photo would be too good."""
    for label in LABELS:
        (tmp_path / label).mkdir()
        for number in range(6):
            image = photo(label, number, 96)
            for shot in range(3):
                shifted = cv2.convertScaleAbs(image, alpha=1 + shot / 50)
                cv2.imwrite(
                    str(tmp_path / label / f"{number}-{'abc'[shot]}.png"),
                    cv2.cvtColor(shifted, cv2.COLOR_RGB2BGR),
                )
    parted = part_photos(tmp_path)
    number_of = {
        side: {(e.label, e.path.name[0]) for e in getattr(parted, side)} for side in ("taught", "judged")
    }
    assert number_of["taught"].isdisjoint(number_of["judged"])


def test_a_test_folder_judges_and_everything_else_may_be_taught(tmp_path: Path) -> None:
    """As with `edgetl evaluate`."""
    write_photos(tmp_path / "train", 4)
    write_photos(tmp_path / "test", 2, first=50)
    parted = part_photos(tmp_path)
    assert {entry.path.parent.parent.name for entry in parted.judged} == {"test"}
    assert {entry.path.parent.parent.name for entry in parted.taught} == {"train"}
