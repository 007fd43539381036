"""The catalog of backbones: what each one is, where its weights come from, and whether they are at hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from .applications import APPLICATIONS, PREFIX, Application
from .applications import kept_weights as kept_download
from .registry import BACKBONES, Backbone
from .registry import kept_weights as kept_package
from .small import SIDE, SMALL, SmallBackbone


@dataclass(frozen=True)
class Entry:
    """One backbone of the catalog.

    Attributes:
        name: The name for ``finetune --backbone`` and ``convert``.
        family: ``CNN``, ``residual`` or ``GAN``.
        height: Rows of the input, in pixels.
        width: Columns of the input, in pixels.
        channels: 3 for RGB, 1 for gray.
        parameters: Number of weights, without a classifier.
        dimensions: D, numbers in an embedding.
        license: License of the weights.
        weights: Where the weights come from: ``pip package``, ``download`` or ``trained here``.
        source: The package or the file to fetch; empty for ``trained here``.
        install: The command that installs the package; empty without one.
        at_hand: Whether the weights are on this machine.
        top1: Published ImageNet top-1 accuracy in percent, or None.
        top1_source: Who published it; empty without a figure.
    """

    name: str
    family: str
    height: int
    width: int
    channels: int
    parameters: int
    dimensions: int
    license: str
    weights: str
    source: str
    install: str
    at_hand: bool
    top1: float | None
    top1_source: str

    @property
    def input(self) -> str:
        """Return the input as ``HxWxC``."""
        return f"{self.height}x{self.width}x{self.channels}"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields and `input` as a JSON-serializable dict."""
        return {**asdict(self), "input": self.input}


def list_backbones() -> list[Entry]:
    """Return every backbone by name; needs neither TensorFlow nor a network."""
    return list(_entries())


def _entries() -> Iterator[Entry]:
    for backbone in BACKBONES.values():
        yield _packaged(backbone)
    for name, small in SMALL.items():
        yield _small(name, small)
    for name, application in APPLICATIONS.items():
        yield _application(name, application)


def _packaged(backbone: Backbone) -> Entry:
    return Entry(
        name=backbone.name,
        family=backbone.family,
        height=backbone.side,
        width=backbone.side,
        channels=3,
        parameters=backbone.parameters,
        dimensions=backbone.dimensions,
        license=backbone.license,
        weights="pip package",
        source=backbone.package,
        install=backbone.install,
        at_hand=kept_package(backbone) is not None,
        top1=backbone.top1,
        top1_source=backbone.top1_source,
    )


def _small(name: str, small: SmallBackbone) -> Entry:
    return Entry(
        name=name,
        family=small.family,
        height=SIDE,
        width=SIDE,
        channels=1,
        parameters=small.parameters,
        dimensions=small.dimensions,
        license="yours",
        weights="trained here",
        source="",
        install="",
        at_hand=False,
        top1=None,
        top1_source="",
    )


def _application(name: str, application: Application) -> Entry:
    return Entry(
        name=application.alias or f"{PREFIX}{name}",
        family=application.family,
        height=224,
        width=224,
        channels=3,
        parameters=application.parameters,
        dimensions=application.dimensions,
        license=application.license,
        weights="download",
        source=application.url,
        install="",
        at_hand=kept_download(application) is not None,
        top1=application.top1,
        top1_source=application.top1_source,
    )
