"""A frozen TensorFlow graph as a backbone: where its embedding is, and how it scales pixels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .embedding_layer import MOST_NUMBERS, Embedding
from .errors import ConversionError
from .input_range import Scaling
from .tensorflow import import_tensorflow

_PASSED = {"Identity", "Cast", "StopGradient", "PreventGradient", "Snapshot"}
_SCORING = {"Softmax", "Sigmoid", "LogSoftmax"}
_BEHIND_WEIGHTS = {*_PASSED, *_SCORING, "BiasAdd", "AddV2", "Add", "Reshape", "Squeeze"}
# ops of dense layers between the pooled features and the classifier
_HIDDEN = {*_BEHIND_WEIGHTS, "MatMul", "Relu", "Relu6", "Elu", "Selu", "Tanh", "Mul", "Sub", "RealDiv"}
_WEIGHTED = {"MatMul", "Conv2D"}
_NAMED = 12


class FrozenModel:
    """A function of images that can stand for a keras.Model where a backbone is converted; it cannot be trained.

    Attributes:
        input_shape: (None, H, W, C).
        output_shape: (None, D).
        variables: Empty, because the weights are constants.
        name: The same for all; a report of layers names the tensors of the graph instead.
    """

    name = "saved_model"
    variables: Sequence[Any] = ()

    def __init__(self, function: Any, input_shape: tuple[int | None, ...], pooled: tuple[int, ...]) -> None:
        self._function, self._pooled = function, pooled
        self.input_shape = input_shape
        self.output_shape = (None, int(function.outputs[0].shape[-1]))

    def __call__(self, images: Any, training: bool = False) -> Any:
        """Return the embeddings float32 [N, D] of images float32 [N, H, W, C]."""
        tf = import_tensorflow()
        (features,) = self._function(images)
        features = tf.cast(features, tf.float32)
        return tf.reduce_mean(features, axis=self._pooled) if self._pooled else features

    def predict_on_batch(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the embeddings as an array."""
        return np.asarray(self(import_tensorflow().constant(images)))


def end_graph_with_embedding(frozen: Any, outputs: Sequence[str], layer: str | None, name: str) -> Embedding:
    """Cut a frozen function after its embedding.

    Args:
        frozen: A function of one image, see `saved_model.Opened.freeze`.
        outputs: Names of its outputs.
        layer: Name of an output, of a layer or of a tensor; None finds the pooled features before the classifier.
        name: Name of the model in messages.

    Raises:
        ConversionError: There is no such layer, its output is no embedding, or several outputs leave the choice open.
    """
    tensor, found = _named(frozen, outputs, layer, name) if layer else _find(frozen, outputs, name)
    rank = tensor.shape.rank
    if rank not in (2, 3, 4):
        raise ConversionError(
            f"the tensor {tensor.op.name!r} of {name} has the shape {tensor.shape}; an embedding is [N, D], or a feature "
            "map [N, H, W, C] that is averaged. Name another layer with --embedding-layer"
        )
    length = tensor.shape[-1]
    if length is None or not 2 <= length <= MOST_NUMBERS:
        raise ConversionError(
            f"the tensor {tensor.op.name!r} of {name} has {length} numbers per photo; an embedding has 2 to {MOST_NUMBERS}. "
            "Name another layer with --embedding-layer"
        )
    if rank > 2:
        found = f"{found}, averaged over its places"
    pruned = frozen.prune(frozen.inputs, [tensor])
    model = FrozenModel(pruned, tuple(frozen.inputs[0].shape), tuple(range(1, rank - 1)))
    return Embedding(model, _short(tensor.op.name), found)


def find_graph_scaling(frozen: Any) -> Scaling:
    """Return the scaling at the start of a frozen function: arithmetic with constants."""
    tensor = frozen.inputs[0]
    channels = int(tensor.shape[-1])
    scale, offset, names = np.ones(channels), np.zeros(channels), []
    while len(readers := tensor.consumers()) == 1:
        operation = readers[0]
        if operation.type not in _PASSED:
            change = _change(operation, tensor)
            if change is None:
                break
            scale, offset = scale * change[0], offset * change[0] + change[1]
            names.append(_short(operation.name))
        tensor = operation.outputs[0]
    return Scaling(tuple(dict.fromkeys(names)), scale, offset)


