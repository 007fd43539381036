"""The smallest crop that still shows what a label means."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from device.heads import create_head
from device.images import Image, read_photo
from device.model.codes import encode
from device.model.preprocess import Preprocessing
from edgetl.photos import VALIDATION, Photo
from edgetl.training.window import AREAS, LARGEST, WindowJudge

SIDE = 16
PREPROCESSING = Preprocessing(SIDE, SIDE, resize="squash")


def embed(images: np.ndarray) -> np.ndarray:
    """Return the channels of 4 x 4 cells, float32 [N, 48]: an embedding that sees where something is."""
    small = images.reshape(len(images), 4, SIDE // 4, 4, SIDE // 4, 3).max(axis=(2, 4))
    return small.reshape(len(images), -1).astype(np.float32) / 32


def draw(label: str, generator: np.random.Generator, *, mark: bool) -> Image:
    """Draw a gray picture of the label "bright": with a white mark in a corner, or brighter everywhere."""
    picture = generator.integers(60, 90, (64, 64, 3), np.uint8)
    if label == "bright":
        if mark:
            picture[:10, :10] = 255
        else:
            picture += 120
    return picture


def make_photos(folder: Path, *, mark: bool) -> list[Photo]:
    """Write 40 pictures per label."""
    generator = np.random.default_rng(0)
    photos = []
    for label in ("bright", "dark"):
        for number in range(40):
            path = folder / f"{label}{number}.png"
            assert cv2.imwrite(str(path), draw(label, generator, mark=mark))
            photos.append(Photo(path, label, VALIDATION, number))
    return photos


def make_judge(photos: list[Photo]) -> WindowJudge:
    """Return a judge whose head was taught every second photo."""
    head = create_head("exact", 48)
    taught = photos[::2]
    images = np.stack([PREPROCESSING.prepare(read_photo(photo.path)) for photo in taught])
    head.learn_many(encode(embed(images)), [photo.label for photo in taught])
    return WindowJudge(head, embed, PREPROCESSING, seed=0)


def test_crops_may_be_small_where_every_part_shows_the_label(tmp_path: Path) -> None:
    """Pictures that are bright or dark everywhere."""
    photos = make_photos(tmp_path, mark=False)
    assert make_judge(photos).choose_area(photos[1::2]) == AREAS[0]


def test_crops_stay_large_where_a_detail_makes_the_label(tmp_path: Path) -> None:
    """A mark in a corner, which most crops leave out."""
    photos = make_photos(tmp_path, mark=True)
    assert make_judge(photos).choose_area(photos[1::2]) == LARGEST


def test_a_photo_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    """Without any other photo, crops stay large."""
    photos = make_photos(tmp_path, mark=False)
    judge = make_judge(photos)
    broken = photos[1]
    broken.path.write_bytes(b"no picture")
    assert judge.choose_area([broken]) == LARGEST
    assert judge.choose_area([broken, *photos[3::2]]) == AREAS[0]


@pytest.mark.parametrize("seed", range(3))
def test_the_same_seed_chooses_the_same_area(tmp_path: Path, seed: int) -> None:
    """The crops are drawn from the seed."""
    photos = make_photos(tmp_path, mark=True)
    judge = make_judge(photos)
    areas = {WindowJudge(judge.head, embed, PREPROCESSING, seed).choose_area(photos) for _ in range(2)}
    assert len(areas) == 1
