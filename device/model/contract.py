"""The contract between a model file's graphs and its manifest: names, types and shapes of the signatures."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import ModelFileError
from .graph import FLOAT32, UINT8, Graphs, Tensor
from .manifest import Manifest

SIGNATURES = ("features", "classify", "train", "get_weights", "set_weights")
_TYPES = {FLOAT32: "float32", UINT8: "uint8"}
_BATCH = -1  # a side of any length

Shape = tuple[int, ...]
Form = tuple[int, Shape]


def missing_signatures(graphs: Graphs) -> tuple[str, ...]:
    """Return which of `SIGNATURES` a model lacks."""
    return tuple(name for name in SIGNATURES if name not in graphs.signatures)


def check_contract(graphs: Graphs, manifest: Manifest) -> None:
    """Check the signatures of a model, and the places of the head's weights in the manifest.

    Raises:
        ModelFileError: A name, type or shape differs from docs/model-file.md or from the manifest.
    """
    for name, (inputs, outputs) in _forms(manifest).items():
        if name in graphs.signatures:
            given, returned = graphs.tensors_of(name)
            _check_side(name, "input", given, inputs)
            _check_side(name, "output", returned, outputs)
    if {"get_weights", "set_weights"} <= graphs.signatures.keys():
        _check_weights(graphs, manifest)


def _forms(manifest: Manifest) -> dict[str, tuple[dict[str, Form], dict[str, Form]]]:
    size = manifest.preprocessing
    image: dict[str, Form] = {"image": (UINT8, (_BATCH, size.height, size.width, size.channels))}
    embedding: dict[str, Form] = {"embedding": (FLOAT32, (_BATCH, manifest.dimensions))}
    columns: Form = (FLOAT32, (_BATCH, manifest.capacity))
    one: Form = (FLOAT32, (1,))
    return {
        "features": (image, embedding),
        "classify": (embedding, {"probabilities": columns, "logits": columns}),
        "generate": ({"noise": (FLOAT32, (_BATCH, _BATCH))}, image),
        "infer": (image, {"probabilities": columns}),
        "train": ({**embedding, "label": columns, "learning_rate": one}, {"loss": (FLOAT32, (_BATCH,))}),
        "get_weights": ({"unused": one}, {}),
        "set_weights": ({}, {"ok": one}),
    }


def _check_side(
    signature: str, side: str, tensors: Mapping[str, Tensor], expected: Mapping[str, Form]
) -> None:
    """Check the tensors on one side of a signature; `_check_weights` checks those without an expected form."""
    if expected and tensors.keys() != expected.keys():
        raise _broken(
            f"the signature {signature} has the {side}s {sorted(tensors)}, expected {sorted(expected)}"
        )
    for name, (kind, shape) in expected.items():
        found = tensors[name]
        fits = len(found.shape) == len(shape) and all(
            wanted in (_BATCH, stored, free)
            for wanted, stored, free in zip(shape, found.shape, found.free, strict=True)
        )
        if found.type != kind or not fits:
            raise _broken(
                f"the {side} {name} of {signature} is {_described(found.type, found.free)}, the manifest "
                f"expects {_described(kind, shape)}"
            )


def _check_weights(graphs: Graphs, manifest: Manifest) -> None:
    """Check that the head's variables can be read, set, and found in the file."""
    read, written = graphs.tensors_of("get_weights")[1], graphs.tensors_of("set_weights")[0]
    expected = {"W": (manifest.dimensions, manifest.capacity), "b": (manifest.capacity,)}
    for name, shape in expected.items():
        if name not in read or read[name].shape != shape:
            raise _broken(f"get_weights must return {name} {list(shape)}")
    if _forms_of(read) != _forms_of(written):
        raise _broken("get_weights and set_weights must have the same variables")
    for tensor in read.values():
        if tensor.type != FLOAT32 or not tensor.shape:
            raise _broken("the head's variables must be float32 and have a shape")
    _check_places(graphs, manifest, {name: 4 * tensor.elements for name, tensor in read.items()})


def _check_places(graphs: Graphs, manifest: Manifest, sizes: Mapping[str, int]) -> None:
    """Check that each initial value is a whole buffer of its own, so that writing it can change nothing else."""
    places = manifest.head_weights
    if places.keys() != sizes.keys():
        raise _broken(f"head_weights places {sorted(places)}, expected {sorted(sizes)}")
    buffers = {place for place in graphs.buffers if place[1]}
    for name, (start, length) in places.items():
        if length != sizes[name] or (start, length) not in buffers:
            raise _broken(
                f"head_weights places {name} at {start} with {length} bytes, where there is no buffer of {sizes[name]} bytes"
            )
    if len(set(places.values())) != len(places):
        raise _broken("head_weights places two variables in one buffer")


def _forms_of(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, Shape]]:
    return {name: (tensor.type, tensor.shape) for name, tensor in tensors.items()}


def _described(kind: int, shape: Shape) -> str:
    return f"{_TYPES.get(kind, f'of type {kind}')} [{', '.join('N' if side < 0 else str(side) for side in shape)}]"


def _broken(what: str) -> ModelFileError:
    return ModelFileError(f"the model does not fit its manifest: {what}; copy or convert the file again")
