"""Reading the rows of an SQLite file page by page, trusting nothing but the rows' own checksums.

SQLite gives up on a file whose pages contradict one another. Here every page that looks like a leaf of a
table is taken by itself (file format: https://www.sqlite.org/fileformat2.html, sections 1.6, 2.1 and 4);
what a row says is believed only when the caller finds its checksum right, so a page read wrongly does no
harm. The pages of the write-ahead log count as later versions of those in the file.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .log import page_size
from .records import Value

_LEAF = 0x0D  # first byte of a page that holds rows of a table
_SIZES = {512 << power: None for power in range(8)}
_WAL_HEADER, _FRAME_HEADER = 32, 24
_MAX_ROW_BYTES = 512 << 20


@dataclass(frozen=True)
class Row:
    """One row: its id, its other values, and how late the page was written."""

    number: int
    values: tuple[Value, ...]
    order: int


class Pages:
    """The pages of a damaged file and its log.

    Args:
        path: The SQLite file; ``PATH-wal`` beside it is read too.
        fallback_size: Page size to take when the file's header is unreadable.
    """

    def __init__(self, path: Path, fallback_size: int) -> None:
        data = path.read_bytes()
        said = int.from_bytes(data[16:18], "big")
        said = 65536 if said == 1 else said
        self.size = said if said in _SIZES else fallback_size
        self._versions: list[tuple[int, bytes]] = []  # (page number, content), oldest first
        for number in range(1, -(-len(data) // self.size) + 1):
            self._versions.append((number, data[(number - 1) * self.size : number * self.size]))
        self._in_file = len(self._versions)
        log = Path(f"{path}-wal")
        if log.exists():
            self._versions += _frames(log.read_bytes(), self.size)
        self._newest = dict(self._versions)

    @property
    def in_log(self) -> int:
        """Pages found in the log."""
        return len(self._versions) - self._in_file

    def rows(self) -> Iterator[Row]:
        """Give everything that can be read as a row, from older to newer pages; much of it may be stale."""
        for order, (number, page) in enumerate(self._versions):
            start = 100 if number == 1 else 0  # the file's header stands before the first page's own
            if len(page) > start + 8 and page[start] == _LEAF:
                yield from self._cells(page, start, order)

    def _cells(self, page: bytes, start: int, order: int) -> Iterator[Row]:
        count = int.from_bytes(page[start + 3 : start + 5], "big")
        for place in range(min(count, len(page) // 4)):
            at = start + 8 + 2 * place
            try:
                number, payload = self._payload(page, int.from_bytes(page[at : at + 2], "big"))
                yield Row(number, _record(payload), order)
            except (IndexError, ValueError, struct.error, KeyError):
                continue  # not a row, or not whole

    def _payload(self, page: bytes, at: int) -> tuple[int, bytes]:
        length, at = _varint(page, at)
        number, at = _varint(page, at)
        if length > _MAX_ROW_BYTES:
            raise ValueError(length)
        local = self._local(length)
        payload = page[at : at + local]
        if local == length:
            return _signed(number), _whole(payload, length)
        follow = int.from_bytes(page[at + local : at + local + 4], "big")
        parts, have, seen = [payload], local, set()
        while have < length:
            if follow in seen:
                raise ValueError(follow)
            seen.add(follow)
            overflow = self._newest[follow]
            parts.append(overflow[4 : 4 + min(self.size - 4, length - have)])
            have += len(parts[-1])
            if not parts[-1]:
                raise ValueError(follow)
            follow = int.from_bytes(overflow[:4], "big")
        return _signed(number), _whole(b"".join(parts), length)

    def _local(self, length: int) -> int:
        """Bytes of a row's payload that stand on its own page (section 1.6: U, X, M and K)."""
        usable = self.size
        if length <= usable - 35:
            return length
        least = (usable - 12) * 32 // 255 - 23
        some = least + (length - least) % (usable - 4)
        return some if some <= usable - 35 else least


def _frames(log: bytes, size: int) -> list[tuple[int, bytes]]:
    """Give the pages of the log's present generation in order; frames of older ones carry another salt."""
    salt, frames = _salt(log, size), []
    for at in range(_WAL_HEADER, len(log) - _FRAME_HEADER, _FRAME_HEADER + size):
        header = log[at : at + _FRAME_HEADER]
        if header[8:16] == salt:
            frames.append(
                (int.from_bytes(header[:4], "big"), log[at + _FRAME_HEADER : at + _FRAME_HEADER + size])
            )
    return frames


def _salt(log: bytes, size: int) -> bytes:
    """Return the present generation's salt: the header's, or that of most frames when the header is damaged."""
    if page_size(log[:_WAL_HEADER]) is not None:
        return log[16:24]
    starts = range(_WAL_HEADER, len(log) - _FRAME_HEADER - size + 1, _FRAME_HEADER + size)
    found = Counter(log[at + 8 : at + 16] for at in starts)
    return found.most_common(1)[0][0] if found else b""


def _whole(payload: bytes, length: int) -> bytes:
    if len(payload) != length:
        raise ValueError(f"{len(payload)} of {length} bytes")
    return payload


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(8):
        byte = data[at + place]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + place + 1
    return value << 8 | data[at + 8], at + 9


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _record(payload: bytes) -> tuple[Value, ...]:
    end, at = _varint(payload, 0)
    kinds = []
    while at < end:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    values: list[Value] = []
    for kind in kinds:
        value, at = _value(payload, at, kind)
        values.append(value)
    return tuple(values)


def _value(payload: bytes, at: int, kind: int) -> tuple[Value, int]:
    if kind == 0:
        return None, at
    if kind in (8, 9):
        return kind - 8, at
    if kind >= 12:
        length = (kind - 12) // 2
        part = _whole(payload[at : at + length], length)
        return (part.decode() if kind % 2 else part), at + length
    length = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 7: 8}[kind]
    part = _whole(payload[at : at + length], length)
    value: Value = struct.unpack(">d", part)[0] if kind == 7 else int.from_bytes(part, "big", signed=True)
    return value, at + length
