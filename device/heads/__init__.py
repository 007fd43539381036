"""Heads: the part that learns on the device, over fixed-point embeddings."""

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
    """Give the class of the head called `name`.

    Raises:
        HeadError: There is no such head.
    """
    if name not in _CLASSES:
        raise HeadError(f"there is no head called {name!r}; choose one of {', '.join(HEADS)}")
    module, found = _CLASSES[name]
    head: type[Head] = getattr(import_module(f".{module}", __name__), found)
    return head


def create_head(name: str, dimensions: int, **options: Any) -> Head:
    """Make an empty head.

    Args:
        name: One of `HEADS`.
        dimensions: D of the embeddings.
        **options: Options of that head, as its class names them.

    Raises:
        HeadError: There is no such head, or an option is wrong.
    """
    return head_class(name)(dimensions, **options)
