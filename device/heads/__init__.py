"""Heads: the part of a model that learns on the device, from fixed-point embeddings."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..errors import HeadError
from .base import Head, Linear, Prediction

_CLASSES = {
    "exact": ("exact", "ExactHead"),
    "lda": ("lda", "LdaHead"),
    "ncm": ("ncm", "NcmHead"),
    "softmax": ("softmax", "SoftmaxHead"),
    "knn": ("knn", "KnnHead"),
}
HEADS = tuple(_CLASSES)

__all__ = ["HEADS", "Head", "Linear", "Prediction", "create_head", "head_class"]


def head_class(name: str) -> type[Head]:
    """Return the class of the head `name`.

    Raises:
        HeadError: There is no head with this name.
    """
    if name not in _CLASSES:
        raise HeadError(f"unknown head {name!r}; choose one of {', '.join(HEADS)}")
    module, found = _CLASSES[name]
    head: type[Head] = getattr(import_module(f".{module}", __name__), found)
    return head


def create_head(name: str, dimensions: int, **options: Any) -> Head:
    """Create an empty head.

    Args:
        name: One of `HEADS`.
        dimensions: Number of dimensions D of the embeddings.
        **options: Keyword arguments of the head's class.

    Raises:
        HeadError: There is no head with this name, or an option is invalid.
    """
    return head_class(name)(dimensions, **options)
