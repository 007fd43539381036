"""The derived head: computed from the model's memory and the journal, and kept up to date with both."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from ..arrays import pack_arrays, unpack_arrays
from ..errors import ArraysError, HeadError, SampleNotFoundError, StateError
from ..heads import Head
from ..heads.memory import learn_memory
from ..heads.rejection import Rejection
from ..model.codes import Codes
from ..model.hidden import HiddenSamples
from ..model.memory import Memory, Samples
from ..model.modelfile import ModelFile
from ..model.packing import pack_memory
from ..negatives import is_hidden
from ..store import Entry, Store
from .changes import Labeled, net_changes, teaches_hidden, touches_everything
from .shared import learn_shared, load_shared
from .signatures import HeadMaker

# Learning this many samples again takes a second or two on a Pi; from there on the derived head is stored.
KEEP_AFTER_SAMPLES = 5_000
_CHUNK = 500


class DerivedHead:
    """A head that is always a function of the model's memory and the journal.

    Every change of the state file, by this process or another, is in the journal after `position`;
    `catch_up` applies it. A head that cannot be brought up to date is built again from all samples.

    Args:
        store: The state.
        model: The model file, with what the host taught.
        maker: Makes heads of one kind.
    """

    def __init__(self, store: Store, model: ModelFile, maker: HeadMaker) -> None:
        self._store = store
        self._memory, self._negatives = model.memory, model.negatives
        self.maker = maker
        self._unkept = 0  # samples changed since the head was last stored
        self._seen = (-1, -1)
        self.head, self.position = self._restored() or self._built()
        self.catch_up()
        if self.head.rejection is None and self._has_hidden():  # the head was restored
            store.database.read(self._attach)

    def stale(self) -> bool:
        """Return whether another process wrote since the last call; takes microseconds."""
        seen = self._store.database.change_mark()
        changed, self._seen = seen != self._seen, seen
        return changed or self.position < 0

    def catch_up(self) -> None:
        """Apply the journal after `position` to the head."""
        entries = self._store.entries(after=max(0, self.position))
        if self.position < 0 or any(touches_everything(entry) for entry in entries):
            self.rebuild()
            return
        if not entries:
            return
        self._unkept += sum(entry.samples() for entry in entries)
        self.position, target = -1, entries[-1].seq  # until this is done, the next call builds the head again
        try:
            self._apply(entries)
            self.position = target
        except (SampleNotFoundError, HeadError):  # another process purged samples meanwhile
            self.rebuild()
            return
        if self.head.rejection is None and any(teaches_hidden(entry) for entry in entries):
            self._store.database.read(self._attach)

    def rebuild(self) -> None:
        """Build the head again from the memory and every taught sample."""
        self.head, self.position = self._built()

    def keep(self) -> None:
        """Store the head in the state file if learning it again would take long, or depends on the order."""
        enough = KEEP_AFTER_SAMPLES if self.head.order_free else 1
        if self._store.read_only or self._unkept < enough or self.position < 0:
            return
        state = pack_arrays(self.head.state(), compress=False)
        self._store.keep_head(self.key(), self.position, self.head.digest(), state)
        self._unkept = 0

    def _apply(self, entries: Iterable[Entry]) -> None:
        gone, come = net_changes(entries)
        rejection = self.head.rejection
        for numbers, labels in _chunks(gone):
            codes = self._store.codes(numbers)
            self.head.forget(*_labeled(codes, labels))
            if rejection is not None:
                rejection.forget(codes, labels)
        for numbers, labels in _chunks(come):
            codes = self._store.codes(numbers)
            self.head.learn_many(*_labeled(codes, labels))
            if rejection is not None:
                rejection.learn(codes, labels)
        if rejection is not None and not rejection.hidden:
            self.head.rejection = None

    def _attach(self) -> None:
        """Bring the head up to date and build its rejection; the caller reads one consistent state."""
        self.catch_up()
        if self.head.rejection is None and self._has_hidden():
            self.head.rejection = self._rejection(self.head)

    def _host_hidden(self) -> HiddenSamples | None:
        """Return the negatives and background of the host, under the present names of its labels."""
        return None if self._negatives is None else self._negatives.renamed(self._store.host_labels())

    def _has_hidden(self) -> bool:
        host = self._host_hidden()
        return bool(host and host.stored) or bool(self._store.hidden_counts())

    def _rejection(self, head: Head) -> Rejection:
        """Return the negatives and background of the state, beside the samples of the labels that `head` knows."""
        rejection = Rejection.beside(head)
        if rejection is None:
            rejection = Rejection(head.dimensions)
            if self._memory is not None:
                learn_memory(rejection.classes, self._memory, self._store.host_labels())
            learn_shared(rejection.classes, load_shared(self._store))
            for _, labels, codes in self._store.taught_chunks():
                rejection.learn(codes, labels)
        host = self._host_hidden()
        if host is not None and host.stored:
            rejection.learn(host.codes, host.stored)
        for _, labels, codes in self._store.taught_chunks(hidden=True):
            rejection.learn(codes, labels)
        return rejection

    def _built(self) -> tuple[Head, int]:
        return self._store.database.read(self._build)  # position and samples of one consistent state

    def own_head(self) -> Head:
        """Return the head of what the host and this device taught, without what the other devices of a fleet learned."""
        if not self._store.shared_digest():
            return self.head
        unkept = self._unkept
        head, _ = self._store.database.read(lambda: self._build(shared=False))
        self._unkept = unkept
        return head

    def _build(self, *, shared: bool = True) -> tuple[Head, int]:
        head = self.maker.empty(self._store.host_labels())
        self._unkept = 0
        position = self._store.position()
        if self._memory is not None:
            learn_memory(head, self._memory, self._store.host_labels())
        if shared:
            learn_shared(head, load_shared(self._store))
        for _, labels, codes in self._store.taught_chunks():
            head.learn_many(codes, labels)
            self._unkept += len(labels)
        if self._has_hidden():
            head.rejection = self._rejection(head)
        return head, position

    def _restored(self) -> tuple[Head, int] | None:
        if not self._store.has_kept_heads():  # saves a small state the checksum of the key
            return None
        kept = self._store.kept_head(self.key())
        if kept is None:
            return None
        position, digest, state = kept
        try:
            head = self.maker.restored(unpack_arrays(state), self._store.host_labels())
        except (ArraysError, HeadError, StateError):
            return None  # derived data: a damaged head is built again
        if head.digest() != digest or position > self._store.position():
            return None
        return head, position

    def key(self) -> str:
        """Return a text that identifies the kind of head, its options and the model's memory."""
        memory = hashlib.sha256(_memory_bytes(self._memory)).hexdigest()[:16]
        shared = self._store.shared_digest()[:16]  # part of the key only where there is something
        return " ".join(
            filter(None, [self.maker.name, str(sorted(self.maker.options.items())), memory, shared])
        )


def _chunks(labeled: Labeled) -> Iterable[tuple[list[int], list[str]]]:
    for start in range(0, len(labeled), _CHUNK):
        chunk = labeled[start : start + _CHUNK]
        yield [number for number, _ in chunk], [label for _, label in chunk]


def _labeled(codes: Codes, stored: list[str]) -> tuple[Codes, list[str]]:
    """Return the samples that have a label: what the head itself learns."""
    mine = [place for place, label in enumerate(stored) if not is_hidden(label)]
    return codes[mine], [stored[place] for place in mine]


def _memory_bytes(memory: Memory | None) -> bytes:
    if memory is None:
        return b""
    if isinstance(memory, Samples):
        judge = b"" if memory.judge is None else memory.judge.tobytes()
        return np.ascontiguousarray(memory.codes).tobytes() + "\n".join(memory.labels).encode() + judge
    return pack_memory(memory)
