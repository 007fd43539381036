"""Rebuild a Keras model of half precision in float32, the precision that a backbone is converted from."""

from __future__ import annotations

from typing import Any

from .errors import ConversionError

_FLOATS = {"mixed_float16", "mixed_bfloat16", "float16", "bfloat16", "float64"}
_DTYPE_KEYS = {"dtype", "compute_dtype"}


def in_float32(model: Any, name: str) -> tuple[Any, str]:
    """Return the model in float32, and the other precisions that its layers had, in words.

    Args:
        model: keras.Model; returned as it is when all its layers compute in float32.
        name: Name of the model in messages.

    Raises:
        ConversionError: The model is quantized, or cannot be rebuilt.
    """
    import keras

    found = sorted({str(layer.dtype_policy.name) for layer in _layers(model)} - {"float32"})
    if not found:
        return model, ""
    if any(policy not in _FLOATS for policy in found):
        raise ConversionError(
            f"{name} was quantized by Keras ({', '.join(found)}); save the float model, and quantize with convert"
        )
    config = _without_half(keras.saving.serialize_keras_object(model))
    try:
        rebuilt = keras.saving.deserialize_keras_object(config, safe_mode=True)
        rebuilt.set_weights(model.get_weights())
    except (TypeError, ValueError) as error:
        raise ConversionError(
            f"{name} computes in {', '.join(found)} and cannot be rebuilt in float32: {str(error).splitlines()[0]}"
        ) from error
    return rebuilt, f"{', '.join(found)}, computed in float32 here"


def _layers(model: Any) -> list[Any]:
    return [
        layer
        for layer in model._flatten_layers()  # `layers` lists those of nested models only one level deep
        if not hasattr(layer, "layers") and not type(layer).__name__.startswith("InputLayer")
    ]


def _without_half(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_without_half(item) for item in value)
    if not isinstance(value, dict):
        return value
    if value.get("class_name") == "DTypePolicy":
        return {**value, "config": {"name": "float32"}}
    return {
        key: "float32"
        if key in _DTYPE_KEYS and isinstance(item, str) and item in _FLOATS
        else _without_half(item)
        for key, item in value.items()
        if key != "compile_config"
    }
