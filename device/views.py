"""Views: the number of times that a backbone looks at a frame. The embeddings of all views are averaged.

With ``flip``, a frame and its mirror image are embedded, which takes twice the time. Teaching and predicting have to use
the same views, so a model file names those of its memory, and a state file those of its samples.
"""

from __future__ import annotations

import numpy as np

from .errors import ModelFileError
from .images import Image

ONE, FLIP = VIEWS = ("one", "flip")


def check_views(views: str) -> str:
    """Return `views`.

    Raises:
        ModelFileError: It is none of `VIEWS`.
    """
    if views not in VIEWS:
        raise ModelFileError(f"views must be one of {', '.join(VIEWS)}, got {views!r}")
    return views


def views_of(prepared: Image, views: str) -> tuple[Image, ...]:
    """Return the inputs of the backbone for a prepared frame [H, W, C]: itself, and with `FLIP` its mirror image."""
    if views == ONE:
        return (prepared,)
    return prepared, np.ascontiguousarray(prepared[:, ::-1])
