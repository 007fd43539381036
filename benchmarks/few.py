"""The exact head against the other heads and offline logistic regression, from one sample per label to all.

Embeddings of a frozen int8 EfficientNet-Lite0 (`benchmarks.embeddings`). Every contestant learns the same samples and is
tested on the same ones; differences are paired over the draws. With `--uneven`, labels have between k and k / ratio
samples, and the figure is the balanced accuracy, against logistic regression with balanced class weights. The same draws
measure `priors="taught"` by the accuracy in the mix of labels that was taught. Cells that are not run keep their last figures.

Usage: python -m benchmarks.few [--shots 1 2 3 5 10 20 all] [--draws 10] [--uneven 5 20 100] [--sets NAME...]
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from .draws import standard_error
from .embeddings import load_each
from .heads_protocols import Task
from .machine import machine_info, parser_of, write_result
from .markdown import markdown_table
from .peers import Contestant, Features, Owners, contestants, offline, ours

SETS = ("flower-photos5", "elpv", "ants-bees", "digits", "digits-photos")
# `digits-products` is run by name: its 2,144 numbers take long
SHOTS = ("1", "2", "3", "5", "10", "20", "all")
RESULTS = Path(__file__).parent / "results" / "few.json"
OURS = "exact"
_TESTED = 600
_LIMIT = 0.005  # how far behind the best contestant the exact head may be
_UNEVEN_SHOTS = (20, 60)

Row = dict[str, list[float]]
Measure = Callable[[Owners, Owners, Owners], float]
"""(predictions [N], true classes [N], classes taught [n]) -> figure."""


class Plain:
    """scikit-learn's logistic regression with C = 10, where labels have too few samples to tune it."""

    weights: ClassVar[str | None] = None

    def __init__(self, dimensions: int, classes: int) -> None:
        self._model: Any = None

    def learn(self, features: Features, owners: Owners) -> None:
        """Fit."""
        from sklearn.linear_model import LogisticRegression

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._model = LogisticRegression(C=10, class_weight=self.weights, max_iter=200).fit(
                features, owners
            )

    def predict(self, features: Features) -> Owners:
        """Return the most probable class."""
        answers: Owners = self._model.predict(features)
        return answers


class Balanced(Plain):
    """The same with balanced class weights."""

    weights: ClassVar[str | None] = "balanced"


def main() -> None:
    """Run the comparison, print it and write `results/few.json`."""
    parser = parser_of(__doc__, out=RESULTS)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--shots", nargs="*", default=SHOTS)
    parser.add_argument("--uneven", nargs="*", type=int, default=(5, 20, 100))
    parser.add_argument("--draws", type=int, default=10)
    options = parser.parse_args()
    result: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    result |= {"machine": machine_info(), "draws": options.draws}
    for part in ("even", "uneven", "mix"):
        result.setdefault(part, {})
    for dataset in load_each(options.sets):
        name = dataset.name
        task = Task(dataset)
        for shots in options.shots:
            rows = _run(task, _contestants(task), options.draws, draw_even(task, shots), _accuracy)
            result["even"].setdefault(name, {})[shots] = rows
            print(f"{name}, {shots} per label: {_line(rows)}", flush=True)
        for ratio in options.uneven:
            for most in _UNEVEN_SHOTS:
                rows = _run(task, _balanced(), options.draws, _uneven(task, most, ratio), _balanced_accuracy)
                result["uneven"].setdefault(name, {})[f"{most}, {ratio}:1"] = rows
                print(f"{name}, up to {most} per label, {ratio}:1: {_line(rows)}", flush=True)
            rows = _run(task, _mixed(), options.draws, _uneven(task, most, ratio), _accuracy_in_the_mix)
            result["mix"].setdefault(name, {})[f"{most}, {ratio}:1"] = rows
            print(f"{name}, up to {most} per label, {ratio}:1, in this mix: {_line(rows)}", flush=True)
        write_result(result, options.out)


def page() -> str:
    """Return the tables for docs/heads.md, empty before the first run."""
    if not RESULTS.exists():
        return ""
    result = json.loads(RESULTS.read_text(encoding="utf-8"))
    text = f"\n## From one sample per label to all: exact against the best other, {result['draws']} draws\n\n"
    text += "Accuracy of exact, and its lead over the best of lda, ncm, softmax, knn and offline logistic regression on\n"
    text += "mapped and raw embeddings, with the standard error of the paired difference. The best one is chosen on the\n"
    text += "same draws, which favors the others. In *digits-products* all learn from the products of pixels that\n"
    text += "`edgetl convert --products` adds to short embeddings; the mean is that of the other five.\n\n"
    text += _rows(result["even"]) + _means(result["even"])
    text += "\nUneven labels: balanced accuracy, and the lead over the better of ncm and logistic regression with balanced\n"
    text += "class weights. *20, 5:1* draws between 20 and 4 samples per label.\n\n"
    text += _rows(result["uneven"])
    if result.get("mix"):
        text += "\nThe same draws with `--priors taught`: accuracy in the mix of labels that was taught, and the lead over the\n"
        text += "best of exact with even priors, lda and logistic regression.\n\n"
        text += _rows(result["mix"])
    return text


def _rows(results: dict[str, dict[str, Any]]) -> str:
    shots = list(next(iter(results.values())))
    lines = [[name, *(_cell(rows[at]) for at in shots)] for name, rows in results.items()]
    return markdown_table(["", *shots], lines)


