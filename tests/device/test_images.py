"""Photos of every format become uint8 RGB, and other files are refused by name."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from device.errors import PhotoError
from device.formats import Reason
from device.images import encode_jpeg, read_photo, thumbnail

RED = np.full((40, 60, 3), (220, 20, 30), np.uint8)


def test_a_red_photo_is_red_in_the_first_channel() -> None:
    """RGB, not OpenCV's BGR."""
    assert np.abs(read_photo(encode_jpeg(RED)).astype(int) - RED).max() <= 3


def test_gray_and_sixteen_bit_and_transparent_photos_become_rgb() -> None:
    """All become uint8 [H, W, 3]."""
    gray = np.full((8, 9), 100, np.uint8)
    deep = np.full((8, 9), 100 * 257, np.uint16)
    clear = np.dstack([np.full((8, 9, 3), 100, np.uint8), np.zeros((8, 9), np.uint8)])
    for photo in (gray, deep, clear):
        read = read_photo(bytes(cv2.imencode(".png", photo)[1]))
        assert read.shape == (8, 9, 3)
        assert read.dtype == np.uint8
        assert np.abs(read.astype(int) - 100).max() <= 1


def test_a_cmyk_jpeg_becomes_rgb() -> None:
    """Print shops send such files; Pillow, where installed, makes one."""
    pil = pytest.importorskip("PIL.Image", reason="Pillow makes the CMYK file")
    import io

    target = io.BytesIO()
    pil.fromarray(RED).convert("CMYK").save(target, "JPEG", quality=95)
    assert np.abs(read_photo(target.getvalue()).astype(int) - RED).max() <= 6


def test_the_exif_orientation_is_applied() -> None:
    """Orientation 6 turns a sideways photo upright."""
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    exif = b"Exif\0\0" + tiff
    jpeg = encode_jpeg(RED)
    turned = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]
    assert read_photo(turned).shape == (60, 40, 3)


@pytest.mark.parametrize("part", [0.3, 0.6, 0.99])
def test_a_truncated_jpeg_is_refused(part: float) -> None:
    """OpenCV alone would silently fill the rest with gray."""
    photo = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encode_jpeg(photo)
    with pytest.raises(PhotoError, match=r"cut off|no photo"):
        read_photo(data[: int(len(data) * part)])


def test_a_truncated_png_is_refused() -> None:
    """Half of the rows is not a photo."""
    photo = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = bytes(cv2.imencode(".png", photo)[1])
    with pytest.raises(PhotoError):
        read_photo(data[: len(data) // 2])


def test_text_with_a_photo_suffix_is_refused_by_name(tmp_path: Path) -> None:
    """The message names the file and shows how it starts."""
    (tmp_path / "notes.jpg").write_text("not a photo")
    with pytest.raises(PhotoError, match=r"notes\.jpg.*not a ph"):
        read_photo(tmp_path / "notes.jpg")


def test_empty_and_missing_files_are_refused(tmp_path: Path) -> None:
    """Each with its own reason."""
    (tmp_path / "empty.png").touch()
    with pytest.raises(PhotoError, match="empty"):
        read_photo(tmp_path / "empty.png")
    with pytest.raises(PhotoError, match="cannot be read"):
        read_photo(tmp_path / "none.png")


def test_a_photo_that_declares_a_huge_size_is_refused_without_allocating_ram() -> None:
    """A decompression bomb of 60,000 by 60,000 pixels in 100 bytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    with pytest.raises(PhotoError):
        read_photo(bomb)


def test_a_thumbnail_is_small_and_keeps_the_proportions() -> None:
    """The longer side is 96 pixels."""
    assert read_photo(thumbnail(np.repeat(np.repeat(RED, 4, 0), 4, 1))).shape == (64, 96, 3)


@pytest.mark.parametrize("turn", [2, 3, 4, 5, 6, 7, 8])
def test_an_avif_photo_is_turned_upright(turn: int) -> None:
    """OpenCV ignores the rotation and mirroring of AVIF; Pillow, where installed, writes such files."""
    pil = pytest.importorskip("PIL.Image", reason="Pillow makes the AVIF file")
    if not cv2.haveImageWriter(".avif"):
        pytest.skip("this OpenCV has no AVIF decoder")
    import io

    upright = np.zeros((48, 64, 3), np.uint8)
    upright[:24, :16] = (220, 20, 30)  # only the upright picture has its red corner there
    stored = {
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: np.rot90(upright.transpose(1, 0, 2), 2),
        8: np.rot90(upright, -1),
    }[turn]
    exif = pil.Exif()
    exif[0x0112] = turn
    target = io.BytesIO()
    pil.fromarray(np.ascontiguousarray(stored)).save(target, "AVIF", quality=95, exif=exif)
    read = read_photo(target.getvalue())
    assert read.shape == upright.shape
    assert np.abs(read.astype(int) - upright).mean() < 3


def test_a_heic_photo_is_named_without_its_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the command that installs it."""
    monkeypatch.setattr("device.heif.can_read_heif", lambda: False)
    (tmp_path / "IMG_1.jpg").write_bytes(b"\0\0\0\x1cftypheic\0\0\0\0mif1heic" + bytes(100))
    with pytest.raises(PhotoError, match=r"IMG_1\.jpg is a HEIC photo.*edgetl\[photos\]") as caught:
        read_photo(tmp_path / "IMG_1.jpg")
    assert caught.value.reason is Reason.HEIC
