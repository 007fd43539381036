"""A .tflite that edgetl did not write: read, checked, and taken apart; or refused with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from device.errors import ModelFileError
from device.model.container import MANIFEST, read_tflite
from device.model.graph import read_graphs

from .anatomy import Anatomy, custom_ops
from .errors import ConversionError
from .metadata import Metadata, read_metadata


@dataclass(frozen=True)
class Source:
    """A foreign .tflite, read and checked.

    Attributes:
        path: The file.
        data: Its bytes.
        anatomy: Its parts.
        metadata: Its TFLite metadata.
    """

    path: Path
    data: bytes
    anatomy: Anatomy
    metadata: Metadata

    @classmethod
    def open(cls, path: str | Path) -> Source:
        """Read a foreign .tflite.

        Raises:
            ModelFileError: It is missing, truncated or no .tflite.
            ConversionError: It is a model file already, or no model that turns one image into numbers.
        """
        path = Path(path)
        data = read_tflite(path)
        if MANIFEST.encode() in data:
            raise ConversionError(
                f"{path} is a model file of edgetl already; teach it with: edgetl teach {path} LABEL --camera 0"
            )
        try:
            graphs = read_graphs(data)
            return cls(path, data, Anatomy(graphs, custom_ops(data)), read_metadata(data))
        except ModelFileError as error:
            raise ModelFileError(f"{path}: {error}") from error
        except ConversionError as error:
            raise refused(path, error) from error


def refused(path: Path, error: ConversionError) -> ConversionError:
    """Return the error for a file that cannot be converted; its message starts with the path."""
    text = str(error)
    return ConversionError(text if text.startswith(str(path)) else f"{path} cannot be converted: {text}")
