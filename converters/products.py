"""Longer embeddings: a small embedding with the products of all its pairs, as float ops after the backbone.

A linear map of the products is a quadratic map of the embedding (the explicit form of the polynomial kernel of
degree two, Cortes and Vapnik 1995). To heads it is an embedding like any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.model.codes import apply_map

from .building import GraphBuilder, empty_model
from .errors import ConversionError
from .head import FloatHead, add_embedding_map

WIDEST = 128  # numbers: 8,384 with their products, whose second moment would take some 100 MB


@dataclass(frozen=True)
class Products:
    """``z = (phi(e), sqrt(2) phi_i phi_j for i < j, phi_i^2) / sqrt(2)``, all of it inside the model file.

    Both parts have length 1, so z has length 1 too and is not mapped again.

    Attributes:
        width: D of the backbone.
    """

    width: int

    @property
    def dimensions(self) -> int:
        """``D + D (D + 1) / 2``."""
        return self.width + self.width * (self.width + 1) // 2

    def apply(self, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
        """Lengthen embeddings [N, D] in NumPy: float64 [N, D + D (D + 1) / 2]."""
        mapped = apply_map(embeddings)
        rows, columns, scale = self._pairs()
        longer: NDArray[np.float64] = np.concatenate(
            [mapped * 0.5**0.5, mapped[:, rows] * mapped[:, columns] * scale], axis=1
        )
        return longer

    def build(self) -> Any:
        """Return it as a model with one graph: float32 [N, D] -> [N, D + D (D + 1) / 2]."""
        model, pairs = empty_model(), (-1, self.dimensions - self.width)
        graph = GraphBuilder(model, "products")
        entry = graph.input("embedding", (-1, self.width))
        mapped = add_embedding_map(graph, entry, self.width, "signed_sqrt_l2")
        rows, columns, scale = self._pairs()
        one, other = (
            graph.op("GATHER", [mapped, graph.constant(places)], pairs, axis=1) for places in (rows, columns)
        )
        product = graph.op("MUL", [one, other], pairs)
        scaled = graph.op("MUL", [product, graph.constant(scale.astype(np.float32))], pairs)
        half = graph.op("MUL", [mapped, graph.constant(np.float32(0.5**0.5))], (-1, self.width))
        graph.graph.outputs = [graph.op("CONCATENATION", [half, scaled], (-1, self.dimensions), axis=1)]
        return model

    def of_head(self, head: FloatHead) -> FloatHead:
        """Return the head on extended embeddings that predicts as `head` does on mapped ones."""
        weights, bias = head
        longer = np.zeros((self.dimensions, weights.shape[1]), np.float32)
        longer[: self.width] = weights * 2**0.5
        return longer, bias

    def _pairs(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
        rows, columns = np.triu_indices(self.width)
        return rows.astype(np.int32), columns.astype(np.int32), np.where(rows == columns, 0.5**0.5, 1.0)


def products_of(width: int, project: int | None = None) -> Products:
    """Return the products for embeddings of `width` numbers.

    Raises:
        ConversionError: The embedding is too long, or `project` is set as well.
    """
    if project is not None:
        raise ConversionError(
            "--products makes embeddings longer and --project shorter: use only one of them"
        )
    if width > WIDEST:
        raise ConversionError(
            f"--products works with embeddings of at most {WIDEST} numbers, but this backbone has"
            f" {width}; convert it without --products"
        )
    return Products(width)
