"""The size of a photo from its header, compared with what OpenCV decodes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from device.images import read_photo
from device.photo_size import photo_size

ENCODINGS = [
    (".jpg", []),
    (".jpg", [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
    (".png", []),
    (".bmp", []),
    (".webp", [cv2.IMWRITE_WEBP_QUALITY, 80]),
    (".webp", [cv2.IMWRITE_WEBP_QUALITY, 101]),  # lossless
]


def encoded(suffix: str, settings: list[int], width: int = 37, height: int = 21, channels: int = 3) -> bytes:
    """Return a photo in the format of `suffix`."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)
    done, data = cv2.imencode(suffix, pixels, settings)
    assert done
    return bytes(data)


@pytest.mark.parametrize(("suffix", "settings"), ENCODINGS)
@pytest.mark.parametrize("size", [(37, 21), (1, 1), (300, 2)])
def test_the_size_is_that_of_the_decoded_photo(
    suffix: str, settings: list[int], size: tuple[int, int]
) -> None:
    """Each format, also where width and height have two bytes."""
    photo = encoded(suffix, settings, *size)
    assert photo_size(photo) == size
    assert read_photo(photo).shape[:2] == size[::-1]


@pytest.mark.parametrize("suffix", [".webp", ".png", ".bmp"])
def test_a_transparent_photo_has_the_same_size(suffix: str) -> None:
    """WebP and BMP have another header then."""
    assert photo_size(encoded(suffix, [], channels=4)) == (37, 21)


def test_the_size_of_a_thumbnail_in_the_exif_block_is_skipped() -> None:
    """The thumbnail is a whole JPEG with a header of its own; fill bytes may precede a marker."""
    photo, small = encoded(".jpg", []), encoded(".jpg", [], 8, 8)
    block = b"Exif\0\0" + small
    with_block = photo[:2] + b"\xff\xff\xe1" + (2 + len(block)).to_bytes(2, "big") + block + photo[2:]
    assert photo_size(with_block) == (37, 21)


@pytest.mark.parametrize(("suffix", "settings"), ENCODINGS)
def test_a_header_that_is_cut_off_has_no_size(suffix: str, settings: list[int]) -> None:
    """At any length there is either no size or the right one, and no error."""
    photo = encoded(suffix, settings)
    assert {photo_size(photo[:length]) for length in range(len(photo))} == {None, (37, 21)}
    assert photo_size(b"") is None
    assert photo_size(b"GIF89a" + bytes(50)) is None
