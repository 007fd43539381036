"""The settings of fine-tuning, with their checks."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from device.model.preprocess import RESIZE_MODES

from ..backbones.own import is_own_model
from ..backbones.small import SMALL
from ..errors import TrainingError
from .crops import Crops
from .optimizers import OPTIMIZERS
from .planning import BLOCKS, DEFAULT_MINUTES, HEAD, LAYERS
from .preserving import NONE

PATIENCE = 3  # epochs
STRENGTHS = ("none", "light", "strong")
_LIGHT = (0.7, 0.15)  # smallest crop and range of brightness
_STRONG = (0.5, 0.25)


@dataclass(frozen=True)
class Augmentation:
    """Augmentation of training photos.

    Attributes:
        copies: Number of augmented copies of each training photo; 0 trains on the photos alone. Copies are made
            once; most of the training time is proportional to their number.
        flip: Mirror half of the copies left to right; not for letters or gestures.
        vertical_flip: Mirror half of the copies top to bottom; for photos without an upright direction.
        crop: Smallest fraction of a photo's area that a copy shows, up to 1.
        color: Range of brightness, contrast and color balance; 0 leaves them unchanged.
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
        backbone: A name that `edgetl.backbones.load_backbone` accepts, or the path of the user's Keras model.
        weights: A file of weights for it; None for the published ones.
        embedding_layer: Layer of the user's model whose output is the embedding; None finds it.
        input_range: Pixel values that the user's model expects; None finds them.
        size: Input size of the user's model, where it has none.
        resize: How photos are fitted to the input: ``crop``, ``squash`` or ``pad``.
        start: Name of the folder of an earlier model whose backbone is trained further; None for `backbone` as published.
        preserve: How its task is preserved, one of `preserving.PRESERVE`.
        pretrained: Start from the pretrained weights; False trains all layers from random ones.
        layers: Layers to train besides the head: ``auto``, ``head``, ``blocks`` or ``all``.
        fallback: Train less where the time is too short for all layers, and keep the frozen backbone where the tuned one
            is no better. Otherwise the first is an error, and the tuned one is kept.
        minutes: Time for the run when all layers are trained; decides the number of epochs.
        head_epochs: Epochs of phase 1, which trains the head on cached embeddings.
        epochs: Epochs of phase 2, which trains the last blocks and the head; 0 skips it.
        blocks: Number of last blocks of the backbone that phase 2 trains; 0 skips it.
        head_rate: Initial learning rate of phase 1 (Adam on mapped embeddings).
        rate: Initial learning rate of phase 2.
        whole_epochs: Epochs of phase 3, which trains all layers; None for as many as fit into `minutes`.
        whole_rate: Highest learning rate of phase 3.
        optimizer: Optimizer of phases 2 and 3, one of `optimizers.OPTIMIZERS`.
        mixup: How much photos are blended with others in phase 3; 0 for not at all.
        batch: Number of photos per step.
        validation: Fraction of each label that is held out for validation; None for `held_out_fraction`.
        patience: Number of epochs without a lower validation loss after which phase 2 or 3 stops; None for `PATIENCE`, but
            for the complete schedule where phase 3 starts from pretrained weights.
        class_weights: Weight all labels equally, whatever their number of photos.
        seed: Seed for splitting, shuffling and augmentation.
        augmentation: Augmentation of training photos in phases 1 and 2.
        crops: Augmentation of training photos in phase 3.
    """

    backbone: str = "efficientnet-lite0"
    weights: Path | None = None
    embedding_layer: str | None = None
    input_range: str | None = None
    size: str | int | None = None
    resize: str = "crop"
    start: str | None = None
    preserve: str = NONE
    pretrained: bool = True
    layers: str = BLOCKS
    fallback: bool = True
    minutes: float = DEFAULT_MINUTES
    head_epochs: int = 40
    epochs: int = 8
    blocks: int = 2
    head_rate: float = 0.02
    rate: float = 2e-4
    whole_epochs: int | None = None
    whole_rate: float = 1e-3
    optimizer: str = "adamw"
    mixup: float = 0.0
    batch: int = 32
    validation: float | None = None
    patience: int | None = None
    class_weights: bool = True
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)
    crops: Crops = field(default_factory=Crops)

    def __post_init__(self) -> None:
        if self.resize not in RESIZE_MODES:
            raise TrainingError(f"resize must be one of {', '.join(RESIZE_MODES)}, got {self.resize!r}")
        if self.layers not in LAYERS:
            raise TrainingError(f"layers must be one of {', '.join(LAYERS)}, got {self.layers!r}")
        if self.optimizer not in OPTIMIZERS:
            raise TrainingError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {self.optimizer!r}")
        _check("mixup", self.mixup, 0, 10)
        _check("minutes", self.minutes, 0.01, 100_000)
        _check("whole_epochs", self.whole_epochs or 1, 1, 10_000)
        _check("whole_rate", self.whole_rate, 1e-8, 1)
        _check("head_epochs", self.head_epochs, 1, 10_000)
        _check("epochs", self.epochs, 0, 10_000)
        _check("blocks", self.blocks, 0, 1000)
        _check("head_rate", self.head_rate, 1e-6, 10)
        _check("rate", self.rate, 1e-8, 1)
        _check("batch", self.batch, 1, 4096)
        _check("validation", self.validation or 0, 0, 0.9)
        _check("patience", self.patience or 1, 1, 10_000)
        _check("seed", self.seed, 0, 2**32 - 1)

    @property
    def scratch(self) -> bool:
        """Whether all layers start from random weights."""
        return not self.pretrained or (self.backbone in SMALL and self.start is None)

    @property
    def head_only(self) -> bool:
        """Whether the backbone stays unchanged."""
        return self.layers == HEAD or self.blocks == 0 or self.epochs == 0

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON-serializable values; of files their name, not their place."""
        names = {"backbone": self.backbone_name, "weights": self.weights and self.weights.name}
        return dataclasses.asdict(self) | names

    @property
    def backbone_name(self) -> str:
        """The name of the backbone without the path of a file: a model file must contain no path of this machine."""
        return Path(self.backbone).name if is_own_model(self.backbone) else self.backbone.partition("=")[0]

    @property
    def own(self) -> dict[str, Any]:
        """The options for a Keras model of the user's."""
        return {"embedding_layer": self.embedding_layer, "input_range": self.input_range, "size": self.size}


