"""The layers of a Keras model as one flat graph: nested models opened, steps in order, and the places to cut it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from .errors import ConversionError


@dataclass(frozen=True)
class Step:
    """One call of a layer or an operation.

    Attributes:
        operation: The keras.Operation, which is usually a layer.
        inputs: The tensors that it reads.
        outputs: The tensors that it makes.
        arguments: The arguments of the call, tensors and constants.
    """

    operation: Any
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    arguments: tuple[Any, ...]

    @property
    def name(self) -> str:
        """Return the name of the layer."""
        return str(self.operation.name)

    @property
    def kind(self) -> str:
        """Return the name of the layer's class."""
        return type(self.operation).__name__

    @property
    def weights(self) -> list[Any]:
        """Return the variables of the layer; an operation such as an addition has none."""
        return list(getattr(self.operation, "weights", []))


@dataclass(frozen=True)
class Passage:
    """A place where all data passes through one tensor, so that the graph can be cut there.

    Attributes:
        before: The step that makes the tensor.
        tensor: The tensor.
        following: The next step.
    """

    before: Step
    tensor: Any
    following: Step


def list_steps(model: Any) -> list[Step]:
    """Return the steps of a functional or sequential model in an order in which they can run; its inputs are steps too."""
    graph = getattr(model, "_functional", None) or model  # a Sequential keeps its graph apart
    nodes_by_depth = graph._nodes_by_depth  # Keras offers no public way from a model to its calls
    return [
        Step(
            node.operation,
            tuple(node.input_tensors),
            tuple(node.outputs),
            (*node.arguments.args, *node.arguments.kwargs.values()),
        )
        for depth in sorted(nodes_by_depth, reverse=True)
        for node in nodes_by_depth[depth]
    ]


def list_passages(model: Any) -> list[Passage]:
    """Return the places, in order, where no later step needs any other tensor."""
    steps = [step for step in list_steps(model) if step.inputs]
    waiting = Counter(id(tensor) for step in steps for tensor in step.inputs)
    waiting.update(id(tensor) for tensor in model.outputs)
    live = {id(tensor) for tensor in model.inputs}
    found = []
    for step, following in pairwise(steps):
        for tensor in step.inputs:
            waiting[id(tensor)] -= 1
            if not waiting[id(tensor)]:
                live.discard(id(tensor))
        live.update(id(tensor) for tensor in step.outputs)
        if len(step.outputs) == 1 and live == {id(step.outputs[0])}:
            found.append(Passage(step, step.outputs[0], following))
    return found


def require_graph(model: Any, name: str) -> None:
    """Raise `ConversionError` when `model` is not a graph of layers with one image as input."""
    if not _is_graph(model):
        raise ConversionError(
            f"{name} is a {type(model).__name__} whose layers form no graph (a subclass of keras.Model, or a Sequential "
            "without an input shape); build it with keras.Input and keras.Model(inputs, outputs), or write a SavedModel "
            "with model.export('FOLDER') and convert that"
        )
    if len(model.inputs) != 1:
        inputs = ", ".join(f"{tensor.name} {list(tensor.shape)}" for tensor in model.inputs)
        raise ConversionError(
            f"{name} has {len(model.inputs)} inputs ({inputs}); a backbone has one, an image. Build a model from the "
            "input of the image to the layer with its features, and save that"
        )


def flatten(model: Any, shape: tuple[int, int, int], name: str) -> Any:
    """Rebuild a model for images of one shape, with the layers of nested models in one graph.

    Args:
        model: A functional or sequential keras.Model with one input.
        shape: Height, width and channels.
        name: Name of the model in messages.

    Returns:
        A functional keras.Model, float32 [N, *shape] -> the outputs of `model`. It shares its layers with `model`.

    Raises:
        ConversionError: The layers do not accept this shape.
    """
    import keras

    _make_names_unique(model)
    image = keras.Input(shape, name="image")
    try:
        outputs = _apply(model, image)
    except (ValueError, TypeError) as error:
        rows, columns, channels = shape
        raise ConversionError(
            f"the layers of {name} do not accept images of {rows}x{columns} pixels with {channels} channels: "
            f"{str(error).splitlines()[0]}; use the size that the model was trained with, --size HEIGHTxWIDTH"
        ) from error
    return keras.Model(image, outputs, name=model.name)


def _is_graph(model: Any) -> bool:
    import keras

    if isinstance(model, keras.Sequential):
        return bool(model.built and model.layers and _has_inputs(model))
    return hasattr(model, "_run_through_graph")


def _has_inputs(model: Any) -> bool:
    try:
        return bool(model.inputs)
    except (AttributeError, ValueError):  # Keras raises either for a Sequential without an input shape
        return False


def _apply(model: Any, inputs: Any) -> Any:
    import keras

    if isinstance(model, keras.Sequential):
        for layer in model.layers:
            inputs = _call(layer)(inputs)
        return inputs
    return model._run_through_graph(inputs, operation_fn=_call)


def _call(operation: Any) -> Any:
    """Return a function that applies an operation; the layers of a nested model one by one."""
    import keras

    if isinstance(operation, keras.Sequential) or hasattr(operation, "_run_through_graph"):
        return lambda inputs, **_: _apply(operation, inputs)

    def call(*args: Any, **kwargs: Any) -> Any:
        kwargs.pop("training", None)  # whether the step trains is decided by the caller of the whole model
        return operation(*args, **kwargs)

    return call


def _make_names_unique(model: Any, seen: dict[str, int] | None = None) -> None:
    """Rename layers of nested models that have the name of another layer: one graph needs different names."""
    seen = {} if seen is None else seen
    layers = model.layers if hasattr(model, "layers") else []
    for layer in layers:
        if hasattr(layer, "layers") and (
            hasattr(layer, "_run_through_graph") or hasattr(layer, "_functional")
        ):
            _make_names_unique(layer, seen)
        elif seen.setdefault(layer.name, id(layer)) != id(layer):
            layer.name = f"{model.name}_{layer.name}"
            seen[layer.name] = id(layer)
