"""Check which classes and functions a Keras model's configuration names, before Keras reads it.

A configuration is a program in small: Keras builds an object of every class that it names, and a Lambda layer is Python
bytecode. So only classes of Keras itself are accepted, and none that runs code from a file.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from .errors import ConversionError

# classes of Keras that run code or read files which the configuration names
_RUNS_CODE = frozenset(
    {"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "TFOpLambda", "SlicingOpLambda"}
)
# plain values, for which Keras has its own names
_VALUES = frozenset(
    {"__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__", "__tuple__"}
)
_LEGACY_MODULES = ("layers", "models", "initializers", "regularizers", "constraints", "dtype_policies")
_LEGACY_NAMES = frozenset({"Functional"})  # a class that Keras does not export
_FUNCTION_MODULES = ("activations", "initializers", "regularizers", "constraints", "losses", "metrics")
_NAMED = 3

HOW_TO_REBUILD = (
    "Its owner can rebuild it from layers of Keras (such as Rescaling in place of a Lambda layer), copy the weights with "
    "set_weights and save it again; or write a SavedModel with model.export('FOLDER') and run 'edgetl convert FOLDER', "
    "which needs no Python code"
)


def check_config(config: Any, name: str) -> None:
    """Check that a configuration names only classes and functions of Keras that run no code from a file.

    Args:
        config: The configuration as read from JSON.
        name: Name of the file, for the message.

    Raises:
        ConversionError: It contains a Lambda layer, a custom class or function, or is nested too deeply.
    """
    if not isinstance(config, dict) or "class_name" not in config:
        raise ConversionError(f"{name} contains no configuration of a Keras model; save the model again")
    # the training configuration is not read
    model = {key: value for key, value in config.items() if key != "compile_config"}
    try:
        refused = sorted(set(_refused(model)))
    except RecursionError as error:
        raise ConversionError(
            f"the configuration in {name} is nested too deeply; it is damaged or not of a model"
        ) from error
    if refused:
        more = f" and {len(refused) - _NAMED} more" if len(refused) > _NAMED else ""
        raise ConversionError(
            f"{name} contains {', '.join(refused[:_NAMED])}{more}: code from a file is never run. {HOW_TO_REBUILD}"
        )


def _refused(value: Any) -> Iterator[str]:
    """Yield a description of everything that is refused in a part of the configuration."""
    if isinstance(value, list):
        for item in value:
            yield from _refused(item)
    if not isinstance(value, dict):
        return
    name = value.get("class_name")
    if isinstance(name, str) and "config" in value:
        yield from _refused_object(name, value)
    for item in value.values():
        yield from _refused(item)


def _refused_object(name: str, fields: dict[str, Any]) -> Iterator[str]:
    module, inner = fields.get("module"), fields.get("config")
    label = inner.get("name") if isinstance(inner, dict) else None
    called = f" {label!r}" if isinstance(label, str) else ""
    if name in _RUNS_CODE:
        yield f"the {name} layer{called}"
    elif name == "__lambda__":
        yield "a Python lambda"
    elif name == "function":
        if not _is_keras_function(inner):
            yield f"the function {inner!r}, which is not part of Keras"
    elif module is None and _is_operation(name):
        yield f"the operation {name}{called}, which .h5 files cannot store (its owner can save the model as .keras)"
    elif name not in _VALUES and not _is_keras_class(name, module):
        yield f"the class {name.rpartition('>')[2]!r}{called and ' of the layer'}{called}, which is not part of Keras"


def _is_keras_function(name: Any) -> bool:
    import keras

    return isinstance(name, str) and any(hasattr(getattr(keras, part), name) for part in _FUNCTION_MODULES)


def _is_keras_class(name: str, module: Any) -> bool:
    """Return whether a class exists in Keras and is one that models consist of."""
    import keras

    found: Any = None
    if module is None:  # the format of .h5 files
        found = next((known for known in map(_exported(name), _LEGACY_MODULES) if known is not None), None)
        if name in _LEGACY_NAMES:
            return True
    elif isinstance(module, str) and (module == "keras" or module.startswith("keras.")):
        try:
            found = getattr(importlib.import_module(module), name, None)
        except ImportError:
            found = None
    parts = (
        keras.Operation,  # every layer and model is one
        keras.initializers.Initializer,
        keras.regularizers.Regularizer,
        keras.constraints.Constraint,
        keras.dtype_policies.DTypePolicy,
        keras.optimizers.Optimizer,
        keras.optimizers.schedules.LearningRateSchedule,
        keras.losses.Loss,
        keras.metrics.Metric,
        keras.random.SeedGenerator,
    )
    return isinstance(found, type) and issubclass(found, parts) and found.__module__.startswith("keras.")


def _is_operation(name: str) -> bool:
    """Return whether a name is that of an operation of Keras which is no layer, as an addition with ``+`` makes."""
    import keras
    import keras.src.ops.numpy

    return hasattr(keras.src.ops.numpy, name) and not hasattr(keras.layers, name)


def _exported(name: str) -> Any:
    import keras

    return lambda module: getattr(getattr(keras, module), name, None)
