"""Shorter embeddings: the principal components of mapped embeddings, as float ops after the backbone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.model.codes import apply_map

from .building import GraphBuilder, empty_model
from .errors import ConversionError
from .head import FloatHead, add_embedding_map

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

    def build(self) -> Any:
        """Return it as a model with one graph: float32 [N, D] -> [N, P]."""
        model, width = empty_model(), len(self.center)
        graph = GraphBuilder(model, "projection")
        mapped = add_embedding_map(graph, graph.input("embedding", (-1, width)), width, "signed_sqrt_l2")
        centered = graph.op("SUB", [mapped, graph.constant(self.center)], (-1, width))
        factors = [centered, graph.constant(self.matrix)]
        graph.graph.outputs = [graph.op("BATCH_MATMUL", factors, (-1, self.dimensions))]
        return model

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
