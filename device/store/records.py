"""The records of a state file: samples, journal entries, versions, and their checksums."""

from __future__ import annotations

import json
import os
import struct
import textwrap
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..addresses import redact
from ..errors import StateError
from ..negatives import BACKGROUND, describe, negative_of, split_label

CODE_TYPE = np.dtype("<i2")  # int16 codes of device/model/codes.py, little-endian on every board
MAX_DIMENSIONS = 65_536
MAX_ID = 2**63 - 1  # SQLite's largest
MAX_PICTURE_BYTES = 1 << 20  # a thumbnail of 96 pixels takes a few thousand
UUID_BYTES = 16
MAX_SOURCE_CHARACTERS = 4096  # the longest path Linux knows
EXCLUDED = "\x1f"
"""First character of the stored label of a sample that is kept and does not teach; no label can contain it."""

_LATEST = 253_402_300_800.0  # the year 10000, beyond Python's calendar

Value = int | float | str | bytes | None


@dataclass(frozen=True)
class ModelIdentity:
    """The model file that a state belongs to: other models cannot use its embeddings.

    Attributes:
        sha256: Checksum of the model file.
        dimensions: Length D of an embedding.
        embedding_map: Name of the map in `device/model/codes.py`.
        backbone: Name of the backbone, for messages.
        name: File name of the model, for messages.
        views: Views of a frame that every embedding of the state was made from, see `device.views`.
        backbone_digest: Returns a checksum of all that decides an embedding, or "" where it is unknown. Models with the same
            one can use one state; they differ in what the host taught.
    """

    sha256: str
    dimensions: int
    embedding_map: str = "signed_sqrt_l2"
    backbone: str = ""
    name: str = ""
    views: str = "one"
    backbone_digest: Callable[[], str] = field(default=str, compare=False, repr=False)

    def shares_states_with(self, other: ModelIdentity) -> bool:
        """Return whether the embeddings of both models are the same."""
        if self.sha256 == other.sha256:
            return True
        mine = self.backbone_digest()
        return bool(mine) and mine == other.backbone_digest()


@dataclass(frozen=True)
class NewSample:
    """A sample about to be written.

    Attributes:
        label: The label as it is stored, see `device.negatives.stored_label`.
        code: int16 [D].
        time: Seconds since the epoch by the wall clock; it may jump, so nothing relies on its order.
        source: Camera or file of the image; the secrets of an address are replaced by ``***``.
        burst: Near-duplicates taken within seconds share a number (`new_burst`).
        thumbnail: JPEG bytes.
        uuid: 16 bytes that name the sample on every device.
    """

    label: str
    code: NDArray[np.int16]
    time: float
    source: str = ""
    burst: int = 0
    thumbnail: bytes | None = None
    uuid: bytes = field(default_factory=lambda: os.urandom(16))

    def __post_init__(self) -> None:
        if "://" in self.source:  # a path stays, because a photo taught before is found by it
            object.__setattr__(self, "source", redact(self.source))


@dataclass(frozen=True)
class Sample:
    """One sample in the state file.

    Attributes:
        id: Its number.
        label: What it shows; None for a negative and for background.
        time: Seconds since the epoch.
        source: Camera or file of the image.
        burst: Samples taken within seconds share a number.
        thumbnail: A JPEG, or None.
        excluded: Whether it is kept and does not teach.
        not_label: The label that a negative denies; None for any other sample.

    Example:
        >>> Sample(id=7, label="mug", time=1.7e9, source="0", burst=3).label
        'mug'
        >>> Sample(id=8, label=None, time=1.7e9, source="0", burst=4, not_label="mug").meaning
        'not mug'
    """

    id: int
    label: str | None
    time: float
    source: str
    burst: int
    thumbnail: bytes | None = field(default=None, repr=False)
    excluded: bool = False
    not_label: str | None = None

    def __repr__(self) -> str:
        more = f", not_label={self.not_label!r}" if self.not_label is not None else ""
        more += ", excluded=True" if self.excluded else ""
        return (
            f"Sample(id={self.id}, label={self.label!r}, time={self.time}, source={self.source!r},"
            f" burst={self.burst}{more})"
        )

    @classmethod
    def from_stored(
        cls, id: int, label: str, time: float, source: str, burst: int, thumbnail: bytes | None = None
    ) -> Sample:
        """Return a sample from its label as it is stored."""
        shown, denied = split_label(plain_label(label))
        return cls(id, shown, time, source, burst, thumbnail, is_excluded(label), denied)

    @property
    def stored_label(self) -> str:
        """Its label as it is stored, without the mark of an excluded sample."""
        if self.label is not None:
            return self.label
        return BACKGROUND if self.not_label is None else negative_of(self.not_label)

    @property
    def background(self) -> bool:
        """Whether it belongs to no label."""
        return self.label is None and self.not_label is None

    @property
    def meaning(self) -> str:
        """What it teaches, for people: ``mug``, ``not mug`` or ``background``."""
        return describe(self.label, self.not_label)


@dataclass(frozen=True)
class SampleRun:
    """Samples `first`..`last` went from label `old` to `new`; None means not taught or forgotten.

    The label of an excluded sample starts with `EXCLUDED`.
    """

    first: int
    last: int
    old: str | None
    new: str | None

    def reversed(self) -> SampleRun:
        """Return the opposite change."""
        return SampleRun(self.first, self.last, self.new, self.old)


