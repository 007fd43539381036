"""TFLite metadata of an image classifier: what MediaPipe, ML Kit and the TFLite Task Library read beside the graph.

The metadata is a flatbuffer of its own (``metadata_schema.fbs`` of github.com/google/mediapipe, identifier M001) in a buffer
of the model; the labels are a file in a zip archive that follows the model.
https://ai.google.dev/edge/litert/models/metadata
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .flatbuffer_writer import Node, Number, write_flatbuffer

NAME = "TFLITE_METADATA"  # of the entry in the model's list of metadata
LABEL_FILE = "labels.txt"
_IDENTIFIER = b"M001"
_PARSER = "1.0.0"  # the oldest parser that understands these fields: they are all in the first schema
_FEATURES, _IMAGE = 1, 2  # kinds of content
_RGB, _GRAY = 1, 2
_NORMALIZATION = 1  # kind of process unit
_AXIS_LABELS = 2  # kind of associated file: one label per element of the output's last axis


@dataclass(frozen=True)
class Picture:
    """The image input of a classifier.

    Attributes:
        width: In pixels.
        height: In pixels.
        channels: 3 for RGB, 1 for gray.
        mean: Subtracted from each pixel value by the program; the same for all channels.
        std: Divides each pixel value afterwards.
    """

    width: int
    height: int
    channels: int
    mean: float
    std: float


def classifier_metadata(name: str, description: str, version: str, picture: Picture) -> bytes:
    """Return the metadata of a graph with one image as input and the probabilities of the labels as output.

    Args:
        name: Name of the model.
        description: What it does, in a sentence.
        version: Version of the model.
        picture: Its input.
    """
    graph = Node({2: [_image_input(picture)], 3: [_probabilities()]})
    root = Node({0: name, 1: description, 2: version, 3: [graph], 7: _PARSER})
    return write_flatbuffer(root, _IDENTIFIER)


def _image_input(picture: Picture) -> Node:
    color = _RGB if picture.channels == 3 else _GRAY
    size = Node({0: Number("I", picture.width), 1: Number("I", picture.height)})
    normalization = Node({0: _floats([picture.mean]), 1: _floats([picture.std])})
    highest = (255 - picture.mean) / picture.std
    return Node(
        {
            0: "image",
            1: f"Image of {picture.width} x {picture.height} pixels, "
            f"{'RGB' if picture.channels == 3 else 'gray'}, uint8 from 0 to 255.",
            3: Node({0: Number("B", _IMAGE), 1: Node({0: Number("b", color), 1: size})}),
            4: [Node({0: Number("B", _NORMALIZATION), 1: normalization})],
            5: Node({0: _floats([highest]), 1: _floats([-picture.mean / picture.std])}),
        }
    )


def _probabilities() -> Node:
    labels = Node({0: LABEL_FILE, 1: "The labels, one per line.", 2: Number("b", _AXIS_LABELS)})
    return Node(
        {
            0: "probability",
            1: "Probability of each label; they add up to 1.",
            3: Node({0: Number("B", _FEATURES), 1: Node()}),
            5: Node({0: _floats([1.0]), 1: _floats([0.0])}),
            6: [labels],
        }
    )


def _floats(values: Sequence[float]) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.array(values, "<f4")
