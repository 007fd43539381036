"""MediaPipe's ImageClassifier on a classifier and on images; run with the Python of MediaPipe's own environment.

Usage: ``.venv-mediapipe/bin/python benchmarks/peers/mediapipe_child.py MODEL IMAGES.npz``

It prints one JSON object: the scores per image, and what MediaPipe's generated classes read in the metadata.
"""

from __future__ import annotations

import json
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mediapipe as mp
import numpy as np
from mediapipe.tasks import python
from mediapipe.tasks.metadata import metadata_schema_py_generated, schema_py_generated
from mediapipe.tasks.python import vision


def classify(model: str, images: str) -> list[dict[str, float]]:
    """Return the score per label of each image in a .npz."""
    options = vision.ImageClassifierOptions(base_options=python.BaseOptions(model_asset_path=model))
    scores = []
    with vision.ImageClassifier.create_from_options(options) as classifier, np.load(images) as arrays:
        for name in arrays:
            image = mp.Image(image_format=mp.ImageFormat.SRGB, data=np.ascontiguousarray(arrays[name]))
            found = classifier.classify(image).classifications[0].categories
            scores.append({entry.category_name: entry.score for entry in found})
    return scores


def metadata(path: str) -> dict[str, Any]:
    """Return what the metadata states about input, labels and version."""
    model = schema_py_generated.ModelT.InitFromPackedBuf(bytearray(Path(path).read_bytes()), 0)
    (entry,) = [entry for entry in model.metadata if entry.name == b"TFLITE_METADATA"]
    content = bytearray(bytes(model.buffers[entry.buffer].data))
    read = metadata_schema_py_generated.ModelMetadataT.InitFromPackedBuf(content, 0)
    (graph,) = read.subgraphMetadata
    (image,), (output,) = graph.inputTensorMetadata, graph.outputTensorMetadata
    normalization, picture = image.processUnits[0].options, image.content.contentProperties
    with zipfile.ZipFile(path) as archive:
        labels = archive.read(output.associatedFiles[0].name.decode()).decode().split("\n")
    return {
        "normalization": [float(normalization.mean[0]), float(normalization.std[0])],
        "color": picture.colorSpace,
        "size": [picture.defaultSize.width, picture.defaultSize.height],
        "labels": labels,
        "version": read.version.decode(),
    }


if __name__ == "__main__":
    _, model_path, images_path = sys.argv
    found = {"scores": classify(model_path, images_path), "mediapipe": version("mediapipe")}
    print(json.dumps({**found, **metadata(model_path)}))
