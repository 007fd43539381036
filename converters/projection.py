"""Shorter embeddings: the principal components of mapped embeddings, as float ops after the backbone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.model.codes import apply_map

from .errors import ConversionError
from .head import embedding_map_function
from .source import FloatHead
from .tensorflow import convert_function, freeze

_LARGEST = 2.0  # of the training photos; codes represent up to 8
_MOST_SCALE = 4.0  # a centered unit vector has length 2 at most, so 8 is never exceeded


@dataclass(frozen=True)
class Projection:
    """``z = (phi(e) - center) @ matrix``, computed inside the model file.

    Attributes:
        center: float32 [D], the mean mapped embedding.
        matrix: float32 [D, P], principal directions times one scale.
    """

    center: NDArray[np.float32]
    matrix: NDArray[np.float32]

    @property
    def dimensions(self) -> int:
        """Length P of a projected embedding."""
        return int(self.matrix.shape[1])

    def apply(self, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
        """Project embeddings [N, D] in NumPy: float64 [N, P]."""
        projected: NDArray[np.float64] = (apply_map(embeddings) - self.center) @ self.matrix.astype(
            np.float64
        )
        return projected

    def convert(self) -> bytes:
        """Return it as a .tflite with one subgraph: float32 [N, D] -> [N, P]."""
        phi = embedding_map_function("signed_sqrt_l2")

        def project(embedding: Any) -> Any:
            import tensorflow as tf

            return tf.matmul(phi(embedding) - self.center, self.matrix)

        return convert_function(freeze(project, (None, len(self.center))))

    def of_head(self, head: FloatHead) -> FloatHead:
        """Return the head on projected embeddings that is nearest to `head` on mapped ones."""
        weights, bias = head
        lengths = (self.matrix.astype(np.float64) ** 2).sum(0)  # the columns are orthogonal
        projected = (self.matrix.T @ weights) / lengths[:, None]
        return projected.astype(np.float32), (bias + self.center @ weights).astype(np.float32)


def learn_projection(embeddings: NDArray[np.float32], dimensions: int) -> Projection:
    """Learn principal components from embeddings [N, D].

    Raises:
        ConversionError: There are too few photos, or `dimensions` is not below D.
    """
    count, width = embeddings.shape
    if not 1 <= dimensions < width:
        raise ConversionError(
            f"a projection of {width} numbers can keep 1 to {width - 1} of them, got {dimensions}"
        )
    if count <= dimensions:
        raise ConversionError(
            f"a projection to {dimensions} numbers needs more than {dimensions} photos, got {count}; "
            "add photos with --calibrate, or use a smaller --project"
        )
    mapped = apply_map(embeddings)
    center = mapped.mean(0)
    _, _, directions = np.linalg.svd(mapped - center, full_matrices=False)
    matrix = directions[:dimensions].T  # [D, P]
    largest = np.abs((mapped - center) @ matrix).max()
    scale = min(_MOST_SCALE, _LARGEST / max(largest, 1e-9))
    return Projection(center.astype(np.float32), (matrix * scale).astype(np.float32))
