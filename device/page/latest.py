"""The newest value, from any thread to any number of asyncio readers."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Closed(Exception):  # noqa: N818  (an end, not an error)
    """The slot is closed: there will be no more values."""


class Latest(Generic[T]):
    """A slot that holds only the newest value.

    The writer never waits for a reader, and a slow reader misses values, so that no queue grows.

    Example:
        >>> slot = Latest()
        >>> slot.publish("first")
        >>> slot.publish("second")
        >>> asyncio.run(slot.after(0, timeout=1))
        (2, 'second')
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._value: T | None = None
        self._version = 0
        self._closed = False
        self._waiting: set[asyncio.Future[None]] = set()
        self._readers = 0

    @property
    def readers(self) -> int:
        """Number of readers; a writer can skip its work when there are none."""
        return self._readers

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Count as a reader within the block."""
        with self._lock:
            self._readers += 1
        try:
            yield
        finally:
            with self._lock:
                self._readers -= 1

    def publish(self, value: T) -> None:
        """Replace the value and wake all readers; can be called from any thread."""
        with self._lock:
            self._value = value
            self._version += 1
            waiting, self._waiting = self._waiting, set()
        _wake(waiting)

    def close(self) -> None:
        """End all readers, now and in future."""
        with self._lock:
            self._closed = True
            waiting, self._waiting = self._waiting, set()
        _wake(waiting)

    async def after(self, version: int, timeout: float) -> tuple[int, T] | None:
        """Wait for a value newer than `version`.

        Returns:
            The version and the value, or None when none arrived within `timeout` seconds.

        Raises:
            Closed: The slot was closed.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._lock:
            found = self._newer(version)
            if found is None:
                self._waiting.add(future)
        if found is not None:
            return found
        try:
            await asyncio.wait_for(future, timeout)
        except TimeoutError:
            return None
        finally:
            with self._lock:
                self._waiting.discard(future)
        with self._lock:
            return self._newer(version)

    def _newer(self, version: int) -> tuple[int, T] | None:
        if self._closed:
            raise Closed
        if self._version <= version or self._value is None:
            return None
        return self._version, self._value


def _wake(waiting: set[asyncio.Future[None]]) -> None:
    for future in waiting:
        with contextlib.suppress(RuntimeError):  # its event loop has ended
            future.get_loop().call_soon_threadsafe(_resolve, future)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
