"""Samples that are in the memory of a model file and in a state file: they count twice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..errors import StateError
from ..model.codes import Keys, content_keys
from ..model.modelfile import ModelFile
from ..store import Store


def remembered_ids(store: Store, model: ModelFile) -> list[int]:
    """Return the ids of the taught samples in `store` that `model` contains too, as after an export of the state.

    Negatives and background are compared with those of the model. Samples are recognized by their content keys. Sums of
    older versions have none, so nothing in them is recognized.
    """
    none = np.zeros(0, np.uint64)
    labeled = none if model.memory is None else model.memory.content_keys()
    hidden = none if model.negatives is None else content_keys(model.negatives.codes)
    return sorted([*_known(store, labeled, hidden=False), *_known(store, hidden, hidden=True)])


def _known(store: Store, keys: Keys, *, hidden: bool) -> Iterator[int]:
    if not len(keys):
        return
    for numbers, _, codes in store.taught_chunks(hidden=hidden):
        yield from (numbers[place] for place in np.flatnonzero(np.isin(content_keys(codes), keys)))


def remembered_from(source: Store, model: ModelFile) -> list[int]:
    """Return the same, but none for a state that was taught to `model` itself: its samples came later."""
    return [] if source.identity.sha256 == model.sha256 else remembered_ids(source, model)


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
