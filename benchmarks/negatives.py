"""What ten negatives or ten background samples change: false alarms, and the predictions of everything else.

Embeddings of a frozen int8 EfficientNet-Lite0 (`benchmarks.embeddings`). The exact head learns 20 samples per label. Then:

- ``background``: frames of a label that was never taught (of another set, where a set has two labels) are predicted as
  some label. Ten of those that were known are taught as background.
- ``not``: of the same frames, ten that were predicted as one label are taught as not that label.
- ``confused``: all labels are taught; ten frames of one label that were predicted as another are taught as not the other.

False alarms are counted on the other wrong frames, accuracy (the right label, and known) on held-out frames of the taught
labels. Differences are paired over the draws. All heads are measured on one of the sets.

With ``--costs``, only the processor time of a lesson and of a prediction is measured, with ten negatives and without.

Usage: python -m benchmarks.negatives [--sets NAME...] [--draws 10] [--samples 10] [--costs]
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.heads import HEADS, Head, Prediction, create_head
from device.heads.rejection import Rejection
from device.model.codes import Codes, encode
from device.negatives import BACKGROUND, negative_of

from .draws import standard_error
from .embeddings import Dataset, load, load_each
from .machine import machine_info, parser_of, write_result
from .markdown import markdown_table

SETS = ("flower-photos5", "digits-photos", "digits", "elpv", "ants-bees")
# whose frames are background for two labels
OTHER = {"elpv": "flower-photos5", "ants-bees": "flower-photos5"}
EVERY_HEAD = "flower-photos5"
RESULT = Path(__file__).parent / "results" / "negatives.json"
SHOTS = 20
_COUNTS = (50, 200, 1000)
_DIMENSIONS = 1280
_HELD_OUT = 80  # frames per label
_WRONG = 300  # wrong frames
_FEWEST = 5  # wrong frames left to judge on
_FEWEST_DRAWS = 5  # with enough false alarms; rows of fewer are left out of the docs
_NAMES = {"background": "background", "not": "not", "confused": "not, confused labels"}

Places = NDArray[np.intp]


@dataclass(frozen=True)
class Draw:
    """One draw of a set.

    Attributes:
        head: A head that has learned the samples of the labels.
        learned: Codes and labels of these samples.
        tested: Codes of held-out frames [N, D].
        truth: Their N labels.
        wrong: Codes of frames that are false alarms where they are known.
        wrong_label: Label of the wrong frames, if it is taught.
    """

    head: Head
    learned: tuple[Codes, list[str]]
    tested: Codes
    truth: NDArray[np.str_]
    wrong: Codes
    wrong_label: str | None


def main() -> None:
    """Run the benchmark, print it and write `results/negatives.json`."""
    parser = parser_of(__doc__, out=RESULT)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument(
        "--costs", action="store_true", help="Measure only the cost, and keep the other results."
    )
    options = parser.parse_args()
    if options.costs:
        kept = json.loads(RESULT.read_text(encoding="utf-8"))
        write_result(kept | {"costs": [cost(count) for count in _COUNTS]}, options.out)
        return
    rows = []
    for dataset in load_each(options.sets):
        for kind in _KINDS:
            for head in HEADS if dataset.name == EVERY_HEAD else ("exact",):
                row = measure(dataset, kind, head, options.draws, options.samples)
                rows += [row] if row else []
                print(json.dumps(row), flush=True)
    result = {"machine": machine_info(0), "shots": SHOTS, "samples": options.samples, "rows": rows}
    write_result(result, options.out)


def measure(dataset: Dataset, kind: str, head: str, draws: int, samples: int) -> dict[str, Any] | None:
    """Return the means over draws, or None if no draw has enough false alarms."""
    found = [
        one
        for number in range(draws)
        if (one := _KINDS[kind](draw(dataset, kind, head, number), samples, number))
    ]
    if not found:
        return None
    row: dict[str, Any] = {"set": dataset.name, "kind": kind, "head": head, "draws": len(found)}
    for name in found[0]:
        row[name] = round(float(np.mean([one[name] for one in found])), 4)
    lost = [one["accuracy_after"] - one["accuracy_before"] for one in found]
    row["accuracy_error"] = round(standard_error(lost), 4)
    return row


def cost(count: int) -> dict[str, float]:
    """Return the median milliseconds of processor time of a lesson with its prediction, and of a prediction alone."""
    random = np.random.default_rng(0)
    means = random.normal(size=(5, _DIMENSIONS))
    owners = np.arange(count + 30) % 5
    codes = encode(np.maximum(2 * means[owners] + 2 * random.normal(size=(len(owners), _DIMENSIONS)), 0))
    row: dict[str, float] = {"samples": count}
    for name in ("plain", "denied"):
        head = create_head("exact", _DIMENSIONS)
        head.learn_many(codes[:count], [str(owner) for owner in owners[:count]])
        rejection = Rejection.beside(head)
        if name == "denied" and rejection is not None:
            rejection.learn(codes[count : count + 10], [negative_of("0")] * 5 + [BACKGROUND] * 5)
            head.rejection = rejection
        head.predict_one(codes[0])
        lessons = [
            _milliseconds(partial(_taught, head, codes[at], str(owners[at])))
            for at in range(count + 10, count + 30)
        ]
        head.settle()
        predictions = [_milliseconds(partial(head.predict_one, codes[at])) for at in range(20)]
        row |= {f"lesson_{name}": round(float(np.median(lessons)), 3)}
        row |= {f"prediction_{name}": round(float(np.median(predictions)), 3)}
    return row


def _taught(head: Head, code: Codes, label: str) -> None:
    head.learn_one(code, label)
    if head.rejection is not None:
        head.rejection.learn(code[np.newaxis], [label])
    head.predict_one(code)


def _milliseconds(work: Callable[[], object]) -> float:
    started = time.thread_time()
    work()
    return 1e3 * (time.thread_time() - started)


def draw(dataset: Dataset, kind: str, name: str, number: int) -> Draw:
    """Return a draw: a head with `SHOTS` samples per label, held-out frames and wrong frames."""
    random = np.random.default_rng([13, number])
    names, codes = sorted(set(dataset.labels.tolist())), dataset.codes
    strange = names[number % len(names)]
    other = OTHER.get(dataset.name)
    taught = names if kind == "confused" or other else [one for one in names if one != strange]
    order = {one: random.permutation(np.flatnonzero(dataset.labels == one)) for one in names}
    head = create_head(name, codes.shape[1])
    mine = np.concatenate([order[one][:SHOTS] for one in taught])
    labels = [str(label) for label in dataset.labels[mine]]
    head.learn_many(codes[mine], labels)
    tested = np.concatenate([order[one][SHOTS : SHOTS + _HELD_OUT] for one in taught])
    if kind == "confused":
        wrong = codes[order[strange][SHOTS + _HELD_OUT :][:_WRONG]]
    elif other:
        wrong = random.permutation(_codes_of(other))[:_WRONG]
    else:
        wrong = codes[order[strange][:_WRONG]]
    truth = dataset.labels[tested]
    return Draw(
        head, (codes[mine], labels), codes[tested], truth, wrong, strange if kind == "confused" else None
    )


def _background(one: Draw, samples: int, number: int) -> dict[str, float] | None:
    alarms = np.array([found.known for found in one.head.predict_many(one.wrong)])
    return _judged(one, alarms, BACKGROUND, samples, number, lambda found: found.known)


def _denied(one: Draw, samples: int, number: int) -> dict[str, float] | None:
    answers = one.head.predict_many(one.wrong)
    false = [found.label for found in answers if found.known and found.label != one.wrong_label]
    if not false:
        return None
    label = max(sorted(set(false)), key=false.count)
    alarms = np.array([found.known and found.label == label for found in answers])
    return _judged(
        one, alarms, negative_of(label), samples, number, lambda found: found.known and found.label == label
    )


_KINDS: dict[str, Callable[[Draw, int, int], dict[str, float] | None]] = {
    "background": _background,
    "not": _denied,
    "confused": _denied,
}


def _judged(
    one: Draw,
    alarms: NDArray[np.bool_],
    stored: str,
    samples: int,
    number: int,
    alarm: Callable[[Prediction], bool],
) -> dict[str, float] | None:
    """Teach some of the false alarms under `stored`, and return the shares before and after on the other frames."""
    false = np.random.default_rng([17, number]).permutation(np.flatnonzero(alarms))
    lesson = false[: min(samples, len(false) - _FEWEST)]
    if not len(false) > _FEWEST:
        return None
    rest = np.setdiff1d(np.arange(len(one.wrong)), lesson)
    before = one.head.predict_many(one.tested), one.head.predict_many(one.wrong[rest])
    rejection = Rejection.beside(one.head) or _rejection(one)
    rejection.learn(one.wrong[lesson], [stored] * len(lesson))
    one.head.rejection = rejection
    after = one.head.predict_many(one.tested), one.head.predict_many(one.wrong[rest])
    taught = one.head.predict_many(one.wrong[lesson])
    return {
        "samples": len(lesson),
        "alarms_before": float(np.mean([alarm(found) for found in before[1]])),
        "alarms_after": float(np.mean([alarm(found) for found in after[1]])),
        "taught_still_wrong": float(np.mean([alarm(found) for found in taught])),
        "accuracy_before": _accuracy(before[0], one.truth),
        "accuracy_after": _accuracy(after[0], one.truth),
        **_recovered(before[1], after[1], one.wrong_label),
    }


def _rejection(one: Draw) -> Rejection:
    rejection = Rejection(one.head.dimensions)
    rejection.learn(*one.learned)
    return rejection


def _recovered(before: list[Prediction], after: list[Prediction], label: str | None) -> dict[str, float]:
    """Return the share of the wrong frames that get their own label, where it is taught."""
    if label is None:
        return {}
    return {
        "own_label_before": float(np.mean([one.known and one.label == label for one in before])),
        "own_label_after": float(np.mean([one.known and one.label == label for one in after])),
    }


def _accuracy(predictions: list[Prediction], truth: NDArray[np.str_]) -> float:
    return float(
        np.mean([one.known and one.label == label for one, label in zip(predictions, truth, strict=True)])
    )


def _codes_of(name: str) -> Codes:
    dataset = load(name)
    if dataset is None:
        raise SystemExit(f"{name} is not available; set EDGETL_DEV_DATA")
    return dataset.codes


def page() -> str:
    """Return the table for docs/negatives.md, empty before the first run."""
    if not RESULT.exists():
        return ""
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    machine = result["machine"]
    header = ["set, head", "taught", "false alarms before", "after", "accuracy before", "after"]
    table = markdown_table(header, [_cells(row) for row in result["rows"] if row["draws"] >= _FEWEST_DRAWS])
    count, versions = result["samples"], machine["versions"]
    return (
        f"`python -m benchmarks.negatives`: {result['shots']} samples per label, at most {count} negatives or background "
        "samples, mean of up to 10\ndraws and the standard error of the paired difference in accuracy; int8 EfficientNet-Lite0. "
        f"{machine['cpu']}, {machine['system']}, Python {machine['python']},\n{machine['runtime']}, NumPy {versions['numpy']}. "
        f"Accuracy means the right label, and known.\n\n{table}{_costs(result.get('costs', []))}"
    )


def _costs(rows: list[dict[str, float]]) -> str:
    """Return the table of what ten negatives cost, empty before it was measured."""
    if not rows:
        return ""
    header = ("samples", "lesson and prediction", "with negatives", "prediction", "with negatives")
    lines = []
    for row in rows:
        times = [row[f"{step}_{name}"] for step in ("lesson", "prediction") for name in ("plain", "denied")]
        lines.append([int(row["samples"]), *(f"{value:.2f} ms" for value in times)])
    how = f"Median processor time of one thread, exact head, 5 labels, {_DIMENSIONS} dimensions (`--costs`)"
    return f"\n{how}:\n\n{markdown_table(header, lines)}"


def _cells(row: dict[str, Any]) -> list[str]:
    before, after = row["accuracy_before"], row["accuracy_after"]
    return [
        f"{row['set']}, {row['head']}",
        _NAMES[row["kind"]],
        f"{row['alarms_before']:.1%}",
        f"{row['alarms_after']:.1%}",
        f"{before:.1%}",
        f"{after:.1%} ({100 * (after - before):+.1f} ± {100 * row['accuracy_error']:.1f})",
    ]


if __name__ == "__main__":
    main()
