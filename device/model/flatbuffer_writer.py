"""Write a flatbuffer from a tree of tables, without a library.

A device has no generated classes of a schema: tflite-runtime comes with neither those nor the flatbuffers package. The
layout is that of https://flatbuffers.dev/internals: parents come before their children, because offsets to tables and
vectors count forward; a table follows its vtable.
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

_VECTOR_ALIGNMENT = 16  # bytes; the schema of TFLite requires it for buffers, and it suits every other vector
_WIDEST = 8  # bytes of a scalar


@dataclass(frozen=True)
class Number:
    """A scalar field: a format of `struct` without byte order, and its value."""

    kind: str
    value: float


@dataclass(frozen=True)
class Raw:
    """A table that is copied without knowing its fields; none of them may be an offset.

    Attributes:
        vtable: The bytes of its vtable.
        table: The bytes of the table itself.
        phase: Its place in the original modulo 8, which keeps its fields aligned.
    """

    vtable: bytes
    table: bytes
    phase: int


@dataclass
class Node:
    """A table to write: number of each field in the schema -> its value. Missing fields have their default."""

    fields: dict[int, Value] = field(default_factory=dict)

    def nodes(self, number: int) -> list[Node]:
        """Return a field that is a vector of tables, which may be missing."""
        found = self.fields.get(number, [])
        return [one for one in found if isinstance(one, Node)] if isinstance(found, list) else []

    def number(self, number: int, default: int = 0) -> int:
        """Return an integer field."""
        found = self.fields.get(number)
        return int(found.value) if isinstance(found, Number) else default

    def numbers(self, number: int) -> list[int]:
        """Return a field that is a vector of integers, which may be missing."""
        found = self.fields.get(number)
        return [int(one) for one in found] if isinstance(found, np.ndarray) else []


# text, bytes (a vector of them), numbers, a table, or a vector of tables or texts
Value: TypeAlias = "Number | str | bytes | memoryview | NDArray[Any] | Node | Raw | list[Node] | list[str]"


def write_flatbuffer(root: Node, identifier: bytes) -> bytes:
    """Return the flatbuffer of a tree.

    Args:
        root: The root table.
        identifier: Four bytes that follow the root's offset, such as ``TFL3``.
    """
    out = bytearray(8)
    out[4:8] = identifier
    waiting: deque[tuple[int, Any]] = deque([(0, root)])  # place of the offset, and what it leads to
    while waiting:
        place, value = waiting.popleft()
        start = _append(out, value, waiting)
        struct.pack_into("<I", out, place, start - place)
    return bytes(out)


def _append(out: bytearray, value: Any, waiting: deque[tuple[int, Any]]) -> int:
    """Append a value, queue its children, and return its place."""
    if isinstance(value, Node):
        return _append_table(out, value, waiting)
    if isinstance(value, Raw):
        return _append_raw(out, value)
    if isinstance(value, str):
        text = value.encode()
        start = _append_vector(out, len(text), text, 4)
        out.append(0)
        return start
    if isinstance(value, list):
        start = _append_vector(out, len(value), bytes(4 * len(value)), 4)
        waiting.extend((start + 4 + 4 * at, child) for at, child in enumerate(value))
        return start
    if isinstance(value, np.ndarray):
        return _append_vector(out, value.size, np.ascontiguousarray(value).tobytes(), _VECTOR_ALIGNMENT)
    return _append_vector(out, len(value), value, _VECTOR_ALIGNMENT)


def _append_vector(out: bytearray, length: int, content: bytes | memoryview, alignment: int) -> int:
    out.extend(bytes(-(len(out) + 4) % alignment))
    start = len(out)
    out.extend(struct.pack("<I", length))
    out.extend(content)
    return start


def _append_table(out: bytearray, node: Node, waiting: deque[tuple[int, Any]]) -> int:
    sizes = {
        number: struct.calcsize(f"<{value.kind}") if isinstance(value, Number) else 4
        for number, value in node.fields.items()
    }
    order = sorted(sizes, key=lambda number: -sizes[number])  # the widest first: all are aligned then
    places, end = {}, _WIDEST if _WIDEST in sizes.values() else 4
    for number in order:
        places[number] = end
        end += sizes[number]
    vtable = [
        4 + 2 * (max(places, default=-1) + 1),
        end,
        *(places.get(at, 0) for at in range(max(places, default=-1) + 1)),
    ]
    start = _append_raw(out, Raw(struct.pack(f"<{len(vtable)}H", *vtable), bytes(end), 0))
    for number, value in node.fields.items():
        if isinstance(value, Number):
            struct.pack_into(f"<{value.kind}", out, start + places[number], value.value)
        else:
            waiting.append((start + places[number], value))
    return start


def _append_raw(out: bytearray, raw: Raw) -> int:
    """Append a vtable and its table; the table starts at a place with the wanted remainder modulo 8."""
    out.extend(bytes((raw.phase - len(out) - len(raw.vtable)) % _WIDEST))
    vtable = len(out)
    out.extend(raw.vtable)
    start = len(out)
    out.extend(raw.table)
    struct.pack_into("<i", out, start, start - vtable)
    return start
