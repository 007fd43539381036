"""The RAM that teaching a folder of photos needs."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from device.cameras import Frame
from device.cameras.fake import draw
from device.images import Image, thumbnail, thumbnail_pixels
from device.learner import Learner
from device.live.teaching import BATCH, teach_photos
from tests.tiny import TINY

HEIGHT, WIDTH = 1200, 1600
PHOTO = HEIGHT * WIDTH * 3  # bytes


def large(number: int) -> Image:
    """Return a photo with a scene of the fake camera, enlarged without interpolation."""
    image = draw(("red", "blue")[number % 2], number)
    rows, columns = (np.arange(side) * image.shape[axis] // side for axis, side in enumerate((HEIGHT, WIDTH)))
    return np.ascontiguousarray(image[rows][:, columns])


def photos(count: int) -> Iterator[Frame]:
    """Yield large photos, each made when it is asked for, as a folder reads them."""
    for number in range(count):
        yield Frame(large(number), float(number), number, f"{number}.jpg", ("red", "blue")[number % 2])


def peak(count: int) -> int:
    """Return the peak of RAM while photos are taught, in bytes."""
    with Learner.open(TINY, None, threads=1) as learner:
        tracemalloc.start()
        try:
            teach_photos(learner, photos(count))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


def test_the_peak_of_ram_does_not_grow_with_the_number_of_photos() -> None:
    """Nine more photos, all in one transaction, need less RAM than one photo."""
    peak(1)  # what is imported and cached at the first photo
    few, many = peak(3), peak(12)
    assert BATCH >= 12
    assert few > PHOTO
    assert many - few < PHOTO / 2


def test_embeddings_and_thumbnails_are_those_of_the_whole_photos() -> None:
    """Bit for bit what `learn_one` stores."""
    with Learner.open(TINY, None, threads=1) as learner, Learner.open(TINY, None, threads=1) as other:
        taught = teach_photos(learner, photos(4)).samples
        for frame in photos(4):
            other.learn_one(frame.image, frame.label, frame.source)
        expected = other.samples()[::-1]
        assert [one.thumbnail for one in taught] == [one.thumbnail for one in expected]
        ids = [one.id for one in taught]
        np.testing.assert_array_equal(learner.store.codes(ids), other.store.codes(ids))
        assert learner.head.digest() == other.head.digest()


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (96, 96), (95, 97), (40, 30), (481, 1283)])
def test_the_small_copy_of_a_photo_has_the_same_thumbnail(shape: tuple[int, int]) -> None:
    """Also of a part of a photo; the copy shares no RAM with it."""
    whole = np.random.default_rng(0).integers(0, 256, (shape[0] + 2, shape[1] + 2, 3), np.uint8)
    part = whole[1:-1, 1:-1]
    small = thumbnail_pixels(part)
    assert thumbnail(small) == thumbnail(part)
    assert not np.shares_memory(small, whole)
