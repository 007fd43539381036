"""Tables of a .tflite flatbuffer, read in place: without a library, without a copy, and never outside of the bytes.

LiteRT's own classes of the schema are missing in tflite-runtime and trust what they read. Here every offset is checked.
https://flatbuffers.dev/internals: a table starts with a signed offset back to its vtable, which holds the offset of each
field, or 0; a vector starts with its length; offsets to tables and vectors count forward.
"""

from __future__ import annotations

import functools
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelFileError

_BUDGET = 2**22  # elements read from one flatbuffer; EfficientNet-Lite0 takes some 20,000
_TABLE_COST = 16  # elements that reading a table counts for


class Table:
    """A table at a place in the bytes; fields are numbered as in the schema.

    All methods raise `ModelFileError` where an offset leads outside of the bytes.

    Args:
        data: The whole flatbuffer.
        place: Where the table starts, in bytes.
        budget: Shared by all tables of one flatbuffer.
    """

    __slots__ = ("_budget", "_fields", "_size", "_vtable", "data", "place")

    def __init__(self, data: bytes | bytearray, place: int, budget: Budget) -> None:
        budget.spend(_TABLE_COST)
        self.data, self.place, self._budget = data, place, budget
        self._vtable = place - read(data, "<i", place)
        length, self._size = read(data, "<H", self._vtable), read(data, "<H", self._vtable + 2)
        self._fields = length // 2 - 2
        if length < 4 or length % 2 or self._vtable + length > len(data) or place + self._size > len(data):
            raise damaged(f"the table at byte {place} reaches beyond its end")

    @property
    def length(self) -> int:
        """Number of fields in the vtable, also of those that have their default."""
        return self._fields

    def raw(self) -> tuple[bytes, bytes]:
        """Return the bytes of the vtable and of the table itself."""
        vtable = bytes(self.data[self._vtable : self._vtable + 4 + 2 * self._fields])
        return vtable, bytes(self.data[self.place : self.place + self._size])

    def field(self, number: int) -> int | None:
        """Return the place of a field's value, or None where it has its default."""
        if number >= self._fields:
            return None
        offset = read(self.data, "<H", self._vtable + 4 + 2 * number)
        if offset >= self._size and offset:
            raise damaged(f"a field of the table at byte {self.place} is outside of it")
        return self.place + offset if offset else None

    def number(self, number: int, kind: str = "<i", default: int = 0) -> int:
        """Return a scalar field; `kind` is a format of `struct`."""
        place = self.field(number)
        return default if place is None else read(self.data, kind, place)

    def table(self, number: int) -> Table | None:
        """Return the table that a field refers to."""
        place = self.field(number)
        return None if place is None else self._table(place)

    def vector(self, number: int, size: int = 4) -> tuple[int, int]:
        """Return the place of a vector's first element and the number of its elements of `size` bytes."""
        place = self.field(number)
        if place is None:
            return 0, 0
        start = place + read(self.data, "<I", place)
        length = read(self.data, "<I", start)
        if start + 4 + length * size > len(self.data):
            raise damaged(f"a list at byte {start} reaches beyond its end")
        return start + 4, length

    def array(self, number: int, dtype: str) -> NDArray[Any]:
        """Return a vector of numbers."""
        kind = np.dtype(dtype)
        start, length = self.vector(number, kind.itemsize)
        self._budget.spend(length)
        return np.frombuffer(self.data, kind, length, start) if length else np.empty(0, kind)

    def numbers(self, number: int) -> list[int]:
        """Return a vector of int32."""
        start, length = self.vector(number)
        self._budget.spend(length)
        return list(struct.unpack_from(f"<{length}i", self.data, start))

    def tables(self, number: int) -> list[Table]:
        """Return the tables of a vector."""
        start, length = self.vector(number)
        self._budget.spend(length)
        return [self._table(place) for place in range(start, start + 4 * length, 4)]

    def text(self, number: int) -> str:
        """Return a string field, empty where it is missing."""
        start, length = self.vector(number, 1)
        self._budget.spend(length)
        if start and self.data[start + length : start + length + 1] != b"\0":
            raise damaged(f"the name at byte {start} has no end")
        try:
            return bytes(self.data[start : start + length]).decode()
        except UnicodeDecodeError as error:  # runtimes raise it too, when they first read a name
            raise damaged(f"the name at byte {start} is not UTF-8") from error

    def _table(self, place: int) -> Table:
        return Table(self.data, place + read(self.data, "<I", place), self._budget)


class Budget:
    """Limit of what is read from a flatbuffer: tables may be shared, so a small file can describe a huge tree."""

    def __init__(self) -> None:
        self._left = _BUDGET

    def spend(self, count: int) -> None:
        """Count elements that are read.

        Raises:
            ModelFileError: There are more than any model has.
        """
        self._left -= count
        if self._left < 0:
            raise damaged("it refers to more tables and numbers than any model has")


def root(data: bytes | bytearray) -> Table:
    """Return the root table: the model."""
    return Table(data, read(data, "<I", 0), Budget())


def read(data: bytes | bytearray, kind: str, place: int) -> int:
    """Return the number of a `struct` format at a place.

    Raises:
        ModelFileError: The place is outside the bytes.
    """
    form = _form(kind)
    if not 0 <= place <= len(data) - form.size:
        raise damaged(f"an offset leads to byte {place} of {len(data)}")
    value: int = form.unpack_from(data, place)[0]
    return value


def damaged(what: str) -> ModelFileError:
    """Return the error for a flatbuffer that must not reach a runtime."""
    return ModelFileError(f"the model part is damaged: {what}; copy or convert the file again")


@functools.cache
def _form(kind: str) -> struct.Struct:
    return struct.Struct(kind)
