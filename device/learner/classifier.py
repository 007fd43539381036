"""Export for programs that do not know edgetl: an ordinary image classifier with labels in TFLite metadata.

The model file has one graph per signature, and its head has variables. MediaPipe, ML Kit and the examples of LiteRT expect
one graph, image -> probabilities, with constant weights. It is assembled here from the graph of ``features``, the embedding
map, and the linear map of the head, with builtin ops only, and without a library.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import HeadError, ModelFileError
from ..files import atomic_output, refuse_existing
from ..heads import Linear
from ..heads.base import softmax
from ..model.codes import SCALE, encode
from ..model.container import write_container
from ..model.graph import UINT8, read_graphs
from ..model.graph_builder import GraphBuilder
from ..model.modelfile import ModelFile
from ..model.runtime import open_interpreter, quiet_stderr
from ..model.tflite_metadata import LABEL_FILE, NAME, Picture, classifier_metadata
from ..model.tree import read_tree, write_tree

SIGNATURE, INPUT, OUTPUT = "infer", "x", "output"  # the names of TensorFlow's guide to on-device training
_TINY = 1e-12  # keeps rsqrt finite at zero, as in converters/head.py
_LUMA = (9798.0, 19235.0, 3735.0)  # see device.model.preprocess; float32 holds every sum exactly
_HALF, _UNIT = 16384.0, 1 / 32768
_TOLERANCE = 1e-3  # of probabilities in float32


@dataclass(frozen=True)
class Classifier:
    """An exported classifier.

    Attributes:
        path: The file.
        labels: Labels of the output, in order.
        height: Rows of the input, in pixels.
        width: Columns of the input, in pixels.
        resize: How the frames that were taught were fitted to the input: ``crop``, ``squash`` or ``pad``.
        bytes: Size of the file.
    """

    path: Path
    labels: tuple[str, ...]
    height: int
    width: int
    resize: str
    bytes: int

    def __repr__(self) -> str:
        return f"<Classifier {self.path.name}: {len(self.labels)} labels, {self.bytes / 1e6:.1f} MB>"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-serializable values."""
        return {
            "classifier": str(self.path),
            "bytes": self.bytes,
            "labels": list(self.labels),
            "input": {"height": self.height, "width": self.width, "channels": 3, "dtype": "uint8"},
            "resize": self.resize,
        }


def write_classifier(
    model: ModelFile, linear: Linear, labels: tuple[str, ...], path: str | Path, *, force: bool = False
) -> Classifier:
    """Write a .tflite of one graph: image uint8 [1, H, W, 3] RGB -> probabilities float32 [1, labels].

    The file gets its name only after it was run once and agreed with the model file.

    Args:
        model: The model file with the backbone.
        linear: The head as a linear map.
        labels: Labels of its columns.
        path: The new file.
        force: Overwrite an existing file.

    Raises:
        HeadError: The weights are NaN or too large for float32.
        ModelFileError: The graph of the backbone cannot be copied, or the new file does not agree.
        StorageError: The file exists, or cannot be written.
    """
    path = Path(path)
    refuse_existing(path, force)
    part = build_classifier(model, linear)
    read_graphs(part)
    _verify(model, linear, part)
    with atomic_output(path, force=force) as temporary, temporary.open("wb") as stream:
        write_container(stream, part, {LABEL_FILE: "\n".join(labels).encode()})
    size = model.manifest.preprocessing
    return Classifier(path, labels, size.height, size.width, size.resize, path.stat().st_size)


def build_classifier(model: ModelFile, linear: Linear) -> bytes:
    """Return the flatbuffer of the classifier, with its metadata.

    Raises:
        HeadError: The weights are NaN or too large for float32.
        ModelFileError: The graph of the backbone cannot be copied.
    """
    with np.errstate(over="ignore"):
        weights, bias = (linear.W.T / SCALE).astype(np.float32), linear.b.astype(np.float32)
    if not (np.isfinite(weights).all() and np.isfinite(bias).all()):
        raise HeadError("the head's weights contain NaN or are too large for float32; teach more samples")
    part = model.model_part()
    graph = GraphBuilder(read_tree(part), read_graphs(part).signatures["features"].graph)
    if model.manifest.preprocessing.channels == 1:
        _add_luma(graph)
    codes = _add_codes(graph, _add_map(graph, graph.output, model.manifest.embedding_map))
    logits = graph.add(
        "FULLY_CONNECTED", [codes, graph.constant(weights), graph.constant(bias)], (1, len(bias))
    )
    graph.output = graph.add("SOFTMAX", [logits], (1, len(bias)))
    graph.sign(SIGNATURE, {INPUT: graph.input}, {OUTPUT: graph.output})
    graph.rename(graph.input, "image")
    graph.rename(graph.output, "probability")
    graph.describe(NAME, _metadata(model, graph))
    return write_tree(graph.finished("edgetl classifier"))