@dataclass(frozen=True)
class HostChange:
    """The host's label `label` is now named `new` instead of `old`; None means deleted."""

    label: str
    old: str | None
    new: str | None

    def __repr__(self) -> str:
        return f"<HostChange of {self.label[:50]!r}: {(self.old or '')[:50]!r} -> {(self.new or '')[:50]!r}>"

    def reversed(self) -> HostChange:
        """Return the opposite change."""
        return HostChange(self.label, self.new, self.old)


Change = SampleRun | HostChange


@dataclass(frozen=True)
class Entry:
    """One line of the journal: everything one command changed.

    Attributes:
        seq: Position; entries are numbered 1, 2, 3 without gaps.
        time: Wall clock, for display only.
        action: learn, forget, relabel, exclude, include, rename, delete, merge, undo, rollback, purge, recover or
            reembed.
        changes: The changes, in order.
        undoes: The entry that this one undid, or None.
    """

    seq: int
    time: float
    action: str
    changes: tuple[Change, ...]
    undoes: int | None = None

    def __repr__(self) -> str:
        undoes = "" if self.undoes is None else f", undoes {self.undoes}"
        return f"<Entry {self.seq}: {self.action}, {len(self.changes)} changes{undoes}>"

    def samples(self) -> int:
        """Return the number of samples that this entry changed."""
        return sum(run.last - run.first + 1 for run in self.changes if isinstance(run, SampleRun))


@dataclass(frozen=True)
class Version:
    """A named position of the journal to which `rollback` returns, with the figures of the head at that position."""

    version: int
    seq: int
    time: float
    note: str
    metrics: dict[str, Any]

    def __repr__(self) -> str:
        return f"<Version {self.version} at entry {self.seq}: {textwrap.shorten(self.note, 60) or 'no note'}>"


def is_excluded(label: str | None) -> bool:
    """Return whether a stored label is that of a sample that does not teach."""
    return label is not None and label.startswith(EXCLUDED)


def plain_label(label: str) -> str:
    """Return a stored label as people know it, without the mark of an excluded sample."""
    return label.removeprefix(EXCLUDED)


def is_plausible_time(time: float) -> bool:
    """Return whether seconds since the epoch are a date that can be shown: finite, and of the years 1 to 9999."""
    return -62_135_596_800.0 < time < _LATEST


def checksum(*values: Value) -> int:
    """Return the CRC-32 over the values of a row, with their types and lengths."""
    crc = 0
    for value in values:
        crc = zlib.crc32(_packed(value), crc)
    return crc


def _packed(value: Value) -> bytes:
    match value:
        case None:
            return b"n"
        case int():
            return b"i%d;" % value
        case float():
            return b"f" + struct.pack("<d", value + 0.0)  # SQLite returns -0.0 as 0.0
        case str():
            text = value.encode()
            return b"s%d;" % len(text) + text
        case _:
            return b"b%d;" % len(value) + value


def changes_to_json(changes: Iterable[Change]) -> str:
    """Return changes as compact JSON, one short list each."""
    rows = [
        ["s", change.first, change.last, change.old, change.new]
        if isinstance(change, SampleRun)
        else ["l", change.label, change.old, change.new]
        for change in changes
    ]
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":"))


def changes_from_json(text: str) -> tuple[Change, ...]:
    """Read what `changes_to_json` wrote.

    Raises:
        StateError: The text is no list of changes.
    """
    try:
        return tuple(_change(row) for row in json.loads(text))
    except (ValueError, TypeError, KeyError, IndexError, RecursionError, OverflowError) as error:
        raise StateError(f"a journal entry of the state file cannot be read: {str(error)[:200]}") from error


def _change(row: Any) -> Change:
    if not isinstance(row, list):
        raise ValueError("a change is no list")
    kind, *rest = row
    if kind == "l":
        label, old, new = rest
        if not isinstance(label, str):
            raise TypeError("a label is no text")
        return HostChange(label, _label(old), _label(new))
    first, last, old, new = rest
    if kind != "s" or type(first) is not int or type(last) is not int or not 0 < first <= last <= MAX_ID:
        raise ValueError("a change is neither of samples nor of a label")
    return SampleRun(first, last, _label(old), _label(new))


def _label(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise TypeError("a label is no text")


def runs(changes: Iterable[tuple[int, str | None, str | None]]) -> tuple[SampleRun, ...]:
    """Return consecutive (id, old, new) joined into runs, so that a journal entry stays small.

    Example:
        >>> runs([(1, None, "mug"), (2, None, "mug"), (5, None, "mug")])
        (SampleRun(first=1, last=2, old=None, new='mug'), SampleRun(first=5, last=5, old=None, new='mug'))
    """
    joined: list[SampleRun] = []
    for number, old, new in changes:
        if joined and (joined[-1].last + 1, joined[-1].old, joined[-1].new) == (number, old, new):
            joined[-1] = SampleRun(joined[-1].first, number, old, new)
        else:
            joined.append(SampleRun(number, number, old, new))
    return tuple(joined)


def new_burst() -> int:
    """Return the number of a new burst: random, so that two devices do not use the same."""
    return int.from_bytes(os.urandom(6), "big") or 1  # 48 bits: exact in JavaScript too
