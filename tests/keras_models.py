"""Tiny Keras models as users have them: whole classifiers, with scaling inside, nested, with two inputs; and wrong ones."""

from __future__ import annotations

from typing import Any

import numpy as np

SIDE = 32


def classifier(
    side: int | None = SIDE, channels: int = 3, scaled: bool = True, name: str = "classifier"
) -> Any:
    """Return a sequential classifier of 5 labels: [Rescaling,] two convolutions, pooling, dropout, two dense layers."""
    import keras

    layers = keras.layers
    return _seeded(
        keras.Sequential(
            [
                keras.Input((side, side, channels)),
                *([layers.Rescaling(1 / 127.5, -1.0, name="rescaling")] if scaled else []),
                layers.Conv2D(8, 3, strides=2, padding="same", activation="relu6", name="first"),
                layers.Conv2D(16, 3, strides=2, padding="same", activation="relu6", name="second"),
                layers.GlobalAveragePooling2D(name="pool"),
                layers.Dropout(0.2, name="drop"),
                layers.Dense(24, activation="relu", name="hidden"),
                layers.Dense(5, activation="softmax", name="scores"),
            ],
            name=name,
        )
    )


def nested() -> Any:
    """Return a functional classifier as in a transfer-learning guide: scaling by operations, a nested model with branches."""
    import keras

    layers = keras.layers
    entry = keras.Input((SIDE, SIDE, 8))
    left = layers.Conv2D(16, 3, padding="same", name="conv_left")(entry)
    right = layers.Conv2D(16, 1, padding="same", name="conv_right")(entry)
    inner = keras.Model(entry, layers.ReLU(name="relu")(layers.Add(name="add")([left, right])), name="inner")
    image = keras.Input((SIDE, SIDE, 3))
    x = layers.RandomFlip("horizontal", name="flip")(image)
    x = x / 127.5 - 1.0
    x = layers.Conv2D(8, 3, padding="same", name="stem")(x)
    x = inner(x, training=False)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return _seeded(keras.Model(image, layers.Dense(5, activation="softmax", name="scores")(x), name="nested"))


def textbook(channels: int = 1) -> Any:
    """Return a classifier without global pooling: convolution, pooling, flatten, three dense layers."""
    import keras

    layers = keras.layers
    return _seeded(
        keras.Sequential(
            [
                keras.Input((28, 28, channels)),
                layers.Rescaling(1 / 255, name="rescaling"),
                layers.Conv2D(4, 5, activation="relu", name="conv"),
                layers.MaxPooling2D(4, name="max_pool"),
                layers.Flatten(name="flatten"),
                layers.Dense(32, activation="relu", name="dense_1"),
                layers.Dense(16, activation="relu", name="dense_2"),
                layers.Dropout(0.5, name="drop"),
                layers.Dense(10, name="logits"),
                layers.Softmax(name="softmax"),
            ]
        )
    )


def two_inputs() -> Any:
    """Return a model with an image and a vector as inputs."""
    import keras

    image, vector = keras.Input((SIDE, SIDE, 3), name="image"), keras.Input((4,), name="vector")
    pooled = keras.layers.GlobalAveragePooling2D()(image)
    return keras.Model([image, vector], keras.layers.Concatenate()([pooled, vector]))


def two_outputs() -> Any:
    """Return a model whose outputs are two dense layers behind one pooled layer."""
    import keras

    image = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.Conv2D(8, 3, name="conv")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return _seeded(
        keras.Model(image, [keras.layers.Dense(3, name="kind")(x), keras.layers.Dense(2, name="side")(x)])
    )


def with_lambda() -> Any:
    """Return a model with a Lambda layer."""
    import keras

    image = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Lambda(lambda pixels: pixels / 255, name="scale")(image)
    return keras.Model(image, keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3)(x)))


def with_custom_class() -> Any:
    """Return a model with a layer of a class that this process registers with Keras."""
    import keras

    @keras.saving.register_keras_serializable("tests")
    class Doubling(keras.layers.Layer):  # type: ignore[misc]
        def call(self, inputs: Any) -> Any:
            return inputs * 2

    image = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Conv2D(8, 3)(Doubling(name="doubling")(image))
    return keras.Model(image, keras.layers.GlobalAveragePooling2D()(x))


def channels_first() -> Any:
    """Return a model that takes images [N, 3, H, W]."""
    import keras

    image = keras.Input((3, SIDE, SIDE))
    x = keras.layers.Conv2D(8, 3, data_format="channels_first")(image)
    return keras.Model(image, keras.layers.GlobalAveragePooling2D(data_format="channels_first")(x))


def _seeded(model: Any) -> Any:
    """Set weights from NumPy's generator, which stay the same from release to release."""
    chooser = np.random.default_rng(11)
    for variable in model.trainable_variables:
        fan = max(1, int(np.prod(variable.shape[:-1])))
        variable.assign(chooser.normal(0, 1.5 / np.sqrt(fan), variable.shape))
    return model
