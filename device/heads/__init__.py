"""Heads: the part that learns on the device, over fixed-point embeddings."""

from __future__ import annotations

from typing import Any

from ..errors import HeadError
from .base import Head, Linear, Prediction

HEADS = ("exact", "lda", "ncm", "softmax", "knn")

__all__ = ["HEADS", "Head", "Linear", "Prediction", "create_head", "head_class"]


def head_class(name: str) -> type[Head]:
    """Give the class of the head called `name`.

    Raises:
        HeadError: There is no such head.
    """
    if name == "exact":
        from .exact import ExactHead

        return ExactHead
    raise HeadError(f"there is no head called {name!r}; choose one of {', '.join(HEADS)}")


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
