"""The capture time of photos, from EXIF fields that Pillow wrote; damaged fields are ignored."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.capture_time import capture_time


def jpeg(taken: str | None, fraction: str = "", order: str = "<") -> bytes:
    """Return the head of a JPEG with EXIF fields as cameras write them: the maker, then the time and its fraction."""
    texts = {0x9003: taken, 0x9291: fraction}
    fields = {tag: text.encode() + b"\0" for tag, text in texts.items() if text}
    first, second = 8, 8 + 2 + 2 * 12 + 4
    maker = b"A camera maker\0"
    place = second + 2 + 12 * len(fields) + 4
    block = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", first)
    block += struct.pack(order + "HHHIIHHIII", 2, 0x010F, 2, len(maker), place, 0x8769, 4, 1, second, 0)
    data = maker
    block += struct.pack(order + "H", len(fields))
    for tag, text in fields.items():
        value = text.ljust(4, b"\0") if len(text) <= 4 else struct.pack(order + "I", place + len(data))
        block += struct.pack(order + "HHI", tag, 2, len(text)) + value
        data += text if len(text) > 4 else b""
    payload = b"Exif\0\0" + block + bytes(4) + data
    other = b"\xff\xe0" + struct.pack(">H", 16) + b"JFIF\0" + bytes(9)
    return b"\xff\xd8" + other + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + b"\xff\xda"


@pytest.mark.parametrize("order", ["<", ">"])
def test_differences_are_seconds(order: str) -> None:
    """Two shots of a burst over midnight, in either byte order."""
    first, second = jpeg("2024:05:01 23:59:59", "50", order), jpeg("2024:05:02 00:00:00", "7512", order)
    one, other = capture_time(first), capture_time(second)
    assert one is not None
    assert other is not None
    assert other - one == pytest.approx(1.2512, abs=1e-3)


@pytest.mark.parametrize("taken", [None, "0000:00:00 00:00:00", "    :  :     :  :  ", "yesterday"])
def test_a_photo_without_a_usable_time_has_none(taken: str | None) -> None:
    """Cameras without a set clock write zeros or blanks."""
    assert capture_time(jpeg(taken)) is None


def test_other_files_have_no_time() -> None:
    """A PNG, a text and empty bytes."""
    assert [
        capture_time(data) for data in (b"\x89PNG\r\n", b"text", b"", b"\xff\xd8", b"\xff\xd8\xff\xe1")
    ] == [None] * 5


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 200), st.integers(0, 255), st.integers(0, 400))
def test_damaged_fields_never_raise(place: int, value: int, length: int) -> None:
    """Any changed byte and any cut leads to a number or None."""
    data = bytearray(jpeg("2024:05:01 12:00:00"))
    data[min(place, len(data) - 1)] = value
    for damaged in (bytes(data), bytes(data[:length])):
        found = capture_time(damaged)
        assert found is None or isinstance(found, float)
