"""SavedModels from anywhere: the signature, the embedding, the scaling, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.errors import ConversionError
from converters.frozen_graph import end_graph_with_embedding, find_graph_scaling
from converters.input_range import find_range
from converters.saved_model import is_saved_model, open_saved_model
from tests import keras_models


def export(model: Any, folder: Path) -> Path:
    """Export a model as a user does."""
    model.export(folder, verbose=False)
    return folder


def save(function: Any, shape: tuple[int | None, ...], folder: Path, dtype: str = "float32") -> Path:
    """Save a function of one tensor as a SavedModel."""
    import tensorflow as tf

    module = tf.Module()
    module.run = tf.function(function, input_signature=[tf.TensorSpec(shape, dtype, name="x")])
    tf.saved_model.save(module, str(folder), signatures=module.run)
    return folder


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the SavedModel of a classifier with scaling inside."""
    return export(keras_models.classifier(), tmp_path_factory.mktemp("saved") / "mine")


def test_the_embedding_before_the_classifier_is_that_of_the_keras_model(exported: Path) -> None:
    """The pixels go in as they are, because the graph scales them."""
    import keras

    assert is_saved_model(exported)
    opened = open_saved_model(exported)
    frozen = opened.freeze(32, 32)
    assert find_range(find_graph_scaling(frozen)) == "0..255"
    embedding = end_graph_with_embedding(frozen, opened.outputs, None, "mine")
    assert (embedding.dimensions, embedding.found) == (16, "the last pooled layer before the classifier")
    model = keras_models.classifier()
    images = np.random.default_rng(0).uniform(0, 255, (3, 32, 32, 3)).astype(np.float32)
    oracle = keras.Model(model.inputs[0], model.get_layer("pool").output)
    assert np.allclose(embedding.model.predict_on_batch(images), oracle(images), atol=1e-5)


def test_a_layer_is_named_as_in_the_keras_model(exported: Path) -> None:
    """A feature map is averaged; a wrong name is answered with the last layers."""
    opened = open_saved_model(exported)
    frozen = opened.freeze(32, 32)
    assert end_graph_with_embedding(frozen, opened.outputs, "hidden", "mine").dimensions == 24
    assert "averaged" in end_graph_with_embedding(frozen, opened.outputs, "first", "mine").found
    with pytest.raises(ConversionError, match=r"no output, layer or tensor 'nothing'; its last layers are"):
        end_graph_with_embedding(frozen, opened.outputs, "nothing", "mine")


def test_an_output_with_features_is_preferred_to_scores(tmp_path: Path) -> None:
    """Two outputs leave the choice open unless one of them has no classifier."""
    import keras

    image = keras.Input((32, 32, 3))
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(keras.layers.Conv2D(8, 3)(image))
    scores = keras.layers.Dense(3)(pooled)
    opened = open_saved_model(export(keras.Model(image, {"a": scores, "b": pooled}), tmp_path / "mine"))
    embedding = end_graph_with_embedding(opened.freeze(32, 32), opened.outputs, None, "mine")
    assert (embedding.dimensions, embedding.found) == (8, "the output 'b'")
    both = keras.Model(image, {"a": scores, "b": keras.layers.Dense(2)(pooled)})
    opened = open_saved_model(export(both, tmp_path / "both"))
    with pytest.raises(ConversionError, match=r"2 outputs \(a .*--embedding-layer"):
        end_graph_with_embedding(opened.freeze(32, 32), opened.outputs, None, "mine")


def test_a_graph_that_writes_or_reads_files_is_refused(tmp_path: Path) -> None:
    """Nothing of it is run: the file is not written."""
    import tensorflow as tf

    target = str(tmp_path / "written")

    def writing(x: Any) -> Any:
        tf.io.write_file(target, "text")
        return x

    def reading(x: Any) -> Any:
        return x + tf.cast(tf.strings.length(tf.io.read_file(target)), tf.float32)

    def python(x: Any) -> Any:
        return tf.ensure_shape(tf.py_function(lambda value: value, [x], tf.float32), (None, 8, 8, 3))

    for number, (function, op) in enumerate(
        ((writing, "WriteFile"), (reading, "ReadFile"), (python, "EagerPyFunc"))
    ):
        folder = save(function, (None, 8, 8, 3), tmp_path / str(number))
        with pytest.raises(ConversionError, match=f"contains {op}.*never run"):
            open_saved_model(folder)
    assert not Path(target).exists()


def test_a_signature_without_an_image_is_refused(tmp_path: Path) -> None:
    """The message lists what there is."""
    with pytest.raises(
        ConversionError, match=r"no signature with one image .*serving_default: x float32 \(None, 4\)"
    ):
        open_saved_model(save(lambda x: x * 2, (None, 4), tmp_path / "vector"))


def test_random_augmentation_in_a_graph_is_refused(tmp_path: Path) -> None:
    """Keras exports it as it runs in training."""
    opened = open_saved_model(export(keras_models.nested(), tmp_path / "mine"))
    with pytest.raises(ConversionError, match="without random augmentation"):
        opened.freeze(32, 32)


def test_a_damaged_saved_model_is_refused(exported: Path, tmp_path: Path) -> None:
    """Neither a graph that is cut nor missing variables end in a traceback."""
    (tmp_path / "cut").mkdir()
    whole = (exported / "saved_model.pb").read_bytes()
    for length in (0, 10, len(whole) // 2):
        (tmp_path / "cut" / "saved_model.pb").write_bytes(whole[:length])
        with pytest.raises(ConversionError, match="cut"):
            open_saved_model(tmp_path / "cut")
    (tmp_path / "cut" / "saved_model.pb").write_bytes(whole)
    with pytest.raises(ConversionError, match="cannot load"):
        open_saved_model(tmp_path / "cut")
