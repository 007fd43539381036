"""The field part of the demo: a device sees cells through a camera, is taught, and is tested.

It runs in a separate process (``python -m edgetl.demo.field PLAN.json``), as on a Pi. TensorFlow is never imported
here, and the process exits with an error if anything imports it. Progress is written to stdout, one JSON object per
line; the result is written to the file that the plan names.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from device.cameras import Frame, open_camera
from device.files import atomic_output
from device.heads import Head, Prediction
from device.learner import Learner
from device.model.codes import Codes, encode
from device.system import health

from ..errors import EdgetlError, TrainingError
from .data import ANSWERS, Layout
from .results import Example, FieldResult, Guess, Matrix, Score, Spread, Step, Times

ORDERS = 10  # number of other teaching orders to compare the curve with
EXAMPLES = 12
FIRST_TIMED = 200  # the head is timed at every tenth of these cells, then at every fiftieth


@dataclass(frozen=True)
class Plan:
    """The task of the device process.

    Attributes:
        model: The model file.
        state: The state file to create.
        photos: The folder that `data.lay_out` filled.
        steps: Numbers of taught cells after which the device is tested; larger numbers mean all cells.
        seed: Seed for the other teaching orders.
        out: The JSON file to write the result to.
    """

    model: Path
    state: Path
    photos: Path
    steps: tuple[int, ...]
    seed: int
    out: Path

    def save(self, path: Path) -> None:
        """Write the plan as JSON."""
        fields = {
            name: str(value) if isinstance(value, Path) else value for name, value in vars(self).items()
        }
        path.write_text(json.dumps(fields), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Read a plan that `save` wrote."""
        fields = json.loads(path.read_text(encoding="utf-8"))
        paths = {name: Path(fields[name]) for name in ("model", "state", "photos", "out")}
        return cls(steps=tuple(fields["steps"]), seed=fields["seed"], **paths)


@dataclass(frozen=True)
class Row:
    """Embedded cells of one folder, with their true labels."""

    codes: Codes  # int16 [N, D]
    labels: list[str]
    photos: list[str]


class FieldDevice:
    """A device in the field, with a person beside it who knows the labels."""

    def __init__(self, learner: Learner, plan: Plan) -> None:
        self.learner = learner
        self.plan = plan
        self.layout = Layout.of(plan.photos)
        self.answers: dict[str, str] = json.loads((plan.photos / ANSWERS).read_text(encoding="utf-8"))
        self.embedding: list[float] = []  # seconds, as in the two below
        self.head: list[float] = []
        self.durable: list[float] = []

    def look(self, folder: Path, stage: str) -> Row:
        """Embed every cell of a folder."""
        embeddings, labels, photos = [], [], []
        for frame, label in self._frames(folder, stage):
            embeddings.append(self._embed(frame))
            labels.append(label)
            photos.append(f"{folder.name}/{frame.source}")
        return Row(self._codes(np.stack(embeddings)), labels, photos)

    def teach(self, stage: str) -> Iterator[int]:
        """Teach the field's cells one by one, and yield the number of cells taught so far."""
        for done, (frame, label) in enumerate(self._frames(self.layout.field, stage), 1):
            embedding = self._embed(frame)
            start = time.perf_counter()
            self.learner.learn_one(frame.image, label, frame.source, embedding=embedding)
            self.durable.append(time.perf_counter() - start)
            if done % (10 if done <= FIRST_TIMED else 50) == 0:
                self._time_head(embedding)
            yield done

    def _frames(self, folder: Path, stage: str) -> Iterator[tuple[Frame, str]]:
        total = sum(name.startswith(f"{folder.name}/") for name in self.answers)
        with open_camera(folder) as camera:
            for done, frame in enumerate(camera, 1):
                yield frame, self.answers[f"{folder.name}/{frame.source}"]
                report_progress(stage, done, total)

    def _embed(self, frame: Frame) -> NDArray[np.float32]:
        start = time.perf_counter()
        embedding = self.learner.embed_one(frame.image)
        self.embedding.append(time.perf_counter() - start)
        return embedding

    def _time_head(self, embedding: NDArray[np.float32]) -> None:
        # `learn_one` has just added the sample to the sums; the first prediction after it includes the solve
        start = time.perf_counter()
        self.learner.predict_embedding(embedding)
        self.head.append(time.perf_counter() - start + self.durable[-1])

    def _codes(self, embeddings: NDArray[np.float32]) -> Codes:
        return encode(embeddings, self.learner.model.manifest.embedding_map)


