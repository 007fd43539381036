"""Find the parts of a foreign .tflite: its image input, its classifier, and where its embedding can be taken.

It reads the graphs as `device.model.graph` does, so it needs neither TensorFlow nor the classes of the schema.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from device.model.graph import FLOAT32, INT8, UINT8, Graph, Graphs, Operator, Tensor
from device.printable import printable

from .errors import ConversionError

INT16 = 7
TYPE_NAMES = {
    FLOAT32: "float32",
    UINT8: "uint8",
    INT8: "int8",
    INT16: "int16",
    1: "float16",
    2: "int32",
    4: "int64",
}
_EMBEDDING_TYPES = (FLOAT32, UINT8, INT8, INT16)
_INPUT_TYPES = (FLOAT32, UINT8, INT8)
_MOST_DIMENSIONS = 65536  # as `Manifest` allows
_MOST_SIDE = 4096

# kinds of ops, numbers of the schema's BuiltinOperator
ADD, CONV_2D, DEQUANTIZE, FULLY_CONNECTED, LOGISTIC, RESHAPE, SOFTMAX = 0, 3, 6, 9, 14, 22, 25
CUSTOM, SQUEEZE, LOG_SOFTMAX, EXPAND_DIMS, QUANTIZE, BATCH_MATMUL = 32, 43, 50, 70, 114, 126
_SHAPE_OPS = {RESHAPE, SQUEEZE, EXPAND_DIMS, QUANTIZE, DEQUANTIZE}
_ANSWERS = {SOFTMAX: "softmax", LOGISTIC: "logistic", LOG_SOFTMAX: "softmax"}
_RECURRENT = {16: "LSTM", 24: "RNN", 27: "SVDF", 35: "RNN", 44: "LSTM", 46: "RNN", 52: "LSTM"}
_VARIABLES = {129, 142, 143, 144, 136, 137, 138, 139}
_CALLS = {31: "CALL", 118: "IF", 119: "WHILE"}
_DETECTION = "TFLite_Detection_PostProcess"
_EDGETPU = "edgetpu-custom-op"
_EMBEDDING_NAMES = ("embedding", "feature")


@dataclass(frozen=True)
class Classifier:
    """The last layer of a classifier.

    Attributes:
        operator: Number of its op in the graph: ``FULLY_CONNECTED`` or a ``CONV_2D`` of 1 x 1.
        logits: Number of its output tensor.
        outputs: Number of its outputs.
        answer: What follows: ``softmax``, ``logistic`` or empty.
    """

    operator: int
    logits: int
    outputs: int
    answer: str


@dataclass(frozen=True)
class Candidate:
    """A tensor where the embedding can be taken.

    Attributes:
        tensor: Its number in the graph.
        name: Its name.
        shape: Its shape.
        dtype: Its type.
        dimensions: Numbers in the embedding; those of a map are averaged over its rows and columns.
        averaged: Whether it is a map of features.
        sides: The shape without the batch.
    """

    tensor: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    dimensions: int
    averaged: bool
    sides: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Return the fields as a JSON-serializable dict."""
        return {
            "tensor": self.tensor,
            "name": self.name,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "dimensions": self.dimensions,
            "averaged": self.averaged,
        }


@dataclass(frozen=True)
class ImageInput:
    """The image input of a foreign model.

    Attributes:
        tensor: Its number.
        dtype: ``float32``, ``uint8`` or ``int8``.
        height: In pixels.
        width: In pixels.
        channels: 3 or 1.
        channels_first: Whether channels come before rows, as in PyTorch.
        free_batch: Whether any number of images can be passed at once.
    """

    tensor: int
    dtype: str
    height: int
    width: int
    channels: int
    channels_first: bool
    free_batch: bool


