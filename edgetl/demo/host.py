"""The host part of the demo: fine-tune on the lab's photos and convert to one model file."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from device.progress import Progress

from .. import __version__
from ..errors import EdgetlError
from .cache import versions
from .data import LABELS
from .results import HostResult

MODEL, RESULT = "cells.tflite", "host.json"
PACKAGES = ("edgetl", "tensorflow", "keras", "ai-edge-litert", "numpy", "opencv-python-headless")

_STAGES = {
    "comparing photos": "comparing the lab's photos",
    "backbone": "loading the backbone",
    "features": "embedding the lab's photos",
    "head": "training the head",
    "blocks": "fine-tuning the last blocks",
    "saving": "saving the trained model",
}


@dataclass(frozen=True)
class Recipe:
    """The settings of the training.

    Attributes:
        backbone: A name that `edgetl.backbones.load_backbone` knows.
        blocks: Number of last blocks of the backbone to fine-tune; 0 leaves it frozen.
        epochs: Epochs of fine-tuning the blocks.
        copies: Augmented copies per photo to fine-tune with.
        resize: How photos are fitted to the model's input.
        seed: Seed for the split, the training and the teaching order.
    """

    backbone: str = "efficientnet-lite0"
    blocks: int = 2
    epochs: int = 6
    copies: int = 2
    resize: Literal["crop", "squash", "pad"] = "crop"
    seed: int = 0

    def slug(self) -> str:
        """Return a short name for a folder."""
        return f"{self.backbone}-{self.blocks}-{self.epochs}-{self.copies}-{self.resize}-{self.seed}".replace(
            ":", "-"
        )


def train_and_convert(photos: Path, folder: Path, recipe: Recipe, progress: Progress) -> HostResult:
    """Fine-tune on `photos` (a folder per label) and write the model file and figures into `folder`.

    Raises:
        EdgetlError: The host extra is missing, or training or the conversion failed.
    """
    from converters import convert
    from converters.tensorflow import import_tensorflow

    progress("starting TensorFlow", 0, 1)
    import_tensorflow()  # without its log output, before another import loads it
    progress("starting TensorFlow", 1, 1)
    start = time.perf_counter()
    outcome = _finetune(photos, folder / "trained", recipe, progress)
    trained = time.perf_counter()
    conversion = convert(
        outcome.model,
        folder / MODEL,
        quantize="int8",
        progress=progress,
    )
    done = time.perf_counter()
    result = HostResult(
        backbone=recipe.backbone,
        last_blocks=recipe.blocks,
        fine_tuned=outcome.metrics["epochs"]["blocks_kept"] > 0,
        training=_training(outcome.metrics),
        conversion={**conversion.to_dict(), "path": MODEL},
        model_bytes=conversion.sizes["total"],
        memory_bytes=conversion.sizes["memory"],
        seconds={"finetune": round(trained - start, 1), "convert": round(done - trained, 1)},
        versions=versions(PACKAGES) | {"edgetl": __version__},
        when=time.strftime("%Y-%m-%d %H:%M"),
    )
    (folder / RESULT).write_text(json.dumps(result, indent=1), encoding="utf-8")
    return result


def _finetune(photos: Path, out: Path, recipe: Recipe, progress: Progress) -> Any:
    from ..training import finetune

    def report(task: str, done: int, total: int | None, /) -> None:
        progress(_STAGES.get(task, task), done, total)

    # a solar cell looks the same upside down
    outcome = finetune(
        photos,
        out,
        backbone=recipe.backbone,
        blocks=recipe.blocks,
        epochs=recipe.epochs if recipe.blocks else 0,
        resize=recipe.resize,
        seed=recipe.seed,
        copies=recipe.copies if recipe.blocks else 0,
        validation=0.2,  # as the figures in docs/demo.md were measured
        vertical_flip=True,
        crop=0.8,
        progress=report,
    )
    if set(outcome.model.labels) != set(LABELS):
        raise EdgetlError(f"the lab's photos have the labels {outcome.model.labels}, expected {LABELS}")
    return outcome


def _training(metrics: dict[str, Any]) -> dict[str, Any]:
    return {name: metrics[name] for name in ("photos", "validation", "epochs", "seconds", "settings")}
