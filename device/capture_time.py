"""The time at which a JPEG photo was taken: the few EXIF fields with it, read without a library."""

from __future__ import annotations

import datetime
import struct

_IN_EXIF = 0x8769  # the pointer to the EXIF fields
_TAKEN = 0x9003  # DateTimeOriginal
_FRACTION = 0x9291  # SubSecTimeOriginal
_FIELDS = 512  # no camera writes more in one directory


def capture_time(data: bytes) -> float | None:
    """Return when a JPEG photo was taken, or None when the file has no such time.

    Args:
        data: The file's bytes; its first 64 KB are enough.

    Returns:
        Seconds by the camera's clock; only differences mean something, since EXIF times have no time zone.
    """
    try:
        block = _exif(data)
        return None if block is None else _taken(block)
    except (struct.error, ValueError, IndexError, OverflowError):
        return None  # damaged EXIF: the photo itself may be fine


def _exif(data: bytes) -> bytes | None:
    if data[:2] != b"\xff\xd8":
        return None
    place = 2
    while data[place : place + 1] == b"\xff":
        marker, size = struct.unpack(">xBH", data[place : place + 4])
        if marker == 0xE1 and data[place + 4 : place + 10] == b"Exif\0\0":
            return data[place + 10 : place + 2 + size]
        if marker == 0xDA or size < 2:  # the picture itself begins
            return None
        place += 2 + size
    return None


def _taken(block: bytes) -> float | None:
    order = {b"II": "<", b"MM": ">"}[block[:2]] if block[:2] in (b"II", b"MM") else ""
    if not order:
        return None
    pointer = _directory(block, order, struct.unpack(order + "I", block[4:8])[0]).get(_IN_EXIF)
    if pointer is None:
        return None
    fields = _directory(block, order, struct.unpack(order + "I", pointer[1])[0])
    if _TAKEN not in fields:
        return None
    when = datetime.datetime.strptime(_text(block, order, *fields[_TAKEN])[:19], "%Y:%m:%d %H:%M:%S")
    fraction = _text(block, order, *fields[_FRACTION]).strip() if _FRACTION in fields else ""
    seconds = when.replace(tzinfo=datetime.UTC).timestamp()
    return seconds + (float(f"0.{fraction}") if fraction.isascii() and fraction.isdigit() else 0.0)


def _directory(block: bytes, order: str, place: int) -> dict[int, tuple[int, bytes]]:
    """Return the fields of a directory: tag -> (count, the four bytes of value or offset)."""
    (count,) = struct.unpack(order + "H", block[place : place + 2])
    fields = {}
    for number in range(min(count, _FIELDS)):
        at = place + 2 + 12 * number
        tag, _, size, value = struct.unpack(order + "HHI4s", block[at : at + 12])
        fields[tag] = (size, value)
    return fields


def _text(block: bytes, order: str, count: int, value: bytes) -> str:
    if count > 4:
        (place,) = struct.unpack(order + "I", value)
        value = block[place : place + min(count, 64)]
    return value[:count].split(b"\0")[0].decode("ascii", "replace")
