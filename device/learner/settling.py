"""Complete the head in the background, while predictions continue with an update of the last complete fit."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType

from ..errors import EdgetlError
from ..heads.exact import ExactHead
from .derived import DerivedHead

_log = logging.getLogger(__name__)
REST = 0.5  # seconds without a lesson before the head is completed


class Settling:
    """A thread that completes the head of a learner, and then its figures, once no lesson has come for a moment.

    If lessons continue, it does so when one sample in twenty is new.

    Only the exact head answers before it is complete. The thread computes on a copy, so that predicting and teaching
    wait only while the copy is made, which takes milliseconds.

    Args:
        derived: The head of the learner.
        lock: The lock of its store and head.
        settled: Called without the lock, with a complete copy of the head and its position in the journal.
        rest: Seconds without a lesson; `REST` by default.
    """

    def __init__(
        self,
        derived: DerivedHead,
        lock: AbstractContextManager[object],
        settled: Callable[[ExactHead, int], None],
        rest: float | None = None,
    ) -> None:
        self._derived, self._lock, self._settled = derived, lock, settled
        self._rest = REST if rest is None else rest
        self._lesson, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="edgetl-settling", daemon=True)

    def notice(self) -> None:
        """Note that something was taught or forgotten; the caller holds the lock."""
        self._expect(True)
        self._lesson.set()

    def settle(self) -> None:
        """Complete the head and compute its figures now, on a copy."""
        with self._lock:
            # not the learner's own property, which would learn what another process taught meanwhile
            head, position = self._derived.head, self._derived.position
            if not isinstance(head, ExactHead) or not head.counts:
                return
            copy, settled, rejection = head.snapshot(), head.settled, head.rejection
            if settled:
                copy.adopt(head)
            copy.rejection = None if rejection is None else rejection.snapshot()
        copy.settle()
        if rejection is not None and copy.rejection is not None:
            copy.rejection.settle()
            with self._lock:
                rejection.adopt(copy.rejection)
        if not settled:
            with self._lock:
                head.adopt(copy)
        if not self._lesson.is_set():  # after the next rest, then
            self._settled(copy, position)

    def __enter__(self) -> Settling:
        with self._lock:
            self._expect(True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._lesson.set()
        self._thread.join()
        with self._lock:
            self._expect(False)

    def _expect(self, expected: bool) -> None:
        head = self._derived.head
        if isinstance(head, ExactHead):
            head.expect_settling(expected)
        if head.rejection is not None:
            head.rejection.classes.expect_settling(expected)

    def _is_due(self) -> bool:
        with self._lock:
            head = self._derived.head
            return isinstance(head, ExactHead) and head.due

    def _run(self) -> None:
        while not self._stop.is_set():
            self._lesson.wait()
            while self._lesson.is_set() and not self._stop.is_set():
                self._lesson.clear()
                self._stop.wait(self._rest)
                if self._is_due():  # while somebody teaches without a rest
                    break
            if not self._stop.is_set():
                try:
                    self.settle()
                except EdgetlError as error:  # the next prediction raises it where the caller sees it
                    _log.debug("the head cannot be completed now: %s", error)
