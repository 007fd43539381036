"""Photo folders of real users: no file is left out without a reason, and no label disappears."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from device.errors import LabelError, PhotoError
from device.formats import Reason
from device.images import encode_jpeg
from device.leftout import count_reasons, describe_left_out, next_steps, reasons_to_dict
from device.photos import list_labeled, list_photo_files, list_photos, photos_to_teach

HEIC = b"\0\0\0\x1cftypheic\0\0\0\0mif1heic"


def draw(path: Path, seed: int = 0) -> Path:
    """Write a JPEG of noise under any name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng([seed, *os.fsencode(path)]).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    path.write_bytes(encode_jpeg(noise))
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two labels of two photos each."""
    for name in ("red/0.jpg", "red/1.jpg", "blue/0.jpg", "blue/1.jpg"):
        draw(tmp_path / "photos" / name)
    return tmp_path / "photos"


@pytest.mark.parametrize("name", ["9.jfif", "9.jpe", "9.mpo", "9.JPG", "9"])
def test_a_jpeg_is_read_under_any_name(root: Path, name: str) -> None:
    """Other programs write JPEG with other suffixes, or none."""
    draw(root / "blue" / name)
    found = photos_to_teach(root)
    assert [photo.label for photo in found.photos].count("blue") == 3
    assert found.left_out == ()


def test_every_other_file_is_listed_with_its_reason(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of each kind, without the decoder of HEIC."""
    monkeypatch.setattr("device.heif.can_read_heif", lambda: False)
    blue = root / "blue"
    (blue / "a.heic").write_bytes(HEIC)
    (blue / "b.jpg").touch()
    (blue / "c.jpg").write_text("<html>")
    (blue / "d.txt").write_text("a note")
    (blue / "e.jpg").symlink_to("nowhere.jpg")
    os.mkfifo(blue / "f.jpg")  # opening it would wait for a writer for ever
    draw(root / "loose.jpg")
    found = photos_to_teach(root)
    assert {item.path.name: item.reason for item in found.left_out} == {
        "a.heic": Reason.HEIC,
        "b.jpg": Reason.EMPTY,
        "c.jpg": Reason.DAMAGED,
        "d.txt": Reason.NOT_A_PHOTO,
        "e.jpg": Reason.LINK,
        "f.jpg": Reason.SPECIAL,
        "loose.jpg": Reason.LOOSE,
    }
    assert "HEIC" in next_steps(found.left_out)
    assert len(describe_left_out(found.left_out)) == 7
    assert {"path": "blue/a.heic", "label": "blue", "reason": "heic"} in reasons_to_dict(found.left_out, root)


def test_a_name_that_is_not_utf_8_is_left_out_and_shown_escaped(root: Path) -> None:
    """Such a name cannot be stored as the source of a sample."""
    draw(root / "blue" / os.fsdecode(b"caf\xe9.jpg"))
    found = photos_to_teach(root)
    assert [item.reason for item in found.left_out] == [Reason.NAME]
    assert count_reasons(found.left_out) == r"1 file whose name is not UTF-8 (blue/caf\udce9.jpg)"


def test_files_of_operating_systems_are_ignored(root: Path) -> None:
    """They are neither read nor counted, and make no label."""
    for name in (
        "blue/.DS_Store",
        "blue/Thumbs.db",
        "blue/._0.jpg",
        "blue/@eaDir/0.jpg",
        "__MACOSX/blue/0.jpg",
    ):
        draw(root / name)
    found = photos_to_teach(root)
    assert (len(found.photos), found.left_out, found.labels) == (4, (), ("blue", "red"))


def test_links_to_folders_are_followed_and_loops_end(root: Path, tmp_path: Path) -> None:
    """Both as a label and below one; each folder is read once per label."""
    draw(tmp_path / "elsewhere" / "0.jpg")
    (root / "green").symlink_to(tmp_path / "elsewhere")
    (root / "blue" / "again").symlink_to("..")
    (root / "red" / "self").symlink_to(".")
    found = photos_to_teach(root)
    labels = [photo.label for photo in found.photos]
    assert [labels.count(label) for label in ("blue", "green", "red")] == [2, 1, 2]


def test_photos_at_any_depth_have_the_label_of_the_first_folder(root: Path) -> None:
    """Albums by year are common."""
    draw(root / "blue" / "2024" / "May" / "0.jpg")
    assert [photo.label for photo in list_labeled(root).photos].count("blue") == 3


