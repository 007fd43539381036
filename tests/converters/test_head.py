"""The trainable head against NumPy: the same losses, gradients, momentum and embedding map."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from converters.flatbuffer import serialize
from converters.head import build_head, initial_weights
from device.heads.trainer import MOMENTUM, VARIABLES
from device.model.codes import MAPS, apply_map
from device.model.runtime import open_interpreter

D, C, N = 12, 5, 16
RATE = np.full(1, 0.5, np.float32)
UNUSED = np.zeros(1, np.float32)


@pytest.fixture(scope="module", params=MAPS)
def head(request: pytest.FixtureRequest) -> tuple[bytes, str]:
    """A head for each embedding map, alone in its file."""
    return serialize(build_head(initial_weights(D, C), request.param)), request.param


@pytest.fixture(scope="module")
def batch() -> tuple[Any, Any]:
    """Embeddings with negative numbers and zeros, and one-hot labels."""
    chooser = np.random.default_rng(1)
    embeddings = chooser.normal(size=(N, D)).astype(np.float32) * (chooser.random((N, D)) < 0.8)
    return embeddings, np.eye(C, dtype=np.float32)[np.arange(N) % C]


def random_weights(seed: int) -> dict[str, Any]:
    """Weights and momenta that are not zero."""
    chooser = np.random.default_rng(seed)
    shapes = {"W": (D, C), "b": (C,), "W_momentum": (D, C), "b_momentum": (C,)}
    return {name: chooser.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}


def softmax(logits: Any) -> Any:
    """Return probabilities in float64."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def loss_of(weights: dict[str, Any], mapped: Any, label: Any) -> float:
    """Return the mean cross-entropy in float64."""
    chances = softmax(mapped @ weights["W"].astype(np.float64) + weights["b"])
    return float(-(label * np.log(chances)).sum(1).mean())


def test_a_hundred_training_steps_equal_numpy(head: tuple[bytes, str], batch: tuple[Any, Any]) -> None:
    """Stochastic gradient descent with momentum, to 1e-5, loss and every variable."""
    model, map_name = head
    embeddings, label = batch
    interpreter = open_interpreter(model)
    weights = random_weights(0)
    interpreter.get_signature_runner("set_weights")(**weights)
    train = interpreter.get_signature_runner("train")
    mapped = apply_map(embeddings, map_name)
    expected = {name: value.astype(np.float64) for name, value in weights.items()}
    for step in range(100):
        rows = np.arange(step, step + 8) % N
        loss = train(embedding=embeddings[rows], label=label[rows], learning_rate=RATE)["loss"]
        assert loss.shape == (1,)
        assert abs(loss[0] - loss_of(expected, mapped[rows], label[rows])) < 1e-5
        error = (softmax(mapped[rows] @ expected["W"] + expected["b"]) - label[rows]) / len(rows)
        for name, gradient in (("W", mapped[rows].T @ error), ("b", error.sum(0))):
            expected[f"{name}_momentum"] = MOMENTUM * expected[f"{name}_momentum"] + gradient
            expected[name] = expected[name] - RATE[0] * expected[f"{name}_momentum"]
    trained = interpreter.get_signature_runner("get_weights")(unused=UNUSED)
    for name in VARIABLES:
        assert np.allclose(trained[name], expected[name], rtol=1e-5, atol=1e-5), name


