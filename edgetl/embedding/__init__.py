"""Embedding: a folder of photos to embeddings and exact statistics, by several workers."""

from __future__ import annotations

from .job import embed
from .result import Embedded

__all__ = ["Embedded", "embed"]
