"""The signatures of a model file in the runtime at hand: training is NumPy's in each of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from device.model.codes import apply_map, encode, representative
from device.model.embedder import Embedder
from device.model.modelfile import ModelFile
from device.model.runtime import open_interpreter
from tests import tiny

UNUSED = np.zeros(1, np.float32)
RATE, MOMENTUM = np.full(1, 0.3, np.float32), 0.9


@pytest.fixture(scope="module")
def embeddings() -> Any:
    """Embeddings of synthetic photos, four of each color, float32 [12, 32]."""
    embedder = Embedder(ModelFile.open(tiny.TINY), threads=1)
    return embedder.embed_many(tiny.photo(label, seed) for seed in range(4) for label in tiny.COLORS)


def softmax(logits: Any) -> Any:
    """Give probabilities in float64."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def test_a_hundred_training_steps_equal_numpy(embeddings: Any) -> None:
    """From the weights in the file, with the masked columns of an unfilled head, to 1e-5."""
    interpreter = open_interpreter(tiny.TINY_TAUGHT, threads=1)
    start = interpreter.get_signature_runner("get_weights")(unused=UNUSED)
    W, b = start["W"].astype(np.float64), start["b"].astype(np.float64)
    speed_W, speed_b = np.zeros_like(W), np.zeros_like(b)
    label = np.eye(tiny.CAPACITY, dtype=np.float32)[[0, 1, 2] * 4]
    mapped = apply_map(embeddings)
    train = interpreter.get_signature_runner("train")
    for _ in range(100):
        loss = train(embedding=embeddings, label=label, learning_rate=RATE)["loss"]
        chances = softmax(mapped @ W + b)
        assert abs(loss[0] + np.log(chances[label > 0]).mean()) < 1e-5
        error = (chances - label) / len(label)
        speed_W, speed_b = MOMENTUM * speed_W + mapped.T @ error, MOMENTUM * speed_b + error.sum(0)
        W, b = W - RATE[0] * speed_W, b - RATE[0] * speed_b
    trained = interpreter.get_signature_runner("get_weights")(unused=UNUSED)
    for name, expected in (("W", W), ("b", b), ("W_momentum", speed_W), ("b_momentum", speed_b)):
        assert np.allclose(trained[name], expected, rtol=1e-5, atol=1e-5), name


def test_weights_make_the_round_trip(embeddings: Any) -> None:
    """A fresh interpreter forgets; what was read out brings it back, momentum included."""
    one, other = (open_interpreter(tiny.TINY_TAUGHT, threads=1) for _ in range(2))
    label = np.eye(tiny.CAPACITY, dtype=np.float32)[[0, 1, 2] * 4]
    step = {"embedding": embeddings, "label": label, "learning_rate": RATE}
    one.get_signature_runner("train")(**step)
    read = one.get_signature_runner("get_weights")(unused=UNUSED)
    assert other.get_signature_runner("set_weights")(**read)["ok"].tolist() == [1.0]
    losses = [interpreter.get_signature_runner("train")(**step)["loss"] for interpreter in (one, other)]
    assert np.array_equal(*losses)


def test_codes_can_be_replayed_through_the_signatures(embeddings: Any) -> None:
    """An embedding made from its code is classified like the embedding itself."""
    classify = open_interpreter(tiny.TINY_TAUGHT, threads=1).get_signature_runner("classify")
    given = classify(embedding=embeddings)["probabilities"]
    replayed = classify(embedding=representative(encode(embeddings)))["probabilities"]
    assert np.abs(given - replayed).max() < 0.02  # codes are rounded to 1/4096


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_any_number_of_images_can_be_embedded_at_once(embeddings: Any, count: int) -> None:
    """A signature's batch is free in each runtime."""
    features = open_interpreter(tiny.TINY, threads=1).get_signature_runner("features")
    labels = (list(tiny.COLORS) * 2)[:count]
    images = np.stack([tiny.photo(label, number // 3) for number, label in enumerate(labels)])
    together = features(image=images)["embedding"]
    assert together.shape == (count, 32)
    assert np.allclose(together, embeddings[:count], atol=0.02 * np.abs(together).max())


def test_a_bare_interpreter_runs_the_backbone(embeddings: Any) -> None:
    """The features come first in the file; who knows no signatures can still embed."""
    interpreter = open_interpreter(tiny.TINY, threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], tiny.photo("blue", 0)[np.newaxis])
    interpreter.invoke()
    bare = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
    assert np.allclose(bare, embeddings[0], atol=0.02 * np.abs(bare).max())


def test_infer_is_features_and_classify_in_one_call_and_sees_what_was_trained() -> None:
    """One image or several; its variables are those that training changes."""
    interpreter = open_interpreter(tiny.TINY_INFER, threads=1)
    features, classify, infer = map(interpreter.get_signature_runner, ("features", "classify", "infer"))
    before = None
    for count in (1, 5):
        image = np.stack([tiny.photo(label, 50) for label in ("red", "blue", "green", "red", "blue")[:count]])
        embedding = features(image=image)["embedding"]
        before = infer(image=image)["probabilities"]
        assert np.array_equal(before, classify(embedding=embedding)["probabilities"])
    label = np.eye(tiny.CAPACITY, dtype=np.float32)[[1] * 5]
    interpreter.get_signature_runner("train")(embedding=embedding, label=label, learning_rate=RATE)
    after = infer(image=image)["probabilities"]
    assert np.array_equal(after, classify(embedding=embedding)["probabilities"])
    assert (after[:, 1] > before[:, 1]).all()


def test_training_changes_only_the_columns_of_taught_labels(embeddings: Any) -> None:
    """A new label's column opens and learns; columns that no label uses have neither probability nor gradient."""
    interpreter = open_interpreter(tiny.TINY_TAUGHT, threads=1)
    start = interpreter.get_signature_runner("get_weights")(unused=UNUSED)
    label = np.eye(tiny.CAPACITY, dtype=np.float32)[[0, 1, 5] * 4]
    for _ in range(60):
        interpreter.get_signature_runner("train")(embedding=embeddings, label=label, learning_rate=RATE)
    trained = interpreter.get_signature_runner("get_weights")(unused=UNUSED)
    closed = [3, 4, 6, 7]
    assert (trained["b"][closed] == start["b"][closed]).all()
    assert not any(trained[name][..., closed].any() for name in ("W", "W_momentum", "b_momentum"))
    given = interpreter.get_signature_runner("classify")(embedding=embeddings)["probabilities"]
    assert not given[:, closed].any()
    assert given[2::3, 5].mean() > given[0::3, 5].mean() > 0


def test_a_file_of_version_0_1_0_learns_once_its_columns_are_opened(embeddings: Any) -> None:
    """Its ``train`` does not open them: a program does so with set_weights, as docs/model-file.md says."""
    for opened in (False, True):
        interpreter = open_interpreter(tiny.TINY_VERSION_1, threads=1)
        weights = interpreter.get_signature_runner("get_weights")(unused=UNUSED)
        if opened:
            weights = {**weights, "b": np.where(np.arange(tiny.CAPACITY) == 5, 0, weights["b"])}
            interpreter.get_signature_runner("set_weights")(**weights)
        label = np.eye(tiny.CAPACITY, dtype=np.float32)[[0, 1, 5] * 4]
        for _ in range(60):
            interpreter.get_signature_runner("train")(embedding=embeddings, label=label, learning_rate=RATE)
        given = interpreter.get_signature_runner("classify")(embedding=embeddings)["probabilities"]
        assert bool(given[2::3, 5].mean() > 0.01) == opened