def test_a_taught_label_opens_its_column_as_in_numpy(head: tuple[bytes, str], batch: tuple[Any, Any]) -> None:
    """Starting with closed columns and any first label, the steps equal the oracle to 1e-6."""
    model, map_name = head
    embeddings, label = batch
    mapped = apply_map(embeddings, map_name)
    known = (np.random.default_rng(8).normal(0, 0.3, (D, 2)).astype(np.float32), np.float32([0.5, -1.5]))
    for start in (initial_weights(D, C), initial_weights(D, C, ("a", "b"), known)):
        interpreter = open_interpreter(model)
        interpreter.get_signature_runner("set_weights")(**start)
        expected = {name: value.astype(np.float64) for name, value in start.items()}
        for rows in ([2], [2, 7, 3], [0, 1, 2, 3], [2, 3, 5, 6]):  # label 4 is never taught
            loss = interpreter.get_signature_runner("train")(
                embedding=embeddings[rows], label=label[rows], learning_rate=RATE
            )["loss"]
            assert abs(loss[0] - step_of(expected, mapped[rows], label[rows])) < 1e-6
        given = interpreter.get_signature_runner("get_weights")(unused=UNUSED)
        for name in VARIABLES:
            assert np.allclose(given[name], expected[name], rtol=1e-6, atol=1e-6), name
        assert given["b"][4] == np.float32(-1e9)
        assert not given["W"][:, 4].any()
        assert not interpreter.get_signature_runner("classify")(embedding=embeddings)["probabilities"][
            :, 4
        ].any()


def step_of(weights: dict[str, Any], mapped: Any, label: Any) -> float:
    """Take one step in float64, opening included, and return the loss before it."""
    opened = weights["b"].copy()
    for column in np.flatnonzero(label.any(axis=0)):
        if weights["b"][column] < -1e8:
            opened[column] = min([0, *(bias for bias in weights["b"] if bias >= -1e8)])
    weights["b"] = opened
    chances = softmax(mapped @ weights["W"] + weights["b"])
    loss = -np.log((label * chances).sum(1)).mean()
    error = (chances - label) / len(label)
    for name, gradient in (("W", mapped.T @ error), ("b", error.sum(0))):
        weights[f"{name}_momentum"] = MOMENTUM * weights[f"{name}_momentum"] + gradient
        weights[name] = weights[name] - RATE[0] * weights[f"{name}_momentum"]
    return float(loss)


def test_the_gradient_of_an_opened_column_equals_finite_differences(
    head: tuple[bytes, str], batch: tuple[Any, Any]
) -> None:
    """The momentum after the first step is the gradient of the loss, with the bias at which the column opens."""
    model, map_name = head
    embeddings, label = batch
    start = random_weights(9)
    start["W_momentum"][:], start["b_momentum"][:], start["b"][3] = 0, 0, -1e9
    interpreter = open_interpreter(model)
    interpreter.get_signature_runner("set_weights")(**start)
    interpreter.get_signature_runner("train")(embedding=embeddings, label=label, learning_rate=RATE)
    moved = interpreter.get_signature_runner("get_weights")(unused=UNUSED)
    start["b"][3] = min(0, start["b"][[0, 1, 2, 4]].min())
    mapped, width = apply_map(embeddings, map_name), 1e-5
    for name, place in (("W", (0, 3)), ("W", (7, 2)), ("W", (11, 3)), ("b", (0,)), ("b", (3,))):
        losses = []
        for sign in (1, -1):
            shifted = {key: value.astype(np.float64) for key, value in start.items()}
            shifted[name][place] += sign * width
            losses.append(loss_of(shifted, mapped, label))
        slope = (losses[0] - losses[1]) / (2 * width)
        assert abs(moved[f"{name}_momentum"][place] - slope) < 1e-5


def test_gradients_equal_finite_differences(head: tuple[bytes, str], batch: tuple[Any, Any]) -> None:
    """After one step from zero, the momentum is the gradient of the loss."""
    model, map_name = head
    embeddings, label = batch
    interpreter = open_interpreter(model)
    start = random_weights(3)
    start["W_momentum"][:], start["b_momentum"][:] = 0, 0
    interpreter.get_signature_runner("set_weights")(**start)
    interpreter.get_signature_runner("train")(embedding=embeddings, label=label, learning_rate=RATE)
    moved = interpreter.get_signature_runner("get_weights")(unused=UNUSED)
    mapped, width = apply_map(embeddings, map_name), 1e-5
    for name, place in (("W", (0, 0)), ("W", (7, 2)), ("W", (11, 4)), ("b", (0,)), ("b", (3,))):
        losses = []
        for sign in (1, -1):
            shifted = {key: value.astype(np.float64) for key, value in start.items()}
            shifted[name][place] += sign * width
            losses.append(loss_of(shifted, mapped, label))
        slope = (losses[0] - losses[1]) / (2 * width)
        assert abs(moved[f"{name}_momentum"][place] - slope) < 1e-5