def run(plan: Plan) -> FieldResult:
    """Test the device, teach it, and test it again.

    Raises:
        TrainingError: TensorFlow was imported.
    """
    start = time.perf_counter()
    with Learner.open(plan.model, plan.state) as learner:
        device = FieldDevice(learner, plan)
        field = device.look(device.layout.field_held_out, "embedding held-out field cells")
        lab = device.look(device.layout.lab_held_out, "embedding held-out lab cells")
        host_head = learner.head.clone()
        before = host_head.predict_many(field.codes)
        steps = [_step(0, host_head, field, lab)]
        for done in device.teach("teaching the field's cells"):
            if done in plan.steps:
                steps.append(_step(done, learner.head, field, lab))
        if steps[-1]["taught"] != done:
            steps.append(_step(done, learner.head, field, lab))
        after = learner.head.predict_many(field.codes)
        spread = _other_orders(host_head, _pool(learner, device), field, steps, plan.seed)
        status = learner.status(wait=True)
        labels = list(learner.labels)
        refuse_tensorflow()
        return FieldResult(
            labels=labels,
            runtime=str(learner.runtime),
            threads=learner.embedder.threads,
            machine=health.describe_machine(),
            tensorflow_imported=False,
            steps=steps,
            spread=spread,
            confusion_before=confusion(field.labels, before, labels),
            confusion_after=confusion(field.labels, after, labels),
            times={
                "embedding": times(device.embedding),
                "head": times(device.head),
                "durable": times(device.durable),
            },
            taught=status.samples,
            host_memory=status.host,
            estimate=round(status.accuracy, 4) if status.accuracy is not None else None,
            examples=_examples(field, before, after),
            state_bytes=int(status.state["bytes"]),
            head={"name": learner.head.name, "digest": learner.head.digest()},
            seconds=round(time.perf_counter() - start, 1),
            when=time.strftime("%Y-%m-%d %H:%M"),
        )


def score(truth: Sequence[str], answers: Sequence[Prediction]) -> Score:
    """Return the accuracy of predictions."""
    right = np.array([answer.label == label for answer, label in zip(answers, truth, strict=True)])
    names = np.array(truth)
    return Score(
        cells=len(names),
        accuracy=round(float(right.mean()), 4),
        balanced=round(float(np.mean([right[names == name].mean() for name in np.unique(names)])), 4),
        unknown=round(float(np.mean([not answer.known for answer in answers])), 4),
    )


def confusion(truth: Sequence[str], answers: Sequence[Prediction], labels: Sequence[str]) -> Matrix:
    """Return the confusion matrix: one row per true label, one column per prediction, in the order of `labels`."""
    place = {label: number for number, label in enumerate(labels)}
    matrix = np.zeros((len(labels), len(labels)), int)
    for label, answer in zip(truth, answers, strict=True):
        matrix[place[label], place[answer.label]] += 1
    return [[int(count) for count in row] for row in matrix]


def times(seconds: Sequence[float]) -> Times:
    """Return the median and the 95th percentile in milliseconds."""
    p50, p95 = np.percentile(seconds, [50, 95]) * 1000 if len(seconds) else (0.0, 0.0)
    return Times(p50=round(float(p50), 2), p95=round(float(p95), 2), count=len(seconds))


def refuse_tensorflow() -> None:
    """Raise `TrainingError` if this process has imported TensorFlow."""
    if found := sorted({"tensorflow", "keras"} & sys.modules.keys()):
        raise TrainingError(
            f"the device process imported {', '.join(found)}, which a device does not have; this is a bug in edgetl"
        )


def report_progress(stage: str, done: int, total: int) -> None:
    """Report progress to the parent process."""
    print(json.dumps({"stage": stage, "done": done, "total": total}), flush=True)


def _step(taught: int, head: Head, field: Row, lab: Row) -> Step:
    return Step(
        taught=taught,
        field=score(field.labels, head.predict_many(field.codes)),
        lab=score(lab.labels, head.predict_many(lab.codes)),
    )


def _pool(learner: Learner, device: FieldDevice) -> Row:
    ids, labels, _ = learner.store.ids()
    return Row(learner.store.codes([int(number) for number in ids]), list(labels), [])


def _other_orders(host_head: Head, pool: Row, field: Row, steps: Sequence[Step], seed: int) -> list[Spread]:
    """Return the spread of the curve over other teaching orders of the same cells, without the state file."""
    marks = [step["taught"] for step in steps if 0 < step["taught"] < len(pool.labels)]
    random = np.random.default_rng(seed + 1)
    found: dict[int, list[float]] = {mark: [] for mark in marks}
    for number in range(ORDERS if marks else 0):
        order, head = random.permutation(len(pool.labels)), host_head.clone()
        for start, mark in zip([0, *marks], marks, strict=False):
            chosen = order[start:mark]
            head.learn_many(pool.codes[chosen], [pool.labels[place] for place in chosen])
            found[mark].append(score(field.labels, head.predict_many(field.codes))["accuracy"])
        report_progress("trying other teaching orders", number + 1, ORDERS)
    return [
        Spread(
            taught=mark,
            orders=len(values),
            mean=round(float(np.mean(values)), 4),
            low=min(values),
            high=max(values),
        )
        for mark, values in found.items()
    ]


def _examples(field: Row, before: Sequence[Prediction], after: Sequence[Prediction]) -> list[Example]:
    # spread evenly over the held-out cells, not selected by hand
    places = np.linspace(0, len(field.labels) - 1, min(EXAMPLES, len(field.labels))).round().astype(int)
    return [
        Example(
            photo=field.photos[place],
            truth=field.labels[place],
            before=_guess(before[place]),
            after=_guess(after[place]),
        )
        for place in places
    ]


def _guess(answer: Prediction) -> Guess:
    return Guess(label=answer.label, probability=round(answer.probability, 4), known=answer.known)


def main(arguments: Sequence[str]) -> None:
    """Run the plan named on the command line; report errors to the parent process."""
    plan = Plan.load(Path(arguments[0]))
    try:
        result = run(plan)
    except EdgetlError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        raise SystemExit(1) from error
    with atomic_output(plan.out, force=True) as temporary:
        temporary.write_text(json.dumps(result, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
