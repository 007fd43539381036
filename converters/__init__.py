"""From a trained Keras model to one .tflite with a trainable head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import ConversionError

if TYPE_CHECKING:
    from .conversion import convert
    from .report import ConversionReport
    from .source import TrainedModel

__all__ = ["ConversionError", "ConversionReport", "TrainedModel", "convert"]

_PLACES = {"ConversionReport": "report", "TrainedModel": "source", "convert": "conversion"}


def __getattr__(name: str) -> Any:
    # lazy: a device imports `converters.errors` and `converters.inspection` without the rest
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
