"""TFLite metadata of a foreign file: how its input is normalized, and its labels.

The metadata is a flatbuffer of its own in a buffer of the model (``metadata_schema.fbs`` of github.com/google/mediapipe), and
its files are in a zip archive that follows the model. https://ai.google.dev/edge/litert/models/metadata
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass

from device.errors import ModelFileError
from device.model.flatbuffer import Table, root

_NAME = "TFLITE_METADATA"
_METADATA, _BUFFERS = 6, 4  # fields of a model
_SUBGRAPHS, _INPUTS, _OUTPUTS = 3, 2, 3
_PROCESS_UNITS, _FILES = 4, 6  # fields of a tensor's metadata
_NORMALIZATION, _AXIS_LABELS = 1, 2
_MOST_LABEL_BYTES = 2**20


@dataclass(frozen=True)
class Metadata:
    """What the metadata of a file contains; empty where it has none.

    Attributes:
        mean: Subtracted from the pixels of each channel, or of all channels; empty when unknown.
        std: Divides the pixels afterwards.
        label_file: Name of the file with the labels; empty without one.
        labels: The lines of that file, in the order of the classifier's outputs.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    label_file: str = ""
    labels: tuple[str, ...] = ()


def read_metadata(data: bytes) -> Metadata:
    """Read the metadata of a .tflite; damaged metadata counts as none, because no answer depends on it alone."""
    try:
        found = _find(data)
        subgraphs = [] if found is None else found.tables(_SUBGRAPHS)
        inputs = subgraphs[0].tables(_INPUTS) if subgraphs else []
        outputs = subgraphs[0].tables(_OUTPUTS) if subgraphs else []
        mean, std = next(_normalizations(inputs), ((), ()))
        name = next(_label_files(outputs), "")
    except ModelFileError:
        return Metadata()
    name, labels = _read_labels(data, name)
    return Metadata(mean, std, name, labels)


def _find(data: bytes) -> Table | None:
    model = root(data)
    buffers = model.tables(_BUFFERS)
    for entry in model.tables(_METADATA):
        number = entry.number(1, "<I")
        if entry.text(0) == _NAME and number < len(buffers):
            start, length = buffers[number].vector(0, 1)
            return root(data[start : start + length]) if length else None
    return None


def _normalizations(inputs: list[Table]) -> Iterator[tuple[tuple[float, ...], tuple[float, ...]]]:
    for tensor in inputs[:1]:
        for unit in tensor.tables(_PROCESS_UNITS):
            options = unit.table(1)
            if unit.number(0, "<B") == _NORMALIZATION and options is not None:
                mean, std = (tuple(options.array(field, "<f4").tolist()) for field in (0, 1))
                if len(mean) == len(std) in (1, 3) and min(std) > 0:
                    yield mean, std


def _label_files(outputs: list[Table]) -> Iterator[str]:
    for tensor in outputs:
        for file in tensor.tables(_FILES):
            if file.number(2, "<b") == _AXIS_LABELS:
                yield file.text(0)


def _read_labels(data: bytes, name: str) -> tuple[str, tuple[str, ...]]:
    """Return the name and the lines of the label file; without a name, of the only text file in the archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            texts = [info for info in archive.infolist() if info.filename.endswith(".txt")]
            chosen = [info for info in texts if info.filename == name] or (texts if len(texts) == 1 else [])
            if not chosen or chosen[0].file_size > _MOST_LABEL_BYTES:
                return "", ()
            with archive.open(chosen[0]) as file:
                text = file.read(_MOST_LABEL_BYTES + 1).decode()
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, ValueError, EOFError):
        return "", ()
    return chosen[0].filename, tuple(text.splitlines())
