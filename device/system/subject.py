"""One model under measurement: its backbone, its head and a temporary state, and the steps that are timed."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..heads import Head, create_head
from ..images import Image
from ..learner import Learner
from ..learner.learner import identity_of
from ..model.codes import Codes, encode
from ..model.modelfile import ModelFile
from ..store import NewSample, Store
from ..store.records import new_burst
from .timing import Timing
from .warming import Clock

Result = TypeVar("Result")

STEPS = {  # step -> its meaning; the order of the table
    "preprocessing": "crop, resize and convert a frame",
    "backbone": "the backbone alone",
    "embedding, both": "preprocessing and backbone",
    "head, predict": "the answer of the head to an embedding",
    "frame to prediction": "everything between a frame and its prediction",
    "head, update and predict": "a sample is learned, and the new head answers",
    "head, complete fit": "the exact head is computed from all samples, in the background while teaching",
    "commit to disk": "a sample becomes durable",
    "lesson to new head": "everything between a frame with its label and the first answer of the new head",
}


@dataclass(frozen=True)
class Teaching:
    """The head that is measured.

    Attributes:
        name: Its name.
        samples: Number of samples that it has learned; every lesson is forgotten again.
        labels: Number of labels of these samples.
    """

    name: str = "exact"
    samples: int = 200
    labels: int = 5


@dataclass
class Subject:
    """A model that is measured.

    Attributes:
        learner: The model with a temporary state.
        head: A head of the same kind, without a state.
        store: A second temporary state, to which single samples are written.
        features: Runs the backbone alone; None on an Edge TPU. One for all frames: the first run of each is slow.
        cold_start: Seconds from opening the files to the first embedding, without imports.
        seconds: The times so far, per step.
    """

    learner: Learner
    head: Head
    store: Store
    features: Callable[..., Any] | None
    teaching: Teaching
    codes: Codes
    cold_start: float
    clock: Clock = time.perf_counter
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def open(
        cls,
        path: Path,
        teaching: Teaching,
        state: Path,
        image: Image,
        *,
        threads: int | None = None,
        delegate: str | None = None,
        clock: Clock = time.perf_counter,
    ) -> Subject:
        """Open a model file, and teach it synthetic samples.

        Args:
            path: The model file.
            teaching: The head.
            state: A folder for temporary states.
            image: The first frame.
            threads: CPU threads.
            delegate: ``edgetpu`` for a Coral.
            clock: Returns seconds.

        Raises:
            ModelFileError: The file cannot be run.
            LabelError: The head does not have room for the labels.
            StorageError: The state cannot be written.
        """
        start = clock()
        model = ModelFile.open(path)
        with contextlib.ExitStack() as stack:
            learner = stack.enter_context(
                Learner.open(
                    model, state / "taught.db", head=teaching.name, threads=threads, delegate=delegate
                )
            )
            learner.embed_one(image)
            cold_start, embedder = clock() - start, learner.embedder
            features = embedder.signature("features") if embedder.delegate is None else None
            head = create_head(teaching.name, model.manifest.dimensions)
            codes = _codes(teaching.samples + 1, model.manifest.dimensions)
            store = stack.enter_context(Store.open(state / "single.db", identity_of(model)))
            subject = cls(learner, head, store, features, teaching, codes, cold_start, clock)
            subject._teach()
            stack.pop_all()
        return subject

    def warm(self, image: Image) -> None:
        """Run what `time_frame` times, to warm up."""
        if self.features is not None:
            self.features(image=self.learner.model.manifest.preprocessing.prepare(image)[np.newaxis])
        self.learner.predict_one(image)

    def time_frame(self, image: Image) -> None:
        """Time the steps of a frame: preprocessing, backbone, head, and all together."""
        embedder = self.learner.embedder
        prepared = self._time("preprocessing", lambda: embedder.model.manifest.preprocessing.prepare(image))
        if self.features is not None:
            features, batch = self.features, prepared[np.newaxis]
            self._time("backbone", lambda: features(image=batch))
        embedding = self._time("embedding, both", lambda: embedder.embed_one(image))
        code = encode(embedding, embedder.model.manifest.embedding_map)
        self._time("head, predict", lambda: self.head.predict_one(code))
        self._time("frame to prediction", lambda: self.learner.predict_one(image))

    def time_lesson(self, image: Image, number: int) -> None:
        """Time the steps of a lesson, then forget it, so that each lesson meets the same head."""
        label = self._label(number)
        self._time_head(label)
        new = self._new(self.codes[-1], label)
        self._time("commit to disk", lambda: self.store.learn([new]))
        sample = self._time("lesson to new head", lambda: self._taught(image, label))
        self.learner.forget(sample)
        self.learner.head.settle()

    def timings(self) -> tuple[Timing, ...]:
        """Return the times of the steps that ran, in the order of `STEPS`."""
        return tuple(Timing.of(step, self.seconds[step]) for step in STEPS if self.seconds.get(step))

    def describe(self) -> dict[str, Any]:
        """Return the model, the runtime and the head, JSON-serializable."""
        model, embedder = self.learner.model, self.learner.embedder
        return {
            "model": {
                "name": model.path.name,
                "backbone": model.manifest.backbone,
                "dimensions": model.manifest.dimensions,
                "quantization": model.manifest.quantization,
                "sha256": model.sha256,
                "bytes": model.path.stat().st_size,
                "host_labels": len(model.labels),
                "cold_start_ms": round(1000 * self.cold_start, 3),
            },
            "runtime": {
                "name": embedder.runtime.name,
                "version": embedder.runtime.version,
                "threads": embedder.threads,
                "delegate": embedder.delegate or "cpu",
            },
            "head": {
                "name": self.teaching.name,
                "samples": self.teaching.samples,
                "labels": self.teaching.labels,
            },
        }

    def close(self) -> None:
        """Close the states and the backbone."""
        self.learner.close()
        self.store.close()

    def _teach(self) -> None:
        labels = [self._label(number) for number in range(self.teaching.samples)]
        taught = self.codes[: self.teaching.samples]
        self.head.learn_many(taught, labels)
        self.head.settle()
        self.learner.store.learn([self._new(code, label) for code, label in zip(taught, labels, strict=True)])
        self.learner.head.settle()

    def _time_head(self, label: str) -> None:
        code = self.codes[-1]

        def update() -> None:
            self.head.learn_one(code, label)
            self.head.predict_one(code)  # a head may compute its fit at the first prediction

        self._time("head, update and predict", update)
        if not self.head.settled:
            self._time("head, complete fit", self.head.settle)
        self.head.forget(code[np.newaxis], [label])
        self.head.settle()

    def _taught(self, image: Image, label: str) -> int:
        embedding = self.learner.embed_one(image)
        sample = self.learner.learn_one(image, label, "bench", embedding=embedding)
        self.learner.predict_embedding(embedding)
        return sample.id

    def _label(self, number: int) -> str:
        return f"label {number % self.teaching.labels}"

    def _new(self, code: Codes, label: str) -> NewSample:
        return NewSample(label, code, time.time(), "bench", new_burst())

    def _time(self, step: str, action: Callable[[], Result]) -> Result:
        start = self.clock()
        result = action()
        self.seconds[step].append(self.clock() - start)
        return result


def _codes(count: int, dimensions: int) -> Codes:
    """Return codes of synthetic embeddings, which are sparse and positive like those of a backbone."""
    values = np.random.default_rng(0).gamma(0.5, 1.0, (count, dimensions))
    return encode(values.astype(np.float32))
