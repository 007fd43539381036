"""What does a fine-tuned backbone cost when labels come later that it never saw?

Usage: ``python -m benchmarks.unseen_labels PHOTOS [--seeds 3]``, a folder with one folder of photos per label

Two labels are left out of the fine-tuning of the last blocks, or of all layers. Then the exact head is taught all labels, as
on a device, on the backbone as it was and on the tuned one: with 5 photos per label, and with all. Other photos test it;
figures are those of the labels that tuned the backbone, of the two that did not, and of a head that knows these two alone.
Each seed leaves out other labels.

To take minutes there are few photos, each with one view, and no epoch is chosen; for all layers the input is smaller.
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

from benchmarks.machine import parser_of
from benchmarks.tuned import Split, Tunable, add_options, hits, load_tunable, run_seeds, split_folder, teach

FEW = 5  # photos per label
DRAWS = 10  # choices of the few photos


def main() -> None:
    """Measure and write the result."""
    parser = parser_of(__doc__)
    parser.add_argument("folder", type=Path, metavar="PHOTOS", help="Folder with one folder per label.")
    add_options(parser)
    run_seeds("unseen_labels", parser.parse_args(), measure)


def measure(options: argparse.Namespace, seed: int) -> dict[str, dict[str, float]]:
    """Return the accuracies on the frozen and on the tuned backbone, for one seed."""
    split = split_folder(options.folder, options.photos, seed)
    labels = sorted({photo.label for photo in split.taught})
    pairs = list(itertools.combinations(labels, 2))
    # 3 is coprime to the number of pairs of 3 to 5 labels or more, so that neighboring seeds leave out other labels
    unseen = pairs[3 * seed % len(pairs)]
    backbone = load_tunable(options, [*split.taught, *split.tested])
    results = {}
    for way in ("frozen", "tuned"):
        if way == "tuned":
            photos = [photo for photo in split.tuning if photo.label not in unseen]
            backbone.tune(photos, epochs=options.epochs, seed=seed)
        results[way] = judge(backbone, split, unseen, way == "tuned", seed)
        rounded = {name: round(value, 4) for name, value in results[way].items()}
        print(f"seed {seed}, without {' and '.join(unseen)}, {way}: {rounded}", file=sys.stderr, flush=True)
    return results


def judge(
    backbone: Tunable, split: Split, unseen: tuple[str, ...], tuned: bool, seed: int
) -> dict[str, float]:
    """Return the accuracies of heads taught with few and with all photos."""
    taught, tested = backbone.embed(split.taught), backbone.embed(split.tested)
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


if __name__ == "__main__":
    main()