def held_out_fraction(photos: int) -> float:
    """Return the fraction of `photos` to hold out: a fifth, but no more than 200 of up to 2,000, and a tenth of more.

    With 100 photos, chance often decides whether the tuned backbone is better; each further one is missing in the training.
    """
    return min(0.2, max(0.1, 200 / photos)) if photos else 0.2


def augment_as(
    strength: str | None,
    *,
    copies: int,
    flip: bool,
    vertical_flip: bool,
    crop: float | None,
    color: float | None,
) -> tuple[Augmentation, Crops]:
    """Return the augmentation of copies and of crops for a strength.

    Args:
        strength: One of `STRENGTHS`; None for the default: light for copies, and for crops strong, but the area is fitted to
            the photos.
        copies: Number of copies; none for the strength ``none``.
        flip: Mirror left to right.
        vertical_flip: Mirror top to bottom.
        crop: Smallest fraction of a photo's area, in place of that of the strength.
        color: Range of brightness and color, in place of that of the strength.

    Raises:
        TrainingError: The strength is unknown, or a number is out of range.
    """
    if strength not in (None, *STRENGTHS):
        raise TrainingError(f"augment must be one of {', '.join(STRENGTHS)}, got {strength!r}")
    varied = strength != "none"
    for_copies = _STRONG if strength == "strong" else _LIGHT
    for_crops = _LIGHT if strength == "light" else _STRONG

    def choose(default: tuple[float, float]) -> tuple[float, float]:
        return default[0] if crop is None else crop, default[1] if color is None else color

    copy_crop, copy_color = choose(for_copies)
    area, brightness = choose(for_crops)
    augmentation = Augmentation(copies if varied else 0, flip, vertical_flip, copy_crop, copy_color)
    fitted = strength is None and crop is None
    return augmentation, Crops(area, flip, vertical_flip, brightness, varied, fitted)


def _check(name: str, value: float, low: float, high: float) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        raise TrainingError(f"{name} must be {low:g} to {high:g}, got {value!r}")
