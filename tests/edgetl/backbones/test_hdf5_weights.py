"""HDF5 weights: files of another network, damaged files and files that reach outside are refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the networks are Keras models")

import h5py

from edgetl.backbones.hdf5_weights import load_hdf5_weights
from edgetl.errors import BackboneError


def network(filters: int = 4, blocks: int = 1) -> Any:
    """Return a network of a convolution and a normalization per block."""
    import keras

    inputs = x = keras.Input((8, 8, 3))
    for block in range(blocks):
        x = keras.layers.Conv2D(filters, 3, name=f"block{block}_conv")(x)
        x = keras.layers.BatchNormalization(name=f"block{block}_bn")(x)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x), name="small")


def filled(model: Any) -> Any:
    """Set all weights of a network to different numbers."""
    chooser = np.random.default_rng(3)
    model.set_weights([chooser.uniform(0.5, 1.5, value.shape) for value in model.get_weights()])
    return model


def write_layers(path: Path, model: Any, container: str = "") -> Path:
    """Write the layout of `keras.applications`: layers in order, with the names of their weights in attributes."""
    with h5py.File(path, "w") as file:
        target = file.create_group(container) if container else file
        layers = [layer for layer in model.layers if layer.weights]
        target.attrs["layer_names"] = [layer.name.encode() for layer in layers]
        for layer in layers:
            group = target.create_group(layer.name)
            weights = [*layer.trainable_weights, *layer.non_trainable_weights]
            names = [f"{layer.name}/{weight.name}:0" for weight in weights]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, weight in zip(names, weights, strict=True):
                group[name] = np.asarray(weight)
    return path


@pytest.mark.parametrize("container", ["", "model_weights"])
def test_weights_in_the_layout_of_applications_are_set(container: str, tmp_path: Path) -> None:
    """A file of weights and a file of a whole model are both read."""
    source, model = filled(network()), network()
    load_hdf5_weights(model, write_layers(tmp_path / "w.h5", source, container))
    for ours, theirs in zip(model.get_weights(), source.get_weights(), strict=True):
        assert (ours == theirs).all()


def test_weights_that_keras_3_writes_are_set(tmp_path: Path) -> None:
    """The newer layout has a path per weight."""
    source, model = filled(network()), network()
    source.save_weights(tmp_path / "w.weights.h5")
    load_hdf5_weights(model, tmp_path / "w.weights.h5")
    for ours, theirs in zip(model.get_weights(), source.get_weights(), strict=True):
        assert (ours == theirs).all()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"filters": 5}, r"layer 1, 'block0_conv', .*\(3, 3, 3, 4\), \(4,\) .* got \(3, 3, 3, 5\), \(5,\)"),
        ({"blocks": 2}, r"4 layers with weights, expected 2: .*'block1_conv'; a file without the classifier"),
        ({"blocks": 0}, r"0 layers with weights, expected 2: 'block0_conv' is missing"),
    ],
)
def test_a_layered_file_of_another_network_is_refused(
    other: dict[str, int], message: str, tmp_path: Path
) -> None:
    """The message has the first layer that differs, the expected shapes and those in the file."""
    path = write_layers(tmp_path / "w.h5", network(**other))
    model = filled(network())
    before = model.get_weights()
    with pytest.raises(BackboneError, match=r"w\.h5 does not fit small: .*" + message):
        load_hdf5_weights(model, path)
    assert all((now == then).all() for now, then in zip(model.get_weights(), before, strict=True))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"filters": 5}, r"should have the shape \(3, 3, 3, 4\), got \(3, 3, 3, 5\)|\(4,\), got \(5,\)"),
        ({"blocks": 0}, "has no weight 'layers/"),
        ({"blocks": 2}, r"also the layer '\w+'; a file without the classifier is needed"),
    ],
)
def test_a_newer_file_of_another_network_is_refused(
    other: dict[str, int], message: str, tmp_path: Path
) -> None:
    """The message has the path of the first weight that differs."""
    network(**other).save_weights(tmp_path / "w.weights.h5")
    with pytest.raises(BackboneError, match=message):
        load_hdf5_weights(network(), tmp_path / "w.weights.h5")


def _link_out(file: Any) -> None:
    group = file["block0_conv/block0_conv"]
    del group["kernel:0"]
    group["kernel:0"] = h5py.ExternalLink("other.h5", "/secret")


def _keep_outside(file: Any) -> None:
    group = file["block0_conv/block0_conv"]
    del group["kernel:0"]
    group.create_dataset("kernel:0", (3, 3, 3, 4), "f4", external=[("secret.bin", 0, 432)])


def _declare_huge(file: Any) -> None:
    group = file["block0_conv/block0_conv"]
    del group["kernel:0"]
    group.create_dataset("kernel:0", (10**6, 10**6), "f4", chunks=(1, 10**6))


def _omit(file: Any) -> None:
    del file["block0_bn"]


def _unlist(file: Any) -> None:
    del file.attrs["layer_names"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_link_out, "link to another place"),
        (_keep_outside, "kept in another file"),
        (_declare_huge, r"got \(1000000, 1000000\)"),
        (_omit, "'block0_bn' is listed but missing"),
        (_unlist, "does not list layers"),
    ],
)
def test_a_hostile_or_damaged_file_is_refused(
    change: Callable[[Any], None], message: str, tmp_path: Path
) -> None:
    """Links to other files are not followed, and no memory is reserved for a shape that does not fit."""
    path = write_layers(tmp_path / "w.h5", network())
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(BackboneError, match=message):
        load_hdf5_weights(network(), path)


@pytest.mark.parametrize("name", ["w.h5", "w.weights.h5"])
@pytest.mark.parametrize("kept", [0.0, 0.001, 0.2, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused_by_name(name: str, kept: float, tmp_path: Path) -> None:
    """The message names the file and what to do."""
    path = tmp_path / name
    if name == "w.h5":
        write_layers(path, network(filters=40))
    else:
        network(filters=40).save_weights(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(BackboneError, match=rf"{name}.*download it again"):
        load_hdf5_weights(network(filters=40), path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.h5", None, "is missing; check the path"),
        ("page.h5", b"<html>not found</html>", "no HDF5 file"),
        ("w.pth", b"\x89HDF\r\n\x1a\n", r"name ends in \.h5"),
    ],
)
def test_a_file_of_another_kind_is_refused(
    name: str, content: bytes | None, message: str, tmp_path: Path
) -> None:
    """This is found without reading the file as HDF5."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BackboneError, match=message):
        load_hdf5_weights(network(), tmp_path / name)
