"""How much of an earlier task does a fine-tuned backbone keep when it is fine-tuned on another one?

Usage: ``python -m benchmarks.preserve OLD NEW [--seeds 3]``, two folders with one folder of photos per label

The last blocks, or all layers, are trained on OLD, and then on NEW in each way of ``finetune --preserve``: freely, with a
penalty for the distance to the old weights, with a penalty for the distance to the old embeddings of the new photos, and with
as many old photos among the new ones. Then the exact head is taught the old photos on each backbone and judged on other old
photos, and the same with the new ones. ``old_head_kept`` is the old head on new embeddings: what a device can still use
where the old photos are gone. A third of the photos tests, and nothing is chosen by it.

To take minutes there are few photos, each with one view, and no epoch is chosen; for all layers the input is smaller.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported

from benchmarks.machine import parser_of
from benchmarks.tuned import Split, Tunable, add_options, hits, load_tunable, run_seeds, split_folder, teach
from edgetl.photos import Photo
from edgetl.training.preserving import PRESERVE, REPLAY, choose_replay


def main() -> None:
    """Measure and write the result."""
    parser = parser_of(__doc__)
    parser.add_argument("old", type=Path, help="Photos of the earlier task.")
    parser.add_argument("new", type=Path, help="Photos of the later task.")
    add_options(parser)
    run_seeds("preserve", parser.parse_args(), measure)


def measure(options: argparse.Namespace, seed: int) -> dict[str, dict[str, float]]:
    """Return the accuracies of each way for one seed; ``before`` is the backbone that was tuned on OLD alone."""
    old, new = (split_folder(folder, options.photos, seed) for folder in (options.old, options.new))
    backbone = load_tunable(options, [*old.taught, *old.tested, *new.taught, *new.tested])
    backbone.tune(old.tuning, epochs=options.epochs, seed=seed)
    kept = teach(backbone.embed(old.taught), old.taught, old.held_out)
    start = backbone.network.get_weights()

    def judge(tuned_on_new: bool) -> dict[str, float]:
        return {
            "old": _accuracy(backbone, old, True),
            "new": _accuracy(backbone, new, tuned_on_new),
            "old_head_kept": float(hits(kept, backbone.embed(old.tested), old.tested).mean()),
        }

    results = {"before": judge(False)}
    _show(seed, "before", results["before"])
    for way in PRESERVE:
        backbone.network.set_weights(start)
        photos: list[Photo] = new.tuning
        if way == REPLAY:
            photos = photos + choose_replay(old.tuning, len(photos), seed)
        backbone.tune(photos, epochs=options.epochs, seed=seed + 100, preserve=way)
        results[way] = judge(True)
        _show(seed, way, results[way])
    return results


def _accuracy(backbone: Tunable, split: Split, tuned: bool) -> float:
    head = teach(backbone.embed(split.taught), split.taught, split.held_out if tuned else None)
    return float(hits(head, backbone.embed(split.tested), split.tested).mean())


def _show(seed: int, way: str, figures: dict[str, float]) -> None:
    rounded = {name: round(value, 4) for name, value in figures.items()}
    print(f"seed {seed}, {way}: {rounded}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