def _add_map(graph: GraphBuilder, embedding: int, name: str) -> int:
    """Append the embedding map, see `device.model.codes.apply_map`; return its output."""
    shape = graph.shape(embedding)
    tiny = graph.constant(np.full(1, _TINY, np.float32))
    if name == "signed_sqrt_l2":
        size = graph.add("MAXIMUM", [graph.add("ABS", [embedding], shape), tiny], shape)
        embedding = graph.add("MUL", [embedding, graph.add("RSQRT", [size], shape)], shape)
    if name in ("signed_sqrt_l2", "l2"):
        squares = graph.add("MUL", [embedding, embedding], shape)
        total = graph.add("SUM", [squares, graph.constant(np.ones(1, np.int32))], (1, 1))
        factor = graph.add("RSQRT", [graph.add("MAXIMUM", [total, tiny], (1, 1))], (1, 1))
        embedding = graph.add("MUL", [embedding, factor], shape)
    return embedding


def _add_codes(graph: GraphBuilder, mapped: int) -> int:
    """Append the fixed point, see `device.model.codes.encode`; without it, sharp heads differ in the third decimal."""
    shape = graph.shape(mapped)
    return graph.add("ROUND", [graph.add("MUL", [mapped, graph.constant(_floats([SCALE]))], shape)], shape)


def _add_luma(graph: GraphBuilder) -> None:
    """Put the conversion from RGB to gray before the graph, so that programs that only know RGB can use it.

    It is that of `device.model.preprocess`: sums of whole numbers below 2^24 and a division by a power of two are exact
    in float32.
    """
    gray = graph.input
    _, height, width, _ = graph.shape(gray)
    one, three = (1, height, width, 1), (1, height, width, 3)

    def front(name: str, inputs: list[int], shape: tuple[int, ...] = one, output: int | None = None) -> int:
        return graph.add(name, inputs, shape, output=output, front=True)

    graph.input = graph.tensor("image", three, UINT8)
    weighted = front("MUL", [front("CAST", [graph.input], three), graph.constant(_floats(_LUMA))], three)
    total = front("SUM", [weighted, graph.constant(np.full(1, 3, np.int32))])
    scaled = front(
        "MUL", [front("ADD", [total, graph.constant(_floats([_HALF]))]), graph.constant(_floats([_UNIT]))]
    )
    front("CAST", [front("FLOOR", [scaled])], output=gray)


def _metadata(model: ModelFile, graph: GraphBuilder) -> bytes:
    """Return the TFLite metadata; its normalization maps pixels to the values of the input."""
    size, manifest = model.manifest.preprocessing, model.manifest
    scale, zero = graph.quantization(graph.input) or (1.0, 0)
    picture = Picture(size.width, size.height, 3, float(zero), 1 / scale)
    description = f"Image classifier on {manifest.backbone}, exported by edgetl; images were taught with resize {size.resize}."
    return classifier_metadata("ImageClassifier", description, model.sha256[:16], picture)


def _verify(model: ModelFile, linear: Linear, part: bytes) -> None:
    """Run the classifier once on random pixels, and compare it with the backbone and the head of the model file."""
    size = model.manifest.preprocessing
    image = np.random.default_rng(0).integers(0, 256, (size.height, size.width, 3)).astype(np.uint8)
    prepared = replace(size, resize="squash").prepare(image)
    with quiet_stderr():
        features = open_interpreter(model.model_part(), name=str(model.path)).get_signature_runner("features")
        embedding = features(image=prepared[np.newaxis])["embedding"]
        expected = softmax(linear.logits(encode(embedding, model.manifest.embedding_map)))
        found = run_once(open_interpreter(part, name="the classifier"), image)
    if found.shape != expected.shape or not np.allclose(found, expected, atol=_TOLERANCE):
        raise ModelFileError(
            f"the classifier was run once and disagrees with {model.path}; it was discarded. Please report this with the "
            "versions of edgetl and the runtime"
        )


def run_once(interpreter: Any, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the first output of an interpreter for an image [H, W, 3], as programs without signatures run it."""
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    interpreter.set_tensor(source["index"], image[np.newaxis])
    interpreter.invoke()
    probabilities: NDArray[np.float32] = interpreter.get_tensor(target["index"])
    return probabilities


def _floats(values: Sequence[float]) -> NDArray[np.float32]:
    return np.array(values, np.float32)
