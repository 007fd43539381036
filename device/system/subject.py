"""One combination under measurement: its backbone, its head and a temporary state, and the steps that are timed."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..errors import DelegateError
from ..heads import Head, create_head
from ..heads.memory import learn_memory
from ..images import Image
from ..learner import Learner
from ..learner.learner import identity_of
from ..model.codes import Codes, encode
from ..model.graph import read_graphs
from ..model.modelfile import ModelFile
from ..model.runtime import open_interpreter
from ..store import NewSample, Store
from ..store.records import new_burst
from .grid import CPU, Combination
from .warming import Clock

Result = TypeVar("Result")


@dataclass
class Subject:
    """A combination that is measured in this process.

    Attributes:
        learner: The model with a temporary state.
        head: A head of the same kind, without a state.
        store: A second temporary state, to which single samples are written.
        bare: Runs the bare interpreter on a prepared frame; None on an Edge TPU.
        combination: What is measured.
        open_seconds: Seconds from opening the files to the first embedding, without imports.
        seconds: The times so far, per step.
        cpu: CPU times per step; empty with several threads.
    """

    learner: Learner
    head: Head
    store: Store
    bare: Callable[[Image], object] | None
    combination: Combination
    codes: Codes
    open_seconds: float
    clock: Clock = time.perf_counter
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    cpu: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def open(
        cls, combination: Combination, state: Path, image: Image, *, clock: Clock = time.perf_counter
    ) -> Subject:
        """Open a model file, and teach it synthetic samples.

        Args:
            combination: What is measured; its runtime must be that of this process.
            state: A folder for temporary states.
            image: The first frame.
            clock: Returns seconds.

        Raises:
            ModelFileError: The file cannot be run.
            DelegateError: The Edge TPU cannot be used.
            LabelError: The head does not have room for the labels.
            StorageError: The state cannot be written.
        """
        start = clock()
        model = ModelFile.open(combination.path)
        teaching = combination.teaching
        model = model if teaching.host else replace(model, memory=None)
        with contextlib.ExitStack() as stack:
            learner = stack.enter_context(_open_learner(model, combination, state / "taught.db"))
            learner.embed_one(image)
            open_seconds = clock() - start
            head = create_head(teaching.name, model.manifest.dimensions)
            codes = _codes(teaching.samples + 1, model.manifest.dimensions)
            store = stack.enter_context(Store.open(state / "single.db", identity_of(model)))
            subject = cls(learner, head, store, _bare(learner), combination, codes, open_seconds, clock)
            subject._teach()
            stack.pop_all()
        return subject

    def warm(self, image: Image) -> None:
        """Run what `time_frame` times, to warm up."""
        if self.bare is not None:
            self.bare(self.learner.model.manifest.preprocessing.prepare(image))
        self.learner.predict_one(image)

    def time_frame(self, image: Image, capture: float | None = None) -> None:
        """Time the steps of a frame: preprocessing, backbone, head, and all together.

        Every other time, all together comes first, so that neither gains from an image that is in the cache.

        Args:
            image: The frame.
            capture: Seconds that its capture took; None without a camera.
        """
        together_first = len(self.seconds["frame to prediction"]) % 2 == 1
        if together_first:
            self._time("frame to prediction", lambda: self.learner.predict_one(image))
        self._time_steps(image)
        if not together_first:
            self._time("frame to prediction", lambda: self.learner.predict_one(image))
        self._add_capture(capture, "frame to prediction", "capture to prediction")

    def time_lesson(self, image: Image, number: int, capture: float | None = None) -> None:
        """Time the steps of a lesson, then forget it, so that each lesson meets the same head.

        Args:
            image: The frame.
            number: Number of the lesson, which selects the label.
            capture: Seconds that the capture took; None without a camera.
        """
        label = self._label(number)
        self._time_head(label)
        new = self._new(self.codes[-1], label)
        self._time("commit to disk", lambda: self.store.learn([new]))
        sample = self._time("lesson to new head", lambda: self._taught(image, label))
        self._add_capture(capture, "lesson to new head", "button to new head")
        self.learner.forget(sample)
        self.learner.head.settle()

    def describe(self) -> dict[str, Any]:
        """Return the model, the runtime and the head, JSON-serializable."""
        model, embedder, teaching = self.learner.model, self.learner.embedder, self.combination.teaching
        return {
            "model": {
                "name": model.path.name,
                "backbone": model.manifest.backbone,
                "dimensions": model.manifest.dimensions,
                "quantization": model.manifest.quantization,
                "sha256": model.sha256,
                "bytes": model.path.stat().st_size,
                "host_labels": len(model.labels),
                "cold_start_ms": round(1000 * self.open_seconds, 3),
            },
            "runtime": {
                "name": embedder.runtime.name,
                "version": embedder.runtime.version,
                "threads": embedder.threads,
                "delegate": embedder.delegate or CPU,
            },
            "head": {
                "name": teaching.name,
                "samples": teaching.samples,
                "labels": teaching.labels,
                "host": teaching.host,
                "host_samples": sum(model.memory.counts().values()) if model.memory else 0,
            },
        }

    def close(self) -> None:
        """Close the states and the backbone."""
        self.learner.close()
        self.store.close()

    def _teach(self) -> None:
        count = self.combination.teaching.samples
        labels, taught = [self._label(number) for number in range(count)], self.codes[:count]
        if self.learner.model.memory is not None:
            learn_memory(self.head, self.learner.model.memory)
        self.head.learn_many(taught, labels)
        self.head.settle()
        self.learner.store.learn([self._new(code, label) for code, label in zip(taught, labels, strict=True)])
        self.learner.head.settle()

    def _time_steps(self, image: Image) -> None:
        embedder = self.learner.embedder
        prepared = self._time("preprocessing", lambda: embedder.model.manifest.preprocessing.prepare(image))
        if self.bare is not None:
            bare = self.bare
            self._time("backbone", lambda: bare(prepared))
        embedding = self._time("embedding, both", lambda: embedder.embed_one(image))
        code = encode(embedding, embedder.model.manifest.embedding_map)
        self._time("head, predict", lambda: self.head.predict_one(code))

    def _add_capture(self, capture: float | None, step: str, together: str) -> None:
        if capture is not None:
            self.seconds["capture"].append(capture)
            self.seconds[together].append(capture + self.seconds[step][-1])

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
        self._time("first prediction after a lesson", lambda: self.learner.predict_embedding(embedding))
        return sample.id

    def _label(self, number: int) -> str:
        return f"label {number % self.combination.teaching.labels}"

    def _new(self, code: Codes, label: str) -> NewSample:
        return NewSample(label, code, time.time(), "bench", new_burst())

    def _time(self, step: str, action: Callable[[], Result]) -> Result:
        start, used = self.clock(), time.thread_time()
        result = action()
        passed, used = self.clock() - start, time.thread_time() - used
        self.seconds[step].append(passed)
        if self.learner.embedder.threads == 1:  # else other threads of the interpreter work too
            self.cpu[step].append(used)
        return result


def _open_learner(model: ModelFile, combination: Combination, state: Path) -> Learner:
    delegate = None if combination.delegate == CPU else combination.delegate
    with warnings.catch_warnings(record=True) as caught:  # the learner would continue on the CPU
        warnings.simplefilter("always", RuntimeWarning)
        learner = Learner.open(
            model, state, head=combination.teaching.name, threads=combination.threads, delegate=delegate
        )
    if learner.embedder.delegate != delegate:
        learner.close()
        reason = (
            str(caught[-1].message).removesuffix(" Running on the CPU.").rstrip(".")
            if caught
            else "no reason known"
        )
        raise DelegateError(reason)
    return learner


def _bare(learner: Learner) -> Callable[[Image], object] | None:
    """Return what a program without edgetl would run: its own interpreter, without checks of the result."""
    embedder = learner.embedder
    if embedder.delegate is not None:
        return None
    model = learner.model
    interpreter = open_interpreter(
        model.model_part(), threads=embedder.threads, runtime=embedder.runtime, name=str(model.path)
    )
    graph = read_graphs(model.model_part()).signatures["features"].graph
    if graph:  # the first graph is not the backbone, so only its signature runs it
        runner = interpreter.get_signature_runner("features")
        return lambda prepared: runner(image=prepared[np.newaxis])
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    sides = model.manifest.preprocessing
    interpreter.resize_tensor_input(source["index"], (1, sides.height, sides.width, sides.channels))
    interpreter.allocate_tensors()

    def run(prepared: Image) -> object:
        interpreter.set_tensor(source["index"], prepared[np.newaxis])
        interpreter.invoke()
        return interpreter.get_tensor(target["index"])

    return run


def _codes(count: int, dimensions: int) -> Codes:
    """Return codes of synthetic embeddings, which are sparse and positive like those of a backbone."""
    values = np.random.default_rng(0).gamma(0.5, 1.0, (count, dimensions))
    return encode(values.astype(np.float32))
