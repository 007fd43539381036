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

from .errors import ConversionError
from .head import embedding_map_function
from .source import FloatHead
from .tensorflow import convert_function, freeze

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

    def convert(self) -> bytes:
        """Return it as a .tflite with one subgraph: float32 [N, D] -> [N, D + D (D + 1) / 2]."""
        phi = embedding_map_function("signed_sqrt_l2")
        rows, columns, scale = self._pairs()

        def lengthen(embedding: Any) -> Any:
            import tensorflow as tf

            mapped = phi(embedding)
            products = tf.gather(mapped, rows, axis=1) * tf.gather(mapped, columns, axis=1)
            return tf.concat([mapped * np.float32(0.5**0.5), products * scale.astype(np.float32)], axis=1)

        return convert_function(freeze(lengthen, (None, self.width)))

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