def test_classify_applies_the_map_of_the_codes(head: tuple[bytes, str], batch: tuple[Any, Any]) -> None:
    """Logits are phi(e) W + b with the phi of device.model.codes, probabilities their softmax."""
    model, map_name = head
    interpreter, weights = open_interpreter(model), random_weights(4)
    interpreter.get_signature_runner("set_weights")(**weights)
    embeddings = batch[0] * np.float32(30)  # the scale of an embedding must not matter to the tolerance
    given = interpreter.get_signature_runner("classify")(embedding=embeddings)
    logits = apply_map(embeddings, map_name) @ weights["W"] + weights["b"]
    scale = max(1.0, np.abs(logits).max())
    assert np.abs(given["logits"] - logits).max() < 1e-5 * scale
    assert np.abs(given["probabilities"] - softmax(logits)).max() < 1e-5 * scale


def test_a_zero_embedding_gives_finite_results(head: tuple[bytes, str]) -> None:
    """The embedding of a black frame may be zero after a ReLU; then only the bias counts, and training stays finite."""
    interpreter, weights = open_interpreter(head[0]), random_weights(5)
    interpreter.get_signature_runner("set_weights")(**weights)
    zero = np.zeros((1, D), np.float32)
    given = interpreter.get_signature_runner("classify")(embedding=zero)
    assert np.allclose(given["logits"], weights["b"], atol=1e-6)
    label = np.eye(C, dtype=np.float32)[:1]
    loss = interpreter.get_signature_runner("train")(embedding=zero, label=label, learning_rate=RATE)["loss"]
    after = interpreter.get_signature_runner("get_weights")(unused=UNUSED)
    assert np.isfinite(loss).all()
    assert all(np.isfinite(value).all() for value in after.values())


def test_weights_and_momenta_are_read_as_they_were_set(head: tuple[bytes, str]) -> None:
    """Another interpreter accepts the output of get_weights in set_weights."""
    weights = random_weights(6)
    one, other = open_interpreter(head[0]), open_interpreter(head[0])
    assert one.get_signature_runner("set_weights")(**weights)["ok"].tolist() == [1.0]
    read = one.get_signature_runner("get_weights")(unused=UNUSED)
    other.get_signature_runner("set_weights")(**read)
    again = other.get_signature_runner("get_weights")(unused=UNUSED)
    assert set(again) == set(VARIABLES)
    for name in VARIABLES:
        assert np.array_equal(again[name], weights[name])


def test_columns_without_a_label_have_probability_zero_and_are_not_trained(
    head: tuple[bytes, str], batch: tuple[Any, Any]
) -> None:
    """Their bias masks them: probability and gradient are exactly zero."""
    known = (np.zeros((D, 2), np.float32), np.zeros(2, np.float32))
    start = initial_weights(D, C, ("a", "b"), known)
    interpreter = open_interpreter(head[0])
    interpreter.get_signature_runner("set_weights")(**start)
    label = np.eye(C, dtype=np.float32)[np.arange(N) % 2]
    for _ in range(20):
        interpreter.get_signature_runner("train")(embedding=batch[0], label=label, learning_rate=RATE)
    trained = interpreter.get_signature_runner("get_weights")(unused=UNUSED)
    assert np.array_equal(trained["W"][:, 2:], start["W"][:, 2:])
    assert np.array_equal(trained["b"][2:], start["b"][2:])
    assert np.abs(trained["W"][:, :2]).max() > 0
    given = interpreter.get_signature_runner("classify")(embedding=batch[0])
    assert not given["probabilities"][:, 2:].any()
