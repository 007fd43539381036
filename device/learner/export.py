"""Export: a model file that starts with what was learned on the device, written on the device.

The manifest names the places of the head's initial weights in the model file; the new weights overwrite them. If there
are more labels than columns, the head grows first (`growth`). Neither TensorFlow nor a flatbuffer library is needed.
"""

from __future__ import annotations

import bisect
import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import HeadError, LabelError, ModelFileError, SampleNotFoundError, StateError
from ..heads import Head, Linear, create_head
from ..heads.memory import learn_memory
from ..heads.trainer import MASKED
from ..model.codes import Codes, content_keys
from ..model.hidden import HiddenSamples
from ..model.memory import Memory, Samples, Sums, sums_are_smaller
from ..model.modelfile import ModelFile, write_model_file
from ..store import Store
from ..views import ONE
from .growth import capacity_for, grow

_FLOAT = np.dtype("<f4")
_CHUNK = 500  # samples per read; teaching waits for one read at most


@dataclass(frozen=True)
class Snapshot:
    """The knowledge of a learner at one moment. Codes stay in the store, because they never change.

    Attributes:
        labels: The labels of the head.
        host: The memory of the model file under the present names of its labels.
        few: Whether the samples themselves may be smaller than their sums.
        exact: A copy of the head when it keeps the sums of all samples, else None.
        linear: The linear map of another head, or None.
        newest: The largest id of the samples taught on the device.
        ids: Ids of these samples, oldest first; None when only their keys are needed. Then they are listed
            afterwards, in pieces, because a list of 100,000 would hold up teaching.
        names: Labels of these samples.
        bursts: int32 [N], samples of one burst share a number from 0 up.
        kept: Labels of an old classifier that the head continues.
        negatives: Negatives and background of the host and the device.
    """

    labels: tuple[str, ...]
    host: Memory
    few: bool
    exact: Any
    linear: Linear | None
    newest: int
    ids: list[int] | None = None
    names: Sequence[str] = ()
    bursts: NDArray[np.int32] | None = None
    kept: tuple[str, ...] = ()
    negatives: HiddenSamples | None = None

    @classmethod
    def of(cls, model: ModelFile, store: Store, head: Head) -> Snapshot:
        """Return what is known now; the caller keeps store and head from changing meanwhile.

        Args:
            model: The model file, with what the host taught.
            store: The samples taught on the device.
            head: The head, up to date with both.
        """
        host: Memory = Samples(np.zeros((0, head.dimensions), np.int16), ())
        if model.memory is not None:
            host = model.memory.renamed(store.host_labels())
        many = sums_are_smaller(sum(head.counts.values()), head.dimensions)
        few = not many and not isinstance(host, Sums)
        summed = hasattr(head, "statistics")
        # a copy of the sums, so that solving them does not hold up teaching
        exact, linear = (_copied(head), None) if summed else (None, head.linear())
        newest = max((sample.id for sample in store.samples(limit=1, thumbnails=False)), default=0)
        kept = tuple(getattr(head, "old_labels", ()))
        negatives = _hidden_samples(model, store)
        snapshot = cls(tuple(head.labels), host, few, exact, linear, newest, kept=kept, negatives=negatives)
        return snapshot if summed and not few else snapshot._with_samples(store)

    def _with_samples(self, store: Store) -> Snapshot:
        ids, names, bursts = store.ids()
        groups = np.unique(bursts, return_inverse=True)[1].ravel().astype(np.int32)
        return replace(self, ids=ids.tolist(), names=names, bursts=groups)


def _hidden_samples(model: ModelFile, store: Store) -> HiddenSamples:
    """Return the negatives and background of the host, under the present names of its labels, and of the device."""
    hidden = HiddenSamples(np.zeros((0, model.manifest.dimensions), np.int16), ())
    if model.negatives is not None:
        hidden = model.negatives.renamed(store.host_labels())
    for _, stored, codes in store.taught_chunks(hidden=True):
        hidden = hidden.together(codes, stored)
    return hidden


def _copied(head: Head) -> Head:
    """Return an independent copy of a head, without its rejection."""
    alone = copy.copy(head)
    alone.rejection = None
    return copy.deepcopy(alone)


def export(
    model: ModelFile, store: Store, snapshot: Snapshot, path: str | Path, *, force: bool = False
) -> ModelFile:
    """Write a model file that starts with everything that was taught: weights, labels and memory.

    Other threads may teach meanwhile. Samples are read in pieces; all at once only when they are few.

    Args:
        model: The model file to start from.
        store: The state with the samples of the snapshot.
        snapshot: What was known at the moment to export; see `Snapshot.of`.
        path: The new file.
        force: Overwrite an existing file.

    Raises:
        HeadError: The head has no linear form.
        LabelError: There are more labels than a head can have.
        ModelFileError: There are more labels than columns, and the head of this file cannot grow.
        StateError: Samples were purged meanwhile.
        StorageError: The file exists, or cannot be written.
    """
    try:
        memory, exact = _memory(store, snapshot)
    except SampleNotFoundError as error:
        raise StateError(f"samples were purged while they were exported ({error}); export again") from error
    linear, labels = snapshot.linear, snapshot.labels
    if linear is None:  # such as knn: the weights are the exact solution of the same samples
        exact = exact or _exact(memory)
        linear, labels = exact.linear(), tuple(exact.labels)
    if linear is None:
        raise HeadError("the head has no linear form for a model file; use --head exact")
    # what only sums are left of cannot be fitted again: the columns in the file answer for it
    kept = labels if snapshot.kept and isinstance(memory, Sums) else snapshot.kept
    views = store.identity.views
    return write_personal(
        model, path, linear, labels, memory, kept=kept, views=views, negatives=snapshot.negatives, force=force
    )


