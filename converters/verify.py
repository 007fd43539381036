"""Stage 7: the finished file, reopened in the runtime and compared with its source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.errors import EdgetlError
from device.heads.trainer import CLOSED, MOMENTUM
from device.images import Image
from device.model.codes import apply_map
from device.model.contract import SIGNATURES
from device.model.modelfile import ModelFile
from device.model.runtime import open_interpreter, quiet_stderr

from .errors import ConversionError
from .generator import NAME as GENERATE
from .generator import check_images
from .head import HeadWeights
from .infer import NAME as INFER

_RATE = 0.1
_TOLERANCE = 1e-4


def verify(
    path: Path,
    images: Sequence[Image],
    expected: NDArray[np.float32],
    weights: HeadWeights,
    labels: tuple[str, ...],
    infer: bool = False,
    batch: bool = True,
    generator: Any = None,
) -> None:
    """Reopen a model file and check every signature.

    Args:
        path: The file.
        images: A few prepared photos.
        expected: Their embeddings as they were before the head was joined, [N, D].
        weights: The initial weights that the head must have.
        labels: The labels that the file must have.
        infer: Whether it must have the signature ``infer``.
        batch: Whether it accepts several images at once; the graphs of some foreign files accept only one.
        generator: keras.Model with which the signature ``generate`` must agree; None if there must be none.

    Raises:
        ConversionError: Something differs.
    """
    try:
        opened = ModelFile.open(path, trusted=True)
        with quiet_stderr():
            interpreter = open_interpreter(opened.model_part(), name=str(path))
            more = [name for name, wanted in ((INFER, infer), (GENERATE, generator is not None)) if wanted]
            found, wanted = set(interpreter.get_signature_list()), {*SIGNATURES, *more}
            _expect(found == wanted, f"it has the signatures {sorted(found)}, expected {sorted(wanted)}")
            _expect(opened.labels == labels, f"it has the labels {opened.labels}, expected {labels}")
            _check_features(interpreter, images, expected, batch)
            if infer:
                _check_infer(interpreter, images if batch else images[:1])
            if generator is not None:
                check_images(generator, interpreter.get_signature_runner(GENERATE))
            _check_head(interpreter, expected, weights, opened.manifest.embedding_map)
    except (ValueError, RuntimeError) as error:
        if isinstance(error, EdgetlError):
            raise
        raise ConversionError(f"the converted file does not run when reopened: {error}") from error


def _check_features(
    interpreter: Any, images: Sequence[Image], expected: NDArray[np.float32], batch: bool
) -> None:
    features = interpreter.get_signature_runner("features")
    for count in (1, len(images)) if batch else (1,):
        embeddings = features(image=np.stack(images[:count]))["embedding"]
        _expect(embeddings.shape == expected[:count].shape, f"features returns shape {embeddings.shape}")
        scale = max(float(np.abs(expected).max()), 1e-12)
        gap = float(np.abs(embeddings - expected[:count]).max()) / scale
        # int8 may round differently for another batch size; lost weights cause NaN or a large difference
        _expect(bool(gap < 0.1), f"features differs from the backbone alone by {gap:.3g} with {count} photos")


def _check_infer(interpreter: Any, images: Sequence[Image]) -> None:
    image = np.stack(images)
    embedding = interpreter.get_signature_runner("features")(image=image)["embedding"]
    apart = interpreter.get_signature_runner("classify")(embedding=embedding)["probabilities"]
    at_once = interpreter.get_signature_runner(INFER)(image=image)["probabilities"]
    _expect(_near(at_once, apart), "infer returns other probabilities than features and classify")


def _check_head(
    interpreter: Any, embeddings: NDArray[np.float32], weights: HeadWeights, map_name: str
) -> None:
    unused = np.zeros(1, np.float32)
    read = interpreter.get_signature_runner("get_weights")
    started = read(unused=unused)
    for name, value in weights.items():
        _expect(name in started and np.array_equal(started[name], value), f"{name} does not start as written")
    mapped = apply_map(embeddings, map_name)
    logits = mapped @ weights["W"] + weights["b"]
    given = interpreter.get_signature_runner("classify")(embedding=embeddings)
    # the rounding of a sum grows with its terms, which are large where photos hardly differ
    terms = np.abs(mapped) @ np.abs(weights["W"].astype(np.float64)) + np.abs(weights["b"])
    _expect(
        bool((np.abs(given["logits"] - logits) <= _TOLERANCE * np.maximum(terms, 1)).all()),
        "classify returns other logits than NumPy",
    )
    probabilities = _softmax(given["logits"].astype(np.float64))
    _expect(_near(given["probabilities"], probabilities), "classify returns other probabilities than NumPy")
    _check_step(interpreter, embeddings, mapped, weights)
    _check_opening(interpreter, embeddings, weights)
    back = interpreter.get_signature_runner("set_weights")(**weights)
    _expect(float(back["ok"][0]) == 1.0, "set_weights does not return ok")
    again = read(unused=unused)
    _expect(
        all(np.array_equal(again[name], weights[name]) for name in weights), "set_weights lost a variable"
    )


def _check_step(
    interpreter: Any, embeddings: NDArray[np.float32], mapped: NDArray[np.float64], weights: HeadWeights
) -> None:
    """Check that one training step from zero weights equals that of NumPy."""
    zero = {name: np.zeros_like(value) for name, value in weights.items()}
    interpreter.get_signature_runner("set_weights")(**zero)
    capacity = len(weights["b"])
    truth = np.eye(capacity, dtype=np.float32)[np.arange(len(embeddings)) % capacity]
    loss = interpreter.get_signature_runner("train")(
        embedding=embeddings, label=truth, learning_rate=np.full(1, _RATE, np.float32)
    )["loss"]
    _expect(_near(loss, np.log(capacity)), f"train returns the loss {loss}, expected {np.log(capacity):.5f}")
    gradient = mapped.T @ (1 / capacity - truth) / len(truth)
    after = interpreter.get_signature_runner("get_weights")(unused=np.zeros(1, np.float32))
    _expect(_near(after["W"], -_RATE * gradient), f"a step of train (momentum {MOMENTUM}) differs from NumPy")
    _expect(_near(after["W_momentum"], gradient), "train computes another momentum than NumPy")


def _check_opening(interpreter: Any, embeddings: NDArray[np.float32], weights: HeadWeights) -> None:
    """Check that a training step opens the columns of the labels in the batch and no others."""
    closed = np.flatnonzero(weights["b"] < CLOSED)
    if not len(closed):
        return
    interpreter.get_signature_runner("set_weights")(**weights)
    truth = np.zeros((len(embeddings), len(weights["b"])), np.float32)
    truth[:, closed[-1]] = 1
    interpreter.get_signature_runner("train")(
        embedding=embeddings, label=truth, learning_rate=np.full(1, _RATE, np.float32)
    )
    after = interpreter.get_signature_runner("get_weights")(unused=np.zeros(1, np.float32))["b"]
    still = np.flatnonzero(after < CLOSED)
    _expect(np.array_equal(still, closed[:-1]), "train does not open the column of a new label")


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    probabilities: NDArray[np.float64] = powers / powers.sum(1, keepdims=True)
    return probabilities


def _near(given: NDArray[Any], expected: Any) -> bool:
    return bool(np.allclose(given, expected, rtol=_TOLERANCE, atol=_TOLERANCE))


def _expect(holds: bool, problem: str) -> None:
    if not holds:
        raise ConversionError(
            f"the converted file was reopened and {problem}; it was discarded. "
            "Please report this with the versions of TensorFlow and LiteRT"
        )
