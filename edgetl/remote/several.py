"""The same work on several machines, some of them at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from device.errors import EdgetlError
from device.progress import Progress

from .ssh import Ssh

Result = TypeVar("Result")


def machines_of(targets: Sequence[str], config: Path | None) -> list[Ssh]:
    """Return each machine once, in order.

    Args:
        targets: The machines, as ssh names them.
        config: Configuration file of ssh instead of the user's.

    Raises:
        RemoteError: A target cannot be the name of a machine.
    """
    return [Ssh(target, config) for target in dict.fromkeys(targets)]


def for_each(
    machines: Sequence[Ssh],
    work: Callable[[Ssh, Progress], Result],
    failed: Callable[[str, str], Result],
    *,
    parallel: int,
    progress: Progress,
) -> list[Result]:
    """Do `work` on each machine; an error on one does not stop the others.

    Args:
        machines: The machines.
        work: Called with a machine and a progress callback of its own, in a thread.
        failed: Returns the result of a machine where `work` raised an `EdgetlError`, from its target and the reason.
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
            return failed(ssh.target, str(error).removeprefix(f"{ssh.target}: "))
        progress(f"{ssh.target}: done", 1, 1)
        return result

    pool = ThreadPoolExecutor(max(1, min(parallel, len(machines))))
    try:
        return list(pool.map(one, machines))
    finally:
        pool.shutdown(cancel_futures=True)
