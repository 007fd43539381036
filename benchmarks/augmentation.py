"""Is augmentation a bottleneck? Photos per second of reading and cropping, beside the bare training step.

Usage: ``python -m benchmarks.augmentation PHOTOS [--limit 200] [--steps 4]``

Measures photos per second of the pipeline alone, for each strength of ``finetune --augment``, twice: photos that are read
for the first time, and again in the next epoch. Beside it, training steps of all layers on a batch that is ready in RAM.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported

import numpy as np

from benchmarks.machine import machine_info, parser_of, warn_of_noise, write_result
from edgetl.backbones import load_backbone
from edgetl.backbones.registry import require_keras
from edgetl.photos import PhotoSet, find_photos
from edgetl.training.pipeline import Pipeline
from edgetl.training.settings import STRENGTHS, augment_as
from edgetl.training.whole import Recipe, WholeTraining

BATCH = 32


def main() -> None:
    """Measure and write the result."""
    options = _options()
    warn_of_noise()
    require_keras()
    backbone, preprocessing = load_backbone(options.backbone)
    found = find_photos(options.photos)
    rates = {}
    for strength in STRENGTHS:
        with tempfile.TemporaryDirectory() as folder:
            pipeline = _pipeline(found, strength, preprocessing, options, Path(folder))
            rates[strength] = [round(_read(pipeline, epoch), 1) for epoch in range(2)]
            print(f"{strength}: {rates[strength]} photos per second", file=sys.stderr, flush=True)
            batch = next(pipeline.training(0))
    step = _train(backbone, len(found.labels), batch, options.steps)
    result = {
        "benchmark": "augmentation",
        "machine": machine_info(0),
        "backbone": options.backbone,
        "photos": min(options.limit, len(found.photos)),
        "photos_per_second": {"first_epoch": {name: rate[0] for name, rate in rates.items()}}
        | {"next_epoch": {name: rate[1] for name, rate in rates.items()}, "training_step": round(step, 1)},
        "slowest_pipeline_by_step": round(min(min(rate) for rate in rates.values()) / step, 1),
    }
    write_result(result, options.out)


def _pipeline(
    found: PhotoSet, strength: str, preprocessing: Any, options: argparse.Namespace, folder: Path
) -> Pipeline:
    chosen = [
        found.photos[place]
        for place in np.random.default_rng(0).permutation(len(found.photos))[: options.limit]
    ]
    crops = augment_as(strength, copies=0, flip=True, vertical_flip=False, crop=None, color=None)[1]
    targets = np.array([found.labels.index(photo.label) for photo in chosen], np.int64)
    return Pipeline([photo.path for photo in chosen], targets, preprocessing, crops, 0, BATCH, folder)


def _read(pipeline: Pipeline, epoch: int) -> float:
    start = time.perf_counter()
    count = sum(len(targets) for _, targets in pipeline.training(epoch))
    return count / (time.perf_counter() - start)


def _train(backbone: Any, classes: int, batch: Any, steps: int) -> float:
    phase = WholeTraining(backbone, np.ones(classes), Recipe(1))
    phase._train(batch, 0, 1e-5)  # compiles
    start = time.perf_counter()
    for step in range(steps):
        phase._train(batch, step, 1e-5)
    return steps * len(batch[1]) / (time.perf_counter() - start)


def _options() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("photos", type=Path, help="Folder with one folder of photos per label.")
    parser.add_argument("--backbone", default="efficientnet-lite0", help="Name of the backbone.")
    parser.add_argument("--limit", type=int, default=200, help="Number of photos to read.  [default: 200]")
    parser.add_argument("--steps", type=int, default=4, help="Number of training steps.  [default: 4]")
    return parser.parse_args()


if __name__ == "__main__":
    main()
