"""Copy the tensors of a PyTorch state dictionary to the layers of a Keras network, with checks."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BackboneError

_NORMALIZATION = ("weight", "bias", "running_mean", "running_var")
_COUNTER = "num_batches_tracked"  # of a normalization; only training in PyTorch needs it

Tensors = dict[str, NDArray[Any]]


class LayerSetter:
    """Sets the weights of layers and records which tensors were used.

    Args:
        model: keras.Model whose layers are set by name.
        tensors: The tensors of the file by name.
    """

    def __init__(self, model: Any, tensors: Tensors) -> None:
        self._model, self._tensors = model, tensors
        self._unused = {name for name in tensors if not name.endswith(_COUNTER)}

    def set_conv(self, layer: str, prefix: str) -> None:
        """Set the kernel of a convolution without bias to the tensor ``prefix.weight``.

        Raises:
            BackboneError: The tensor is missing or has another shape.
        """
        # the order of PyTorch is [out, in, rows, columns]; for a depthwise kernel that is [channels, 1, rows, columns]
        target = self._model.get_layer(layer)
        order = (2, 3, 0, 1) if "Depthwise" in type(target).__name__ else (2, 3, 1, 0)
        (variable,) = target.weights
        name = f"{prefix}.weight"
        # the inverse permutation: the shape that the file should have
        expected = tuple(variable.shape[order.index(axis)] for axis in range(4))
        target.set_weights([np.ascontiguousarray(self._take(name, expected).transpose(order))])

    def set_normalization(self, layer: str, prefix: str) -> None:
        """Set a batch normalization to the four tensors of ``prefix``.

        Raises:
            BackboneError: A tensor is missing or has another shape.
        """
        target = self._model.get_layer(layer)
        arrays = [
            self._take(f"{prefix}.{part}", tuple(variable.shape))
            for part, variable in zip(_NORMALIZATION, target.weights, strict=True)
        ]
        target.set_weights(arrays)

    def refuse_others(self, classifier: Collection[str]) -> None:
        """Raise if the file has tensors that no layer needs, except those of the `classifier`.

        Raises:
            BackboneError: There is another tensor: the file belongs to a larger network.
        """
        others = sorted(self._unused - set(classifier))
        if others:
            raise BackboneError(
                f"the file has {len(others)} tensors that {self._model.name} does not have, such as {others[0]!r}; "
                "it belongs to another network"
            )

    def _take(self, name: str, expected: tuple[int, ...]) -> NDArray[Any]:
        if name not in self._tensors:
            raise BackboneError(f"the file has no tensor {name!r}; it belongs to another network")
        tensor = self._tensors[name]
        if tensor.shape != expected:
            raise BackboneError(
                f"the tensor {name!r} should have the shape {expected}, got {tensor.shape}; it belongs to another network"
            )
        self._unused.discard(name)
        return tensor
