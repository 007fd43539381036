"""Teaching a head what the host taught, from the memory of the model file."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import HeadError
from ..model.memory import Memory, Samples, Sums
from .base import Head


def learn_memory(head: Head, memory: Memory, names: Mapping[str, str | None] | None = None) -> None:
    """Teach a head the memory of the host, with the current names of the labels.

    Args:
        head: An empty head.
        memory: The memory of the model file.
        names: Label in the model file -> its current name, or None if it was deleted. Other labels keep their names.

    Raises:
        HeadError: The memory contains sums, but the head can learn only from samples.
    """
    present = memory.renamed(names or {})
    if isinstance(memory, Samples) and memory.judge is not None:
        # before learning, so that the order does not matter; samples of deleted labels have tuned the backbone too
        head.exclude(memory.codes[~memory.judge])
    if isinstance(present, Samples):
        head.learn_many(present.codes, list(present.labels))
    elif isinstance(present, Sums):
        _learn_sums(head, present)


def _learn_sums(head: Head, sums: Sums) -> None:
    learn = getattr(head, "learn_statistics", None)
    if learn is None:
        raise HeadError(
            f"the memory of the model file contains sums, from which the {head.name} head cannot learn;"
            " use --head exact, or convert the model with fewer photos or --no-memory"
        )
    learn(sums.labels, sums.numbers, sums.sums, sums.gram)
