"""Which layer of a Keras model is the embedding: the one that is named, else the last pooled layer before the classifier."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .errors import ConversionError
from .layer_graph import Step, list_steps

_POOLS = ("GlobalAveragePooling", "GlobalMaxPooling")
_REDUCTIONS = {"Mean", "Max", "Amax"}  # operations of Keras that pool when they reduce rows and columns
_CLASSIFIERS = {"Dense", "Conv2D"}
# steps between the last weights of a classifier and its scores, and steps in front of these weights
_TRANSPARENT = {"Activation", "Softmax", "Dropout", "Flatten", "Reshape", "ReLU", "Identity", "Sigmoid"}
_INERT = {"Dropout", "SpatialDropout2D", "GaussianDropout", "AlphaDropout", "GaussianNoise", "Identity"}
MOST_NUMBERS = 16_384
_NAMED = 12


@dataclass(frozen=True)
class Embedding:
    """A model that ends with the embedding.

    Attributes:
        model: keras.Model, images [N, H, W, C] -> embedding float32 [N, D].
        layer: Name of the layer whose output is the embedding.
        found: How the layer was found, in words.
    """

    model: Any
    layer: str
    found: str

    @property
    def dimensions(self) -> int:
        """Return D."""
        return int(self.model.output_shape[-1])

    def describe(self) -> str:
        """Return the layer, how it was found, and D, in words."""
        return f"layer {self.layer!r}, {self.found}, {self.dimensions} numbers"


def end_with_embedding(model: Any, layer: str | None, name: str) -> Embedding:
    """Cut a model after the layer that is its embedding.

    A feature map [N, H, W, C] or a sequence [N, T, C] is averaged over its places.

    Args:
        model: A flat functional keras.Model with one input, see `layer_graph.flatten`.
        layer: Name of the layer; None finds the last pooled layer before the classifier.
        name: Name of the model in messages.

    Raises:
        ConversionError: There is no such layer, its output is no embedding, or the model has several outputs and no
            layer is named.
    """
    steps = [step for step in list_steps(model) if step.inputs]
    if not steps:
        raise ConversionError(f"{name} has no layers, so it has no embedding")
    if layer is not None:
        step = _named(steps, layer, name)
        return _cut(model, step.outputs[0], step.name, "named by --embedding-layer", name)
    if len(model.outputs) != 1:
        outputs = ", ".join(f"{tensor.name} {list(tensor.shape)}" for tensor in model.outputs)
        raise ConversionError(
            f"{name} has {len(model.outputs)} outputs ({outputs}); name the layer whose output is the embedding: "
            "--embedding-layer NAME"
        )
    tensor, found = _find(steps, model.outputs[0])
    return _cut(model, tensor, _maker(steps, tensor), found, name)


def require_embedding(model: Any, name: str) -> None:
    """Raise `ConversionError` when a keras.Model has not one input and one embedding [N, D] as output."""
    for kind, tensors in (("input", model.inputs), ("output", model.outputs)):
        if len(tensors) != 1:
            raise ConversionError(
                f"the backbone {name} has {len(tensors)} {kind}s, expected 1; build a keras.Model from one image to one "
                "embedding"
            )
    if len(model.outputs[0].shape) != 2:
        raise ConversionError(
            f"the output of the backbone {name} has the shape {list(model.outputs[0].shape)}, expected an embedding "
            "[N, D]; add a GlobalAveragePooling2D layer"
        )
    last = list_steps(model)[-1]
    if _is_softmax(last):
        raise ConversionError(
            f"the backbone {name} is a whole classifier: its last layer {last.name!r} is a softmax, whose output is no "
            "embedding. Pass the model itself to edgetl.convert, which cuts it before the classifier"
        )


def _find(steps: Sequence[Step], output: Any) -> tuple[Any, str]:
    """Return the tensor of the embedding and how it was found."""
    if len(output.shape) != 2:
        return output, "the output of the model"
    makers = {id(tensor): step for step in steps for tensor in step.outputs}
    last = _classifier(makers, output)
    if last is None:
        return output, "the output of the model, which has no classifier"
    before = steps[: next(index for index, step in enumerate(steps) if step is last)]
    if _is_pool(last):  # the scores are pooled feature maps
        last = next((step for step in reversed(before) if step.kind == "Conv2D"), last)
        return _past_inert(makers, last.inputs[0]), "the features before the classifier"
    pools = [step for step in before if _is_pool(step)]
    if pools:
        return pools[-1].outputs[0], "the last pooled layer before the classifier"
    return _past_inert(makers, last.inputs[0]), "the last layer before the classifier"


def _classifier(makers: dict[int, Step], output: Any) -> Step | None:
    """Return the step with the weights that make the scores, or None when the model ends with features."""
    step, scores = makers.get(id(output)), False
    while step is not None and step.kind in _TRANSPARENT and len(step.inputs) == 1:
        scores |= _is_softmax(step)
        step = makers.get(id(step.inputs[0]))
    if step is None:
        return None
    if step.kind in _CLASSIFIERS or (scores and _is_pool(step)):
        return step
    return None


def _past_inert(makers: dict[int, Step], tensor: Any) -> Any:
    """Return the tensor in front of dropout, which does nothing outside of training."""
    while (step := makers.get(id(tensor))) is not None and step.kind in _INERT:
        tensor = step.inputs[0]
    return tensor


def _is_pool(step: Step) -> bool:
    if step.kind.startswith(_POOLS):
        return True
    return step.kind in _REDUCTIONS and len(step.inputs[0].shape) == 4 and _places(step.outputs[0]) == 1


def _places(tensor: Any) -> int | None:
    """Return the number of places of a feature map, 1 without rows and columns, None when it is not fixed."""
    count = 1
    for side in tensor.shape[1:-1]:
        if side is None:
            return None
        count *= int(side)
    return count


def _is_softmax(step: Step) -> bool:
    if step.kind == "Softmax":
        return True
    activation = getattr(step.operation, "activation", None)
    return getattr(activation, "__name__", "") == "softmax"


def _maker(steps: Sequence[Step], tensor: Any) -> str:
    return next((step.name for step in steps if any(made is tensor for made in step.outputs)), "image")


def _named(steps: Sequence[Step], layer: str, name: str) -> Step:
    found = [step for step in steps if step.name == layer]
    if not found:
        names = list(dict.fromkeys(step.name for step in steps))
        near = difflib.get_close_matches(layer, names, 1)
        guess = f"; did you mean {near[0]!r}?" if near else ""
        raise ConversionError(
            f"{name} has no layer {layer!r}{guess} Its last layers are {', '.join(names[-_NAMED:])}"
        )
    if len(found[-1].outputs) != 1:
        raise ConversionError(f"the layer {layer!r} of {name} has several outputs; name a layer with one")
    return found[-1]


def _cut(model: Any, tensor: Any, layer: str, found: str, name: str) -> Embedding:
    import keras

    rank, pooled = len(tensor.shape), tensor
    if rank == 4:
        pooled = keras.layers.GlobalAveragePooling2D(name="embedding_pool")(tensor)
    elif rank == 3:
        pooled = keras.layers.GlobalAveragePooling1D(name="embedding_pool")(tensor)
    elif rank != 2:
        raise ConversionError(
            f"the layer {layer!r} of {name} has an output of shape {list(tensor.shape)}; an embedding is [N, D], or a "
            "feature map [N, H, W, C] that is averaged. Name another layer with --embedding-layer"
        )
    if rank > 2 and _places(tensor) != 1:
        found = f"{found}, averaged over its {'places' if rank == 4 else 'steps'}"
    _check_length(pooled, layer, name)
    return Embedding(keras.Model(model.inputs[0], pooled, name=model.name), layer, found)


def _check_length(tensor: Any, layer: str, name: str) -> None:
    length = tensor.shape[-1]
    if length is None or not 2 <= int(length) <= MOST_NUMBERS:
        raise ConversionError(
            f"the layer {layer!r} of {name} has {length} numbers per photo; an embedding has 2 to {MOST_NUMBERS}. "
            "Name another layer with --embedding-layer; a convolutional layer is averaged over its places"
        )
