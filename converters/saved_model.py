"""Open a TensorFlow SavedModel from anywhere as a frozen function of one image; its Python code is not needed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ConversionError
from .tensorflow import freeze, import_tensorflow, quiet

_GRAPH = "saved_model.pb"
_MOST_BYTES, _MOST_GRAPH_BYTES = 4 * 2**30, 2**30
# ops with an effect that a model needs; every other one with an effect is refused
_ALLOWED = frozenset(
    {
        "VarHandleOp", "VarIsInitializedOp", "ReadVariableOp", "AssignVariableOp", "DisableCopyOnRead", "DestroyResourceOp",
        "StatefulPartitionedCall", "RestoreV2", "Placeholder", "Assert",
    }
)  # fmt: skip
# they write files: only in the function that saves the model
_SAVING = frozenset({"SaveV2", "MergeV2Checkpoints"})
_TOUCHES_FILES = re.compile(
    r"File|PyFunc|Save|Checkpoint|Dataset|Iterator|Table|Reader|Queue|Print|Debug|Summary"
)
_RANDOM = re.compile(r"Random|^Rng")
_PREFERRED = ("serving_default", "serve")
_CHANNELS = (1, 3)


@dataclass(frozen=True)
class Opened:
    """A SavedModel that was checked and loaded.

    Attributes:
        signature: The signature, a concrete function of one image.
        entry: Name of its input.
        shape: [N, H, W, C] of the input; N, H and W may be None.
        dtype: Type of the input.
        outputs: Names of its outputs, sorted.
        loaded: The loaded object, which keeps the variables alive.
    """

    signature: Any
    entry: str
    shape: tuple[int | None, ...]
    dtype: Any
    outputs: tuple[str, ...]
    loaded: Any

    def freeze(self, height: int, width: int) -> Any:
        """Return the signature for float32 images [N, height, width, C] of any number, with variables as constants."""
        tf = import_tensorflow()

        def run(image: Any) -> list[Any]:
            made = self.signature(**{self.entry: tf.cast(image, self.dtype)})
            return [made[name] for name in self.outputs]

        try:
            return freeze(run, (None, height, width, self.shape[3]))
        # TensorFlow raises ValueError or its own classes
        except Exception as error:
            raise ConversionError(
                f"the signature with the image {self.entry!r} cannot be frozen for {height}x{width} pixels: "
                f"{_first_line(error)}; export the model for inference, without random augmentation, at its own size"
            ) from error


def is_saved_model(path: str | Path) -> bool:
    """Return whether `path` is the folder of a SavedModel."""
    return (Path(path) / _GRAPH).is_file()


def open_saved_model(folder: str | Path) -> Opened:
    """Check and load a SavedModel, and find its signature with one image as input.

    Raises:
        ConversionError: The folder is damaged or too large, its graph contains ops that touch files, call Python or are
            random, or no signature takes one image.
    """
    folder = Path(folder)
    tf = import_tensorflow()
    _check_sizes(folder)
    _check_graph(_read_graph(folder), str(folder))
    try:
        with quiet():
            loaded = tf.saved_model.load(str(folder))
            signatures = dict(loaded.signatures)
    # TensorFlow raises any class for a damaged folder
    except Exception as error:
        raise ConversionError(
            f"TensorFlow {tf.__version__} cannot load {folder}: {_first_line(error)}; export the model again"
        ) from error
    return _choose(signatures, loaded, str(folder))


def _check_sizes(folder: Path) -> None:
    sizes = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    if sum(sizes.values()) > _MOST_BYTES or sizes[folder / _GRAPH] > _MOST_GRAPH_BYTES:
        raise ConversionError(f"{folder} has {sum(sizes.values())} bytes, at most {_MOST_BYTES} are read")


def _read_graph(folder: Path) -> Any:
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString((folder / _GRAPH).read_bytes())
    except (DecodeError, OSError) as error:
        raise ConversionError(f"{folder / _GRAPH} is damaged ({error}); export the model again") from error
    if len(model.meta_graphs) != 1:
        raise ConversionError(
            f"{folder} contains {len(model.meta_graphs)} graphs, expected 1; export the model again"
        )
    return model.meta_graphs[0]


def _check_graph(graph: Any, name: str) -> None:
    """Check that no op touches files or calls Python when the model is loaded and run."""
    bodies: dict[str, Iterable[Any]] = {
        function.signature.name: function.node_def for function in graph.graph_def.library.function
    }
    saving = {body for body, nodes in bodies.items() if any(node.op in _SAVING for node in nodes)}
    called = {function for nodes in bodies.values() for node in nodes for function in _calls(node)}
    if used := saving & (called | set(graph.object_graph_def.concrete_functions)):
        raise ConversionError(f"the function {min(used)} of {name} writes files, which is refused")
    everything = [graph.graph_def.node, *(nodes for body, nodes in bodies.items() if body not in saving)]
    if refused := sorted(set(_refused(everything))):
        raise ConversionError(
            f"the graph of {name} contains {', '.join(refused[:3])}: ops that touch files, call Python or are unknown are "
            "never run. Export the model for inference alone, without reading of files and tables"
        )


def _refused(everything: Iterable[Iterable[Any]]) -> Iterator[str]:
    import_tensorflow()
    from tensorflow.python.framework import op_def_registry

    for nodes in everything:
        for node in nodes:
            definition = op_def_registry.get(node.op)
            if node.op in _ALLOWED or _RANDOM.search(node.op):
                continue
            if definition is None or definition.is_stateful or _TOUCHES_FILES.search(node.op):
                yield node.op


def _calls(node: Any) -> Iterator[str]:
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        yield from (function.name for function in value.list.func)


def _choose(signatures: Mapping[str, Any], loaded: Any, name: str) -> Opened:
    """Return the signature that takes one image, the one for serving if there are several."""
    ordered = sorted(signatures, key=lambda key: (key not in _PREFERRED, key))
    found = [opened for key in ordered if (opened := _of_image(signatures[key], loaded))]
    if found:
        return found[0]
    listed = "; ".join(f"{key}: {_inputs(signatures[key])}" for key in ordered) or "none"
    raise ConversionError(
        f"{name} has no signature with one image [N, H, W, 3] or [N, H, W, 1] as input, found {listed}; export a signature "
        "that takes one image, without decoding of JPEG"
    )


def _of_image(signature: Any, loaded: Any) -> Opened | None:
    entries = signature.structured_input_signature[1]
    if len(entries) != 1:
        return None
    ((entry, spec),) = entries.items()
    shape = spec.shape
    if shape.rank != 4 or shape[3] not in _CHANNELS or not (spec.dtype.is_floating or spec.dtype.is_integer):
        return None
    outputs = tuple(sorted(signature.structured_outputs))
    return Opened(signature, entry, tuple(shape), spec.dtype, outputs, loaded)


def _inputs(signature: Any) -> str:
    specs = signature.structured_input_signature[1].items()
    return ", ".join(f"{entry} {spec.dtype.name} {spec.shape}" for entry, spec in specs) or "no input"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
