"""Frames to embeddings with the frozen backbone."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DelegateError, EmbeddingError, ModelFileError
from ..images import Image
from ..views import ONE, check_views, views_of
from .container import named, read_tflite
from .graph import read_graphs
from .modelfile import ModelFile
from .runtime import (
    Runtime,
    default_threads,
    explain,
    load_edgetpu,
    load_runtime,
    open_interpreter,
    quiet_stderr,
)


class Embedder:
    """The backbone of a model file, ready to run.

    Args:
        model: The model file.
        threads: CPU threads; by default every core, at most four.
        delegate: ``edgetpu`` to use a Coral. Where it cannot be used, a warning gives the reason and
            the CPU is used. None uses the CPU.
        views: ``one``, or ``flip`` to average the embeddings of a frame and its mirror image; None uses the views of
            the model file.

    Raises:
        ModelFileError: The runtime cannot run the file or it lacks a signature.
    """

    _interpreter: Any
    _signatures: Any
    _features: Any

    def __init__(
        self,
        model: ModelFile,
        *,
        threads: int | None = None,
        delegate: str | None = None,
        views: str | None = None,
    ) -> None:
        self.model = model
        self.views = check_views(model.manifest.views if views is None else views)
        self.runtime: Runtime = load_runtime()
        self.threads = threads or default_threads()
        self.delegate: str | None = None
        self._prepare = model.manifest.preprocessing.prepare
        self._interpreter = self._signatures = self._features = None
        # numbers of the tensors of an interpreter that is invoked without a runner
        self._input = self._output = 0
        self._scale, self._zero = 0.0, 0  # of an output that is quantized
        if model.missing:
            raise ModelFileError(
                f"{model.path} lacks the signatures {', '.join(model.missing)}; convert the model again"
            )
        if delegate is not None:
            self._open_edgetpu(delegate)
        if self._interpreter is None:
            self._open_cpu()
        self._invoke_once()

    def embed_one(self, image: Image) -> NDArray[np.float32]:
        """Embed one frame.

        Args:
            image: uint8 [H, W, 3] RGB, any size.

        Returns:
            float32 [D].

        Raises:
            PhotoError: `image` is not uint8 [H, W, 3].
            EmbeddingError: The backbone returned NaN or infinity.
        """
        prepared = self._prepare(image)
        embedding = self._run(prepared) if self.views == ONE else self._mean(prepared)
        if not np.logical_and.reduce(np.isfinite(embedding)):
            raise EmbeddingError(
                f"the backbone of {self.model.path} returned NaN for this frame; "
                "verify the file with 'edgetl inspect' or convert it again"
            )
        return embedding

    def embed_many(self, images: Iterable[Image]) -> NDArray[np.float32]:
        """Return the embeddings of frames, float32 [N, D]; the RAM in use is that of one frame."""
        rows = [self.embed_one(image) for image in images]
        return np.stack(rows) if rows else np.zeros((0, self.model.manifest.dimensions), np.float32)

    def signature(self, name: str) -> Any:
        """Return a runner of one of the file's signatures; it shares the interpreter of the embedder."""
        interpreter = self._cpu_interpreter()
        if self._features is None and interpreter is self._interpreter:
            # an interpreter that has runners cannot be invoked itself
            self._features = interpreter.get_signature_runner("features")
        return interpreter.get_signature_runner(name)

    @property
    def signature_names(self) -> frozenset[str]:
        """Names of the file's signatures."""
        return frozenset(self._cpu_interpreter().get_signature_list())

    def close(self) -> None:
        """Free the interpreter; embedding afterwards raises `EmbeddingError`."""
        self._interpreter = self._signatures = self._features = None

    def __repr__(self) -> str:
        state = (
            "closed"
            if self._interpreter is None
            else f"{self.runtime}, {self.delegate or 'cpu'}, {self.threads} threads"
        )
        return f"<Embedder {self.model.path.name} ({state})>"

    def _open_cpu(self) -> None:
        self._interpreter = self._open_checked()
        self._signatures = self._interpreter
        if self.model.first_graph is None:
            self._features = self._interpreter.get_signature_runner("features")
        else:  # a runner also resizes and allocates for each image
            self._input, self._output = self.model.first_graph

    def _cpu_interpreter(self) -> Any:
        if self._signatures is None:
            self._signatures = self._open_checked()
        return self._signatures

    def _open_checked(self) -> Any:
        # the bytes that were checked, not the path: the file may have been replaced since
        return open_interpreter(
            self.model.model_part(), threads=self.threads, runtime=self.runtime, name=str(self.model.path)
        )

    def _open_edgetpu(self, delegate: str) -> None:
        if delegate != "edgetpu":
            raise DelegateError(f"the delegate must be 'edgetpu', got {delegate!r}")
        twin = edgetpu_twin(self.model.path)
        try:
            if not twin.exists():
                raise DelegateError(
                    f"{twin.name} is not beside {self.model.path.name}; make it with 'edgetl convert --edgetpu'"
                )
            content = read_tflite(twin)
            with named(twin):
                read_graphs(content)
            interpreter = open_interpreter(
                content, delegate=load_edgetpu(self.runtime), runtime=self.runtime, name=str(twin)
            )
        except DelegateError as error:
            warnings.warn(f"{error}. Running on the CPU.", RuntimeWarning, stacklevel=3)
            return
        source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
        self._input, self._output, (self._scale, self._zero) = (
            source["index"],
            target["index"],
            target["quantization"],
        )
        self._interpreter, self._signatures, self.delegate = interpreter, None, "edgetpu"

    def _run(self, prepared: Image) -> NDArray[np.float32]:
        interpreter, batch = self._interpreter, prepared[np.newaxis]
        if interpreter is None:
            raise EmbeddingError("the embedder is closed; open the learner again")
        if self._features is not None:
            values: NDArray[np.float32] = self._features(image=batch)["embedding"][0]
            return values
        interpreter.set_tensor(self._input, batch)
        interpreter.invoke()
        raw = interpreter.get_tensor(self._output)[0]
        if not self._scale:
            return np.asarray(raw, np.float32)
        values = np.float32(self._scale) * (raw.astype(np.float32) - np.float32(self._zero))
        return values

    def _mean(self, prepared: Image) -> NDArray[np.float32]:
        rows = [self._run(view) for view in views_of(prepared, self.views)]
        mean: NDArray[np.float32] = np.mean(rows, axis=0, dtype=np.float32)
        return mean

    def _invoke_once(self) -> None:
        # allocates and warms up, so that the first frame is not slow; also raises now, not at the
        # first frame, where the runtime cannot run this file
        size = self.model.manifest.preprocessing
        try:
            with quiet_stderr():
                embedding = self._run(np.zeros((size.height, size.width, size.channels), np.uint8))
        except (ValueError, RuntimeError) as error:
            raise explain(error, str(self.model.path), self.runtime) from error
        if embedding.shape != (self.model.manifest.dimensions,):
            raise ModelFileError(
                f"{self.model.path} declares embeddings of {self.model.manifest.dimensions} numbers, "
                f"its backbone returns shape {embedding.shape}"
            )


def edgetpu_twin(path: Path) -> Path:
    """Return the path of a model file's backbone compiled for the Edge TPU."""
    return path.with_name(f"{path.stem}.backbone_edgetpu.tflite")
