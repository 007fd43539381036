"""Writes the files that the pages for the host name, in the current folder: ``python -m tests.host_files``; needs TensorFlow."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from device.learner import Learner
from edgetl import finetune


def main() -> None:
    """Write a trained model, a Keras model, a classifier, and folders of digits."""
    import keras

    finetune("photos", "mugs", layers="head", head_epochs=5)
    layers = keras.layers
    classifier = keras.Sequential(
        [
            keras.Input((96, 96, 3)),
            layers.Rescaling(1 / 127.5, offset=-1),
            layers.Conv2D(16, 3, strides=2, activation="relu"),
            layers.Conv2D(32, 3, strides=2, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    classifier.save("mine.keras")
    with Learner.open("mugs.tflite") as learner:
        learner.export_classifier(Path("mobilenet_v2.tflite"), force=True)
    random = np.random.default_rng(0)
    for folder, labels in (("digits", ("1", "7")), ("few-digits", ("1", "7")), ("many-digits", ("",))):
        for label in labels:
            place = Path(folder, label)
            place.mkdir(parents=True, exist_ok=True)
            for number in range(12):
                image = np.zeros((28, 28), np.uint8)
                cv2.putText(image, label or str(number % 10), (6, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 255, 2)
                noisy = np.clip(image.astype(int) + random.integers(0, 40, image.shape), 0, 255).astype(
                    np.uint8
                )
                cv2.imwrite(str(place / f"{number}.png"), noisy)


if __name__ == "__main__":
    main()
