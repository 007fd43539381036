"""The embedding of a user's model, and the pixel values that the model expects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from converters.embedding_layer import end_with_embedding, require_embedding
from converters.errors import ConversionError
from converters.input_range import (
    find_range,
    find_scaling,
    normalization,
    refuse_double_scaling,
    refuse_normalizing_twice,
)
from converters.layer_graph import flatten, list_passages, list_steps, require_graph
from tests import keras_models


def flat(model: Any) -> Any:
    """Return a model as one graph, for its own input shape."""
    return flatten(model, tuple(model.inputs[0].shape[1:]), "mine")


@pytest.mark.parametrize(
    ("make", "layer", "dimensions"),
    [
        (keras_models.classifier, "pool", 16),
        (keras_models.nested, "pool", 16),
        (keras_models.textbook, "dense_2", 16),
    ],
)
def test_the_embedding_is_found_before_the_classifier(
    make: Callable[[], Any], layer: str, dimensions: int
) -> None:
    """It is the last pooled layer, or the last hidden layer without one; the numbers are those of that layer."""
    model = make()
    embedding = end_with_embedding(flat(model), None, "mine")
    assert (embedding.layer, embedding.dimensions) == (layer, dimensions)
    shape = (3, *model.inputs[0].shape[1:])
    images = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
    import keras

    oracle = keras.Model(model.inputs[0], model.get_layer(layer).output)
    found, expected = (np.asarray(one(images, training=False)) for one in (embedding.model, oracle))
    assert np.allclose(found, expected, atol=1e-6)


def test_a_model_without_a_classifier_keeps_its_output() -> None:
    """A feature map is averaged over its places."""
    import keras

    image = keras.Input((32, 32, 3))
    features = keras.layers.Conv2D(8, 3, name="features")(image)
    assert end_with_embedding(flat(keras.Model(image, features)), None, "mine").dimensions == 8
    pooled = keras.layers.GlobalMaxPooling2D(name="most")(features)
    assert end_with_embedding(flat(keras.Model(image, pooled)), None, "mine").layer == "most"
    normalized = keras.layers.UnitNormalization(name="unit")(keras.layers.Dense(4)(pooled))
    assert end_with_embedding(flat(keras.Model(image, normalized)), None, "mine").layer == "unit"


def test_the_features_before_pooled_scores_are_the_embedding() -> None:
    """Some networks pool the feature maps of the labels, as SqueezeNet does, or classify by a 1x1 convolution."""
    import keras

    layers, image = keras.layers, keras.Input((32, 32, 3))
    features = layers.Conv2D(8, 3, activation="relu", name="features")(image)
    maps = layers.Conv2D(5, 1, name="maps")(layers.Dropout(0.5)(features))
    pooled = layers.Softmax()(layers.GlobalAveragePooling2D()(maps))
    assert end_with_embedding(flat(keras.Model(image, pooled)), None, "mine").layer == "features"
    kept = layers.GlobalAveragePooling2D(keepdims=True, name="kept")(features)
    scores = layers.Activation("softmax")(layers.Flatten()(layers.Conv2D(5, 1)(layers.Dropout(0.5)(kept))))
    embedding = end_with_embedding(flat(keras.Model(image, scores)), None, "mine")
    assert (embedding.layer, embedding.dimensions) == ("kept", 8)


def test_a_named_layer_is_the_embedding_and_a_wrong_name_is_answered() -> None:
    """Layers of nested models can be named; the error suggests a near name."""
    model = flat(keras_models.nested())
    embedding = end_with_embedding(model, "add", "mine")
    assert (embedding.dimensions, "averaged" in embedding.found) == (16, True)
    with pytest.raises(ConversionError, match="has no layer 'poool'; did you mean 'pool'"):
        end_with_embedding(model, "poool", "mine")


def test_several_inputs_and_outputs_are_refused_by_name() -> None:
    """A layer that is named decides between several outputs."""
    with pytest.raises(ConversionError, match=r"2 inputs \(image .*vector"):
        require_graph(keras_models.two_inputs(), "mine")
    model = flat(keras_models.two_outputs())
    with pytest.raises(ConversionError, match=r"2 outputs .*--embedding-layer"):
        end_with_embedding(model, None, "mine")
    assert end_with_embedding(model, "pool", "mine").dimensions == 8


def test_a_subclass_of_model_is_refused() -> None:
    """It has no graph of layers; the message names a way to convert it nevertheless."""
    import keras

    class Subclass(keras.Model):  # type: ignore[misc]
        def call(self, inputs: Any) -> Any:
            return inputs

    with pytest.raises(ConversionError, match=r"form no graph.*model\.export"):
        require_graph(Subclass(), "mine")


def test_nested_models_become_one_graph_with_unique_names() -> None:
    """Two nested models with the same names of layers do not collide."""
    import keras

    image = keras.Input((8, 8, 3))
    one, two = (
        keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(3, 1, name="conv")], name=name)
        for name in ("one", "two")
    )
    model = flat(keras.Model(image, two(one(image))))
    assert [step.name for step in list_steps(model)] == ["image", "conv", "two_conv"]


def test_a_graph_can_be_cut_only_where_one_tensor_passes() -> None:
    """Inside of the branches there is no passage."""
    passages = [passage.before.name for passage in list_passages(flat(keras_models.nested()))]
    assert passages[-3:] == ["add", "relu", "pool"]
    assert not {"conv_left", "conv_right"} & set(passages)


def test_a_whole_classifier_is_no_backbone() -> None:
    """Its softmax would become an embedding of five numbers."""
    with pytest.raises(ConversionError, match="whole classifier: its last layer 'scores' is a softmax"):
        require_embedding(keras_models.classifier(), "mine")


def scaled(*layers: Any) -> Any:
    """Return a model that starts with these layers."""
    import keras

    return flat(keras.Sequential([keras.Input((8, 8, 3)), *layers, keras.layers.Conv2D(4, 3)]))


def test_the_range_of_pixels_is_found_from_the_scaling_inside() -> None:
    """Rescaling, Normalization and batch normalization of pixel values show what goes in."""
    import keras

    layers = keras.layers
    mean, variance = [0.485, 0.456, 0.406], [0.05, 0.05, 0.05]
    cases = [
        ([layers.Rescaling(1 / 255)], "0..255"),
        ([layers.Rescaling(1 / 127.5, -1.0)], "0..255"),
        (
            [
                layers.RandomFlip(),
                layers.Rescaling(1 / 255),
                layers.Normalization(mean=mean, variance=variance),
            ],
            "0..255",
        ),
        ([layers.Normalization(mean=[120.0] * 3, variance=[3600.0] * 3)], "0..255"),
        ([layers.Normalization(mean=mean, variance=variance)], "0..1"),
        ([layers.Rescaling(2.0, -1.0)], "0..1"),
        ([], None),
    ]
    for inside, expected in cases:
        assert find_range(find_scaling(scaled(*inside))) == expected, inside
    assert find_range(find_scaling(flat(keras_models.nested()))) == "0..255"
    assert find_scaling(scaled(layers.Resizing(8, 8))).size == (8, 8)


def test_scaling_twice_is_refused() -> None:
    """A range that does not fit the scaling inside would leave nearly nothing of the picture."""
    model = flat(keras_models.classifier())
    with pytest.raises(ConversionError, match=r"layer rescaling.*scaled twice, .*use 0\.\.255"):
        refuse_double_scaling(find_scaling(model), "0..1", "mine")
    refuse_double_scaling(find_scaling(model), "0..255", "mine")
    with pytest.raises(ConversionError, match="Use the mean 0 and the std 1"):
        refuse_normalizing_twice(model, (127.5,) * 3, (127.5,) * 3, "mine")
    refuse_normalizing_twice(model, (0.0,) * 3, (1.0,) * 3, "mine")


def test_a_range_becomes_mean_and_std() -> None:
    """Pixels 0 and 255 map to its ends."""
    for name, ends in (
        ("0..255", (0, 255)),
        ("0..1", (0, 1)),
        ("-1..1", (-1, 1)),
        ("-0.5..0.5", (-0.5, 0.5)),
    ):
        (mean,), (std,) = normalization(name, 1)
        assert np.allclose([-mean / std, (255 - mean) / std], ends)
    for wrong in ("1..0", "rgb", "0-1", "0..x"):
        with pytest.raises(ConversionError, match="the input range must be"):
            normalization(wrong, 3)
    with pytest.raises(ConversionError, match="for RGB"):
        normalization("imagenet", 1)
