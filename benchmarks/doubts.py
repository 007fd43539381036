"""Does the order of the queue of uncertain frames help: the first n labels against n random frames.

A head learns a few samples per label. Then a stream of frames is offered to the queue that the page uses
(`device.learner.doubts`), of which only the uncertain ones, no two alike, are kept. Labeled are

- the first n frames of the queue, all at once,
- the first frame of the queue, n times, with the queue sorted again after each label, as on the page,
- the n frames of the smallest margin among all frames of the stream, and
- n random frames of the stream.

The accuracy is that on held-out photos; differences to random frames are paired over the draws.

Usage: python -m benchmarks.doubts [--sets NAME...] [--shots 3] [--draws 10]
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.heads import Head, create_head
from device.heads.influence import look
from device.learner.doubt import uncertainty
from device.learner.doubts import LIMIT, Doubts
from device.model.codes import Codes, encode

from .draws import standard_error
from .embeddings import Dataset, load_each
from .machine import machine_info, parser_of, write_result

SETS = ("flower-photos5", "elpv", "ants-bees", "digits", "digits-photos")
NUMBERS = (5, 10, 20, 40)
STREAM, TESTED = 300, 400
RESULTS = Path(__file__).parent / "results" / "doubts.json"
ORDERS = ("queue, at once", "queue, one by one", "smallest margin", "random")

Places = NDArray[np.intp]


def main() -> None:
    """Run the comparison, print it and write `results/doubts.json`."""
    parser = parser_of(__doc__, out=RESULTS)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--shots", type=int, default=3, help="Samples per label before.")
    parser.add_argument("--draws", type=int, default=10)
    options = parser.parse_args()
    result: dict[str, Any] = {
        "machine": machine_info(), "draws": options.draws, "shots": options.shots, "sets": {},
    }  # fmt: skip
    for dataset in load_each(options.sets):
        name = dataset.name
        rows = [measure(dataset, draw, options.shots) for draw in range(options.draws)]
        result["sets"][name] = summarize(rows)
        print(f"{name}:\n{_table(result['sets'][name])}", flush=True)
    write_result(result, options.out)


def measure(dataset: Dataset, draw: int, shots: int, stream: int = STREAM) -> dict[str, Any]:
    """Return the accuracy before, the number of queued frames, and the accuracies per order and number of labels."""
    random = np.random.default_rng([11, draw])
    shuffled = random.permutation(len(dataset.labels))
    test, rest = shuffled[: min(TESTED, len(shuffled) // 3)], shuffled[min(TESTED, len(shuffled) // 3) :]
    names = np.unique(dataset.labels)
    first = np.concatenate([rest[dataset.labels[rest] == name][:shots] for name in names])
    pool = np.setdiff1d(rest, first)
    pool = random.permutation(pool)[:stream]
    codes, labels = dataset.codes, [str(label) for label in dataset.labels]
    head = create_head("exact", codes.shape[1])
    head.learn_many(codes[first], [labels[at] for at in first])
    most = max(NUMBERS)
    found = {
        "random": random.permutation(pool)[:most],
        "smallest margin": _by_margin(head, codes, pool)[:most],
    }
    queue = _Queue(head.clone(), dataset, pool)
    found["queue, at once"] = queue.places()[:most]
    found["queue, one by one"] = queue.labeled_one_by_one(labels, most)
    return {
        "before": _accuracy(head, codes[test], dataset.labels[test]),
        "queued": queue.queued,
        "after": {
            order: {str(n): _taught(head, dataset, places[:n], test) for n in NUMBERS}
            for order, places in found.items()
        },
    }


class _Queue:
    """The queue of the page, after a stream of frames.

    Args:
        head: Learns what is labeled.
        dataset: The frames.
        pool: int [n], the frames of the stream.
    """

    def __init__(self, head: Head, dataset: Dataset, pool: Places) -> None:
        self._head, self._codes, self._embeddings = head, dataset.codes, dataset.embeddings
        self._mark = 0
        self._doubts = Doubts(
            lambda codes, seen: look(head, codes, seen),
            lambda: self._mark,
            encode,
            self._codes.shape[1],
            limit=LIMIT,
        )
        self._place = {dataset.embeddings[at].tobytes(): int(at) for at in pool}
        self._offer(pool)
        self.queued = len(self.places())

    def _offer(self, pool: Places) -> None:
        predictions = self._head.predict_many(self._codes[pool], all_scores=True)
        for at, prediction in zip(pool, predictions, strict=True):
            self._doubts.offer(self._embeddings[at], prediction, lambda: b"")

    def places(self) -> Places:
        """Return the frames in the order of the queue."""
        return np.array([self._place[one.embedding.tobytes()] for one in self._doubts.items()], np.intp)

    def labeled_one_by_one(self, labels: list[str], most: int) -> Places:
        """Label the first frame again and again, and return what was labeled."""
        chosen: list[int] = []
        while len(chosen) < most and (listed := self._doubts.items()):
            at = self._place[listed[0].embedding.tobytes()]
            self._head.learn_one(self._codes[at], labels[at])
            self._doubts.settle([listed[0].id])
            self._doubts.drop_like(listed[0].embedding)
            self._mark += 1
            chosen.append(at)
        return np.array(chosen, np.intp)


def _by_margin(head: Head, codes: Codes, pool: Places) -> Places:
    predictions = head.predict_many(codes[pool], all_scores=True)
    return pool[np.argsort([-uncertainty(one) for one in predictions], kind="stable")]


def _taught(head: Head, dataset: Dataset, places: Places, test: Places) -> float:
    taught = head.clone()
    taught.learn_many(dataset.codes[places], [str(dataset.labels[at]) for at in places])
    return _accuracy(taught, dataset.codes[test], dataset.labels[test])


def _accuracy(head: Head, codes: Codes, truth: NDArray[np.str_]) -> float:
    answers = np.array(head.labels)[head.probabilities(codes).argmax(axis=1)]
    return float((answers == truth).mean())


def summarize(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return means, and the mean lead over random frames with its standard error."""
    table: dict[str, Any] = {}
    for order in ORDERS:
        for n in map(str, NUMBERS):
            values = np.array([row["after"][order][n] for row in rows])
            ahead = values - [row["after"]["random"][n] for row in rows]
            table.setdefault(order, {})[n] = {
                "mean": round(float(values.mean()), 4),
                "ahead": round(float(ahead.mean()), 4),
                "error": round(standard_error(ahead), 4),
            }
    return {
        "before": round(float(np.mean([row["before"] for row in rows])), 4),
        "queued": round(float(np.mean([row["queued"] for row in rows])), 1),
        "after": table,
    }


def page() -> str:
    """Return the table for docs/heads.md, empty before the first run."""
    if not RESULTS.exists():
        return ""
    result = json.loads(RESULTS.read_text(encoding="utf-8"))
    text = "| set | before | labels | " + " | ".join(ORDERS) + " |\n" + "|---" * (3 + len(ORDERS)) + "|\n"
    for name, found in result["sets"].items():
        for n in map(str, NUMBERS):
            cells = [_cell(found["after"][order][n], order) for order in ORDERS]
            text += f"| {name} | {found['before']:.3f} | {n} | {' | '.join(cells)} |\n"
    return text


def _cell(figures: dict[str, float], order: str) -> str:
    if order == "random":
        return f"{figures['mean']:.3f}"
    return f"{figures['mean']:.3f} ({100 * figures['ahead']:+.1f} ± {100 * figures['error']:.1f})"


def _table(found: dict[str, Any]) -> str:
    lines = [f"  before {found['before']:.3f}, {found['queued']} frames queued"]
    lines += [
        f"  {order:18} "
        + "  ".join(f"{n}: {_cell(found['after'][order][n], order)}" for n in map(str, NUMBERS))
        for order in ORDERS
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
