"""Divide the batches of training among several GPUs or several machines, with the same result as on one.

Weights and optimizer are not distributed: every process has its own, and a step divides the batch, adds up the gradients of
all parts, and updates once. So gradients are clipped after they are added, which an optimizer of Keras 3 inside
`tf.distribute` does before, and checkpoints are the same for any number of replicas.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TrainingError


class Replicas:
    """The devices that compute a training step together.

    Args:
        strategy: A `tf.distribute.Strategy`, or None for a single device.
        worker: Number of this process among the workers.
        workers: Number of processes.

    Attributes:
        count: Number of devices over all workers.
    """

    def __init__(self, strategy: Any = None, worker: int = 0, workers: int = 1) -> None:
        self.strategy, self.worker, self.workers = strategy, worker, workers
        self.count = strategy.num_replicas_in_sync if strategy else 1

    @property
    def chief(self) -> bool:
        """Whether this process writes the result."""
        return self.worker == 0

    def add_up(self, compute: Callable[..., Sequence[Any]], *batch: Any) -> list[Any]:
        """Return the sum over all replicas of what `compute` returns for a part of the batch.

        Args:
            compute: From parts of the batch to float32 tensors; called inside a `tf.function`.
            batch: Tensors [N, ...]; replica k receives the rows k, k + count, k + 2 count, ...
        """
        import tensorflow as tf

        if self.strategy is None:
            return list(compute(*batch))

        def run(*whole: Any) -> Any:
            context = tf.distribute.get_replica_context()
            place = context.replica_id_in_sync_group
            values = compute(*(one[place :: self.count] for one in whole))
            # one long vector: a single exchange per step
            packed = tf.concat([tf.reshape(value, [-1]) for value in values], 0)
            total = context.all_reduce(tf.distribute.ReduceOp.SUM, packed)
            parts = tf.split(total, [int(np.prod(value.shape)) for value in values])
            return [tf.reshape(part, value.shape) for part, value in zip(parts, values, strict=True)]

        results = self.strategy.run(run, args=batch)
        return [self.strategy.experimental_local_results(one)[0] for one in results]

    def agree(self, values: Sequence[float]) -> NDArray[np.float64]:
        """Return the values of the first worker in every worker: times differ, but what follows from them must not."""
        mine = np.asarray(values, np.float64)
        if self.workers == 1:
            return mine
        return np.asarray(self._sum(mine if self.chief else np.zeros_like(mine)))

    def require_same(self, value: float, what: str) -> None:
        """Raise `TrainingError` where `value` of this worker differs from that of the first one."""
        first = float(self.agree([value])[0])
        # every worker learns of a difference, so that none of them waits for the others
        if self.workers > 1 and float(self._sum(np.array([abs(first - value)]))[0]):
            raise TrainingError(
                f"{what} differs between worker 0 ({first:g}) and worker {self.worker} ({value:g}); use --restart on all workers"
            )

    def _sum(self, mine: NDArray[np.float64]) -> NDArray[np.float64]:
        import tensorflow as tf

        def run(one: Any) -> Any:
            context = tf.distribute.get_replica_context()
            # only one device per worker counts
            counts = context.replica_id_in_sync_group % (self.count // self.workers) == 0
            part = tf.where(counts, one, tf.zeros_like(one))
            return context.all_reduce(tf.distribute.ReduceOp.SUM, part)

        total = tf.function(lambda one: self.strategy.run(run, args=(one,)))
        return np.asarray(self.strategy.experimental_local_results(total(tf.constant(mine)))[0])


@functools.cache
def find_replicas() -> Replicas:
    """Return the replicas of this process: the workers of ``TF_CONFIG``, several GPUs, or a single device.

    Must be called before TensorFlow runs its first operation.

    Raises:
        TrainingError: ``TF_CONFIG`` is not valid.
    """
    import tensorflow as tf

    if workers := _workers():
        worker, count = workers
        return Replicas(tf.distribute.MultiWorkerMirroredStrategy(), worker, count)
    if len(tf.config.list_logical_devices("GPU")) > 1:
        return Replicas(tf.distribute.MirroredStrategy())
    return Replicas()


def _workers() -> tuple[int, int] | None:
    """Return the number of this worker and of all workers, from ``TF_CONFIG``."""
    text = os.environ.get("TF_CONFIG", "").strip()
    if not text:
        return None
    try:
        config = json.loads(text)
        addresses = config.get("cluster", {}).get("worker", [])
        kind, index = (
            config.get("task", {}).get("type", "worker"),
            int(config.get("task", {}).get("index", 0)),
        )
        others = set(config.get("cluster", {})) - {"worker"}
    except (ValueError, TypeError, AttributeError) as error:
        raise TrainingError(f"TF_CONFIG is not valid ({error}); expected {_EXAMPLE}") from error
    if others or (addresses and not (kind == "worker" and 0 <= index < len(addresses))):
        raise TrainingError(
            f"TF_CONFIG must list workers only, and the number of one of them as its task, got {text}; expected {_EXAMPLE}"
        )
    return (index, len(addresses)) if len(addresses) > 1 else None


_EXAMPLE = '\'{"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, "task": {"type": "worker", "index": 0}}\''
