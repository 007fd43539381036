"""Formats of photo files, recognized by their first bytes, and the reasons to leave a file out."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path

HEAD_BYTES = 64  # enough for `photo_format`

PHOTO_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".bmp", ".webp", ".tif", ".tiff", ".heic", ".heif"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".gif", ".jp2", ".j2k"}
)
_RAW_SUFFIXES = frozenset(
    {".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw", ".raw"}
)
_VIDEO_SUFFIXES = frozenset(
    {".mov", ".mp4", ".m4v", ".avi", ".mkv", ".webm", ".3gp", ".mts", ".mpg", ".mpeg"}
)
_READABLE = frozenset({"JPEG", "PNG", "WebP", "BMP", "TIFF", "PNM", "GIF", "AVIF", "JPEG 2000"})

_STARTS = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"IIRO", "camera raw"),
    (b"IIU\0", "camera raw"),
    (b"FUJIFILMCCD-RAW", "camera raw"),
    (b"8BPS", "Photoshop"),
    (b"\x1aE\xdf\xa3", "video"),
)
_BMP_HEADERS = frozenset({12, 40, 52, 56, 64, 108, 124})  # sizes of the second header
_PNM = re.compile(rb"P[1-6]\s+(#[^\n]*\n\s*)*\d+\s+\d")
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})


class Reason(StrEnum):
    """Why a file is left out; ``--json`` shows the value."""

    HEIC = "heic"
    RAW = "camera-raw"
    VIDEO = "video"
    FORMAT = "format-not-supported"
    NOT_A_PHOTO = "not-a-photo"
    EMPTY = "empty-file"
    CUT_OFF = "cut-off"
    DAMAGED = "not-an-image"
    TOO_LARGE = "too-large"
    LINK = "broken-link"
    SPECIAL = "not-a-regular-file"
    NAME = "name-not-utf-8"
    DENIED = "cannot-be-opened"
    COPY = "copy-of-another"
    OTHER_PART = "copy-in-another-part"
    TWO_LABELS = "under-two-labels"
    LOOSE = "outside-the-label-folders"


def photo_format(head: bytes) -> str:
    """Return the format of a file that starts with `head`, such as ``JPEG``, or "" for an unknown format.

    Example:
        >>> photo_format(b"GIF89a")
        'GIF'
    """
    for start, name in _STARTS:
        if head.startswith(start):
            return name
    if head[:4] == b"RIFF":
        return "WebP" if head[8:12] == b"WEBP" else "video" if head[8:12] == b"AVI " else ""
    if head[4:8] == b"ftyp":
        return _box_format(head)
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    return "PNM" if _PNM.match(head) else ""


def reason_to_skip(path: Path, head: bytes, *, can_read_heif: bool = False) -> Reason | None:
    """Return why a file that starts with `head` is not decoded, or None when it may be a readable photo.

    The content decides; the suffix counts only where the content is not conclusive, and for camera raw files, which
    start like TIFF.
    """
    suffix, form = path.suffix.lower(), photo_format(head)
    if not head:
        return Reason.EMPTY if suffix in PHOTO_SUFFIXES or not suffix else Reason.NOT_A_PHOTO
    if form == "camera raw" or (suffix in _RAW_SUFFIXES and form in ("", "TIFF")):
        return Reason.RAW
    if form in _READABLE or (form == "HEIC" and can_read_heif):
        return None
    if form == "video" or (not form and suffix in _VIDEO_SUFFIXES):
        return Reason.VIDEO
    if form:
        return Reason.HEIC if form == "HEIC" else Reason.FORMAT
    return Reason.DAMAGED if suffix in PHOTO_SUFFIXES else Reason.NOT_A_PHOTO


def _box_format(head: bytes) -> str:
    """Return the format of an ISO base media file by its brands (ISO/IEC 14496-12, section 4.3)."""
    size = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, size - 3, 4))]
    if {b"avif", b"avis"} & set(brands):
        return "AVIF"
    if brands[0] == b"crx ":
        return "camera raw"
    return "HEIC" if _HEIF_BRANDS & set(brands) else "video"
