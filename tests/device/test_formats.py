"""The format follows from the content of a file; the name counts only where the content is not conclusive."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from device.formats import Reason, photo_format, reason_to_skip

HEIC = b"\0\0\0\x1cftypheic\0\0\0\0mif1heic"
AVIF = b"\0\0\0\x1cftypmif1\0\0\0\0avifmif1"
MOVIE = b"\0\0\0\x14ftypqt  \0\0\0\0qt  "


@pytest.mark.parametrize(
    ("suffix", "form"),
    [
        (".jpg", "JPEG"),
        (".png", "PNG"),
        (".bmp", "BMP"),
        (".webp", "WebP"),
        (".tiff", "TIFF"),
        (".ppm", "PNM"),
    ],
)
def test_formats_are_recognized_by_what_opencv_writes(suffix: str, form: str) -> None:
    """OpenCV is the oracle: it writes one file of each format."""
    data = bytes(cv2.imencode(suffix, np.zeros((4, 5, 3), np.uint8))[1])
    assert photo_format(data[:64]) == form


@pytest.mark.parametrize(
    ("head", "form"),
    [
        (HEIC, "HEIC"),
        (AVIF, "AVIF"),
        (MOVIE, "video"),
        (b"RIFF\0\0\0\0AVI LIST", "video"),
        (b"GIF89a\1\0\1\0", "GIF"),
        (b"P5 # a comment\n3 3 255\n", "PNM"),
        (b"BMW is a company in Munich and not a bitmap", ""),
        (b"P6, page 6 of a text", ""),
        (b"", ""),
    ],
)
def test_other_formats_are_recognized_by_their_first_bytes(head: bytes, form: str) -> None:
    """Texts that begin like a picture are not mistaken for one."""
    assert photo_format(head) == form


@pytest.mark.parametrize(
    ("name", "head", "reason"),
    [
        ("IMG_1.jpg", HEIC, Reason.HEIC),
        ("IMG_1", b"\xff\xd8\xff\xe0", None),
        ("IMG_1.mpo", b"\xff\xd8\xff\xe0", None),
        ("IMG_1.avif", AVIF, None),
        ("clip.mov", MOVIE, Reason.VIDEO),
        ("clip.mpg", b"\0\0\1\xba", Reason.VIDEO),
        ("raw.dng", b"II*\0", Reason.RAW),
        ("scan.tif", b"II*\0", None),
        ("art.psd", b"8BPS", Reason.FORMAT),
        ("page.jpg", b"<html>", Reason.DAMAGED),
        ("notes.txt", b"a note", Reason.NOT_A_PHOTO),
        ("IMG_2.png", b"", Reason.EMPTY),
        ("notes.txt", b"", Reason.NOT_A_PHOTO),
    ],
)
def test_each_file_that_is_not_read_has_its_reason(name: str, head: bytes, reason: Reason | None) -> None:
    """A camera raw file starts like TIFF; there the name decides."""
    assert reason_to_skip(Path(name), head) is reason
