"""The RAM that teaching the photos of another tool needs."""

from __future__ import annotations

import tracemalloc

import cv2

from device.cameras.fake import draw
from device.images import encode_jpeg
from device.learner import Learner
from edgetl.exchange.photos import Collection, Photo
from edgetl.exchange.teaching import teach_collection
from tests.tiny import TINY

HEIGHT, WIDTH = 1200, 1600
PHOTO = HEIGHT * WIDTH * 3  # bytes


def large(number: int) -> bytes:
    """Return a large photo as JPEG."""
    return encode_jpeg(cv2.resize(draw(("red", "blue")[number % 2], number), (WIDTH, HEIGHT)))


def peak(count: int) -> int:
    """Return the peak of RAM while photos are taught, in bytes."""
    photos = [
        Photo(f"{number}.jpg", ("red", "blue")[number % 2], lambda number=number: large(number))
        for number in range(count)
    ]
    with Learner.open(TINY, None, threads=1) as learner:
        tracemalloc.start()
        try:
            assert len(teach_collection(learner, Collection(tuple(photos)), "test").samples) == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


def test_the_peak_of_ram_does_not_grow_with_the_number_of_photos() -> None:
    """Nine more photos, all in one transaction, need less RAM than one photo."""
    peak(1)  # what is imported and cached at the first photo
    few, many = peak(3), peak(12)
    assert few > PHOTO
    assert many - few < PHOTO / 2
