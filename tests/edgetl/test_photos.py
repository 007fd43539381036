"""Folders of photos: which photos are found, how they are split, and what is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from device.formats import Reason
from edgetl.errors import PhotoFolderError
from edgetl.photos import TEST, TRAINING, VALIDATION, find_photos
from edgetl.split import split_photos


def fill(root: Path, counts: dict[str, int], start: int = 0) -> Path:
    """Write small photos with distinct content."""
    for label, count in counts.items():
        (root / label).mkdir(parents=True, exist_ok=True)
        for number in range(start, start + count):
            pixels = hashlib.sha256(f"{label} {number}".encode()).digest()[:27]  # 3 by 3, RGB
            (root / label / f"{number:03d}.jpg").write_bytes(b"P6 3 3 255\n" + pixels)
    return root


def test_labels_are_sorted_and_may_contain_spaces_and_any_script(tmp_path: Path) -> None:
    """Folder names are labels, sorted independently of the file system."""
    fill(tmp_path, {"茶碗": 1, "rosa canina": 2, "Löwe": 3})
    assert find_photos(tmp_path).counts() == {"Löwe": 3, "rosa canina": 2, "茶碗": 1}


def test_a_decomposed_umlaut_is_composed(tmp_path: Path) -> None:
    """MacOS writes folder names in the decomposed form."""
    fill(tmp_path, {"Lo\u0308we": 1, "b": 1})
    assert find_photos(tmp_path).labels == ("Löwe", "b")


def test_every_skipped_file_is_counted_by_reason(tmp_path: Path) -> None:
    """Hidden files are ignored; photos in nested folders count."""
    fill(tmp_path, {"a": 2, "b": 2, "a/nested": 1})
    (tmp_path / "a" / ".hidden.jpg").touch()
    (tmp_path / "a" / "notes.txt").write_text("a note")
    (tmp_path / "loose.jpg").write_bytes((tmp_path / "a" / "000.jpg").read_bytes())
    found = find_photos(tmp_path)
    assert found.counts() == {"a": 3, "b": 2}
    assert [item.reason for item in found.left_out] == [Reason.NOT_A_PHOTO, Reason.LOOSE]
    warnings = " ".join(found.warnings)
    assert all(word in warnings for word in ("(.txt 1)", "outside the label folders"))


def test_a_label_without_a_readable_photo_is_an_error_unless_it_is_skipped(tmp_path: Path) -> None:
    """Its folder is empty, or contains only files that cannot be decoded."""
    fill(tmp_path, {"a": 2, "b": 2, "empty": 0, "broken": 1})
    (tmp_path / "broken" / "000.jpg").write_text("<html>404</html>")
    with pytest.raises(
        PhotoFolderError, match=r"2 labels .* broken \(1 damaged .*; empty \(an empty folder\).*--skip-empty"
    ):
        find_photos(tmp_path)
    found = find_photos(tmp_path, skip_empty=True)
    assert found.labels == ("a", "b")
    assert any("empty (an empty folder)" in warning for warning in found.warnings)


def test_an_empty_folder_is_refused_with_what_was_expected(tmp_path: Path) -> None:
    """The error says that one folder per label is expected."""
    with pytest.raises(PhotoFolderError, match="one folder of photos per label"):
        find_photos(tmp_path)


def test_a_missing_folder_and_a_file_are_refused(tmp_path: Path) -> None:
    """The error names the path."""
    (tmp_path / "file").touch()
    for name in ("none", "file"):
        with pytest.raises(PhotoFolderError, match=name):
            find_photos(tmp_path / name)


def test_a_single_class_is_refused_with_the_next_step(tmp_path: Path) -> None:
    """At least two classes are needed."""
    with pytest.raises(PhotoFolderError, match="background"):
        split_photos(find_photos(fill(tmp_path, {"mug": 5})))


def test_a_class_of_one_photo_stays_in_training_and_is_reported(tmp_path: Path) -> None:
    """It can be learned but not judged."""
    cut = split_photos(find_photos(fill(tmp_path, {"mug": 10, "rare": 1})))
    assert cut.counts(TRAINING) == {"mug": 8, "rare": 1}
    assert any("rare" in warning for warning in cut.warnings)


def test_the_split_is_stratified_seeded_and_independent_of_other_classes(tmp_path: Path) -> None:
    """An additional class changes nothing for the others."""
    fill(tmp_path, {"a": 20, "b": 10})
    before = split_photos(find_photos(tmp_path), 0.2, seed=3)
    assert before.counts(VALIDATION) == {"a": 4, "b": 2}
    fill(tmp_path, {"c": 10})
    after = split_photos(find_photos(tmp_path), 0.2, seed=3)
    assert set(before.part(VALIDATION)) <= set(after.part(VALIDATION))
    assert split_photos(find_photos(tmp_path), 0.2, seed=4).part(VALIDATION) != after.part(VALIDATION)


def test_train_val_and_test_folders_define_the_split(tmp_path: Path) -> None:
    """The photos are then not split at random."""
    for start, part in enumerate(("train", "val", "test")):
        fill(tmp_path / part, {"a": 3, "b": 2}, start=10 * start)
    cut = split_photos(find_photos(tmp_path))
    assert [cut.counts(part) for part in (TRAINING, VALIDATION, TEST)] == [{"a": 3, "b": 2}] * 3


def test_labels_may_be_named_train_and_test(tmp_path: Path) -> None:
    """Folders that contain photos are classes, whatever their names."""
    assert find_photos(fill(tmp_path, {"train": 3, "test": 2})).labels == ("test", "train")


def test_a_split_file_defines_the_split(tmp_path: Path) -> None:
    """Photos that it does not name are skipped and reported."""
    fill(tmp_path / "photos", {"a": 3, "b": 3})
    rows = ["path,part", "a/000.jpg,train", "b/000.jpg,train", "a/001.jpg,val"]
    (tmp_path / "split.csv").write_text("\n".join(rows))
    cut = split_photos(find_photos(tmp_path / "photos", tmp_path / "split.csv"))
    assert cut.counts(TRAINING) == {"a": 1, "b": 1}
    assert cut.counts(VALIDATION) == {"a": 1, "b": 0}
    assert any("3 photos" in warning for warning in cut.warnings)


@pytest.mark.parametrize("row", ["a/000.jpg,later", "a/000.jpg", "a/999.jpg,train", "../secret.jpg,train"])
def test_a_wrong_split_file_is_refused(tmp_path: Path, row: str) -> None:
    """Unknown parts, missing columns, and photos outside of the folder are errors."""
    fill(tmp_path / "photos", {"a": 3, "b": 3})
    (tmp_path / "split.csv").write_text(row)
    with pytest.raises(PhotoFolderError):
        find_photos(tmp_path / "photos", tmp_path / "split.csv")


def test_copies_of_training_photos_are_removed_from_validation(tmp_path: Path) -> None:
    """A photo in both training and validation is removed from validation."""
    fill(tmp_path / "train", {"a": 3, "b": 3})
    fill(tmp_path / "val", {"a": 3, "b": 1}, start=2)
    cut = split_photos(find_photos(tmp_path))
    assert cut.counts(TRAINING) == {"a": 3, "b": 3}
    assert cut.counts(VALIDATION) == {"a": 2, "b": 0}


def test_a_photo_in_two_classes_is_skipped_in_both(tmp_path: Path) -> None:
    """Its label is ambiguous."""
    fill(tmp_path, {"a": 3, "b": 3})
    (tmp_path / "b" / "copy.jpg").write_bytes((tmp_path / "a" / "000.jpg").read_bytes())
    found = find_photos(tmp_path)
    assert found.counts() == {"a": 2, "b": 3}
    assert any("same under another label" in warning for warning in found.warnings)


@pytest.mark.parametrize("part", [-0.1, 1.0, float("nan")])
def test_an_impossible_validation_part_is_refused(tmp_path: Path, part: float) -> None:
    """It must be between 0 and 0.9."""
    found = find_photos(fill(tmp_path, {"a": 3, "b": 3}))
    with pytest.raises(PhotoFolderError, match="validation"):
        split_photos(found, part)
