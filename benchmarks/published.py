"""Figures that others published, with their source; `benchmarks/RESULTS.md` shows them in a table of their own."""

from __future__ import annotations

from dataclasses import dataclass

_CORAL = "https://coral.ai/docs/edgetpu/benchmarks/"
_PYCORAL = "https://github.com/google-coral/pycoral/blob/master/benchmarks/reference"
_ALLAN = "https://github.com/aallan/benchmarking-ml-on-the-edge"


@dataclass(frozen=True)
class Published:
    """A figure that we did not measure.

    Attributes:
        what: What was measured.
        where: On which machine.
        figure: The figure with its unit.
        source: Name of the source.
        address: Its address.
    """

    what: str
    where: str
    figure: str
    source: str
    address: str


PUBLISHED = (
    Published("MobileNetV2 int8, 224 px, one image", "Cortex-A53, four cores", "122 ms", "Coral", _CORAL),
    Published("MobileNetV2 int8, 224 px, one image", "Coral Dev Board, Edge TPU", "2.6 ms", "Coral", _CORAL),
    Published("MobileNetV1 int8, 224 px, one image", "Cortex-A53, four cores", "164 ms", "Coral", _CORAL),
    Published(
        "MobileNetV2 int8, 224 px, one image",
        "Raspberry Pi 4 with a USB Accelerator",
        "4.55 ms",
        "PyCoral",
        f"{_PYCORAL}/inference_reference_rp4b.csv",
    ),
    Published(
        "imprinting of 200 images of 10 classes, embeddings included",
        "Raspberry Pi 4 with a USB Accelerator",
        "987 ms",
        "PyCoral",
        f"{_PYCORAL}/imprinting_reference_training_rp4b.csv",
    ),
    Published("MobileNetV2 SSD, 300 px, TensorFlow Lite", "Raspberry Pi 4", "112.6 ms", "A. Allan", _ALLAN),
    Published("MobileNetV2 SSD, 300 px, TensorFlow Lite", "Raspberry Pi 5", "23.5 ms", "A. Allan", _ALLAN),
)
