"""Samples that are in the memory of a model file and in a state file: they count twice."""

from __future__ import annotations

import numpy as np

from ..errors import StateError
from ..model.codes import content_keys
from ..model.memory import Memory
from ..model.modelfile import ModelFile
from ..store import Store


def remembered_ids(store: Store, memory: Memory | None) -> list[int]:
    """Return the ids of the taught samples in `store` that `memory` contains too, as after an export of the state.

    They are recognized by their content keys. Sums of older versions have none, so nothing in them is recognized.
    """
    known = np.zeros(0, np.uint64) if memory is None else memory.content_keys()
    if not len(known):
        return []
    return [
        numbers[place]
        for numbers, _, codes in store.taught_chunks()
        for place in np.flatnonzero(np.isin(content_keys(codes), known))
    ]


def remembered_from(source: Store, model: ModelFile) -> list[int]:
    """Return the same, but none for a state that was taught to `model` itself: its samples came later."""
    return [] if source.identity.sha256 == model.sha256 else remembered_ids(source, model.memory)


def refuse_remembered(store: Store, model: ModelFile) -> None:
    """Refuse a state of another model with the same backbone while `model` contains samples of it, as an export does.

    Raises:
        StateError: They would count twice.
    """
    if count := len(remembered_from(store, model)):
        raise StateError(
            f"{model.path.name} itself contains {count} samples of {store.path}, which would count twice; use another --state"
            f" file, or forget them there: edgetl forget {model.path} --state {store.path} --known"
        )
