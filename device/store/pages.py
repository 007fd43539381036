"""Reading the rows of a damaged SQLite file page by page.

SQLite refuses a file whose pages contradict one another. Here every page that looks like a leaf of a
table is read by itself (file format: https://www.sqlite.org/fileformat2.html, sections 1.6, 2.1 and 4);
the caller uses only rows whose checksum is right, so a page that was read wrongly does no harm. The pages
of the write-ahead log count as later versions of those in the file.

Pages are read one at a time, and long values only up to a budget, so that a hostile file costs neither RAM nor time.
"""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from .log import FRAME_HEADER_BYTES, HEADER_BYTES, PAGE_SIZES, log_path, page_size
from .records import Value

_LEAF = 0x0D  # first byte of a page with rows of a table
_MAX_ROW_BYTES = 16 << 20  # as large as a journal entry about 400,000 samples
# Long values continue on other pages. Each page belongs to one value, so all of them together are no longer than the
# file and its log, each of which may contain several versions.
_BUDGET_FACTOR, _BUDGET_BYTES = 8, 64 << 20


Place = tuple[int, int]  # number of the version of a page, in order of age, and offset in the page


@dataclass(frozen=True)
class PageRow:
    """One row: its id, its other values, and its place, which `Pages.row_at` reads again."""

    number: int
    values: tuple[Value, ...]
    place: Place


class Pages:
    """The pages of a damaged file and its log, open until `close`.

    Args:
        path: The SQLite file; ``PATH-wal`` beside it is read too.
        fallback_size: Page size to use when the file's header is unreadable.

    Raises:
        OSError: A file cannot be read.
    """

    def __init__(self, path: Path, fallback_size: int) -> None:
        self._files: list[int] = []
        try:
            self._open(path, fallback_size)
        except BaseException:
            self.close()
            raise

    def _open(self, path: Path, fallback_size: int) -> None:
        self._files.append(os.open(path, os.O_RDONLY))
        if log_path(path).is_file():
            self._files.append(os.open(log_path(path), os.O_RDONLY))
        stated = int.from_bytes(os.pread(self._files[0], 2, 16), "big")
        stated = 65536 if stated == 1 else stated
        self.size = stated if stated in PAGE_SIZES else fallback_size
        sizes = [os.fstat(file).st_size for file in self._files]
        self.bytes = sum(sizes)
        self._budget = _BUDGET_FACTOR * self.bytes + _BUDGET_BYTES
        self._in_file = -(-sizes[0] // self.size)
        self._frames = list(_frames(self._files[1], sizes[1], self.size)) if len(sizes) > 1 else []
        self._newest = dict(self._frames)  # page number -> offset in the log

    def close(self) -> None:
        """Close the files; calling it again does nothing."""
        while self._files:
            os.close(self._files.pop())

    def __enter__(self) -> Pages:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def in_log(self) -> int:
        """Number of pages found in the log."""
        return len(self._frames)

    def rows(self) -> Iterator[PageRow]:
        """Yield everything that can be read as a row, from older to newer pages; many rows may be stale."""
        for order in range(self._in_file + len(self._frames)):
            number, page = self._version(order)
            start = 100 if number == 1 else 0  # the file's header comes before the first page's own
            if len(page) > start + 8 and page[start] == _LEAF:
                yield from self._cells(page, start, order)

    def row_at(self, place: Place) -> PageRow:
        """Return a row that `rows` yielded, read again."""
        order, at = place
        number, payload = self._payload(self._version(order)[1], at)
        return PageRow(number, _record(payload), place)

    def _version(self, order: int) -> tuple[int, bytes]:
        """Return number and content of a page: those of the file first, then those of the log in order."""
        if order < self._in_file:
            return order + 1, os.pread(self._files[0], self.size, order * self.size)
        number, offset = self._frames[order - self._in_file]
        return number, os.pread(self._files[1], self.size, offset)

    def _page(self, number: int) -> bytes:
        """Return the newest content of a page."""
        if number in self._newest:
            return os.pread(self._files[1], self.size, self._newest[number])
        if not 0 < number <= self._in_file:
            raise ValueError(number)
        return os.pread(self._files[0], self.size, (number - 1) * self.size)

    def _cells(self, page: bytes, start: int, order: int) -> Iterator[PageRow]:
        count = int.from_bytes(page[start + 3 : start + 5], "big")
        for place in range(min(count, len(page) // 4)):
            at = start + 8 + 2 * place
            cell = int.from_bytes(page[at : at + 2], "big")
            try:
                number, payload = self._payload(page, cell)
                yield PageRow(number, _record(payload), (order, cell))
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
                raise ValueError(follow)  # a cycle
            seen.add(follow)
            overflow = self._page(follow)
            self._budget -= self.size
            if self._budget < 0:
                raise ValueError("too many long values")
            parts.append(overflow[4 : 4 + min(self.size - 4, length - have)])
            have += len(parts[-1])
            if not parts[-1]:
                raise ValueError(follow)
            follow = int.from_bytes(overflow[:4], "big")
        return _signed(number), _whole(b"".join(parts), length)

    def _local(self, length: int) -> int:
        """Return the bytes of a row's payload on its own page (section 1.6: U, X, M and K)."""
        usable = self.size
        if length <= usable - 35:
            return length
        least = (usable - 12) * 32 // 255 - 23
        some = least + (length - least) % (usable - 4)
        return some if some <= usable - 35 else least


def _frames(file: int, length: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield page number and offset of the log's present generation in order; older frames have other salts."""
    step = FRAME_HEADER_BYTES + size
    starts = range(HEADER_BYTES, length - step + 1, step)
    salt = _salt(file, starts)
    for at in starts:
        header = os.pread(file, FRAME_HEADER_BYTES, at)
        if header[8:16] == salt:
            yield int.from_bytes(header[:4], "big"), at + FRAME_HEADER_BYTES


def _salt(file: int, starts: range) -> bytes:
    """Return the present generation's salt: the header's, or that of most frames when the header is damaged."""
    header = os.pread(file, HEADER_BYTES, 0)
    if len(header) == HEADER_BYTES and page_size(header) is not None:
        return header[16:24]
    found = Counter(os.pread(file, 8, at + 8) for at in starts)
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
