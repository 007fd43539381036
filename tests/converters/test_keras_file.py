"""Keras files from anywhere: what is loaded, and what is refused before Keras reads it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.errors import ConversionError
from converters.keras_config import check_config
from converters.keras_file import is_keras_file, load_keras_file
from tests import keras_models


def save(model: Any, path: Path) -> Path:
    """Save a model as a user does."""
    model.save(path)
    return path


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the configuration in a .keras archive."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    change(config)
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_file_is_loaded_with_its_weights(suffix: str, tmp_path: Path) -> None:
    """The outputs are those of the model that was saved."""
    model = keras_models.classifier()
    loaded = load_keras_file(save(model, tmp_path / f"mine{suffix}"))
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    assert np.array_equal(loaded.predict_on_batch(images), model.predict_on_batch(images))


def test_an_h5_file_is_recognized_by_its_content(tmp_path: Path) -> None:
    """The name does not matter."""
    path = save(keras_models.classifier(), tmp_path / "mine.h5").rename(tmp_path / "mine.model")
    assert is_keras_file(path)
    assert load_keras_file(path).name == "classifier"


def test_a_training_configuration_with_custom_objects_is_not_read(tmp_path: Path) -> None:
    """Optimizer and loss are not needed, so a loss of the user's does no harm."""

    def loss(truth: Any, predicted: Any) -> Any:
        return predicted

    model = keras_models.classifier()
    model.compile("adam", loss=loss)
    assert load_keras_file(save(model, tmp_path / "mine.keras")).name == "classifier"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (keras_models.with_lambda, r"Lambda layer 'scale': code from a file is never run.*model\.export"),
        (
            keras_models.with_custom_class,
            r"class 'Doubling' of the layer 'doubling', which is not part of Keras",
        ),
    ],
)
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_code_in_a_file_is_refused(
    make: Callable[[], Any], message: str, suffix: str, tmp_path: Path
) -> None:
    """Also where this process has registered the class with Keras."""
    path = save(make(), tmp_path / f"mine{suffix}")
    with pytest.raises(ConversionError, match=message):
        load_keras_file(path)


@pytest.mark.parametrize(
    "part",
    [
        {"module": "builtins", "class_name": "function", "config": "exec", "registered_name": "function"},
        {"module": "keras.src.utils.python_utils", "class_name": "func_load", "config": {}},
        {"module": "keras.src.saving.saving_lib", "class_name": "H5IOStore", "config": {}},
        {"module": "os", "class_name": "system", "config": {"command": "true"}},
        {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "/tmp"}},
        {"class_name": "__lambda__", "config": {"value": ["4wAAAA==", None, None]}},
        {"class_name": "__typespec__", "spec_name": "os", "module": "os", "config": []},
        {"class_name": "MyPackage>Layer", "config": {}},
    ],
)
def test_an_object_that_is_no_part_of_a_model_is_refused(part: dict[str, Any]) -> None:
    """It may be anywhere in the configuration."""
    config = {
        "class_name": "Sequential",
        "config": {"layers": [{"class_name": "Dense", "config": {"x": [part]}}]},
    }
    with pytest.raises(ConversionError, match="code from a file is never run"):
        check_config(config, "mine.keras")


def test_a_registered_class_does_not_replace_one_of_keras(tmp_path: Path) -> None:
    """Keras prefers registered classes; here they are hidden while a file is loaded, and are back afterwards."""
    import keras

    path = save(keras_models.classifier(), tmp_path / "mine.h5")

    class Dense(keras.layers.Dense):  # type: ignore[misc]
        pass

    registered = keras.saving.get_custom_objects()
    registered["Dense"] = Dense
    try:
        assert type(load_keras_file(path).layers[-1]) is keras.layers.Dense
        assert registered["Dense"] is Dense
    finally:
        del registered["Dense"]


def test_weights_without_an_architecture_are_refused(tmp_path: Path) -> None:
    """The message names the option for weights alone."""
    keras_models.classifier().save_weights(tmp_path / "mine.weights.h5")
    with pytest.raises(ConversionError, match=r"weights without an architecture.*--weights FILE"):
        load_keras_file(tmp_path / "mine.weights.h5")


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    """The configuration has fewer numbers than the weights."""

    def widen(config: dict[str, Any]) -> None:
        config["config"]["layers"][-1]["config"]["units"] = 7
        config["config"]["layers"][-1].pop("build_config", None)

    path = save(keras_models.classifier(), tmp_path / "mine.keras")
    rewrite(path, widen)
    with pytest.raises(ConversionError, match="weights do not fit its architecture"):
        load_keras_file(path)


def test_an_archive_that_unpacks_to_far_more_than_it_stores_is_refused(tmp_path: Path) -> None:
    """A member of 64 MB of zeros takes 64 KB."""
    path = tmp_path / "mine.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", bytes(2**26))
        archive.writestr("model.weights.h5", b"")
    with pytest.raises(ConversionError, match="unpacks from"):
        load_keras_file(path)


def test_weights_in_another_file_are_refused(tmp_path: Path) -> None:
    """An external link or dataset of HDF5 would read any file of this machine."""
    import h5py

    secret = tmp_path / "secret"
    secret.write_bytes(bytes(400))
    path = save(keras_models.classifier(), tmp_path / "mine.h5")
    with h5py.File(path, "a") as file:
        file["linked"] = h5py.ExternalLink(str(secret), "/")
    with pytest.raises(ConversionError, match="refers to another file"):
        load_keras_file(path)
    with h5py.File(path, "a") as file:
        del file["linked"]
        file.create_dataset("data", (100,), "f4", external=[(str(secret), 0, 400)])
    with pytest.raises(ConversionError, match="refers to another file"):
        load_keras_file(path)


def test_weights_that_declare_terabytes_are_refused(tmp_path: Path) -> None:
    """A chunked dataset of HDF5 takes no space before it is written."""
    import h5py

    path = save(keras_models.classifier(), tmp_path / "mine.h5")
    with h5py.File(path, "a") as file:
        file.create_dataset("huge", (10**12,), "f4", chunks=(1024,))
    with pytest.raises(ConversionError, match="unpacks to more than"):
        load_keras_file(path)


@pytest.mark.parametrize("name", ["mine.keras", "mine.h5"])
def test_a_damaged_file_is_refused(name: str, tmp_path: Path) -> None:
    """Cut at several places, or something else, it is an error with the path."""
    whole = save(keras_models.classifier(), tmp_path / name).read_bytes()
    for length in (0, 3, 100, len(whole) // 2, len(whole) - 40):
        (tmp_path / name).write_bytes(whole[:length])
        with pytest.raises(ConversionError, match=name):
            load_keras_file(tmp_path / name)
    with pytest.raises(ConversionError, match="check the path"):
        load_keras_file(tmp_path / f"nowhere-{name}")


def test_a_deeply_nested_configuration_is_refused(tmp_path: Path) -> None:
    """No RecursionError reaches the user."""
    path = tmp_path / "mine.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "[" * 100_000 + "]" * 100_000)
        archive.writestr("model.weights.h5", b"")
    with pytest.raises(ConversionError, match="cannot be read"):
        load_keras_file(path)
