"""How long does one more sample take until the new head is active, compared with an embedding and with other ways to learn?

Usage: ``python -m benchmarks.update [MODEL] [--samples 200] [--lessons 40] [--check]``

A lesson is one sample learned and one prediction. All contestants have learned the same samples before: random directions
around the mean of their label, with as many numbers as the model's embedding. Their lessons and embeddings alternate
in one process, and the processor time is compared, with BLAS on one thread. Coral's recipe trains its head again on all
samples; scikit-learn, River and the ``train`` signature take one step on the new one, and forget what they do not see again.
How accurate each of them is, is shown in docs/heads.md.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from device.cameras.fake import draw
from device.heads import create_head
from device.heads.trainer import SignatureTrainer
from device.model.codes import Codes, apply_map, encode
from device.model.embedder import Embedder
from device.model.modelfile import ModelFile
from device.model.runtime import open_interpreter

from .figures import Figure
from .machine import model_to_measure, percentiles
from .measurement import Measurement, Table, question_parser
from .peers import Features, Owners, Peer, coral, offline, streaming

LABELS = 10
SEED = 0
_SLOW_LESSONS = 3


@dataclass(frozen=True)
class Samples:
    """What all contestants learn.

    Attributes:
        embeddings: float32 [N, D].
        codes: What our heads receive, int16 [N, D].
        features: The mapped embeddings, float64 [N, D].
        owners: The class of each, [N].
    """

    embeddings: NDArray[np.float32]
    codes: Codes
    features: Features
    owners: Owners


@dataclass(frozen=True)
class Contestant:
    """A way to learn.

    Attributes:
        name: Its name in the table.
        lesson: Learns the sample with this number, and predicts it.
        slow: Whether a lesson takes so long that few are measured.
        note: What the table shows beside it.
    """

    name: str
    lesson: Callable[[int], Any]
    slow: bool = False
    note: str = ""


def samples(count: int, dimensions: int, seed: int = SEED) -> Samples:
    """Draw samples of ten classes in turn."""
    random = np.random.default_rng(seed)
    means = 2 * random.normal(size=(LABELS, dimensions))
    owners = np.arange(count) % LABELS
    embeddings = np.maximum(means[owners] + 2 * random.normal(size=(count, dimensions)), 0).astype(np.float32)
    return Samples(embeddings, encode(embeddings), apply_map(embeddings), owners)


def contestants(model: Path, drawn: Samples, known: int) -> list[Contestant]:
    """Return all contestants that are installed; each has learned the first `known` samples."""
    found = [
        Contestant("edgetl, exact head", _ours("exact", drawn, known), note="keeps everything"),
        Contestant("edgetl, softmax head", _ours("softmax", drawn, known), note="replays samples"),
        Contestant("train signature, one step", _signature(model, drawn, known), note="forgets"),
        Contestant("Coral imprinting", _peer(coral.Imprinting, drawn, known), note="a mean per label"),
        Contestant(
            "Coral SGD, 500 iterations",
            _peer(coral.SoftmaxRegression, drawn, known),
            slow=True,
            note="trains again on all samples",
        ),
        Contestant("scikit-learn partial_fit", _peer(streaming.PartialFit, drawn, known), note="forgets"),
        Contestant(
            "scikit-learn logistic regression",
            _peer(offline.LogisticRegression, drawn, known),
            slow=True,
            note="trains again on all samples",
        ),
    ]
    if streaming.has_river():
        river = _peer(streaming.RiverSoftmax, drawn, known)
        found.append(Contestant("River softmax regression", river, slow=True, note="forgets"))
    return found


def measure(model: Path, count: int, lessons: int) -> dict[str, Any]:
    """Time the lessons of all contestants, and embeddings between them."""
    opened = ModelFile.open(model)
    embedder, frame = Embedder(opened, threads=1), draw("red")
    drawn = samples(count + lessons + 1, opened.manifest.dimensions)
    with threadpool_limits(1, user_api="blas"):
        entered = contestants(model, drawn, count)
        times: dict[str, list[float]] = {one.name: [] for one in entered}
        embeddings: list[float] = []
        for number in range(lessons + 1):
            for one in entered:
                if number <= (min(lessons, _SLOW_LESSONS) if one.slow else lessons):
                    seconds = _processor(lambda one=one, number=number: one.lesson(count + number))  # type: ignore[misc]
                    times[one.name] += [seconds] if number else []
            embeddings += [_processor(lambda: embedder.embed_one(frame))] if number else []
    unit = statistics.median(embeddings)
    rows = {one.name: {**percentiles(times[one.name]), "note": one.note, "slow": one.slow} for one in entered}
    return {
        "samples": count,
        "labels": LABELS,
        "dimensions": opened.manifest.dimensions,
        "embedding_ms": round(1000 * unit, 3),
        "lessons": rows,
    }


def _ours(name: str, drawn: Samples, known: int) -> Callable[[int], Any]:
    head = create_head(name, drawn.codes.shape[1])
    labels = [f"label {owner}" for owner in drawn.owners]
    head.learn_many(drawn.codes[:known], labels[:known])
    head.settle()

    def lesson(number: int) -> Any:
        head.learn_one(drawn.codes[number], labels[number])
        return head.predict_one(drawn.codes[number])

    return lesson


def _peer(make: Callable[[int, int], Peer], drawn: Samples, known: int) -> Callable[[int], Any]:
    peer = make(drawn.features.shape[1], LABELS)
    peer.learn(drawn.features[:known], drawn.owners[:known])

    def lesson(number: int) -> Any:
        peer.learn(drawn.features[number : number + 1], drawn.owners[number : number + 1])
        return peer.predict(drawn.features[number : number + 1])

    return lesson


def _signature(model: Path, drawn: Samples, known: int) -> Callable[[int], Any]:
    interpreter = open_interpreter(model, threads=1)
    trainer, classify = SignatureTrainer(interpreter), interpreter.get_signature_runner("classify")
    if trainer.capacity < LABELS:
        raise SystemExit(f"{model.name} has room for {trainer.capacity} labels, expected at least {LABELS}")
    targets = np.eye(trainer.capacity, dtype=np.float32)[drawn.owners]
    for number in range(known):
        trainer.train(drawn.embeddings[number : number + 1], targets[number : number + 1], 0.05)

    def lesson(number: int) -> Any:
        one = drawn.embeddings[number : number + 1]
        trainer.train(one, targets[number : number + 1], 0.05)
        return classify(embedding=one)["probabilities"]

    return lesson


def _processor(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def figures(result: dict[str, Any]) -> list[Figure]:
    """Return what is compared: our lesson beside an embedding, and beside those of the others."""
    rows = result["lessons"]
    own = rows["edgetl, exact head"]["p50_ms"]
    found = [Figure("lesson / embedding", round(own / result["embedding_ms"], 4), tolerance=1.4, goal=1.0)]
    for name, row in rows.items():
        if not name.startswith("edgetl"):
            ratio = round(own / max(row["p50_ms"], 1e-6), 5)
            found.append(Figure(f"lesson / {name}", ratio, tolerance=3 if row["slow"] else 2))
    found.append(Figure("lesson", own, "ms", tolerance=1.6))
    found.append(Figure("lesson, p95", rows["edgetl, exact head"]["p95_ms"], "ms", tolerance=2))
    return found


def table(result: dict[str, Any]) -> Table:
    """Return all contestants, the fastest first."""
    unit = result["embedding_ms"]
    rows = sorted(result["lessons"].items(), key=lambda pair: float(pair[1]["p50_ms"]))
    return Table(
        f"One more sample after {result['samples']}, {result['labels']} labels, {result['dimensions']} numbers",
        ("way to learn", "lesson, p50, ms", "p95, ms", "embeddings", ""),
        tuple((name, row["p50_ms"], row["p95_ms"], row["p50_ms"] / unit, row["note"]) for name, row in rows),
        f"Processor time. An embedding takes {unit} ms on one thread; the third column of numbers is p50 in embeddings. "
        + ("" if "River softmax regression" in result["lessons"] else "River was not installed."),
    )


def main() -> None:
    """Measure and write the result."""
    parser = question_parser("update", __doc__, model=True)
    parser.add_argument("--samples", type=int, default=200, help="Samples learned before.  [default: 200]")
    parser.add_argument("--lessons", type=int, default=40, help="Lessons of each.  [default: 40]")
    options = parser.parse_args()
    model = model_to_measure(options.model)
    measurement = Measurement("update", SEED)
    result = measure(model, options.samples, options.lessons)
    measurement.finish(measurement.result(figures(result), [table(result)], result), options)


if __name__ == "__main__":
    main()
