"""The frames with uncertain predictions, to be labeled next: bounded, no two alike, kept over a restart.

A frame is queued if its prediction is uncertain or it is unlike everything that was taught. `device.heads.influence`
sorts the queue by how much a label would change. A frame that becomes certain, because others were taught, is no longer
listed, and comes back if it becomes uncertain again.
"""

from __future__ import annotations

import logging
import math
import random
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import SampleNotFoundError, StorageError
from ..heads import Prediction
from ..heads.influence import View, changes, expected_error, order
from ..heads.nearest import centered_units
from ..model.codes import Codes
from ..store.doubtfile import DoubtFile, KeptDoubt
from .doubt import MINIMUM, Doubt, Waiting, look_alike, uncertainty

LIMIT = 64
"""Maximum number of frames."""

MAX_PICTURES = 8 << 20
"""Maximum bytes of all pictures."""

PICTURE = 640
"""Longer side of a picture, in pixels."""

SEEN = 256
"""Number of frames, certain ones included, that stand for what the camera sees."""

REMEMBERED = 64
"""Number of labeled or dropped frames that are not offered again."""

# Cosine of two embeddings, seen from the mean of what was taught, above which two frames show the same. With
# EfficientNet-Lite0: frames of a still scene .95 and more, the most similar photos of one thing .3 to .7.
_SAME = 0.85
_BETTER = 0.1  # gain in uncertainty that replaces a picture; a smaller one would change it while it is tapped
_PAUSE = 1.0  # seconds between two frames that are written, which spares an SD card
_RETRY = 30.0  # seconds until a file that cannot be written is tried again
_STALE = 1.25  # growth of the frames seen after which the changes are computed again
_FADE = 20  # after this many times SEEN frames, new ones still enter as often as then
_SAVE = 600.0  # seconds between two times that the frames seen are written
_IN_RAM = 2**40  # first id of frames that could not be written

_log = logging.getLogger("edgetl.doubts")
Result = TypeVar("Result")


