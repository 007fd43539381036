"""Checking the write-ahead log before SQLite reads it.

SQLite reads the log up to the first frame whose checksum is wrong and silently drops the rest. That is right after a
power cut in the middle of a write, but loses samples after a flipped bit. Here every frame is checked by itself, to
distinguish the two (file format: https://www.sqlite.org/fileformat2.html, section 4).

A frame's checksum continues that of the frame before it. The checksum is linear modulo 2^32, so the whole log is
checked with two matrix products instead of a loop over its words.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from . import schema

HEADER_BYTES, FRAME_HEADER_BYTES = 32, 24
PAGE_SIZES = frozenset(512 << power for power in range(8))
_MAGIC = 0x377F0682  # the lowest bit is set when checksums are over big-endian words
_VERSION = 3_007_000
_CHUNK_BYTES = 1 << 20
# Another process writes frames in order. So a frame that was incomplete when it was read, while a later one was complete,
# is complete at the second reading; damage stays.
_ATTEMPTS = 20

Words = NDArray[np.uint32]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Log:
    """The state of a write-ahead log.

    Attributes:
        frames: Number of intact frames up to the last commit that SQLite will read.
        unfinished: Whether frames that belong to no commit follow, as after a power cut or on a full disk.
        damage: Description of the damage, or None.
        evidence: The header and the first broken frame, which stay the same only if no process is writing them.
    """

    frames: int = 0
    unfinished: bool = False
    damage: str | None = None
    evidence: bytes = b""


def log_path(path: Path) -> Path:
    """Return the path of the log that belongs to the state file `path`."""
    return Path(f"{path}-wal")


def judge(path: Path) -> Log:
    """Return the state of the log beside the state file `path`, which other processes may be writing.

    Raises:
        OSError: The log cannot be read.
    """
    found = examine(log_path(path))
    for _ in range(_ATTEMPTS):
        if found.damage is None:
            return found
        again = examine(log_path(path))
        if again.damage is not None and again.evidence == found.evidence:
            return again
        found = again
    return Log(found.frames, found.unfinished)  # it keeps changing, so a live process is writing it


def examine(log: Path) -> Log:
    """Return the state of a log, read once in bounded pieces; a missing log is empty."""
    try:
        with log.open("rb") as file:
            return _examine(file)
    except FileNotFoundError:
        return Log()


def _examine(file: BinaryIO) -> Log:
    header = file.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES:
        return Log()
    size = page_size(header)
    if size is None:
        return _without_header(file, header)
    order = ">u4" if int.from_bytes(header[:4], "big") & 1 else "<u4"
    return _Scan(header, size, order).run(file)


def page_size(header: bytes) -> int | None:
    """Return the page size in a log's header of 32 bytes, None when the header is damaged."""
    magic, version, size = (int.from_bytes(header[at : at + 4], "big") for at in (0, 4, 8))
    if magic & ~1 != _MAGIC or version != _VERSION or size not in PAGE_SIZES:
        return None
    words = np.frombuffer(header[:24], ">u4" if magic & 1 else "<u4").astype(np.uint32)
    first, second = _weights(3)[:2]
    found = (int((words * first).sum(dtype=np.uint32)), int((words * second).sum(dtype=np.uint32)))
    return size if found == tuple(np.frombuffer(header[24:32], ">u4").tolist()) else None


def _without_header(file: BinaryIO, header: bytes) -> Log:
    """Return the state of a log whose header cannot be read: SQLite would ignore all of it."""
    whole_frame = FRAME_HEADER_BYTES + schema.PAGE_SIZE
    start = file.read(whole_frame)
    if len(start) < whole_frame:
        return Log()
    empty = not any(header) and not any(start)
    while empty and (more := file.read(_CHUNK_BYTES)):
        empty = not any(more)
    damage = (
        None if empty else "the header of its log (-wal) is damaged, so SQLite would ignore the whole log"
    )
    return Log(damage=damage, evidence=header + start)


