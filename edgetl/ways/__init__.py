"""The ways to train a model on the same photos, compared: from scratch, frozen, last blocks, all layers."""

from __future__ import annotations

from .comparing import compare
from .results import WayComparison, WayResult

__all__ = ["WayComparison", "WayResult", "compare"]
