"""A model file that starts with what was learned here, written on the device itself.

The manifest names the places of the head's initial weights in the model file; new ones are written over them. For more
labels than columns the head grows first (`growth`). Neither TensorFlow nor a flatbuffer library is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import HeadError, LabelError, ModelFileError
from ..heads import Linear, create_head
from ..heads.trainer import MASKED
from ..model.memory import Memory, renamed, together
from ..model.modelfile import ModelFile, write_model_file
from .growth import capacity_for, grow

if TYPE_CHECKING:
    from .learner import Learner

_FLOAT = np.dtype("<f4")


def export(learner: Learner, path: str | Path, *, force: bool = False) -> ModelFile:
    """Write a model file that starts with everything `learner` knows: weights, labels and memory.

    Args:
        learner: Its head's linear map becomes the float head of the file; what the host and this device
            taught becomes its memory.
        path: Where to.
        force: Overwrite what is there.

    Raises:
        HeadError: Nothing was taught yet.
        LabelError: There are more labels than a head can have.
        ModelFileError: There are more labels than columns, and the head of this file cannot grow.
        StorageError: The file exists, or cannot be written.
    """
    learner.require_taught()
    memory = memory_of(learner)
    head = learner.head
    linear = head.linear()
    if linear is None:  # such as knn: the float head gets the exact solution of the same samples
        linear, labels = _exact(memory, learner.model.manifest.dimensions)
    else:
        labels = tuple(head.labels)
    return write_personal(learner.model, path, linear, labels, memory, force=force)


def write_personal(
    model: ModelFile,
    path: str | Path,
    linear: Linear,
    labels: tuple[str, ...],
    memory: Memory | None = None,
    *,
    force: bool = False,
) -> ModelFile:
    """Write a copy of `model` with other weights, labels and memory.

    Args:
        model: The model file to start from; it is not changed.
        path: The new file.
        linear: W [D, C] and b [C] on mapped embeddings, columns in the order of `labels`.
        labels: Labels of the columns; the head grows when it has fewer columns.
        memory: Replaces the memory of `model`.
        force: Overwrite an existing file.

    Raises:
        HeadError: The weights do not fit the model, or hold NaN.
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
    return write_model_file(path, part, replace(manifest, extra=extra), labels, memory, force=force)


def memory_of(learner: Learner) -> Memory | None:
    """Give what the host taught, under today's names, together with what this device was taught."""
    known = learner.model.taught
    memory = None if known is None else renamed(known, learner.store.lab())
    codes, labels = [np.zeros((0, learner.model.manifest.dimensions), np.int16)], []
    for _, names, chunk in learner.store.taught_chunks():
        codes.append(chunk)
        labels += names
    return together(memory, np.concatenate(codes), labels)


def head_variables(
    dimensions: int, capacity: int, linear: Linear, labels: tuple[str, ...]
) -> dict[str, NDArray[np.float32]]:
    """Return the head's variables for a linear map: unused columns closed, momenta zero.

    Raises:
        HeadError: The map does not fit, or holds NaN.
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
        raise HeadError("the head's weights hold NaN or are too large for float32; teach more samples")
    return {
        "W": weights,
        "b": bias,
        "W_momentum": np.zeros_like(weights),
        "b_momentum": np.zeros_like(bias),
    }


def patch(
    part: bytes, places: Mapping[str, tuple[int, int]], values: Mapping[str, NDArray[np.float32]]
) -> bytes:
    """Write `values` over the initial values in a model part.

    Raises:
        ModelFileError: The places are missing, of another size, outside the file, or overlap.
    """
    if places.keys() != values.keys():
        raise ModelFileError(
            f"the manifest places the head variables {sorted(places)}, expected {sorted(values)}; "
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


def _exact(memory: Memory | None, dimensions: int) -> tuple[Linear, tuple[str, ...]]:
    from .derived import learn_memory

    head: Any = create_head("exact", dimensions)
    learn_memory(head, memory, {})
    linear = head.linear()
    if linear is None:
        raise HeadError("the head has no linear form that a model file could start with; use --head exact")
    return linear, tuple(head.labels)