class _Scan:
    """One pass over the frames of a log whose header is intact."""

    def __init__(self, header: bytes, size: int, order: str) -> None:
        self.header, self.size, self.order = header, size, order
        self.frame_bytes = FRAME_HEADER_BYTES + size
        self.salt = np.frombuffer(header[16:24], ">u4").astype(np.uint32)
        self.checksum = np.frombuffer(header[24:32], ">u4").astype(np.uint32)  # of the frame before
        self.intact = self.committed = 0  # intact frames from the start, and those up to the last commit
        self.broken: bytes | None = None  # the first frame that does not continue the one before
        self.present = False  # whether that frame or a later one is of this generation
        self.unwritten = False  # whether a frame is missing between it and the next commit
        self.one_bit = False
        self.commits_after = 0
        self.ends_in_commit = False  # whether the last intact frame is a commit

    def run(self, file: BinaryIO) -> Log:
        count = max(1, _CHUNK_BYTES // self.frame_bytes)
        while len(data := file.read(count * self.frame_bytes)) >= self.frame_bytes:
            self._take(data[: len(data) // self.frame_bytes * self.frame_bytes])
        unfinished = self.committed < self.intact or self.present
        evidence = self.header + (self.broken or b"")
        return Log(self.committed, unfinished, self._damage(), evidence)

    def _take(self, data: bytes) -> None:
        frames = np.frombuffer(data, np.uint8).reshape(-1, self.frame_bytes)
        heads = np.ascontiguousarray(frames[:, :FRAME_HEADER_BYTES]).view(">u4").astype(np.uint32)  # [F, 6]
        same = (heads[:, 2:4] == self.salt).all(axis=1)
        if self.broken is None or same.any():
            self._judge(data, frames, heads, same)
        self.checksum = heads[-1, 4:6]

    def _judge(self, data: bytes, frames: NDArray[np.uint8], heads: Words, same: Flags) -> None:
        off = heads[:, 4:6] - self._expected(frames, heads)  # [F, 2], zero where the checksum is right
        linked = same & (off == 0).all(axis=1) & (heads[:, 0] > 0)
        commit = linked & (heads[:, 1] > 0)
        start = 0
        if self.broken is None:
            start = len(linked) if linked.all() else int(np.argmin(linked))
            whole = np.flatnonzero(commit[:start])
            self.committed = self.intact + int(whole[-1]) + 1 if len(whole) else self.committed
            self.intact += start
            if start == len(linked):
                return
            self.broken = data[start * self.frame_bytes : (start + 1) * self.frame_bytes]
            self.one_bit = self._is_one_bit_off(frames[start], heads[start], off[start])
        self._after(heads[start:], same[start:], linked[start:], commit[start:])

    def _expected(self, frames: NDArray[np.uint8], heads: Words) -> Words:
        """Return the expected checksum of each frame, from the one stored before it: uint32 [F, 2]."""
        summed = np.ascontiguousarray(np.concatenate([frames[:, :8], frames[:, FRAME_HEADER_BYTES:]], axis=1))
        words = summed.view(self.order).astype(np.uint32)
        first, second, power = _weights(words.shape[1] // 2)
        before = np.concatenate([self.checksum[np.newaxis], heads[:-1, 4:6]])
        own: Words = np.stack([words @ first, words @ second], axis=1) + before @ power
        return own

    def _after(self, heads: Words, same: Flags, linked: Flags, commit: Flags) -> None:
        """Count the frames from the first broken one on."""
        self.present |= bool(same.any())
        places = np.flatnonzero(commit)
        until = int(places[0]) if len(places) else len(commit)
        if not self.commits_after:  # both salts differ: no frame of this generation was written there
            self.unwritten |= bool((heads[:until, 2:4] != self.salt).all(axis=1).any())
        self.commits_after += len(places)
        if linked.any():
            self.ends_in_commit = bool(commit[np.flatnonzero(linked)[-1]])

    def _is_one_bit_off(self, frame: NDArray[np.uint8], head: Words, off: Words) -> bool:
        """Return whether one flipped bit explains the wrong checksum; half-written frames differ in many bits."""
        salts = np.bitwise_xor(head[2:4], self.salt)
        flipped = sum(int(word).bit_count() for word in salts)
        if flipped:
            return flipped == 1 and not off.any()
        bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
        first, second, _ = _weights((self.size + 8) // 8)
        effect = np.stack([np.outer(first, bits).ravel(), np.outer(second, bits).ravel()])  # [2, words * 32]
        own = np.stack([np.append(bits, bits * 0), np.append(bits * 0, bits)])  # in the checksum itself
        candidates = np.concatenate([effect, own], axis=1)
        hit = (candidates == off[:, np.newaxis]).all(axis=0) | ((0 - candidates) == off[:, np.newaxis]).all(
            axis=0
        )
        return bool(hit.any())

    def _damage(self) -> str | None:
        place = self.intact + 1
        if self.one_bit:
            return f"one bit of frame {place} of its log (-wal) is wrong"
        # A power cut may leave a gap in the one commit that was being written; it was never acknowledged.
        torn = self.unwritten and self.commits_after == 1 and self.ends_in_commit
        if self.commits_after and not torn:
            return f"frame {place} of its log (-wal) is broken, and intact changes follow it"
        return None


@lru_cache(maxsize=4)
def _weights(pairs: int) -> tuple[Words, Words, Words]:
    """Return what each of `2 * pairs` words adds to the two sums, and the matrix for the sums before them.

    One step is s1 += x + s2; s2 += y + s1, that is (s1, s2) <- A (s1, s2) + (x, x + y) with A = [[1, 1], [1, 2]].
    """
    first, second = np.zeros(2 * pairs, np.uint32), np.zeros(2 * pairs, np.uint32)
    a, b, c = 1, 0, 1  # A^0 = [[a, b], [b, c]]
    for pair in reversed(range(pairs)):
        first[2 * pair : 2 * pair + 2] = (a + b) & 0xFFFFFFFF, b
        second[2 * pair : 2 * pair + 2] = (b + c) & 0xFFFFFFFF, c
        a, b, c = (a + b) & 0xFFFFFFFF, (b + c) & 0xFFFFFFFF, (b + 2 * c) & 0xFFFFFFFF
    return first, second, np.array([[a, b], [b, c]], np.uint32)
