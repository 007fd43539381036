"""The layers of a float graph by the names of the Keras layers that they came from.

The converter joins a convolution, its normalization and its activation to one op, whose tensor has a name such as
``net_1/stem_relu_1/Relu6;net_1/stem_bn_1/add;net_1/stem_conv_1/convolution``: every Keras layer in it names the op.
"""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import ConversionError
from .flatbuffer import parse

_COUNTER = re.compile(r"_\d+$")  # Keras appends it when it traces a layer again
_NEAREST = 3  # number of names that a message suggests


@dataclass(frozen=True)
class Layer:
    """An op of a graph.

    Attributes:
        name: The Keras layer that it came from, the one with the weights if there are several.
        aliases: All Keras layers that it came from.
        tensor: Name of its output tensor.
        output: Index of its output tensor.
        inputs: Indices of its input tensors that other ops compute.
    """

    name: str
    aliases: tuple[str, ...]
    tensor: str
    output: int
    inputs: tuple[int, ...]


def layers_of(graph: bytes, model: Any) -> list[Layer]:
    """List the ops of a converted float graph in order of execution.

    Args:
        graph: A .tflite whose first subgraph is the model.
        model: The Keras model that it was converted from.
    """
    subgraph = parse(graph).subgraphs[0]
    leaves = list(_leaves(model))
    known = {str(layer.name): hasattr(layer, "kernel") for layer in leaves}
    last = str(leaves[-1].name)
    computed: set[int] = set()
    found = []
    for operator in subgraph.operators:
        outputs = [int(index) for index in operator.outputs] if operator.outputs is not None else []
        if not outputs:
            continue
        tensor = subgraph.tensors[outputs[0]].name.decode(errors="replace")
        aliases = tuple(_aliases(tensor, known, str(model.name))) or _unnamed(
            outputs[0] in list(subgraph.outputs), last, tensor
        )
        name = next((alias for alias in aliases if known.get(alias)), aliases[0])
        inputs = tuple(int(index) for index in operator.inputs if int(index) in computed)
        found.append(Layer(name, aliases, tensor, outputs[0], inputs))
        computed.update(outputs)
    return found


def find_layers(layers: Sequence[Layer], wanted: Sequence[str]) -> list[Layer]:
    """Return the layers with these names; a name may contain the wildcards ``*`` and ``?``.

    Raises:
        ConversionError: A name fits no layer; the message suggests similar names.
    """
    chosen: list[Layer] = []
    for pattern in wanted:
        fits = [
            layer
            for layer in layers
            if any(fnmatch.fnmatchcase(name, pattern) for name in (layer.tensor, *layer.aliases))
        ]
        if not fits:
            raise ConversionError(_unknown(pattern, layers))
        chosen += [layer for layer in fits if layer not in chosen]
    return chosen


def _leaves(model: Any) -> Iterator[Any]:
    nested = getattr(model, "layers", None)
    if not nested:
        yield model
    for layer in nested or ():
        yield from _leaves(layer)


def _aliases(tensor: str, known: dict[str, bool], model: str) -> Iterator[str]:
    """Yield the layers in the name of a tensor, each once."""
    seen = set()
    for path in tensor.split(";"):
        parts = path.split("/")
        # a trace that numbers the model numbers every layer too, and the number may look like part of a name
        if parts[0] != model:
            parts = [_COUNTER.sub("", part) for part in parts]
        name = next((part for part in reversed(parts) if part in known), None)
        if name is not None and name not in seen:
            seen.add(name)
            yield name


def _unnamed(is_output: bool, last: str, tensor: str) -> tuple[str, ...]:
    # the converter names the output of a graph Identity
    return (last,) if is_output else (tensor.split(";", maxsplit=1)[0],)


def _unknown(pattern: str, layers: Sequence[Layer]) -> str:
    names = sorted({alias for layer in layers for alias in layer.aliases})
    near = difflib.get_close_matches(pattern, names, _NEAREST, cutoff=0.4) or names[:_NEAREST]
    return (
        f"no layer is called {pattern!r}, so it cannot be kept in float; the backbone has {len(names)} layers such as "
        f"{', '.join(near)}, and convert --compare names those that quantization affects most"
    )
