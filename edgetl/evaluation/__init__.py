"""Evaluation: the accuracy of a model on labeled photos that it was not taught."""

from __future__ import annotations

from .figures import Evaluation, Mistake
from .judging import evaluate

__all__ = ["Evaluation", "Mistake", "evaluate"]
