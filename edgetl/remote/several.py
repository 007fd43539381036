"""The same work on several machines, some of them at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from device.errors import EdgetlError
from device.progress import Progress

from .ssh import Ssh

Result = TypeVar("Result")


def for_each(
    machines: Sequence[Ssh],
    work: Callable[[Ssh, Progress], Result],
    failed: Callable[[Ssh, Exception], Result],
    *,
    parallel: int,
    progress: Progress,
) -> list[Result]:
    """Do `work` on each machine; an error on one does not stop the others.

    Args:
        machines: The machines.
        work: Called with a machine and a progress callback of its own, in a thread.
        failed: Returns the result of a machine where `work` raised an `EdgetlError`.
        parallel: Number of machines at a time.
        progress: Called as task "TARGET: STEP"; at the end of a machine's work as "TARGET: done".

    Returns:
        The results, in the order of `machines`.
    """

    def one(ssh: Ssh) -> Result:
        def named(step: str, done: int, total: int | None, /) -> None:
            progress(f"{ssh.target}: {step}", done, total)

        try:
            result = work(ssh, named)
        except EdgetlError as error:
            progress(f"{ssh.target}: failed", 1, 1)
            return failed(ssh, error)
        progress(f"{ssh.target}: done", 1, 1)
        return result

    pool = ThreadPoolExecutor(max(1, min(parallel, len(machines))))
    try:
        return list(pool.map(one, machines))
    finally:
        pool.shutdown(cancel_futures=True)