def _find(frozen: Any, outputs: Sequence[str], name: str) -> tuple[Any, str]:
    tensors = dict(zip(outputs, frozen.outputs, strict=True))
    if len(tensors) > 1:
        pooled = [
            key for key, tensor in tensors.items() if tensor.shape.rank == 2 and not _classifier(tensor)
        ]
        if len(pooled) != 1:
            listed = ", ".join(f"{key} {tensor.shape}" for key, tensor in tensors.items())
            raise ConversionError(
                f"{name} has {len(tensors)} outputs ({listed}); name the one that is the embedding: --embedding-layer NAME"
            )
        return tensors[pooled[0]], f"the output {pooled[0]!r}"
    (output,) = tensors.values()
    weights = _classifier(output)
    if weights is None:
        return output, "the output of the model"
    before = _past(weights.inputs[0])
    pool = _pool_before(before)
    if pool is not None:
        return pool, "the last pooled layer before the classifier"
    return before, "the tensor before the classifier"


def _classifier(output: Any) -> Any | None:
    """Return the op with the weights that make the scores; None when the output is not [N, D] or comes from other ops."""
    operation = output.op
    while operation.type in _BEHIND_WEIGHTS and output.shape.rank == 2:
        operation = operation.inputs[0].op
    return operation if operation.type in _WEIGHTED and output.shape.rank == 2 else None


def _pool_before(tensor: Any) -> Any | None:
    """Return the pooled features [N, C] or [N, 1, 1, C] that only dense layers separate from `tensor`."""
    while tensor.op.type in _HIDDEN:
        tensor = tensor.op.inputs[0]
    pools = tensor.op.type in ("Mean", "Max") and tensor.op.inputs[0].shape.rank == 4
    return tensor if pools else None


def _past(tensor: Any) -> Any:
    while tensor.op.type in _PASSED:
        tensor = tensor.op.inputs[0]
    return tensor


def _named(frozen: Any, outputs: Sequence[str], layer: str, name: str) -> tuple[Any, str]:
    """Return the output, the tensor or the last tensor of the layer of that name."""
    tensors = dict(zip(outputs, frozen.outputs, strict=True))
    if layer in tensors:
        return tensors[layer], "the output named by --embedding-layer"
    operations = [operation for operation in frozen.graph.get_operations() if _makes_features(operation)]
    exact = [operation for operation in operations if operation.name == layer.removesuffix(":0")]
    # an export appends a number to the name of a layer
    inside = re.compile(rf"(^|/){re.escape(layer)}(_\d+)?(/|$)")
    found = exact or [operation for operation in operations if inside.search(operation.name)]
    if not found:
        layers = list(dict.fromkeys(_short(operation.name) for operation in operations))
        raise ConversionError(
            f"{name} has no output, layer or tensor {layer!r}; its last layers are {', '.join(layers[-_NAMED:])}"
        )
    return found[-1].outputs[0], "named by --embedding-layer"


def _makes_features(operation: Any) -> bool:
    shape = operation.outputs[0].shape if operation.outputs else None
    features = shape is not None and shape.rank in (2, 3, 4) and shape[0] is None
    return bool(features and operation.outputs[0].dtype.is_floating and operation.type not in _PASSED)


def _change(operation: Any, tensor: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return factor and addition of an op between the image and a constant."""
    if operation.type not in ("Mul", "AddV2", "Add", "Sub", "RealDiv") or len(operation.inputs) != 2:
        return None
    first, second = operation.inputs
    reverse = second is tensor
    value = _constant(first if reverse else second)
    if value is None:
        return None
    one, zero = np.ones(1), np.zeros(1)
    if operation.type == "Mul":
        return value, zero
    if operation.type == "Sub":
        return (-one, value) if reverse else (one, -value)
    if operation.type == "RealDiv":
        return None if reverse or not value.all() else (1 / value, zero)
    return one, value


def _constant(tensor: Any) -> NDArray[np.float64] | None:
    tf = import_tensorflow()
    value = tf.get_static_value(_past(tensor))
    if value is None or np.size(value) not in (1, 3):
        return None
    return np.asarray(value, np.float64).reshape(-1)


def _short(name: str) -> str:
    """Return the layer and the op of a node, without the functions around them."""
    parts = [part for part in name.split("/") if not part.startswith(("StatefulPartitionedCall", "Func"))]
    return "/".join(parts[-2:])
