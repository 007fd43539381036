"""One BLAS thread while a head is computed.

The systems of a head are small: several threads wait for each other in busy loops, and beside a busy backbone a
solution of 30 ms then takes up to a second. The limit holds for the whole process, so it is set for the time of the
work alone; a program that uses NumPy for other work keeps its threads.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

# one owner at a time: the limit holds for the process, and threadpoolctl lets one thread at a time change it
_owner = threading.RLock()


@contextlib.contextmanager
def one_blas_thread(*, wait: bool = True) -> Iterator[None]:
    """Limit BLAS to one thread, and restore the number that was there.

    Args:
        wait: Wait while another thread has set the limit, so that it holds to the end. Otherwise the work starts at
            once, under the limit of the other thread while that lasts.
    """
    if not _owner.acquire(blocking=wait):
        yield
        return
    try:
        with _controller().limit(limits=1):
            yield
    finally:
        _owner.release()


@functools.cache
def _controller() -> Any:
    """Return the controller of the BLAS libraries, which takes 35 ms once, and not when a program starts."""
    # Libraries are listed by a callback from C, in which Python would lose a Ctrl-C; only the main thread receives it.
    with ThreadPoolExecutor(1) as worker:
        return worker.submit(_list_libraries).result()


def _list_libraries() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")
