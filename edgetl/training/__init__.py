"""Fine-tuning: train a backbone and a head on a folder of photos."""

from __future__ import annotations

from .finetuning import finetune
from .run import Outcome
from .settings import Augmentation, Settings

__all__ = ["Augmentation", "Outcome", "Settings", "finetune"]