def write_personal(
    model: ModelFile,
    path: str | Path,
    linear: Linear,
    labels: tuple[str, ...],
    memory: Memory | None = None,
    *,
    kept: tuple[str, ...] = (),
    views: str = ONE,
    negatives: HiddenSamples | None = None,
    force: bool = False,
) -> ModelFile:
    """Write a copy of `model` with other weights, labels and memory.

    Args:
        model: The model file to start from; it is not changed.
        path: The new file.
        linear: W [D, C] and b [C] on mapped embeddings, columns in the order of `labels`.
        labels: Labels of the columns; the head grows when it has fewer columns.
        memory: Replaces the memory of `model`.
        kept: Labels of an old classifier, see `Manifest.kept_labels`.
        views: Views of a frame that `memory` was embedded from.
        negatives: Negatives and background; the head in the file does not contain them, edgetl applies them to it.
        force: Overwrite an existing file.

    Raises:
        HeadError: The weights do not fit the model, or contain NaN.
        LabelError: There are more labels than a head can have.
        ModelFileError: The manifest does not name the places of the weights, or the head cannot grow.
        StorageError: The file exists, or cannot be written.
    """
    part, manifest = model.model_part(), model.manifest
    if len(labels) > manifest.capacity:
        part, manifest = grow(part, manifest, capacity_for(len(labels)))
    weights = head_variables(manifest.dimensions, manifest.capacity, linear, labels)
    part = patch(part, manifest.head_weights, weights)
    extra = {**manifest.extra, "made_from": model.sha256}
    described = replace(manifest, extra=extra, kept_labels=kept, views=views)
    return write_model_file(path, part, described, labels, memory, negatives=negatives, force=force)


def _memory(store: Store, snapshot: Snapshot) -> tuple[Memory, Any]:
    """Return the memory of the new file, and an exact head of the same samples if there is one by now."""
    host = snapshot.host
    if snapshot.few:
        parts = [codes for _, codes in _chunks(store, snapshot)]
        codes = np.concatenate([np.zeros((0, host.dimensions), np.int16), *parts])
        return host.together(codes, snapshot.names, snapshot.bursts), snapshot.exact
    exact = snapshot.exact or _exact(host)
    keys = [host.content_keys()]
    for names, codes in _chunks(store, snapshot):
        keys.append(content_keys(codes))
        if snapshot.exact is None:
            exact.learn_many(codes, names)
    numbers, sums = exact.statistics.sums()
    gram = exact.statistics.gram()
    return Sums(tuple(exact.labels), numbers, sums, gram, np.unique(np.concatenate(keys))), exact


def _chunks(store: Store, snapshot: Snapshot) -> Iterator[tuple[Sequence[str], Codes]]:
    """Yield labels and codes of the samples of the device in bounded pieces.

    Without a list of ids, samples that were forgotten since are left out.
    """
    if snapshot.ids is None:
        for ids, names, codes in store.taught_chunks():
            old = bisect.bisect_right(ids, snapshot.newest)
            yield names[:old], codes[:old]
            if old < len(ids):
                return
        return
    for start in range(0, len(snapshot.ids), _CHUNK):
        part = slice(start, start + _CHUNK)
        yield snapshot.names[part], store.codes(snapshot.ids[part])


def _exact(memory: Memory) -> Any:
    """Return an exact head that has learned `memory`."""
    head: Any = create_head("exact", memory.dimensions)
    learn_memory(head, memory)
    return head


def head_variables(
    dimensions: int, capacity: int, linear: Linear, labels: tuple[str, ...]
) -> dict[str, NDArray[np.float32]]:
    """Return the head's variables for a linear map: unused columns masked, momenta zero.

    Raises:
        HeadError: The map does not fit, or contains NaN.
        LabelError: There are more labels than columns.
    """
    if len(labels) > capacity:
        raise LabelError(
            f"the head has {capacity} columns, which is too few for {len(labels)} labels; "
            f"convert the model with --capacity {len(labels)} or more"
        )
    if linear.W.shape != (dimensions, len(labels)) or linear.b.shape != (len(labels),):
        raise HeadError(
            f"the weights must have shapes {(dimensions, len(labels))} and {(len(labels),)}, "
            f"got {linear.W.shape} and {linear.b.shape}"
        )
    weights, bias = np.zeros((dimensions, capacity), np.float32), np.full(capacity, MASKED, np.float32)
    weights[:, : len(labels)], bias[: len(labels)] = linear.W, linear.b
    if not (np.isfinite(weights).all() and np.isfinite(bias).all()):
        raise HeadError("the head's weights contain NaN or are too large for float32; teach more samples")
    return {
        "W": weights,
        "b": bias,
        "W_momentum": np.zeros_like(weights),
        "b_momentum": np.zeros_like(bias),
    }


def patch(
    part: bytes, places: Mapping[str, tuple[int, int]], values: Mapping[str, NDArray[np.float32]]
) -> bytes:
    """Return a model part with `values` in place of the initial values.

    Raises:
        ModelFileError: The places are missing, of another size, outside the file, or overlap.
    """
    if places.keys() != values.keys():
        raise ModelFileError(
            f"the manifest has places for the head variables {sorted(places)}, expected {sorted(values)}; "
            "convert the model again"
        )
    end = 0
    for name, (start, length) in sorted(places.items(), key=lambda item: item[1]):
        if start < max(end, 8) or length != values[name].size * _FLOAT.itemsize or start + length > len(part):
            raise ModelFileError(
                f"the manifest places {name} at {start} with {length} bytes, which does not fit a model part of "
                f"{len(part)} bytes; convert the model again"
            )
        end = start + length
    patched = bytearray(part)
    for name, (start, length) in places.items():
        patched[start : start + length] = values[name].astype(_FLOAT).tobytes()
    return bytes(patched)
