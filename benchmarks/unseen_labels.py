"""What does a fine-tuned backbone cost when labels come later that it never saw?

Usage: ``python -m benchmarks.unseen_labels PHOTOS [--seeds 3]``, a folder with one folder of photos per label

Two labels are left out of the fine-tuning of all layers. Then the exact head is taught all labels, as on a device, on the
backbone as it was and on the tuned one: with 5 photos per label, and with all. Other photos test it; figures are given for the
labels that tuned the backbone, for the two that did not, and for a head that knows these two alone. Each seed leaves out
other labels.

To take minutes, the input is smaller than that of the product, there are few photos, and no epoch is chosen.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported

import numpy as np
from numpy.typing import NDArray

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

FEW = 5  # photos per label
DRAWS = 10  # choices of the few photos


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
        "benchmark": "unseen_labels",
        "machine": machine_info(options.first_seed),
        "settings": {name: getattr(options, name) for name in ("side", "photos", "epochs", "seeds")},
        "ways": {way: summarize(found) for way, found in runs.items()},
    }
    write_result(result, options.out)


def measure(options: argparse.Namespace, seed: int) -> dict[str, dict[str, float]]:
    """Return the accuracies on the frozen backbone and on those tuned in each way, for one seed."""
    split = split_folder(options.folder, options.photos, seed)
    labels = sorted({photo.label for photo in split.taught})
    pairs = list(itertools.combinations(labels, 2))
    # 3 is coprime to the number of pairs of 3 to 5 labels or more, so that neighboring seeds leave out other labels
    unseen = pairs[3 * seed % len(pairs)]
    backbone, preprocessing = load_at(options.backbone, options.side)
    results = {}
    for way in ("frozen", *options.ways):
        tuned = copy_of(backbone)
        if way != "frozen":
            photos = [photo for photo in split.tuning if photo.label not in unseen]
            penalty = penalty_of(way, tuned)
            tune(tuned, preprocessing, photos, epochs=options.epochs, seed=seed, penalty=penalty)
        results[way] = judge(tuned, preprocessing, split, unseen, way != "frozen", seed)
        rounded = {name: round(value, 4) for name, value in results[way].items()}
        print(f"seed {seed}, without {' and '.join(unseen)}, {way}: {rounded}", file=sys.stderr, flush=True)
    return results


def judge(
    backbone: Any, preprocessing: Any, split: Split, unseen: tuple[str, ...], tuned: bool, seed: int
) -> dict[str, float]:
    """Return the accuracies of heads taught with few and with all photos."""
    taught = embed(backbone, preprocessing, split.taught)
    tested = embed(backbone, preprocessing, split.tested)
    names = np.array([photo.label for photo in split.taught])
    new = np.isin([photo.label for photo in split.tested], unseen)
    free = split.held_out | np.isin(names, unseen) | (not tuned)  # photos that did not tune the backbone

    def accuracies(rows: NDArray[np.int64], among: NDArray[np.bool_]) -> NDArray[np.bool_]:
        photos = [split.taught[row] for row in rows]
        head = teach(taught[rows], photos, free[rows])
        return hits(head, tested[among], [split.tested[row] for row in np.flatnonzero(among)])

    everything, mine = np.arange(len(names)), np.flatnonzero(np.isin(names, unseen))
    whole = accuracies(everything, np.ones(len(new), bool))
    few = [_draw(names, [seed, draw]) for draw in range(DRAWS)]
    some = np.mean([accuracies(rows, np.ones(len(new), bool)) for rows in few], axis=0)
    alone = [accuracies(rows[np.isin(names[rows], unseen)], new) for rows in few]
    return {
        "all_photos": float(whole.mean()),
        "all_photos_seen": float(whole[~new].mean()),
        "all_photos_unseen": float(whole[new].mean()),
        "all_photos_unseen_alone": float(accuracies(mine, new).mean()),
        "few_photos": float(some.mean()),
        "few_photos_seen": float(some[~new].mean()),
        "few_photos_unseen": float(some[new].mean()),
        "few_photos_unseen_alone": float(np.mean(alone)),
    }


def _draw(names: NDArray[Any], seed: list[int]) -> NDArray[np.int64]:
    """Choose `FEW` photos per label."""
    order = np.random.default_rng(seed).permutation(len(names))
    return np.concatenate([order[names[order] == name][:FEW] for name in sorted(set(names.tolist()))])


def _options() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("folder", type=Path, metavar="PHOTOS", help="Folder with one folder per label.")
    parser.add_argument("--backbone", default="efficientnet-lite0", help="Name of the backbone.")
    parser.add_argument(
        "--side", type=int, default=128, help="Rows and columns of the input.  [default: 128]"
    )
    parser.add_argument("--photos", type=int, default=500, help="Number of photos, at most.  [default: 500]")
    parser.add_argument("--epochs", type=int, default=5, help="Epochs of the training.  [default: 5]")
    parser.add_argument("--seeds", type=int, default=3, help="Number of seeds.  [default: 3]")
    parser.add_argument("--first-seed", type=int, default=0, help="The first of them.  [default: 0]")
    parser.add_argument(
        "--ways",
        nargs="+",
        default=["none", "distill:10"],
        help="Ways to train: none, or a penalty with its strength.  [default: none distill:10]",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
