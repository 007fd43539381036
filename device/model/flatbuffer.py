"""Tables of a .tflite flatbuffer, read at their places in the bytes: no library, no copy.

https://flatbuffers.dev/internals: a table starts with a signed offset back to its vtable, which holds the
offset of each field, or 0; a vector starts with its length; offsets to tables and vectors count forward.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import ModelFileError


@dataclass(frozen=True)
class Table:
    """A table at a place in the bytes; fields are numbered as in the schema.

    All methods raise `ModelFileError` where the bytes end too early.
    """

    data: bytes | bytearray
    place: int

    def field(self, number: int) -> int | None:
        """Return the place of a field's value, or None where it has its default."""
        vtable = self.place - read(self.data, "<i", self.place)
        size = read(self.data, "<H", vtable)
        at = 4 + 2 * number
        offset = read(self.data, "<H", vtable + at) if at < size else 0
        return self.place + offset if offset else None

    def number(self, number: int, kind: str = "<i", default: int = 0) -> int:
        """Return a scalar field; `kind` is a format of `struct`."""
        place = self.field(number)
        return default if place is None else read(self.data, kind, place)

    def table(self, number: int) -> Table | None:
        """Return the table that a field refers to."""
        place = self.field(number)
        return None if place is None else Table(self.data, place + read(self.data, "<I", place))

    def vector(self, number: int, size: int = 4) -> tuple[int, int]:
        """Return the place of a vector's first element and the number of its elements of `size` bytes."""
        place = self.field(number)
        if place is None:
            return 0, 0
        start = place + read(self.data, "<I", place)
        length = read(self.data, "<I", start)
        if start + 4 + length * size > len(self.data):
            raise ModelFileError(f"the model part is damaged: a list at byte {start} reaches beyond its end")
        return start + 4, length

    def numbers(self, number: int) -> list[int]:
        """Return a vector of int32."""
        start, length = self.vector(number)
        return list(struct.unpack_from(f"<{length}i", self.data, start))

    def tables(self, number: int) -> Iterator[Table]:
        """Yield the tables of a vector."""
        start, length = self.vector(number)
        for place in range(start, start + 4 * length, 4):
            yield Table(self.data, place + read(self.data, "<I", place))

    def text(self, number: int) -> str:
        """Return a string field, empty where it is missing."""
        start, length = self.vector(number, 1)
        return bytes(self.data[start : start + length]).decode(errors="replace")


def root(data: bytes | bytearray) -> Table:
    """Return the root table: the model."""
    return Table(data, read(data, "<I", 0))


def read(data: bytes | bytearray, kind: str, place: int) -> int:
    """Return the number of a `struct` format at a place.

    Raises:
        ModelFileError: The place is outside the bytes.
    """
    if not 0 <= place <= len(data) - struct.calcsize(kind):
        raise ModelFileError(f"the model part is damaged: an offset leads to byte {place} of {len(data)}")
    return int(struct.unpack_from(kind, data, place)[0])