@pytest.mark.parametrize("content", ["empty folder", "heic", "cut off"])
def test_a_label_without_a_readable_photo_is_an_error_unless_it_is_skipped(
    root: Path, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the label, its files, and the next step."""
    monkeypatch.setattr("device.heif.can_read_heif", lambda: False)
    (root / "green").mkdir()
    if content == "heic":
        (root / "green" / "0.heic").write_bytes(HEIC)
    elif content == "cut off":
        whole = draw(root / "green" / "0.jpg").read_bytes()
        (root / "green" / "0.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PhotoError, match=r"this label has no photo that can be used: green \(.*--skip-empty"):
        photos_to_teach(root)
    found = photos_to_teach(root, skip_empty=True)
    assert found.labels == ("blue", "red")
    assert any("green" in remark for remark in found.remarks)


def test_skipping_does_not_skip_everything(tmp_path: Path) -> None:
    """Otherwise nothing would be taught, with exit code 0."""
    (tmp_path / "green").mkdir()
    with pytest.raises(PhotoError, match="green"):
        photos_to_teach(tmp_path, skip_empty=True)


def test_the_same_photo_under_two_labels_is_left_out_of_both(root: Path) -> None:
    """Its label is unknown; under one label a copy counts once."""
    (root / "red" / "copy.jpg").write_bytes((root / "blue" / "0.jpg").read_bytes())
    (root / "red" / "twin.jpg").write_bytes((root / "red" / "0.jpg").read_bytes())
    found = photos_to_teach(root)
    reasons = {item.path.relative_to(root).as_posix(): item.reason for item in found.left_out}
    assert reasons == {
        "blue/0.jpg": Reason.TWO_LABELS,
        "red/copy.jpg": Reason.TWO_LABELS,
        "red/twin.jpg": Reason.COPY,
    }


@pytest.mark.parametrize("inner", [("red", "blue"), ("red", "blue", "green")])
def test_labels_one_level_too_deep_are_recognized(tmp_path: Path, inner: tuple[str, ...]) -> None:
    """A zip often unpacks to one folder; its name is not the label."""
    for label in inner:
        draw(tmp_path / "photos" / label / "0.jpg")
    draw(tmp_path / "cover.jpg")
    with pytest.raises(PhotoError, match=r"Did you mean .*/photos\?"):
        photos_to_teach(tmp_path)
    assert photos_to_teach(tmp_path, "things").labels == ("things",)


def test_the_folders_of_a_split_are_not_labels(tmp_path: Path) -> None:
    """Teaching would otherwise make the labels train and val."""
    for part in ("train", "val"):
        for label in ("red", "blue"):
            draw(tmp_path / part / label / "0.jpg")
    with pytest.raises(PhotoError, match=r"folders of a split .*Did you mean .*/train\?"):
        photos_to_teach(tmp_path)


def test_folder_names_that_need_a_remark_get_one(root: Path) -> None:
    """Case alone, accents encoded in two ways, and the word that `run --on unknown` uses."""
    for name in ("Red/0.jpg", "caf\u00e9/0.jpg", "cafe\u0301/1.jpg", "unknown/0.jpg"):
        draw(root / name)
    found = photos_to_teach(root)
    assert found.labels == ("Red", "blue", "caf\u00e9", "red", "unknown")
    remarks = " ".join(found.remarks)
    assert all(word in remarks for word in ("Red, red", "2 folders are one label, caf\u00e9", "--on unknown"))


def test_a_folder_whose_name_cannot_be_a_label_is_named(root: Path) -> None:
    """Nothing is taught then."""
    draw(root / ("x" * 120) / "0.jpg")
    with pytest.raises(LabelError, match=r"the folder .*/x{120} cannot be a label.*rename"):
        photos_to_teach(root)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """The message says what was expected."""
    with pytest.raises(PhotoError, match=r"none cannot be listed: No such file.*expected a folder"):
        list_photo_files(tmp_path / "none")


def test_photos_are_listed_sorted_without_hidden_files(root: Path) -> None:
    """Directly in a folder, or at any depth."""
    draw(root / "b.JPG")
    draw(root / ".hidden.jpg")
    assert [path.name for path in list_photos(root)] == ["b.JPG"]
    assert len(list_photos(root, deep=True)) == 5
