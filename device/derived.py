"""The head that follows from the model's memory and the journal, kept up with both."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .arrays import ArraysError, pack_arrays, unpack_arrays
from .errors import HeadError, SampleNotFoundError, StateError
from .heads import Head, create_head, head_class
from .store import Entry, LabChange, Store
from .taught import Taught, TaughtStatistics, pack_taught

# Learning again from this many samples takes a second or two on a Pi; beyond, the derived head is kept.
KEEP_AFTER_SAMPLES = 5_000
Memory = Taught | TaughtStatistics | None


class DerivedHead:
    """A head that is always a function of (model memory, journal), never a thing of its own.

    Whatever changed in the state file, by this process or another, is the journal after `position`;
    `catch_up` applies it. A head that cannot be brought up to date is built anew.

    Args:
        store: The state.
        memory: What the host taught, from the model file.
        name: Kind of head.
        options: What `create_head` takes for it.
    """

    def __init__(self, store: Store, memory: Memory, name: str, options: Mapping[str, Any]) -> None:
        self._store = store
        self._memory = memory
        self._options = dict(options)
        self.name = name
        self._unkept = 0  # samples changed since the head was last kept
        self._seen = -1
        self.head, self.position = self._restored() or self._built()
        self.catch_up()

    def stale(self) -> bool:
        """Whether another process wrote since the last look; costs microseconds."""
        seen = int(self._store.database.value("PRAGMA data_version"))
        changed, self._seen = seen != self._seen, seen
        return changed

    def catch_up(self) -> None:
        """Apply the journal after `position` to the head."""
        entries = self._store.entries(after=self.position)
        if not entries:
            return
        target = entries[-1].seq
        self._unkept += sum(entry.samples() for entry in entries)
        if not self.head.order_free or any(_touches_memory(entry) for entry in entries):
            self.rebuild()
            return
        try:
            self._apply(entries)
            self.position = target
        except (SampleNotFoundError, HeadError):  # purged by another process meanwhile
            self.rebuild()
        except BaseException:
            self.position = -1  # half applied: the next look builds it anew
            raise

    def rebuild(self) -> None:
        """Build the head anew from the memory and every taught sample."""
        self.head, self.position = self._built()

    def keep(self) -> None:
        """Keep the head in the state file when learning it again would take long."""
        if self._store.read_only or not self.head.order_free or self._unkept < KEEP_AFTER_SAMPLES:
            return
        state = pack_arrays(self.head.state(), compress=False)
        self._store.keep_head(self._key(), self.position, self.head.digest(), state)
        self._unkept = 0

    def _apply(self, entries: Iterable[Entry]) -> None:
        for (old, new), numbers in _net(entries).items():
            for start in range(0, len(numbers), 500):
                chunk = numbers[start : start + 500]
                codes = self._store.codes(chunk)
                if old is not None:
                    self.head.forget(codes, [old] * len(chunk))
                if new is not None:
                    self.head.learn_many(codes, [new] * len(chunk))

    def _built(self) -> tuple[Head, int]:
        head = create_head(self.name, self._store.identity.dimensions, **self._options)
        with self._store.database.reading():  # position and samples of one moment
            position = self._store.position()
            learn_memory(head, self._memory, self._store.lab())
            for _, labels, codes in self._store.taught_chunks():
                head.learn_many(codes, labels)
                self._unkept += len(labels)
        return head, position

    def _restored(self) -> tuple[Head, int] | None:
        if not self._store.kept_head_position(self._key()):
            return None
        kept = self._store.kept_head(self._key())
        if kept is None:
            return None
        position, digest, state = kept
        try:
            head = head_class(self.name).restore(self._store.identity.dimensions, unpack_arrays(state))
        except (ArraysError, HeadError, StateError):
            return None  # derived data: damaged means built anew
        if head.digest() != digest or position > self._store.position():
            return None
        return head, position

    def _key(self) -> str:
        if not hasattr(self, "_key_text"):
            memory = b"" if self._memory is None else _memory_bytes(self._memory)
            self._key_text = (
                f"{self.name} {sorted(self._options.items())} {hashlib.sha256(memory).hexdigest()[:16]}"
            )
        return self._key_text


def learn_memory(head: Head, memory: Memory, lab: Mapping[str, str | None]) -> None:
    """Teach a head what the host taught, under the names its labels have now.

    Args:
        head: An empty head.
        memory: From the model file.
        lab: Label of the host -> its name now, or None when it was deleted; unchanged ones are left out.
    """
    if isinstance(memory, Taught):
        names = [lab.get(label, label) for label in memory.labels]
        kept = [place for place, name in enumerate(names) if name is not None]
        head.learn_many(memory.codes[kept], [name for name in names if name is not None])
    elif memory is not None:
        _learn_statistics(head, memory, lab)


def _learn_statistics(head: Head, memory: TaughtStatistics, lab: Mapping[str, str | None]) -> None:
    learn = getattr(head, "learn_statistics", None)
    if learn is None:
        raise HeadError(
            f"the model file holds what the host taught as sums, which the {head.name} head cannot learn from;"
            " use --head exact, or convert the model with fewer photos or --no-memory"
        )
    # two labels that became one are summed; a deleted one never gets here, see Learner.delete_label
    learn([lab.get(label) or label for label in memory.labels], memory.counts, memory.sums, memory.gram)


def _touches_memory(entry: Entry) -> bool:
    return any(isinstance(change, LabChange) for change in entry.changes)


def _net(entries: Iterable[Entry]) -> dict[tuple[str | None, str | None], list[int]]:
    """Sum entries up to (label before, label now) -> ids; what came and went again is left out."""
    moved: dict[int, tuple[str | None, str | None]] = {}
    for entry in entries:
        for run in entry.changes:
            if isinstance(run, LabChange):
                continue
            for number in range(run.first, run.last + 1):
                before, _ = moved.get(number, (run.old, None))
                moved[number] = (before, run.new)
    groups: dict[tuple[str | None, str | None], list[int]] = {}
    for number, change in moved.items():
        if change[0] != change[1]:
            groups.setdefault(change, []).append(number)
    return groups


def _memory_bytes(memory: Taught | TaughtStatistics) -> bytes:
    if isinstance(memory, Taught):
        return np.ascontiguousarray(memory.codes).tobytes() + "\n".join(memory.labels).encode()
    return pack_taught(memory)
