"""Photos as RGB arrays: reading and writing.

Every image is RGB as soon as it is read. OpenCV decodes, because every device has it, and libheif HEIC; what OpenCV accepts
silently, such as a truncated JPEG, is refused here.
"""

from __future__ import annotations

import os
from pathlib import Path

# A photo of more pixels than this is refused before RAM is allocated for it; the largest phone
# sensors have 2e8.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(2**28))
# A damaged photo is reported here, with its name; OpenCV's own messages would repeat it without the name.
os.environ.setdefault("OPENCV_LOG_LEVEL", "FATAL")

import cv2
import numpy as np
from numpy.typing import NDArray

from .errors import PhotoError
from .files import shown
from .formats import HEAD_BYTES, Reason, photo_format
from .heif import read_heif

_MAX_BYTES = 256 * 2**20
_MOST_PIXELS = 2**28  # of HEIC, as above
_OPTIONAL = {"AVIF": ".avif", "GIF": ".gif", "JPEG 2000": ".jp2"}  # formats that older OpenCV lacks
_NEXT_STEP = "open it in an image viewer, save it again as JPEG or PNG, or leave it out"

Image = NDArray[np.uint8]

THUMBNAIL = 96
"""Longer side of the picture that is stored with a sample, in pixels."""


def read_photo(source: str | Path | bytes) -> Image:
    """Read a photo as RGB, turned upright by its EXIF orientation.

    Gray, 16-bit, CMYK and transparent photos become 8-bit RGB.

    Args:
        source: A file's path, or the bytes of an encoded photo.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        PhotoError: The file is missing, empty, not a photo, truncated, or too large; `reason` names the cause.
    """
    name = "the photo" if isinstance(source, bytes) else shown(source)
    data = source if isinstance(source, bytes) else _read_bytes(Path(source))
    _refuse_undecodable(data, name)
    form = photo_format(data[:HEAD_BYTES])
    if form == "HEIC":
        return read_heif(data, name, _MOST_PIXELS)
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        large = "CV_IO_MAX_IMAGE" in str(error)
        raise PhotoError(
            f"{name} cannot be decoded: {error.err or error}; {_NEXT_STEP}",
            Reason.TOO_LARGE if large else Reason.DAMAGED,
        ) from error
    if bgr is None:
        codec = form in _OPTIONAL and not cv2.haveImageWriter(_OPTIONAL[form])
        raise PhotoError(
            f"{name} is not a readable photo: it starts with {data[:8]!r} and has {len(data)} bytes; "
            + (
                f"OpenCV {cv2.__version__} has no decoder for {form}, convert it to JPEG"
                if codec
                else _NEXT_STEP
            ),
            Reason.FORMAT if codec else Reason.DAMAGED,
        )
    rgb: Image = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=bgr)
    return _turned(rgb, data) if form == "AVIF" else rgb


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
            f"an image must be uint8 [H, W, 3] in RGB, got shape {image.shape}; read_photo returns the right form"
        )


def encode_jpeg(rgb: Image, quality: int = 85) -> bytes:
    """Return uint8 [H, W, 3] RGB as JPEG bytes."""
    check_image(rgb)
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    if not done:
        raise PhotoError(f"the image of shape {rgb.shape} cannot be encoded as JPEG")
    return bytes(data)


def thumbnail(rgb: Image, side: int = THUMBNAIL, quality: int = 80) -> bytes:
    """Return `rgb` as JPEG bytes, reduced to at most `side` pixels on its longer side."""
    check_image(rgb)
    height, width = rgb.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return encode_jpeg(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), quality)


def thumbnail_pixels(rgb: Image) -> Image:
    """Return a small copy whose `thumbnail` has the same bytes as that of `rgb`, uint8 [h, w, 3].

    Photos that wait to be stored are kept as such copies, because a photo of 12 megapixels takes 36 MB of RAM.
    """
    check_image(rgb)
    small = preview(rgb, THUMBNAIL)
    return small.copy() if small is rgb else small  # a part of a photo would keep the whole photo in RAM


def preview(rgb: Image, side: int = 640) -> Image:
    """Return uint8 [H, W, 3] with at most `side` pixels on its longer side; smaller images stay unchanged."""
    height, width = rgb.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return rgb
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    shrunk: Image = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    return shrunk


def _refuse_undecodable(data: bytes, name: str) -> None:
    if not data:
        raise PhotoError(f"{name} is empty, expected a JPEG or PNG photo; {_NEXT_STEP}", Reason.EMPTY)
    if data[:3] == b"\xff\xd8\xff" and _is_cut_off(data):
        raise PhotoError(
            f"{name} is a JPEG that was cut off (no end marker); copy it again or leave it out",
            Reason.CUT_OFF,
        )


def _turned(rgb: Image, avif: bytes) -> Image:
    """Apply the rotation and mirroring of an AVIF file, which OpenCV ignores.

    The properties are boxes of nine bytes (ISO/IEC 23008-12, sections 6.5.10 and 6.5.12): first ``irot``, quarter turns
    counterclockwise, then ``imir``, 0 for top and bottom swapped and 1 for left and right.
    """
    turn, mirror = (avif.find(b"\0\0\0\x09" + name) for name in (b"irot", b"imir"))
    if turn >= 0:
        rgb = np.rot90(rgb, avif[turn + 8] & 3)
    if mirror >= 0:
        rgb = rgb[:, ::-1] if avif[mirror + 8] & 1 else rgb[::-1]
    return np.ascontiguousarray(rgb)


def _read_bytes(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise PhotoError(
                f"{shown(path)} has {size} bytes, a photo has at most {_MAX_BYTES}; leave it out",
                Reason.TOO_LARGE,
            )
        return path.read_bytes()
    except OSError as error:
        raise PhotoError(
            f"{shown(path)} cannot be read: {error.strerror}; check the path and its permissions",
            Reason.DENIED,
        ) from error


def _is_cut_off(jpeg: bytes) -> bool:
    # Entropy-coded data never contains FF DA or FF D9 (a literal FF is followed by 00), so the end marker
    # must come after the last start of scan. A thumbnail in the EXIF block ends before that.
    last_scan = jpeg.rfind(b"\xff\xda")
    return last_scan < 0 or jpeg.find(b"\xff\xd9", last_scan) < 0
