"""Collecting the intact rows of a damaged state file, and repairing impossible values."""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from ..errors import LabelError, PhotoError, StateError
from ..labels import MAX_LENGTH, check_label
from ..negatives import BACKGROUND, is_hidden, negative_of
from . import rows
from .faults import escaped, without_controls
from .pages import PageRow, Pages, Place
from .records import (
    CODE_TYPE,
    EXCLUDED,
    MAX_DIMENSIONS,
    MAX_PICTURE_BYTES,
    MAX_SOURCE_CHARACTERS,
    UUID_BYTES,
    Change,
    HostChange,
    ModelIdentity,
    SampleRun,
    Value,
    changes_from_json,
    checksum,
    is_excluded,
    is_plausible_time,
    plain_label,
)
from .store import identity_from_json

# Rows of samples are never deleted and take more than this in the file, so no sample has a larger id.
_LEAST_BYTES_PER_SAMPLE = 40
# A sample is seldom relabeled; a limit for the changes of a hostile journal.
_CHANGES_PER_SAMPLE = 100


@dataclass(frozen=True)
class Found:
    """An intact row of a sample."""

    uuid: bytes
    label: str | None
    time: float
    source: str
    burst: int
    seq: int


@dataclass
class Salvage:
    """Intact rows of a damaged file, the newest of each.

    Embeddings and pictures stay in the file until `code` and `picture` read them, so that a large file needs little
    RAM.

    Attributes:
        pages: The pages of the file and its log.
        identities: The models that the file names.
        samples: Rows of samples by id.
        codes: Place of each embedding by the sample's id.
        thumbnails: Place of each picture by the sample's id.
        journal: Changes of each journal entry by its position.
        repaired: What was left out or changed -> how often.
    """

    pages: Pages
    identities: list[ModelIdentity] = field(default_factory=list)
    samples: dict[int, Found] = field(default_factory=dict)
    codes: dict[int, Place] = field(default_factory=dict)
    thumbnails: dict[int, Place] = field(default_factory=dict)
    journal: dict[int, tuple[Change, ...]] = field(default_factory=dict)
    repaired: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Read every page once."""
        self.most = self.pages.bytes // _LEAST_BYTES_PER_SAMPLE
        self._names: dict[str, str] = {}
        for row in self.pages.rows():
            self._take(row)
        self._names_apart()

    def code(self, number: int) -> bytes:
        """Return the stored embedding of a sample."""
        return _blob(self.pages.row_at(self.codes[number]))

    def picture(self, number: int) -> bytes | None:
        """Return the thumbnail of a sample, None when there is none or it is no picture."""
        from ..images import read_photo

        if number not in self.thumbnails:
            return None
        jpeg = _blob(self.pages.row_at(self.thumbnails[number]))
        try:
            read_photo(jpeg)
        except PhotoError:
            self.repaired["pictures that cannot be decoded were left out"] += 1
            return None
        return jpeg

    def whole(self, dimensions: int) -> list[int]:
        """Return the ids of the samples that have a row and an embedding of `dimensions` numbers."""
        size = dimensions * CODE_TYPE.itemsize
        return [
            number
            for number in sorted(self.samples)
            if number in self.codes and len(self.code(number)) == size
        ]

    def labels(self, whole: list[int]) -> tuple[dict[int, str | None], dict[str, str | None]]:
        """Return the label of each sample in `whole`, and the present name of each label of the host."""
        labels = {number: self.samples[number].label for number in whole}
        host: dict[str, str | None] = {}
        budget = _CHANGES_PER_SAMPLE * (len(whole) + 1)
        for seq in sorted(self.journal):
            for change in self.journal[seq]:
                if isinstance(change, HostChange):
                    host[change.label] = self._label(change.new)
                    continue
                # an intact entry that is newer than the newest intact row of a sample decides
                inside = whole[bisect_left(whole, change.first) : bisect_right(whole, change.last)]
                budget -= len(inside)
                if budget < 0:
                    self.repaired["changes of a journal that has far too many were left out"] += 1
                    return labels, _renamed(host)
                for number in inside:
                    if seq > self.samples[number].seq:
                        labels[number] = self._label(change.new)
        return labels, _renamed(host)

    def ids(self) -> set[int]:
        """Return every id that a row or an entry names."""
        runs = [
            change for changes in self.journal.values() for change in changes if isinstance(change, SampleRun)
        ]
        named = set(self.samples) | set(self.codes)
        reached = max((run.last for run in runs), default=0)
        return named | set(range(1, reached + 1)) if reached else named

    def purged(self) -> set[int]:
        """Return the ids of forgotten samples without an embedding: they were purged."""
        return {
            number for number, row in self.samples.items() if row.label is None and number not in self.codes
        }

    def _take(self, row: PageRow) -> None:
        """Keep a row if it is intact and belongs to one of the tables; rows come from older to newer."""
        values = row.values
        if len(values) == 2 and isinstance(values[1], str) and values[0] == "model":
            self._take_identity(values[1])
        elif len(values) == 8:
            self._take_sample(row.number, values)
        elif len(values) == 6:
            self._take_entry(row.number, values)
        elif len(values) == 3 and isinstance(values[2], bytes):
            self._take_blob(row, values[1], values[2])

    def _take_identity(self, text: str) -> None:
        try:
            self.identities.append(identity_from_json(text))
        except StateError:
            return

    def _take_blob(self, row: PageRow, crc: Value, blob: bytes) -> None:
        if not 0 < row.number <= self.most:
            return
        if len(blob) <= MAX_DIMENSIONS * CODE_TYPE.itemsize and rows.code_checksum(row.number, blob) == crc:
            self.codes[row.number] = row.place
        elif len(blob) <= MAX_PICTURE_BYTES and rows.thumbnail_checksum(row.number, blob) == crc:
            self.thumbnails[row.number] = row.place

    def _take_sample(self, number: int, values: tuple[Value, ...]) -> None:
        _, uuid, label, time, source, burst, seq, crc = values  # the id itself is the row's number
        if not isinstance(time, int | float) or not isinstance(seq, int):
            return
        time = float(time)  # SQLite stores 2.0 as the integer 2
        if rows.sample_checksum(number, uuid, label, time, source, burst, seq) != crc:
            return
        before = self.samples.get(number)
        if before is not None and before.seq > seq:
            return  # a stale page may contain an older version of the row
        if not 0 < number <= self.most:
            self.repaired["samples with an impossible id were left out"] += 1
            return
        if not isinstance(label, str | None) or not isinstance(source, str) or not isinstance(burst, int):
            self.repaired["samples with values of other types were left out"] += 1
            return
        self.samples[number] = Found(
            self._uuid(uuid), self._label(label), self._time(time), self._source(source), burst, seq
        )

    def _uuid(self, uuid: Value) -> bytes:
        if isinstance(uuid, bytes) and len(uuid) == UUID_BYTES:
            return uuid
        self.repaired["samples got a new name for merging"] += 1
        return os.urandom(UUID_BYTES)

    def _time(self, time: float) -> float:
        if is_plausible_time(time):
            return time
        self.repaired["impossible times were set to 1970"] += 1
        return 0.0

    def _source(self, source: str) -> str:
        written = without_controls(source[:MAX_SOURCE_CHARACTERS])[:MAX_SOURCE_CHARACTERS]
        if written != source:
            self.repaired["sources with control characters, or far too long, were rewritten"] += 1
        return written

    def _label(self, label: str | None) -> str | None:
        """Return a stored label, or its replacement when it is none."""
        if label is None:
            return None
        if is_excluded(label):
            return f"{EXCLUDED}{self._meaning(plain_label(label))}"
        return self._meaning(label)

    def _meaning(self, label: str) -> str:
        """Return the label, the negative or the background that a text means, or its replacement."""
        if label == BACKGROUND:
            return label
        return negative_of(self._name(label[1:])) if is_hidden(label) else self._name(label)

    def _name(self, label: str) -> str:
        """Return `label`, or its replacement when it is no label."""
        known = self._names.get(label) if len(label) <= MAX_LENGTH else None
        if known is None:
            known = _nearest_label(label)
            if len(label) <= MAX_LENGTH:
                self._names[label] = known
        if known != label:
            self.repaired[f"the text {escaped(repr(label), 40)} is no label and was renamed {known!r}"] += 1
        return known

    def _take_entry(self, seq: int, values: tuple[Value, ...]) -> None:
        _, time, action, undoes, changes, crc = values
        if not isinstance(time, int | float) or not isinstance(changes, str) or seq in self.journal:
            return
        if checksum("journal", seq, float(time), action, undoes, changes) != crc:
            return
        try:
            read = changes_from_json(changes)
        except StateError:
            self.repaired["journal entries that cannot be read were left out"] += 1
            return
        if any(isinstance(change, SampleRun) and change.last > self.most for change in read):
            self.repaired["journal entries about impossible ids were left out"] += 1
            return
        self.journal[seq] = read

    def _names_apart(self) -> None:
        """Set new names for samples that share one, because a name must be unique."""
        seen: set[bytes] = set()
        for number, row in self.samples.items():
            if row.uuid in seen:
                self.samples[number] = replace(row, uuid=self._uuid(None))
            seen.add(self.samples[number].uuid)


def _nearest_label(label: str) -> str:
    for text in (label, escaped(label, MAX_LENGTH - 3), escaped(label, MAX_LENGTH - 3)[:MAX_LENGTH]):
        try:
            return check_label(text, stored=True)
        except LabelError:
            continue
    return "no label"


def _renamed(host: dict[str, str | None]) -> dict[str, str | None]:
    return {label: name for label, name in host.items() if name != label}


def _blob(row: PageRow) -> bytes:
    value = row.values[2]
    return value if isinstance(value, bytes) else b""


def runs_of(labels: dict[int, str | None]) -> Iterator[tuple[int, str | None, str | None]]:
    """Yield (id, None, label) of the taught samples, in order."""
    return ((number, None, label) for number, label in sorted(labels.items()) if label is not None)
