"""The report of a conversion."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from device.learner.views import ViewsComparison
from device.model.manifest import HeldOut

from .parity import Parity

TRAINED_BY_SOURCE = "trained by the source model"
"""The origin of a head whose weights are those of the source model."""


@dataclass(frozen=True)
class Surgery:
    """The part of a report that only the conversion of an existing .tflite has.

    Attributes:
        source: The .tflite that the model file was made from.
        source_bytes: Its size.
        cut: Name of the tensor with the embedding.
        dtype: Its type in the source.
        averaged: Rows and columns of the map that the embedding is the mean of; empty for a vector.
        removed: What was removed after it, in words.
        pixels: How pixels become the input of the backbone, in words.
        identical: Whether the embeddings equal those of the original ops bit for bit, on all images compared.
        batch: Whether ``features`` accepts several images at once.
    """

    source: Path
    source_bytes: int
    cut: str
    dtype: str
    averaged: tuple[int, ...]
    removed: str
    pixels: str
    identical: bool
    batch: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-serializable values."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**fields, "source": str(self.source), "averaged": list(self.averaged)}


@dataclass(frozen=True)
class ConversionReport:
    """A finished conversion.

    Attributes:
        path: The model file.
        backbone: Name of the backbone.
        quantization: Format of the backbone: ``int8``, ``int16x8``, ``float16``, ``dynamic`` or ``none``.
        dimensions: Length D of an embedding.
        capacity: Maximum number of labels.
        labels: Labels of the head.
        parity: Comparison of the converted backbone with its source.
        calibration: Description of the photos for calibration and comparison.
        memory: ``samples``, ``sums`` or ``none``.
        memory_samples: Number of photos in the memory.
        views: Number of separate views that these photos show; look-alikes count as one.
        sizes: Bytes of ``total``, ``backbone``, ``head`` and ``memory``.
        head: Origin of the weights of the head.
        runtime: The runtime in which the file was verified.
        seconds: Duration of the conversion.
        held_out: The accuracy of the converted file on photos that were held out from training, see
            `converters.memory.judge_held_out`; None without such photos.
        twin: The backbone for the Edge TPU compiler, or None.
        compiled: The compiled twin, or None where the compiler is not installed.
        keep_float: Names of the layers that were kept in float.
        warnings: Warnings for the user, one sentence each.
        surgery: What was cut and removed, for a model file made from an existing .tflite, else None.
        flip: One view against the average with the mirror image, by leaving training photos out; None with one view.
        source: What was found in a Keras model of the user's: ``embedding`` and ``pixels``, in words; else empty.
    """

    path: Path
    backbone: str
    quantization: str
    dimensions: int
    capacity: int
    labels: tuple[str, ...]
    parity: Parity
    calibration: str
    memory: str
    memory_samples: int
    views: int
    sizes: dict[str, int]
    head: str
    runtime: str
    seconds: float
    held_out: HeldOut | None = None
    twin: Path | None = None
    compiled: Path | None = None
    keep_float: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    surgery: Surgery | None = None
    flip: ViewsComparison | None = None
    source: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        labels = f"{len(self.labels)} of {self.capacity} labels"
        return f"<ConversionReport {self.path.name}: {self.backbone}, {self.quantization}, {labels}, memory {self.memory}>"

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-serializable values."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        fields.update(
            path=str(self.path),
            labels=list(self.labels),
            keep_float=list(self.keep_float),
            warnings=list(self.warnings),
            parity=self.parity.to_dict(),
            twin=str(self.twin) if self.twin else None,
            compiled=str(self.compiled) if self.compiled else None,
            surgery=self.surgery.to_dict() if self.surgery else None,
            flip=self.flip.to_dict() if self.flip else None,
            seconds=round(self.seconds, 1),
        )
        return fields
