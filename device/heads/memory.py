"""Teaching a head what the host taught, from the memory of the model file."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import HeadError
from ..model.memory import Memory, Samples, Sums
from .base import Head


def learn_memory(head: Head, memory: Memory, names: Mapping[str, str | None] | None = None) -> None:
    """Teach a head the samples of the host, under the present names of their labels.

    Args:
        head: An empty head.
        memory: From the model file.
        names: Label in the model file -> its present name, None for a deleted label. Other labels stay.

    Raises:
        HeadError: The memory is sums and the head learns from samples alone.
    """
    present = memory.renamed(names or {})
    if isinstance(memory, Samples) and memory.judge is not None:
        # before learning, for any order to give the same head; samples of deleted labels tuned the backbone all the same
        head.exclude(memory.codes[~memory.judge])
    if isinstance(present, Samples):
        head.learn_many(present.codes, list(present.labels))
    elif isinstance(present, Sums):
        _learn_sums(head, present)


def _learn_sums(head: Head, sums: Sums) -> None:
    learn = getattr(head, "learn_statistics", None)
    if learn is None:
        raise HeadError(
            f"the model file holds what the host taught as sums, which the {head.name} head cannot learn from;"
            " use --head exact, or convert the model with fewer photos or --no-memory"
        )
    learn(sums.labels, sums.numbers, sums.sums, sums.gram)