class Doubts:
    """The queue of uncertain frames; thread-safe. Use `Learner.doubts`.

    Where the file cannot be written, because the disk is full for example, the queue continues in RAM, and `problem`
    names the reason.

    Args:
        look: Returns how the head sees frames, from their codes [n, D] and those of frames seen [m, D]; None while nothing
            is taught.
        mark: Returns a value that differs once the head has changed.
        encode: Returns the code [D] of an embedding [D].
        dimensions: D.
        file: The file that keeps the queue; None keeps it in RAM only.
        limit: Maximum number of frames.
        max_pictures: Maximum bytes of all pictures.
        pause: Minimum seconds between two frames that are added; None: 1 s with a file, else 0.
        clock: Returns seconds.

    Attributes:
        problem: Why the file cannot be used; "" if it can.
    """

    def __init__(
        self,
        look: Callable[[Codes, Codes], View | None],
        mark: Callable[[], object],
        encode: Callable[[NDArray[np.float32]], Codes],
        dimensions: int,
        file: DoubtFile | None = None,
        *,
        limit: int = LIMIT,
        max_pictures: int = MAX_PICTURES,
        pause: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look, self._mark, self._encode, self._dimensions = look, mark, encode, dimensions
        self._file = file
        self._limit, self._max_pictures = limit, max_pictures
        self._pause = pause if pause is not None else 0.0 if file is None else _PAUSE
        self._clock = clock
        self.problem = ""
        self._lock = threading.RLock()
        self._items: dict[int, Waiting] = {}
        self._left: dict[int, Waiting] = {}
        self._settled: deque[Codes] = deque(maxlen=REMEMBERED)
        self._seen = np.zeros((0, dimensions), np.int16)
        self._random = random.Random(0)  # noqa: S311 - which frames stand for the others is no secret
        # number of frames that could have entered `_seen`, now and at the last review
        self._looked = self._reviewed = 0
        self._looked_at, self._saved = -math.inf, clock()
        self._center = np.zeros(dimensions)
        self._unseen = True  # whether frames were not predicted yet
        self._order: list[int] = []
        self._version = 0
        self._ordered: tuple[int, object] = (-1, None)  # version and mark of the order
        self._next, self._added, self._retry = 1, -math.inf, -math.inf
        self._counted: dict[int, int] = {}  # how often each frame was seen, as the file has it

    @property
    def version(self) -> int:
        """Increases with each change of the queue."""
        return self._version

    def offer(
        self,
        embedding: NDArray[np.float32],
        prediction: Prediction,
        jpeg: Callable[[], bytes],
        *,
        time: float = 0.0,
        source: str = "",
    ) -> bool:
        """Add a frame to the queue if it is uncertain enough, unlike the others, and its label changes enough.

        Every frame should be offered, because certain ones show what is common.

        Args:
            embedding: float32 [D].
            prediction: The prediction for the frame, with the scores of all labels.
            jpeg: Returns the encoded frame; called only when the frame is added.
            time: When it was seen, in seconds since the epoch.
            source: The camera.

        Returns:
            Whether the queue changed.
        """
        value = uncertainty(prediction)
        doubtful = value >= MINIMUM and len(prediction.scores) > 1
        now = self._clock()
        if not doubtful and now - self._looked_at < self._pause:
            return False
        code = self._encode(embedding)
        with self._lock:
            self._note(code, now)
        if not doubtful or not self._may_enter(code, value, now):
            return False
        change = self._change(code)
        with self._lock:
            unit = self._unit(code)
            like = self._most_like(unit)
            rival = like or self._least()
            if like is None and rival is not None and change <= rival.worth:
                return False
            count = like.doubt.seen if like is not None else 1
            doubt = Doubt(0, time, source, count, prediction, value, change, 0, jpeg(), embedding)
            self._add(Waiting(doubt, code, unit, change), rival)
        return True

    def items(self) -> list[Doubt]:
        """Return the frames that wait for a label, in the order in which their labels change most."""
        with self._lock:
            self._synchronize()
            version = self._version
        if self._ordered != (version, self._mark()):
            self.review()
        with self._lock:
            return [self._items[number].doubt for number in self._order if number in self._items]

    def get(self, number: int) -> Doubt | None:
        """Return a frame that can be labeled, also one that a better one replaced recently; else None."""
        with self._lock:
            self._synchronize()
            item = self._items.get(number) or self._left.get(number)
            return item.doubt if item else None

    def take(self, numbers: Iterable[int]) -> list[Doubt]:
        """Return frames that can be labeled; they stay in the queue until `settle`.

        Raises:
            SampleNotFoundError: One of them is no longer in the queue.
        """
        found = [(number, self.get(number)) for number in dict.fromkeys(numbers)]
        if missing := [str(number) for number, doubt in found if doubt is None]:
            raise SampleNotFoundError(
                f"frame {', '.join(missing[:10])} is no longer in the queue; choose another one"
            )
        return [doubt for _, doubt in found if doubt is not None]

    def look_alikes(self, numbers: Iterable[int]) -> list[int]:
        """Return the ids of frames with those of all their look-alikes, in the order of the list."""
        listed = self.items()
        groups = {doubt.group for doubt in listed if doubt.id in set(numbers)}
        return [doubt.id for doubt in listed if doubt.group in groups or doubt.id in set(numbers)]

    def settle(self, numbers: Iterable[int]) -> None:
        """Remove frames that were labeled or dropped; similar frames are not offered again."""
        with self._lock:
            chosen = set(numbers)
            gone = [self._items.pop(number, None) or self._left.pop(number, None) for number in chosen]
            codes = [item.code for item in gone if item is not None]
            self._settled.extend(codes)
            self._version += bool(codes)
            self._with_file(lambda file: file.remove(chosen, codes))

    def reconsider(self) -> None:
        """Forget which frames were labeled or dropped, because labels were undone: such frames may come again."""
        with self._lock:
            self._settled.clear()
            self._with_file(lambda file: file.forget_settled())

    def drop_like(self, embedding: NDArray[np.float32]) -> None:
        """Remove frames that look like one that was just taught."""
        with self._lock:
            if not self._items:
                return
            unit = self._unit(self._encode(embedding))
            like = [number for number, item in self._items.items() if float(unit @ item.unit) > _SAME]
            self._leave(like)

    def review(self) -> None:
        """Predict all frames again after the head has learned, and sort them."""
        with self._lock:
            items = list(self._items.values())
            version, seen = self._version, self._seen
        mark = self._mark()
        codes = np.array([item.code for item in items], np.int16).reshape(-1, self._dimensions)
        view = self._look(codes, seen)  # takes the learner's lock, so not under this one
        with self._lock:
            before, self._reviewed = self._shown(), self._looked
            self._order = []
            if view is None:
                for item in items:
                    item.doubt = replace(item.doubt, prediction=None, uncertainty=0.0)
            else:
                self._update(items, view, len(seen))
            self._unseen = changed = self._version != version
            self._version += self._shown() != before
            self._ordered = (-1 if changed else self._version, mark)

    def close(self) -> None:
        """Write how often frames were seen and what is common, and close the file."""
        with self._lock:
            self._save()
            if self._file is not None:
                self._file.close()

    def __len__(self) -> int:
        return len(self._items)

    def _shown(self) -> list[tuple[object, ...]]:
        """Return what pages show of the queue."""
        doubts = [self._items[number].doubt for number in self._order if number in self._items]
        return [
            (one.id, one.group, one.prediction and one.prediction.label, one.uncertainty) for one in doubts
        ]

    def _may_enter(self, code: Codes, value: float, now: float) -> bool:
        """Return whether an uncertain frame may be added now; if the queue has one like it, count it there."""
        with self._lock:
            self._synchronize()
            full = len(self._items) >= self._limit
            stale = self._unseen or self._looked > _STALE * (self._reviewed + 4)
        # if the head has changed, the waiting frames of a full queue are worth something else now
        if stale or (full and self._ordered[1] != self._mark()):
            self.review()
        with self._lock:
            unit = self._unit(code)
            if self._is_settled(unit):
                return False
            like = self._most_like(unit)
            if like is not None:
                like.doubt = replace(like.doubt, seen=like.doubt.seen + 1)
                if value <= like.doubt.uncertainty + _BETTER:
                    return False
            return now - self._added >= self._pause

    def _least(self) -> Waiting | None:
        """Return the frame to remove when the queue is full."""
        if len(self._items) < self._limit:
            return None
        return min(self._items.values(), key=lambda item: item.worth)

    def _note(self, code: Codes, now: float) -> None:
        """Let a frame stand for what the camera sees, in place of a random one; old frames fade slowly."""
        if now - self._looked_at < self._pause:
            return
        self._looked_at, self._looked = now, min(self._looked + 1, _FADE * SEEN)
        if len(self._seen) < SEEN:
            self._seen = np.concatenate([self._seen, code[np.newaxis]])
        elif (place := self._random.randrange(self._looked)) < SEEN:
            self._seen = self._seen.copy()  # another thread may look at the old one
            self._seen[place] = code
        if now - self._saved > _SAVE:
            self._save()

    def _save(self) -> None:
        self._saved = self._clock()
        self._with_file(lambda file: file.count(self._uncounted()))
        self._with_file(lambda file: file.keep_seen(self._seen))

    def _change(self, code: Codes) -> float:
        """Return how much the label of a frame would change if it were the first."""
        seen = self._seen
        view = self._look(code[np.newaxis], seen)
        if view is None:
            return 0.0
        weights = np.ones(len(seen) + 1)
        return float(changes([expected_error(view.predictions[0])], view.cross, weights)[0])

    def _update(self, items: Sequence[Waiting], view: View, others: int) -> None:
        if not np.array_equal(self._center, view.center):
            self._center = view.center
            for item in [*self._items.values(), *self._left.values()]:
                item.unit = self._unit(item.code)
        for item, prediction in zip(items, view.predictions, strict=True):
            value = uncertainty(prediction) if len(prediction.scores) > 1 else 0.0
            item.doubt = replace(item.doubt, prediction=prediction, uncertainty=value, group=item.doubt.id)
        listed = [place for place, item in enumerate(items) if item.listed and item.doubt.id in self._items]
        errors = [expected_error(view.predictions[place]) for place in listed]
        rows = [*range(others), *(others + place for place in listed)]
        weights = np.ones(len(rows))
        weights[others:] += [math.log(items[place].doubt.seen) for place in listed]
        cross = view.cross[np.ix_(rows, listed)]
        for place, change in zip(listed, changes(errors, cross, weights).tolist(), strict=True):
            items[place].change = change
        places, found = order(errors, cross, weights)
        leaders: list[Waiting] = []
        for place, change in zip(places.tolist(), found.tolist(), strict=True):
            item = items[listed[place]]
            leader = next((one for one in leaders if look_alike(one, item)), item)
            if leader is item:
                leaders.append(item)
            item.doubt = replace(item.doubt, change=change, group=leader.doubt.id)
            self._order.append(item.doubt.id)

    def _add(self, new: Waiting, rival: Waiting | None) -> None:
        self._added, doubt = self._clock(), new.doubt
        if rival is not None:
            self._leave([rival.doubt.id])
        number = self._with_file(lambda file: file.add(doubt.time, doubt.source, doubt.embedding, doubt.jpeg))
        if number is None:
            self._next = max(self._next, _IN_RAM if self._file is not None else 1)
            number, self._next = self._next, self._next + 1
        new.doubt = replace(doubt, id=number, group=number)
        self._items[number] = new
        self._version += 1
        while sum(len(item.doubt.jpeg) for item in self._items.values()) > self._max_pictures:
            others = [item for item in self._items.values() if item.doubt.id != number]
            if not others:
                break
            self._leave([min(others, key=lambda item: item.worth).doubt.id])

    def _leave(self, numbers: Sequence[int]) -> None:
        # open pages still show them, so they can be viewed and labeled until the same number of others have left
        for number in numbers:
            self._left[number] = self._items.pop(number)
        while len(self._left) > self._limit:
            del self._left[min(self._left)]
        self._version += bool(numbers)
        self._with_file(lambda file: file.remove(numbers))

    def _synchronize(self) -> None:
        """Read what another process, or this one before a restart, has written."""
        if not self._with_file(lambda file: file.changed()):
            return
        kept = self._with_file(lambda file: file.frames())
        if kept is None:
            return
        here = {frame.id: frame for frame in kept}
        gone = [number for number in self._items if number < _IN_RAM and number not in here]
        for number in gone:  # labeled by another process
            self._settled.append(self._items.pop(number).code)
        fresh = [frame for number, frame in here.items() if number not in self._items]
        for frame in fresh:
            self._take_kept(frame)
        if gone or fresh:
            self._version += 1
        if not len(self._seen):
            before = self._with_file(lambda file: file.seen(SEEN))
            self._seen = self._seen if before is None else before
            self._looked = len(self._seen)
        codes = self._with_file(lambda file: file.settled()) or []
        known = {code.tobytes() for code in self._settled}
        self._settled.extend(code for code in codes if code.tobytes() not in known)

    def _take_kept(self, frame: KeptDoubt) -> None:
        code = self._encode(frame.embedding)
        doubt = Doubt(
            frame.id, frame.time, frame.source, frame.seen, None, 0.0, 0.0, frame.id, frame.jpeg, frame.embedding
        )  # fmt: skip
        self._items[frame.id] = Waiting(doubt, code, self._unit(code), 0.0)
        self._counted[frame.id] = frame.seen
        self._unseen = True

    def _uncounted(self) -> dict[int, int]:
        now = {number: item.doubt.seen for number, item in self._items.items() if number < _IN_RAM}
        return {number: seen for number, seen in now.items() if seen != self._counted.get(number, 1)}

    def _with_file(self, work: Callable[[DoubtFile], Result]) -> Result | None:
        """Return the result of `work`; None without a file, or where it cannot be used."""
        if self._file is None or self._clock() < self._retry:
            return None
        try:
            result = work(self._file)
        except (StorageError, sqlite3.Error, OSError) as error:
            self._retry = self._clock() + _RETRY
            if not self.problem:  # once, not with every frame
                self.problem = f"the uncertain frames are not kept over a restart: {error}"
                _log.warning("Warning: %s; everything else continues", self.problem)
            return None
        return result

    def _unit(self, code: Codes) -> NDArray[np.float32]:
        unit: NDArray[np.float32] = centered_units(code[np.newaxis], self._center)[0]
        return unit

    def _is_settled(self, unit: NDArray[np.float32]) -> bool:
        if not self._settled:
            return False
        return bool((centered_units(np.stack(list(self._settled)), self._center) @ unit > _SAME).any())

    def _most_like(self, unit: NDArray[np.float32]) -> Waiting | None:
        near = max(self._items.values(), key=lambda item: float(unit @ item.unit), default=None)
        return near if near is not None and float(unit @ near.unit) > _SAME else None
