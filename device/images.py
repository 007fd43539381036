"""Photos in, photos out: files to RGB arrays and back.

Everything is RGB from the moment it is read. OpenCV decodes (it is on every device); what it lets
pass silently, such as a JPEG that was cut off, is refused here.
"""

from __future__ import annotations

import os
from pathlib import Path

# A photo of more pixels than this is refused before memory is taken for it; the largest phone
# sensors have 2e8.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(2**28))
# A damaged photo is reported by us, with its name; OpenCV's own warnings would come on top.
os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")

import cv2
import numpy as np
from numpy.typing import NDArray

from .errors import PhotoError

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
_MAX_BYTES = 256 * 2**20
_NEXT_STEP = "open it in an image viewer, save it again as JPEG or PNG, or leave it out"

Image = NDArray[np.uint8]


def read_photo(source: str | Path | bytes) -> Image:
    """Read a photo as RGB, turned upright by its EXIF orientation.

    Grey, 16-bit, CMYK and transparent photos become 8-bit RGB.

    Args:
        source: A file's path, or the bytes of an encoded photo.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        PhotoError: The file is missing, empty, no photo, cut off, or too large.
    """
    name = "the photo" if isinstance(source, bytes) else str(source)
    data = source if isinstance(source, bytes) else _read_bytes(Path(source))
    if not data:
        raise PhotoError(f"{name} is empty, expected a JPEG or PNG photo; {_NEXT_STEP}")
    if data[:3] == b"\xff\xd8\xff" and _is_cut_off(data):
        raise PhotoError(f"{name} is a JPEG that was cut off (no end marker); copy it again or leave it out")
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise PhotoError(f"{name} cannot be decoded: {error.err or error}; {_NEXT_STEP}") from error
    if bgr is None:
        raise PhotoError(
            f"{name} is no photo that can be read: it starts with {data[:8]!r} and has {len(data)} bytes; {_NEXT_STEP}"
        )
    rgb: Image = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=bgr)
    return rgb


def list_photos(folder: str | Path, *, deep: bool = False) -> list[Path]:
    """List the photo files directly in `folder`, or `deep` at any depth, sorted; hidden files are left out."""
    return sorted(
        path
        for path in (Path(folder).rglob("*") if deep else Path(folder).iterdir())
        if path.suffix.lower() in PHOTO_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def check_image(image: Image) -> None:
    """Raise `PhotoError` unless `image` is uint8 [H, W, 3] with at least one pixel."""
    if not isinstance(image, np.ndarray):
        raise PhotoError(f"an image must be a NumPy array uint8 [H, W, 3] in RGB, got {type(image).__name__}")
    if image.dtype != np.uint8:
        raise PhotoError(
            f"an image must be uint8 [H, W, 3] with values 0 to 255, got {image.dtype}; scale it and convert it first"
        )
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise PhotoError(
            f"an image must be uint8 [H, W, 3] in RGB, got shape {image.shape}; read_photo gives the right form"
        )


def encode_jpeg(rgb: Image, quality: int = 85) -> bytes:
    """Encode uint8 [H, W, 3] RGB as JPEG."""
    check_image(rgb)
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    if not done:
        raise PhotoError(f"the image of shape {rgb.shape} cannot be encoded as JPEG")
    return bytes(data)


def thumbnail(rgb: Image, side: int = 96, quality: int = 80) -> bytes:
    """Encode `rgb` as a JPEG whose longer side has at most `side` pixels."""
    check_image(rgb)
    height, width = rgb.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return encode_jpeg(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), quality)


def _read_bytes(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise PhotoError(f"{path} has {size} bytes, a photo has at most {_MAX_BYTES}; leave it out")
        return path.read_bytes()
    except OSError as error:
        raise PhotoError(
            f"{path} cannot be read: {error.strerror}; check the path and its permissions"
        ) from error


def _is_cut_off(jpeg: bytes) -> bool:
    # Entropy-coded data never holds FF DA or FF D9 (a literal FF is followed by 00), so the end marker
    # must come after the last start of scan. A thumbnail in the EXIF block ends before that.
    last_scan = jpeg.rfind(b"\xff\xda")
    return last_scan < 0 or jpeg.find(b"\xff\xd9", last_scan) < 0
