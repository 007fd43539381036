"""The frames with the most uncertain predictions, to be labeled next.

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

from ..heads import Prediction
from ..model.codes import apply_map

_MINIMUM = 0.5  # uncertainty; below it a frame is not worth labeling
_UNKNOWN = 0.75  # minimum uncertainty of a frame that looks like nothing taught
# Cosine of two mapped embeddings above which two frames show the same. With EfficientNet-Lite0: a still scene
# .97 and more, a turned object .34-.94, photos of different things .34-.86.
_SAME = 0.92
_BETTER = 0.1  # gain in uncertainty that replaces a picture; a smaller one would change it while it is tapped
_REMEMBERED = 64  # number of labeled or skipped frames that are not offered again


@dataclass(frozen=True, eq=False)
class QueueEntry:
    """An uncertain frame that waits for a label.

    Attributes:
        id: Number of the frame in the queue.
        jpeg: The frame.
        embedding: float32 [D], so that exactly what was seen is taught.
        unit: The mapped embedding, float32 [D] of length 1.
        uncertainty: From 0 (certain) to 1 (two labels are equally probable).
        prediction: The prediction, with the scores of all labels.
    """

    id: int
    jpeg: bytes
    embedding: NDArray[np.float32]
    unit: NDArray[np.float32]
    uncertainty: float
    prediction: Prediction


def uncertainty(prediction: Prediction) -> float:
    """Return how uncertain a prediction is: 1 minus the lead of the best label over the second, 0 to 1."""
    best, second = [*sorted(prediction.scores.values(), reverse=True), 0.0, 0.0][:2]
    value = 1.0 - (best - second)
    return value if prediction.known else max(value, _UNKNOWN)


class Doubts:
    """A short queue of uncertain frames, no two alike; thread-safe.

    Args:
        limit: Maximum number of frames; the least uncertain leaves first.

    Attributes:
        version: Increases with each change.
    """

    def __init__(self, limit: int = 24) -> None:
        self.version = 0
        self._limit = limit
        self._lock = threading.Lock()
        self._items: dict[int, QueueEntry] = {}
        self._left: dict[int, QueueEntry] = {}
        self._done: deque[NDArray[np.float32]] = deque(maxlen=_REMEMBERED)
        self._next = 1

    def offer(
        self, embedding: NDArray[np.float32], prediction: Prediction, jpeg: Callable[[], bytes]
    ) -> bool:
        """Add a frame to the queue if it is uncertain enough and unlike the others.

        Args:
            embedding: float32 [D].
            prediction: The prediction for the frame, with the scores of all labels.
            jpeg: Returns the encoded frame; called only when the frame is added.

        Returns:
            Whether the queue changed.
        """
        value = uncertainty(prediction)
        if value < _MINIMUM:
            return False
        unit = _unit(embedding)
        with self._lock:
            if any(float(unit @ done) > _SAME for done in self._done):
                return False
            like = self._most_like(unit)
            rival = like or self._least_uncertain()
            if rival is not None:
                if value <= rival.uncertainty + (_BETTER if like else 0.0):
                    return False
                self._leave(rival.id)
            self._items[self._next] = QueueEntry(self._next, jpeg(), embedding, unit, value, prediction)
            self._next += 1
            self.version += 1
        return True

    def items(self) -> list[QueueEntry]:
        """Return the frames, most uncertain first."""
        with self._lock:
            return sorted(self._items.values(), key=lambda item: (-item.uncertainty, item.id))

    def get(self, number: int) -> QueueEntry | None:
        """Return a frame that can be labeled, also one that a better one replaced recently; else None."""
        with self._lock:
            return self._items.get(number) or self._left.get(number)

    def settle(self, number: int) -> None:
        """Remove a frame that was labeled or skipped; similar frames are not offered again."""
        with self._lock:
            item = self._items.pop(number, None) or self._left.pop(number, None)
            if item is not None:
                self._done.append(item.unit)
                self.version += 1

    def drop_like(self, embedding: NDArray[np.float32]) -> None:
        """Remove frames that look like one that was just taught."""
        unit = _unit(embedding)
        with self._lock:
            like = [item.id for item in self._items.values() if float(unit @ item.unit) > _SAME]
            for number in like:
                self._leave(number)
            self.version += bool(like)

    def review(self, predict: Callable[[NDArray[np.float32]], Prediction]) -> None:
        """Predict all frames again after the head has learned, and remove those that are certain now.

        Args:
            predict: Returns the prediction for an embedding [D], with the scores of all labels.
        """
        for item in self.items():
            prediction = predict(item.embedding)
            value = uncertainty(prediction)
            with self._lock:
                if item.id not in self._items:
                    continue
                if value < _MINIMUM:
                    self._leave(item.id)
                else:
                    self._items[item.id] = replace(item, uncertainty=value, prediction=prediction)
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
        # open pages still show it, so it can be viewed and labeled until the same number of others have left
        self._left[number] = self._items.pop(number)
        while len(self._left) > self._limit:
            del self._left[min(self._left)]

    def _most_like(self, unit: NDArray[np.float32]) -> QueueEntry | None:
        near = max(self._items.values(), key=lambda item: float(unit @ item.unit), default=None)
        return near if near is not None and float(unit @ near.unit) > _SAME else None

    def _least_uncertain(self) -> QueueEntry | None:
        """Return the frame to remove when the queue is full."""
        if len(self._items) < self._limit:
            return None
        return min(self._items.values(), key=lambda item: item.uncertainty)


def _unit(embedding: NDArray[np.float32]) -> NDArray[np.float32]:
    return apply_map(embedding).astype(np.float32)
