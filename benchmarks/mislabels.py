"""Are mislabeled samples found: precision and recall where one sample in twenty has a wrong label.

The labels of 5 % of the groups of near-duplicates are changed, all samples of a group alike, to another label drawn evenly. The
exact head learns everything, and its report names suspects. Compared are

- the rule of `device.heads.mislabels`,
- the head alone, without the neighbors, and
- the head alone with the limit of version 0.1: any sample whose own label has a probability below .25.

``suggested`` is the share of the mislabeled samples found for which the suggested label is the right one; ``gain`` is the
change of the accuracy on held-out samples if every suspect gets its suggested label, without looking at it.

Usage: python -m benchmarks.mislabels [--sets NAME...] [--noise 0.05] [--draws 10]
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.heads import Head, create_head
from device.heads.base import softmax
from device.heads.folds import balanced
from device.heads.mislabels import IMPROBABLE, find_mislabels
from device.heads.report import near_duplicates
from device.model.codes import Codes

from .draws import standard_error
from .embeddings import Dataset, load_each
from .machine import machine_info, parser_of, write_result

SETS = ("flower-photos5", "elpv", "ants-bees", "digits", "digits-photos")
RESULTS = Path(__file__).parent / "results" / "mislabels.json"
RULES = ("head and neighbors", "head alone, p < .1", "head alone, p < .25")
_MOST = 1000  # samples that are taught
_TESTED = 400

Places = NDArray[np.int64]


def main() -> None:
    """Run the benchmark, print it and write `results/mislabels.json`."""
    parser = parser_of(__doc__, out=RESULTS)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--noise", type=float, default=0.05, help="Share of the groups with a wrong label.")
    parser.add_argument("--draws", type=int, default=10)
    options = parser.parse_args()
    result: dict[str, Any] = {
        "machine": machine_info(), "draws": options.draws, "noise": options.noise, "sets": {},
    }  # fmt: skip
    for dataset in load_each(options.sets):
        name = dataset.name
        rows = [measure(dataset, draw, options.noise) for draw in range(options.draws)]
        result["sets"][name] = summarize(rows)
        for rule, figures in result["sets"][name].items():
            print(f"{name}, {rule}: {figures}", flush=True)
    write_result(result, options.out)


def measure(dataset: Dataset, draw: int, noise: float, most: int = _MOST) -> dict[str, dict[str, float]]:
    """Return precision, recall, the share of right suggestions and the gain, per rule."""
    random = np.random.default_rng([13, draw])
    shuffled = random.permutation(len(dataset.labels))
    test = shuffled[: min(_TESTED, len(shuffled) // 4)]
    taken = shuffled[len(test) :][:most]
    names, truth = np.unique(dataset.labels, return_inverse=True)
    codes, owners = dataset.codes[taken], truth[taken].astype(np.int64)
    groups = near_duplicates(codes, owners, np.arange(len(taken)))
    given, wrong = mislabel(owners, groups, len(names), noise, random)
    labels = [str(name) for name in names]
    head = _learned(codes, given, labels)
    together = balanced(given, groups)
    probabilities = softmax(head.leave_out(codes, [labels[at] for at in given], together))
    held_out = dataset.codes[test], truth[test]
    before = _accuracy(head, labels, *held_out)
    found = {}
    for rule, places in zip(RULES, _suspects(probabilities, codes, given, groups), strict=True):
        corrected = given.copy()
        corrected[places] = probabilities[places].argmax(axis=1)
        hit = wrong[places]
        found[rule] = {
            "precision": float(hit.mean()) if len(places) else 1.0,
            "recall": float(hit.sum() / wrong.sum()),
            "suggested": float((corrected[places[hit]] == owners[places[hit]]).mean()) if hit.any() else 1.0,
            "gain": _accuracy(_learned(codes, corrected, labels), labels, *held_out) - before,
        }
    return found


def mislabel(
    owners: Places, groups: Places, classes: int, noise: float, random: np.random.Generator
) -> tuple[Places, NDArray[np.bool_]]:
    """Return labels of which those of a share of the groups are wrong, and which samples are in these groups."""
    shuffled = random.permutation(np.unique(groups))
    chosen = shuffled[: max(1, round(noise * len(shuffled)))]
    given, wrong = owners.copy(), np.isin(groups, chosen)
    for group in chosen:
        members = groups == group
        given[members] = (owners[members] + random.integers(1, classes)) % classes
    return given, wrong


def _suspects(
    probabilities: NDArray[np.float64], codes: Codes, given: Places, groups: Places
) -> list[Places]:
    own = probabilities[np.arange(len(given)), given]
    differs = probabilities.argmax(axis=1) != given
    ours = find_mislabels(probabilities, codes, given, groups, np.ones(len(given), bool))
    return [ours, np.flatnonzero(differs & (own < IMPROBABLE)), np.flatnonzero(differs & (own < 0.25))]


def _learned(codes: Codes, owners: Places, labels: list[str]) -> Head:
    head = create_head("exact", codes.shape[1])
    head.learn_many(codes, [labels[at] for at in owners])
    return head


def _accuracy(head: Head, labels: list[str], codes: Codes, truth: Places) -> float:
    answers = np.array([labels.index(label) for label in head.labels])[
        head.probabilities(codes).argmax(axis=1)
    ]
    return float((answers == truth).mean())


def summarize(rows: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, list[float]]]:
    """Return mean and standard error per rule and figure."""
    summary: dict[str, dict[str, list[float]]] = {}
    for rule in RULES:
        for figure in rows[0][rule]:
            values = np.array([row[rule][figure] for row in rows])
            summary.setdefault(rule, {})[figure] = [
                round(float(values.mean()), 4),
                round(standard_error(values), 4),
            ]
    return summary


def page() -> str:
    """Return the table for the documents, empty before the first run."""
    if not RESULTS.exists():
        return ""
    result = json.loads(RESULTS.read_text(encoding="utf-8"))
    text = "| set | rule | precision | recall | right suggestion | accuracy if all are relabeled |\n"
    text += "|---|---|---|---|---|---|\n"
    for name, rules in result["sets"].items():
        for rule, figures in rules.items():
            cells = [f"{mean:.2f} ± {error:.2f}" for mean, error in (figures["precision"], figures["recall"])]
            mean, error = figures["gain"]
            cells += [f"{figures['suggested'][0]:.2f}", f"{100 * mean:+.1f} ± {100 * error:.1f}"]
            text += f"| {name} | {rule} | {' | '.join(cells)} |\n"
    return text


if __name__ == "__main__":
    main()
