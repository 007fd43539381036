"""The old classifier of a .tflite as the start of the trainable head: its weights in float, and its labels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.errors import LabelError
from device.labels import MAX_LENGTH, check_label
from device.learner.growth import MOST

from .anatomy import Anatomy, Classifier
from .constants import constant_values
from .errors import ConversionError
from .head import FloatHead
from .metadata import Metadata

_MOST_BYTES = 2**20
_NUMBERED = re.compile(r"^\s*(\d+)[\s:,]+(.*)$")

Array = NDArray[np.float32]


@dataclass(frozen=True)
class OldHead:
    """A classifier that a head continues.

    Attributes:
        labels: Its labels, sorted.
        head: W float32 [D, C] and b float32 [C] on the embedding as the backbone returns it, columns in that order.
        independent: Whether the old classifier computed each probability on its own (logistic), not together (softmax).
    """

    labels: tuple[str, ...]
    head: FloatHead
    independent: bool


def read_old_head(model: Any, anatomy: Anatomy, metadata: Metadata, labels: Path | None) -> OldHead:
    """Read the classifier of a parsed model and its labels.

    Args:
        model: The parsed model, complete.
        anatomy: Its parts.
        metadata: Its metadata, for the labels.
        labels: A text file with one label per line, in the order of its outputs; None reads them from the metadata.

    Raises:
        ConversionError: There is no classifier, it has no labels, or their number differs.
    """
    classifier = anatomy.classifier()
    if classifier is None:
        raise ConversionError(
            "--keep-head needs a classifier, and its last layer is none; leave --keep-head out"
        )
    weights, bias = _dense_layer(model, anatomy, classifier)
    names = read_labels(labels) if labels is not None else clean_labels(metadata.labels)
    if not names:
        raise ConversionError(
            f"it contains no labels for the {classifier.outputs} outputs of its classifier; name a text file with one "
            "label per line: --labels FILE"
        )
    if weights.shape[1] == 1 and classifier.answer == "logistic" and len(names) == 2:
        # one probability p for the second label: softmax of (0, z) is (1 - p, p)
        weights, bias = np.hstack([np.zeros_like(weights), weights]), np.array([0.0, bias[0]], np.float32)
    if len(names) != weights.shape[1]:
        raise ConversionError(
            f"its classifier has {weights.shape[1]} outputs, but there are {len(names)} labels in "
            f"{labels or metadata.label_file}"
        )
    if len(names) > MOST:
        raise ConversionError(
            f"its classifier has {len(names)} labels, a head has at most {MOST}; leave --keep-head out"
        )
    order = sorted(range(len(names)), key=names.__getitem__)
    independent = classifier.answer == "logistic" and classifier.outputs > 1
    return OldHead(tuple(names[place] for place in order), (weights[:, order], bias[order]), independent)


def read_labels(path: Path) -> tuple[str, ...]:
    """Read a text file with one label per line.

    Raises:
        ConversionError: It cannot be read as text.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise ConversionError(
                f"the labels file {path} has more than {_MOST_BYTES} bytes; expected one label per line"
            )
        return clean_labels(content.decode().splitlines())
    except OSError as error:
        raise ConversionError(f"the labels file {path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConversionError(f"the labels file {path} is no text in UTF-8: {error}") from error


def clean_labels(lines: Sequence[str]) -> tuple[str, ...]:
    """Return valid labels that differ from each other, one per line.

    Numbers in front of all lines, as in Coral's files, are removed. A label that occurs again gets a number behind it, as
    "crane" in ImageNet; an empty one is named by its place.

    Example:
        >>> clean_labels(["0  background", "1  crane", "2  crane"])
        ('background', 'crane', 'crane (2)')
    """
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    numbered = [_NUMBERED.match(line) for line in lines]
    if all(found and int(found[1]) == place for place, found in enumerate(numbered)):
        lines = [found[2] for found in numbered if found]
    names: list[str] = []
    for place, line in enumerate(lines):
        name = _valid(line, place)
        number = 1
        while name in names:
            number += 1
            name = f"{_valid(line, place)[: MAX_LENGTH - 8]} ({number})"
        names.append(name)
    return tuple(names)


def _valid(line: str, place: int) -> str:
    try:
        return check_label(line.strip()[:MAX_LENGTH])
    except LabelError:
        return f"label {place}"


def _dense_layer(model: Any, anatomy: Anatomy, classifier: Classifier) -> tuple[Array, Array]:
    """Return W [D, C] and b [C] of the last layer in float32."""
    graph = model.subgraphs[anatomy.number]
    op = graph.operators[classifier.operator]
    if getattr(op.builtinOptions, "fusedActivationFunction", 0):
        raise ConversionError(
            "its last layer has an activation, so it is not a linear classifier; leave --keep-head out"
        )
    weights = constant_values(model, graph, int(op.inputs[1]))
    if weights is None:
        raise ConversionError("the weights of its classifier cannot be read; leave --keep-head out")
    matrix = weights.reshape(weights.shape[0], -1).T
    bias = np.zeros(matrix.shape[1], np.float32)
    if len(op.inputs) > 2 and int(op.inputs[2]) >= 0:
        found = constant_values(model, graph, int(op.inputs[2]))
        bias = bias if found is None else found.reshape(-1)
    if not (np.isfinite(matrix).all() and np.isfinite(bias).all()):
        raise ConversionError("its classifier contains NaN or infinity; leave --keep-head out")
    return np.ascontiguousarray(matrix), bias
