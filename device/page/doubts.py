"""The frames the learner was least sure of: what is most worth labelling next.

Uncertainty sampling by margin (Scheffer et al. 2001): the smaller the lead of the best label over the
second, the more an answer teaches.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..model.codes import apply_map
from .verdict import Verdict

_MINIMUM = 0.5  # of doubt; below it a frame is not worth anyone's time
_UNKNOWN = 0.75  # doubt of a frame that looks like nothing taught, at the least
# Cosine of two mapped embeddings above which two frames show the same. With EfficientNet-Lite0: a still scene
# .97 and more, a turned object .34-.94, photos of different things .34-.86.
_SAME = 0.92
_BETTER = 0.1  # of doubt; less does not change a picture under somebody's finger
_REMEMBERED = 64  # answered or skipped frames that are not asked about again


@dataclass(frozen=True, eq=False)
class Doubt:
    """A frame to ask about.

    Attributes:
        id: Its number in the queue.
        jpeg: The frame.
        embedding: float32 [D], so that what is taught is what was seen.
        unit: The mapped embedding, of length 1.
        doubt: 0 (sure) to 1 (a coin toss).
        verdict: What the learner thought it was.
    """

    id: int
    jpeg: bytes
    embedding: NDArray[np.float32]
    unit: NDArray[np.float32]
    doubt: float
    verdict: Verdict


def doubt_of(verdict: Verdict) -> float:
    """Measure how unsure a verdict is: 1 minus the lead of the best label, 0 to 1."""
    best, second = [*sorted(verdict.scores.values(), reverse=True), 0.0, 0.0][:2]
    doubt = 1.0 - (best - second)
    return doubt if verdict.known else max(doubt, _UNKNOWN)


class Doubts:
    """A short queue of frames to ask about, no two alike; thread-safe.

    Args:
        limit: Frames kept; the least doubtful leaves first.

    Attributes:
        version: Grows with each change.
    """

    def __init__(self, limit: int = 24) -> None:
        self.version = 0
        self._limit = limit
        self._lock = threading.Lock()
        self._items: dict[int, Doubt] = {}
        self._left: dict[int, Doubt] = {}
        self._done: deque[NDArray[np.float32]] = deque(maxlen=_REMEMBERED)
        self._next = 1

    def offer(self, embedding: NDArray[np.float32], verdict: Verdict, jpeg: Callable[[], bytes]) -> bool:
        """Take a frame into the queue if it is doubtful enough and unlike the others.

        Args:
            embedding: float32 [D].
            verdict: What the learner says of it.
            jpeg: Gives the encoded frame; called only when the frame is taken.

        Returns:
            Whether the queue changed.
        """
        doubt = doubt_of(verdict)
        if doubt < _MINIMUM:
            return False
        unit = _unit(embedding)
        with self._lock:
            if any(float(unit @ done) > _SAME for done in self._done):
                return False
            like = self._most_like(unit)
            rival = like or self._least_doubtful()
            if rival is not None:
                if doubt <= rival.doubt + (_BETTER if like else 0.0):
                    return False
                self._leave(rival.id)
            self._items[self._next] = Doubt(self._next, jpeg(), embedding, unit, doubt, verdict)
            self._next += 1
            self.version += 1
        return True

    def items(self) -> list[Doubt]:
        """List the frames, the most doubtful first."""
        with self._lock:
            return sorted(self._items.values(), key=lambda item: (-item.doubt, item.id))

    def get(self, number: int) -> Doubt | None:
        """Give a frame that can be answered, also one that left for a better one a moment ago; else None."""
        with self._lock:
            return self._items.get(number) or self._left.get(number)

    def settle(self, number: int) -> None:
        """Take a frame that was answered or skipped out of the queue; its like will not be asked again."""
        with self._lock:
            item = self._items.pop(number, None) or self._left.pop(number, None)
            if item is not None:
                self._done.append(item.unit)
                self.version += 1

    def drop_like(self, embedding: NDArray[np.float32]) -> None:
        """Take out what looks like a frame that was just taught."""
        unit = _unit(embedding)
        with self._lock:
            like = [item.id for item in self._items.values() if float(unit @ item.unit) > _SAME]
            for number in like:
                self._leave(number)
            self.version += bool(like)

    def review(self, judge: Callable[[NDArray[np.float32]], Verdict]) -> None:
        """Judge all frames anew after the head has learned; what it is sure of now leaves the queue.

        Args:
            judge: Gives the verdict on an embedding [D].
        """
        for item in self.items():
            verdict = judge(item.embedding)
            doubt = doubt_of(verdict)
            with self._lock:
                if item.id not in self._items:
                    continue
                if doubt < _MINIMUM:
                    self._leave(item.id)
                else:
                    self._items[item.id] = replace(item, doubt=doubt, verdict=verdict)
                self.version += 1

    def clear(self) -> None:
        """Empty the queue."""
        with self._lock:
            self._items.clear()
            self._left.clear()
            self.version += 1

    def __len__(self) -> int:
        return len(self._items)

    def _leave(self, number: int) -> None:
        # pages still show it: it can be seen and answered until as many others have left
        self._left[number] = self._items.pop(number)
        while len(self._left) > self._limit:
            del self._left[min(self._left)]

    def _most_like(self, unit: NDArray[np.float32]) -> Doubt | None:
        near = max(self._items.values(), key=lambda item: float(unit @ item.unit), default=None)
        return near if near is not None and float(unit @ near.unit) > _SAME else None

    def _least_doubtful(self) -> Doubt | None:
        """Give the one to leave when the queue is full."""
        if len(self._items) < self._limit:
            return None
        return min(self._items.values(), key=lambda item: item.doubt)


def _unit(embedding: NDArray[np.float32]) -> NDArray[np.float32]:
    return apply_map(embedding).astype(np.float32)
