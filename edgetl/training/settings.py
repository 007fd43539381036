"""What fine-tuning can be told, checked in one place."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

from device.model.preprocess import RESIZE_MODES

from ..errors import TrainingError


@dataclass(frozen=True)
class Augmentation:
    """How the copies of a training photo are varied.

    Attributes:
        copies: Varied copies of each training photo; 0 trains on the photos as they are. The copies are
            made once, so their number is what time is spent on.
        flip: Swap left and right in half of the copies; not for letters or gestures.
        vertical_flip: Swap top and bottom in half of the copies; for photos without an upright.
        crop: The smallest part of the window's area that a copy shows, up to 1.
        color: How far brightness, contrast and the balance of the channels move, 0 for not at all.
    """

    copies: int = 3
    flip: bool = True
    vertical_flip: bool = False
    crop: float = 0.7
    color: float = 0.15

    def __post_init__(self) -> None:
        _check("copies", self.copies, 0, 100)
        _check("crop", self.crop, 0.05, 1)
        _check("color", self.color, 0, 0.9)


@dataclass(frozen=True)
class Settings:
    """The settings of one training run.

    Attributes:
        backbone: A name that `edgetl.backbones.load_backbone` knows.
        resize: How photos are cut: ``crop``, ``squash`` or ``pad``.
        head_epochs: Passes of the first phase, which trains the head on cached embeddings.
        epochs: Passes of the second phase, which trains the last blocks and the head; 0 for none.
        blocks: How many of the backbone's last blocks the second phase trains; 0 for none.
        head_rate: Learning rate of the first phase (Adam on mapped embeddings).
        rate: Learning rate of the second phase, at its start.
        batch: Photos in a step.
        validation: The part of each class that is set aside to judge by.
        patience: Epochs without a better validation loss after which the second phase stops.
        class_weights: Weigh every class alike, however many photos it has.
        seed: Of everything that is drawn.
        augmentation: How the copies of training photos are varied.
    """

    backbone: str = "efficientnet-lite0"
    resize: str = "crop"
    head_epochs: int = 40
    epochs: int = 8
    blocks: int = 2
    head_rate: float = 0.02
    rate: float = 2e-4
    batch: int = 32
    validation: float = 0.2
    patience: int = 3
    class_weights: bool = True
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if self.resize not in RESIZE_MODES:
            raise TrainingError(f"resize must be one of {', '.join(RESIZE_MODES)}, got {self.resize!r}")
        _check("head_epochs", self.head_epochs, 1, 10_000)
        _check("epochs", self.epochs, 0, 10_000)
        _check("blocks", self.blocks, 0, 1000)
        _check("head_rate", self.head_rate, 1e-6, 10)
        _check("rate", self.rate, 1e-8, 1)
        _check("batch", self.batch, 1, 4096)
        _check("validation", self.validation, 0, 0.9)
        _check("patience", self.patience, 1, 10_000)
        _check("seed", self.seed, 0, 2**32 - 1)

    @property
    def head_only(self) -> bool:
        """Whether the backbone stays as it is."""
        return self.blocks == 0 or self.epochs == 0

    def to_dict(self) -> dict[str, Any]:
        """Give the settings as JSON-able values."""
        return dataclasses.asdict(self)


def _check(name: str, value: float, low: float, high: float) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        raise TrainingError(f"{name} must be {low:g} to {high:g}, got {value!r}")