def _means(results: dict[str, dict[str, Any]]) -> str:
    """Return a row with the mean over `SETS`, and the lead over the contestant with the best mean."""
    if not set(SETS) <= results.keys():
        return ""
    cells = []
    for at in results[SETS[0]]:
        names = set.intersection(*(set(results[name][at]) for name in SETS))
        means = {one: float(np.mean([results[name][at][one]["mean"] for name in SETS])) for one in names}
        best = max(names - {OURS}, key=lambda one: means[one])
        lead = 100 * (means[OURS] - means[best])
        cells.append(f"{means[OURS]:.3f}, {lead:+.1f} ({best.replace('logistic regression', 'LR')})")
    return "| " + " | ".join(["mean of the five", *cells]) + " |\n"


def _cell(rows: dict[str, Any]) -> str:
    best = _best(rows)
    lead, error = 100 * rows[best]["exact_ahead"], 100 * rows[best]["error"]
    return (
        f"{rows[OURS]['mean']:.3f}, {lead:+.1f} ± {error:.1f} ({best.replace('logistic regression', 'LR')})"
    )


def _best(rows: dict[str, Any]) -> str:
    return max((name for name in rows if name != OURS), key=lambda name: float(rows[name]["mean"]))


def _contestants(task: Task) -> list[Contestant]:
    wide = task.features["raw"].shape[1] > 2000
    heads = [one for one in contestants(river=False) if one.ours and not (wide and one.name == "softmax")]
    return [
        *heads,
        Contestant("logistic regression, mapped", offline.LogisticRegression),
        Contestant("logistic regression, raw", offline.LogisticRegression, "raw"),
    ]


def _balanced() -> list[Contestant]:
    heads = [one for one in contestants(river=False) if one.name in ("exact", "ncm")]
    return [*heads, Contestant("balanced logistic regression", Balanced)]


def draw_even(task: Task, shots: str) -> Callable[[np.random.Generator], tuple[Owners, Owners]]:
    """Return a function that draws `shots` samples per label and others to test on; three quarters for ``all``."""
    if shots == "all":
        return task.split
    return lambda random: task.shots(random, int(shots))


def _mixed() -> list[Contestant]:
    lda = [one for one in contestants(river=False) if one.name == "lda"]
    return [
        Contestant(OURS, ours.maker("exact", priors="taught"), ours=True),
        Contestant("exact, even priors", ours.maker("exact"), ours=True),
        *lda,
        Contestant("logistic regression, mapped", Plain),
    ]


def _uneven(task: Task, most: int, ratio: int) -> Callable[[np.random.Generator], tuple[Owners, Owners]]:
    """Return a function that draws from `most` down to `most / ratio` samples per label, in a geometric row."""

    def draw(random: np.random.Generator) -> tuple[Owners, Owners]:
        labels = random.permutation(len(task.labels))
        steps = np.linspace(0, 1, len(labels))
        counts = np.maximum(1, np.round(most * float(ratio) ** -steps)).astype(int)
        train = np.concatenate(
            [
                random.permutation(np.flatnonzero(task.owners == label))[:count]
                for label, count in zip(labels, counts, strict=True)
            ]
        )
        rest = np.setdiff1d(np.arange(len(task.owners)), train)
        return random.permutation(train), random.permutation(rest)[:_TESTED]

    return draw


def _run(
    task: Task,
    chosen: list[Contestant],
    draws: int,
    draw: Callable[[np.random.Generator], tuple[Owners, Owners]],
    measure: Measure,
) -> dict[str, Any]:
    values: Row = {one.name: [] for one in chosen}
    for number in range(draws):
        train, test = draw(np.random.default_rng([7, number]))
        for one in chosen:
            given = task.answers(one, task.taught(one, train), test)
            values[one.name].append(measure(given, task.owners[test], task.owners[train]))
    exact = np.array(values[OURS])
    return {name: _summary(np.array(row), exact) for name, row in values.items()}


def _summary(values: Features, exact: Features) -> dict[str, float]:
    ahead = exact - values
    return {
        "mean": round(float(values.mean()), 4),
        "exact_ahead": round(float(ahead.mean()), 4),
        "error": round(standard_error(ahead), 4),
    }


def _accuracy(given: Owners, truth: Owners, taught: Owners) -> float:
    return float((given == truth).mean())


def _balanced_accuracy(given: Owners, truth: Owners, taught: Owners) -> float:
    return float(np.mean(list(_recalls(given, truth).values())))


def _accuracy_in_the_mix(given: Owners, truth: Owners, taught: Owners) -> float:
    """Return the recalls, weighted by the shares of the labels that were taught."""
    recalls = _recalls(given, truth)
    weights = [float((taught == owner).mean()) for owner in recalls]
    return float(np.average(list(recalls.values()), weights=weights))


def _recalls(given: Owners, truth: Owners) -> dict[int, float]:
    return {int(owner): float((given[truth == owner] == owner).mean()) for owner in np.unique(truth)}


def _line(rows: dict[str, Any]) -> str:
    best = _best(rows)
    lead = rows[best]["exact_ahead"]
    verdict = "ahead" if lead >= 0 else "within half a point" if lead >= -_LIMIT else "behind"
    means = ", ".join(f"{name} {row['mean']:.3f}" for name, row in rows.items())
    return f"{means}; exact - {best} {lead:+.3f} ± {rows[best]['error']:.3f}, {verdict}"


if __name__ == "__main__":
    main()
