"""Engines: processes of this machine, or the workers of a Dask cluster, behind one executor.

Dask (BSD-3) rather than Ray: both are released about monthly, but Dask is pure Python (2.5 MB of wheels, the same for every
Python and processor), while Ray is 79 MB per Python and processor, starts daemons and an object store in shared memory,
and Flower's simulation pins one of its releases exactly.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from dataclasses import dataclass
from typing import Any, TypeVar

from device.addresses import redact

from ..errors import MissingExtraError, WorkerError
from .work import obey

ENGINES = ("local", "dask")
_WAITING = 2  # tasks per worker that are handed out; more would only hold results in RAM
_PATIENCE = "30s"  # for a scheduler to answer

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Engine:
    """Workers, ready to work.

    Attributes:
        executor: Runs tasks.
        workers: Number of tasks that run at the same time.
        failures: Errors which mean that a worker, not the task, failed.
    """

    executor: Executor
    workers: int
    failures: tuple[type[BaseException], ...]

    def completed(self, task: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield the result of `task` for each item, in the order in which they are ready; few are in RAM at a time.

        Raises:
            WorkerError: A worker was killed, or the cluster is gone.
        """
        waiting: set[Future[Result]] = set()
        left = iter(items)
        try:
            while True:
                for item in left:
                    waiting.add(self.executor.submit(task, item))
                    if len(waiting) >= _WAITING * self.workers:
                        break
                if not waiting:
                    return
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        except self.failures as error:
            raise WorkerError(
                f"a worker ended in the middle of its work ({type(error).__name__}), for example because the RAM was used up; "
                "what is finished is saved: run the same command again, perhaps with fewer --workers"
            ) from error
        finally:
            for future in waiting:
                future.cancel()


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def open_engine(engine: str, workers: int | None, scheduler: str | None) -> Iterator[Engine]:
    """Start the workers, and end them afterwards.

    Args:
        engine: ``local`` or ``dask``.
        workers: Number of workers on this machine; None is one per core.
        scheduler: Address of a running Dask scheduler, whose workers are used instead.

    Raises:
        WorkerError: The engine is unknown or does not fit the other arguments, or the scheduler cannot be reached.
        MissingExtraError: Dask is not installed.
    """
    if engine not in ENGINES:
        raise WorkerError(f"the engine must be one of {', '.join(ENGINES)}, got {engine!r}")
    if scheduler is not None and (engine != "dask" or workers is not None):
        raise WorkerError(
            "a scheduler has workers of its own; use it with the engine dask and without a number of workers"
        )
    number = usable_cores() if workers is None else workers
    if number < 1:
        raise WorkerError(f"the number of workers must be at least 1, got {number}")
    if engine == "dask":
        with _dask(number, scheduler) as opened:
            yield opened
    elif number == 1:
        with _thread() as opened:
            yield opened
    else:
        with _processes(number) as opened:
            yield opened


@contextlib.contextmanager
def _thread() -> Iterator[Engine]:
    stop = threading.Event()
    with ThreadPoolExecutor(1, initializer=obey, initargs=(stop,)) as pool, _set_at_the_end(stop):
        yield Engine(pool, 1, ())


@contextlib.contextmanager
def _processes(workers: int) -> Iterator[Engine]:
    # a forked child would share the threads' locks of TFLite and BLAS in whatever state they are
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    with (
        ProcessPoolExecutor(workers, context, initializer=obey, initargs=(stop,)) as pool,
        _set_at_the_end(stop),
    ):
        yield Engine(pool, workers, (BrokenExecutor,))


@contextlib.contextmanager
def _set_at_the_end(stop: Any) -> Iterator[None]:
    try:
        yield
    finally:
        stop.set()  # otherwise the executor would wait for the shards in work


@contextlib.contextmanager
def _dask(workers: int, scheduler: str | None) -> Iterator[Engine]:
    try:
        import distributed
    except ImportError as error:
        raise MissingExtraError(
            f"the engine dask needs the package distributed ({error}); install it with: pip install 'edgetl[cluster]'"
        ) from error
    failures = (distributed.KilledWorker, CancelledError)
    with contextlib.ExitStack() as stack:
        if scheduler is None:
            cluster = distributed.LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                dashboard_address=None,
                silence_logs=50,
            )
            address: Any = stack.enter_context(cluster)
        else:
            address, workers = scheduler, 0
        try:
            client = stack.enter_context(distributed.Client(address, timeout=_PATIENCE))
        except (OSError, ValueError, TypeError) as error:
            raise WorkerError(
                f"no Dask scheduler answers at {redact(str(scheduler))}: {error}; expected an address such as tcp://host:8786"
            ) from error
        yield Engine(client.get_executor(pure=False), workers or _threads_of(client, scheduler), failures)


def _threads_of(client: Any, scheduler: str | None) -> int:
    try:
        client.wait_for_workers(1, timeout=_PATIENCE)
    except TimeoutError as error:
        raise WorkerError(
            f"the Dask scheduler at {redact(str(scheduler))} has no worker; start one with: dask worker {redact(str(scheduler))}"
        ) from error
    return sum(client.nthreads().values())
