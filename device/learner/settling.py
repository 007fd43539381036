"""Complete the head in the background, while predictions continue with an update of the last complete fit."""

from __future__ import annotations

import logging
import threading
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING

from ..errors import EdgetlError
from ..heads.exact import ExactHead

if TYPE_CHECKING:
    from .learner import Learner

_log = logging.getLogger(__name__)
REST = 0.5  # seconds without a lesson before the head is completed


class Settling:
    """A thread that completes the head of a learner once no lesson has come for a moment.

    Only the exact head answers before it is complete. The thread computes on a copy, so that predicting and teaching
    wait only while the copy is made, which takes milliseconds.

    Args:
        learner: The learner.
        lock: The lock of its store and head.
        rest: Seconds without a lesson; `REST` by default.
    """

    def __init__(
        self, learner: Learner, lock: AbstractContextManager[object], rest: float | None = None
    ) -> None:
        self._learner, self._lock = learner, lock
        self._rest = REST if rest is None else rest
        self._lesson, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="edgetl-settling", daemon=True)

    def notice(self) -> None:
        """Note that something was taught or forgotten."""
        self._lesson.set()

    def settle(self) -> None:
        """Complete the head now, on a copy."""
        with self._lock:
            head = self._learner.head
            if head.settled or not isinstance(head, ExactHead):
                return
            copy = head.snapshot()
        copy.settle()
        with self._lock:
            # not the learner's own property, which would learn what another process taught meanwhile
            head.adopt(copy)

    def __enter__(self) -> Settling:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._lesson.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._lesson.wait()
            while self._lesson.is_set() and not self._stop.is_set():
                self._lesson.clear()
                self._stop.wait(self._rest)
            if not self._stop.is_set():
                try:
                    self.settle()
                except EdgetlError as error:  # the next prediction raises it where the caller sees it
                    _log.debug("the head cannot be completed now: %s", error)
