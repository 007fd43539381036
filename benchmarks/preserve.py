"""How much of an earlier task does a fine-tuned backbone keep when it is fine-tuned on another one?

Usage: ``python -m benchmarks.preserve OLD NEW [--seeds 3]``, two folders with one folder of photos per label

All layers are trained on OLD, and then on NEW in each of these ways: freely; with a penalty for the distance to the old
weights (L2-SP); with a penalty for the distance to the old embeddings of the new photos (distillation); and with as many
old photos among the new ones (replay). Then the exact head is taught the old photos on each backbone and judged on other
old photos, and the same with the new ones. ``old_head_kept`` is the old head on new embeddings: what is left where the
old photos are gone. A third of the photos tests, and nothing is chosen by it.

To take minutes, the input is smaller than that of the product, there are few photos, and no epoch is chosen.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported

from benchmarks.machine import machine_info, parser_of, warn_of_noise, write_result
from benchmarks.tuned import (
    Split,
    copy_of,
    embed,
    hits,
    load_at,
    penalty_of,
    split_folder,
    summarize,
    teach,
    tune,
)
from edgetl.backbones.registry import require_keras
from edgetl.photos import Photo
from edgetl.training.preserving import choose_replay


def main() -> None:
    """Measure and write the result."""
    options = _options()
    warn_of_noise()
    require_keras()
    runs: dict[str, list[dict[str, float]]] = {}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for way, figures in measure(options, seed).items():
            runs.setdefault(way, []).append(figures)
    result = {
        "benchmark": "preserve",
        "machine": machine_info(options.first_seed),
        "settings": {
            "side": options.side,
            "photos": options.photos,
            "epochs": options.epochs,
            "seeds": options.seeds,
        },
        "ways": {way: summarize(found) for way, found in runs.items()},
    }
    write_result(result, options.out)


def measure(options: argparse.Namespace, seed: int) -> dict[str, dict[str, float]]:
    """Return the accuracies of each way for one seed; ``before`` is the backbone that was tuned on OLD alone."""
    old, new = (split_folder(folder, options.photos, seed) for folder in (options.old, options.new))
    backbone, preprocessing = load_at(options.backbone, options.side)
    tune(backbone, preprocessing, old.tuning, epochs=options.epochs, seed=seed)
    kept = teach(embed(backbone, preprocessing, old.taught), old.taught, old.held_out)

    def judge(tuned: Any, tuned_on_new: bool) -> dict[str, float]:
        tested = embed(tuned, preprocessing, old.tested)
        return {
            "old": _accuracy(tuned, preprocessing, old, True),
            "new": _accuracy(tuned, preprocessing, new, tuned_on_new),
            "old_head_kept": float(hits(kept, tested, old.tested).mean()),
        }

    results = {"before": judge(backbone, False)}
    _show(seed, "before", results["before"])
    for way in options.ways:
        method = way.partition(":")[0]
        tuned = copy_of(backbone)
        photos: list[Photo] = new.tuning
        if method == "replay":
            photos = photos + choose_replay(old.tuning, len(photos), seed)
        tune(
            tuned,
            preprocessing,
            photos,
            epochs=options.epochs,
            seed=seed + 100,
            penalty=penalty_of(way, tuned),
        )
        results[way] = judge(tuned, True)
        _show(seed, way, results[way])
    return results


def _accuracy(tuned: Any, preprocessing: Any, split: Split, photos_tuned: bool) -> float:
    judges = split.held_out if photos_tuned else None
    head = teach(embed(tuned, preprocessing, split.taught), split.taught, judges)
    return float(hits(head, embed(tuned, preprocessing, split.tested), split.tested).mean())


def _show(seed: int, way: str, figures: dict[str, float]) -> None:
    rounded = {name: round(value, 4) for name, value in figures.items()}
    print(f"seed {seed}, {way}: {rounded}", file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("old", type=Path, help="Photos of the earlier task.")
    parser.add_argument("new", type=Path, help="Photos of the later task.")
    parser.add_argument("--backbone", default="efficientnet-lite0", help="Name of the backbone.")
    parser.add_argument(
        "--side", type=int, default=128, help="Rows and columns of the input.  [default: 128]"
    )
    parser.add_argument(
        "--photos", type=int, default=400, help="Photos of each task, at most.  [default: 400]"
    )
    parser.add_argument("--epochs", type=int, default=5, help="Epochs of either training.  [default: 5]")
    parser.add_argument("--seeds", type=int, default=3, help="Number of seeds.  [default: 3]")
    parser.add_argument("--first-seed", type=int, default=0, help="The first of them.  [default: 0]")
    parser.add_argument(
        "--ways",
        nargs="+",
        default=["none", "weights:0.01", "distill:10", "replay"],
        help="Ways to train, a penalty with its strength.  [default: none weights:0.01 distill:10 replay]",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