class Anatomy:
    """A graph with a search for its parts.

    Args:
        graphs: The graphs of a file; that of the signature ``serving_default`` is used, else the first one with an image
            as input.
        custom: Name of each custom op in the file.

    Attributes:
        number: Number of the graph.
        graph: The graph.
        image: Its input.

    Raises:
        ConversionError: The file is not a model that turns one image into numbers, with the reason.
    """

    def __init__(self, graphs: Graphs, custom: tuple[str, ...] = ()) -> None:
        self.graphs, self.custom = graphs, custom
        self.number = _main_graph(graphs)
        self.graph: Graph = graphs.graphs[self.number]
        if _EDGETPU in custom:
            raise ConversionError(
                "it was compiled for the Edge TPU, and what its one op computes is not in the file in a readable form; "
                "use the file that it was compiled from, usually the one without _edgetpu in its name"
            )
        self.image = self._image()
        self._makers = {
            number: place for place, op in enumerate(self.graph.operators) for number in op.outputs
        }
        self._from_image = self._dependents()

    def classifier(self) -> Classifier | None:
        """Return the last layer of a classifier; None when the model returns embeddings or something else."""
        if len(self.graph.outputs) != 1:
            return None
        output, answer = self.graph.outputs[0], ""
        place = self._makers.get(output)
        while place is not None and (op := self.graph.operators[place]).kind in _SHAPE_OPS | _ANSWERS.keys():
            answer = answer or _ANSWERS.get(op.kind, "")
            output = op.inputs[0]
            place = self._makers.get(output)
        if place is None or not self._is_last_layer(self.graph.operators[place]):
            return None
        if not answer and self._returns_embeddings():
            return None
        return Classifier(place, output, self._tensor(output).shape[-1], answer)

    def before_classifier(self) -> int | None:
        """Return the input of the last layer, or None without a classifier."""
        found = self.classifier()
        return None if found is None else self.graph.operators[found.operator].inputs[0]

    def default_cut(self) -> int:
        """Return the tensor before the classifier, or the output of a model without one.

        Raises:
            ConversionError: There is more than one output, or the output is not an embedding.
        """
        before = self.before_classifier()
        if before is not None:
            return before
        outputs = self.graph.outputs
        if _DETECTION in self.custom or len(outputs) != 1:
            raise ConversionError(self._why_no_default())
        self.require_cut(outputs[0])
        return outputs[0]

    def candidates(self) -> tuple[Candidate, ...]:
        """List the tensors before the classifier that everything after them depends on alone, latest first.

        These are vectors, and the last map of features.
        """
        classifier = self.classifier()
        end = len(self.graph.operators) if classifier is None else classifier.operator
        necks = [number for number in self._necks() if self._makers[number] < end]
        found = [self.candidate(number) for number in necks if self._refusal(number) is None]
        vectors = [entry for entry in found if not entry.averaged]
        maps = [entry for entry in found if entry.averaged][-1:]
        return tuple(sorted([*vectors, *maps], key=lambda entry: -self._makers[entry.tensor]))

    def candidate(self, number: int) -> Candidate:
        """Describe a tensor as an embedding."""
        tensor = self._tensor(number)
        sides, averaged = self._sides(tensor), self._is_map(tensor)
        dimensions = sides[-1] if averaged else math.prod(sides)
        return Candidate(
            number,
            printable(tensor.name) or f"number {number}",
            tensor.free,
            TYPE_NAMES.get(tensor.type, "?"),
            dimensions,
            averaged,
            sides,
        )

    def find(self, name: str) -> int:
        """Return the number of a tensor by its name or number.

        Raises:
            ConversionError: There is no such tensor, or several have the name.
        """
        found = [number for number, tensor in enumerate(self.graph.tensors) if tensor.name == name]
        if not found and name.isdecimal() and int(name) < len(self.graph.tensors):
            found = [int(name)]
        if len(found) == 1:
            self.require_cut(found[0])
            return found[0]
        known = ", ".join(f"{entry.name} ({entry.dimensions} numbers)" for entry in self.candidates()[:4])
        if found:
            raise ConversionError(
                f"{len(found)} tensors are named {printable(name)}; use the number of one of them: "
                f"{', '.join(map(str, found))}"
            )
        raise ConversionError(
            f"there is no tensor '{printable(name)}'; candidates are: {known or 'none'}; 'edgetl inspect' lists all"
        )

    def require_cut(self, number: int) -> None:
        """Raise `ConversionError` unless the embedding can be taken at a tensor."""
        problem = self._refusal(number)
        if problem:
            raise ConversionError(problem)

    def needed(self, number: int) -> list[int]:
        """Return the numbers of the ops that compute a tensor, in order."""
        wanted, kept = {number}, []
        for place in range(len(self.graph.operators) - 1, -1, -1):
            op = self.graph.operators[place]
            if wanted.intersection(op.outputs):
                wanted.update(op.inputs)
                kept.append(place)
        return kept[::-1]

    def removed(self, number: int, moved: bool = False) -> str:
        """Describe what follows a tensor, which a cut there removes; or moves into the head, the classifier alone."""
        kept = self.needed(number)
        count = len(self.graph.operators) - len(kept)
        classifier = self.classifier()
        if classifier is not None and classifier.operator not in kept:
            answer = f" and {classifier.answer}" if classifier.answer else ""
            what = f"the classifier of {classifier.outputs} labels{answer} ({count} ops)"
            return f"{what}; it became the head" if moved else what
        return f"{count} ops" if count else "nothing: the model has no classifier"

    def _image(self) -> ImageInput:
        inputs = [number for number in self.graph.inputs if number >= 0]
        if len(inputs) != 1:
            raise ConversionError(f"it has {len(inputs)} inputs; expected one, the image")
        tensor = self._tensor(inputs[0])
        described = f"{TYPE_NAMES.get(tensor.type, 'another type')} {_shape(tensor.free)}"
        if len(tensor.free) != 4:
            raise ConversionError(
                f"its input is {described}; expected an image [1, height, width, 3] or [1, height, width, 1]"
            )
        if tensor.type not in _INPUT_TYPES:
            raise ConversionError(f"its input is {described}; expected uint8, int8 or float32")
        batch, *sides = tensor.free
        first = sides[0] in (1, 3) and sides[2] not in (1, 3)
        channels, height, width = sides if first else (sides[2], *sides[:2])
        if min(sides) < 0 or max(height, width) <= 1:
            raise ConversionError(
                f"its input is {described}, of dynamic size; fix the size when the file is made, because an embedding "
                "has a fixed number of numbers only for images of one size"
            )
        if channels not in (1, 3) or batch not in (-1, 1) or max(height, width) > _MOST_SIDE:
            raise ConversionError(
                f"its input is {described}; expected one image with 3 channels or 1, of at most {_MOST_SIDE} pixels"
            )
        return ImageInput(inputs[0], TYPE_NAMES[tensor.type], height, width, channels, first, batch < 0)

    def _dependents(self) -> set[int]:
        """Return the tensors that are computed from the image."""
        found = {self.image.tensor}
        for op in self.graph.operators:
            if found.intersection(op.inputs):
                found.update(op.outputs)
        return found

    def _necks(self) -> Iterable[int]:
        """Yield the tensors without which no output can be computed from the image, in order."""
        last = {number: len(self.graph.operators) for number in self.graph.outputs}
        for place, op in enumerate(self.graph.operators):
            for number in op.inputs:
                last.setdefault(number, place)
                last[number] = max(last[number], place)
        live = {self.image.tensor}
        for place, op in enumerate(self.graph.operators):
            live.update(number for number in op.outputs if number in self._from_image)
            live = {number for number in live if last.get(number, -1) > place}
            if len(live) == 1 and live.intersection(op.outputs):
                yield next(iter(live))

    def _refusal(self, number: int) -> str | None:
        tensor = self._tensor(number)
        name = f"the tensor {printable(tensor.name)}"
        if number == self.image.tensor or number not in self._from_image:
            return f"{name} is not computed from the image"
        sides = self._sides(tensor)
        if not tensor.shape or min(sides, default=1) < 1:
            return (
                f"{name} has the shape {_shape(tensor.free)}, which is no fixed size; cut at another tensor"
            )
        if tensor.type not in _EMBEDDING_TYPES:
            return f"{name} is {TYPE_NAMES.get(tensor.type, 'of another type')}; expected float32, uint8, int8 or int16"
        dimensions = self.candidate(number).dimensions
        if not 2 <= dimensions <= _MOST_DIMENSIONS:
            return f"{name} has {dimensions} numbers per image; an embedding has 2 to {_MOST_DIMENSIONS}"
        return self._refused_op(number)

    def _refused_op(self, number: int) -> str | None:
        for op in (self.graph.operators[place] for place in self.needed(number)):
            if op.kind in _RECURRENT:
                return f"it contains {_RECURRENT[op.kind]}, which keeps a state from frame to frame; an embedding depends on one"
            if op.kind in _CALLS or op.calls:
                return "it contains branches or loops, which call other graphs; expected one graph"
            if op.kind in _VARIABLES or any(self._tensor(at).variable for at in op.inputs if at >= 0):
                return "it keeps values in variables; expected a graph whose weights are constants"
            if op.kind == CUSTOM:
                return f"it contains the custom op {self._custom_names()}, which TFLite runtimes from pip do not have"
        return None

    def _why_no_default(self) -> str:
        candidates = self.candidates()
        known = ", ".join(f"{entry.name} ({entry.dimensions} numbers)" for entry in candidates[:3])
        hint = f"to use its backbone, name a tensor with --cut; candidates are: {known}" if known else ""
        if _DETECTION in self.custom:
            return f"it is a detector ({_DETECTION}), which finds objects but has no embedding of the image; {hint}"
        count = len(self.graph.outputs)
        return (
            f"it has {count} outputs, so it is not clear which one is the embedding; {hint or 'expected one'}"
        )

    def _is_last_layer(self, op: Operator) -> bool:
        if op.kind not in (FULLY_CONNECTED, CONV_2D):
            return False
        weights, source = self._tensor(op.inputs[1]), self._tensor(op.inputs[0])
        if op.kind == FULLY_CONNECTED:
            return self._is_constant(op.inputs[1]) and len(weights.shape) == 2
        pointwise = weights.shape[1:3] == (1, 1) and source.shape[1:3] == (1, 1)
        return pointwise and self._is_constant(op.inputs[1])

    def _is_constant(self, number: int) -> bool:
        """Return whether a tensor is a constant, or dequantized from one as in float16 models."""
        place = self._makers.get(number)
        if place is None:
            return self._tensor(number).constant
        op = self.graph.operators[place]
        return op.kind == DEQUANTIZE and self._tensor(op.inputs[0]).constant

    def _returns_embeddings(self) -> bool:
        """Return whether the names of the output say that it is an embedding, as those of extractors usually do."""
        number = self.graph.outputs[0]
        names = [self._tensor(number).name]
        for signature in self.graphs.signatures.values():
            names += [
                key
                for key, tensor in signature.outputs.items()
                if signature.graph == self.number and tensor == number
            ]
        return any(word in name.lower().rpartition("/")[2] for name in names for word in _EMBEDDING_NAMES)

    def _custom_names(self) -> str:
        return ", ".join(map(printable, self.custom)) or "without a name"

    def _tensor(self, number: int) -> Tensor:
        return self.graph.tensors[number]

    def _sides(self, tensor: Tensor) -> tuple[int, ...]:
        """Return the shape without the batch."""
        return tensor.free[1:] if len(tensor.free) > 1 and tensor.free[0] in (-1, 1) else tensor.free

    def _is_map(self, tensor: Tensor) -> bool:
        sides = self._sides(tensor)
        return len(sides) == 3 and sides[0] * sides[1] > 1


def _main_graph(graphs: Graphs) -> int:
    serving = graphs.signatures.get("serving_default")
    if serving is not None:
        return serving.graph
    with_image = (
        place
        for place, graph in enumerate(graphs.graphs)
        if len(graph.inputs) == 1 and graph.inputs[0] >= 0 and len(graph.tensors[graph.inputs[0]].shape) == 4
    )
    return next(with_image, 0)


def custom_ops(data: bytes) -> tuple[str, ...]:
    """Return the names of the custom ops of a .tflite."""
    from device.model.flatbuffer import root

    return tuple(code.text(1) for code in root(data).tables(1) if code.text(1))


def _shape(sides: Iterable[int]) -> str:
    return f"[{', '.join('?' if side < 0 else str(side) for side in sides)}]"
