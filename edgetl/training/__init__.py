"""Fine-tuning: a folder of photos and a backbone become a trained model."""

from __future__ import annotations

from .finetuning import finetune
from .run import Outcome
from .settings import Augmentation, Settings

__all__ = ["Augmentation", "Outcome", "Settings", "finetune"]
