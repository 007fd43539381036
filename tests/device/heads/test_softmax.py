"""The softmax head: its step matches the model file, its replay is balanced, and its optimizer state is kept."""

from __future__ import annotations

import numpy as np
import pytest

from device.errors import HeadError, LabelError
from device.heads.replay import Replay
from device.heads.softmax import SoftmaxHead
from device.heads.trainer import MASKED, NumpyTrainer, SignatureTrainer, Weights, empty_weights, opened
from device.learner import Learner
from device.model.codes import apply_map
from tests import tiny

from .conftest import D, samples, taught


class FakeInterpreter:
    """The signatures of a model file on a NumPy trainer, to test names and shapes."""

    def __init__(self, dimensions: int, capacity: int) -> None:
        self.trainer = NumpyTrainer(dimensions, capacity)

    def get_signature_runner(self, name: str):
        """Return a signature by name."""
        return getattr(self, f"_{name}")

    def _train(self, embedding: np.ndarray, label: np.ndarray, learning_rate: np.ndarray) -> Weights:
        assert learning_rate.shape == (1,)
        assert embedding.dtype == label.dtype == learning_rate.dtype == np.float32
        return {"loss": np.array([self.trainer.train(embedding, label, float(learning_rate[0]))], np.float32)}

    def _get_weights(self, unused: np.ndarray) -> Weights:
        assert unused.shape == (1,)
        return self.trainer.get_weights()

    def _set_weights(self, **weights: np.ndarray) -> dict[str, np.ndarray]:
        self.trainer.set_weights(weights)
        return {"ok": np.ones(1, np.float32)}


def test_the_gradient_matches_the_loss() -> None:
    """The trainer's step matches finite differences of the mean cross-entropy."""
    random = np.random.default_rng(0)
    embedding = np.abs(random.normal(size=(6, D))).astype(np.float32)
    label = np.eye(4, dtype=np.float32)[random.integers(0, 4, 6)]
    start = empty_weights(D, 4) | {
        "W": random.normal(size=(D, 4)).astype(np.float32),
        "b": np.zeros(4, np.float32),
    }
    z = apply_map(embedding)

    def loss(W: np.ndarray) -> float:  # noqa: N803  # as in the equations
        logits = z @ W
        logits = logits - logits.max(axis=1, keepdims=True)
        return float(np.mean(np.log(np.exp(logits).sum(axis=1)) - (logits * label).sum(axis=1)))

    trainer = NumpyTrainer(D, 4)
    trainer.set_weights(start)
    assert trainer.train(embedding, label, 1.0) == pytest.approx(
        loss(start["W"].astype(np.float64)), abs=1e-6
    )
    step = start["W"] - trainer.get_weights()["W"]
    for row, column in ((0, 0), (5, 2), (20, 3)):
        nudged = [start["W"].astype(np.float64).copy() for _ in range(2)]
        nudged[0][row, column] += 1e-5
        nudged[1][row, column] -= 1e-5
        assert step[row, column] == pytest.approx((loss(nudged[0]) - loss(nudged[1])) / 2e-5, abs=1e-5)


def test_momentum_matches_sgd() -> None:
    """The second step contains nine tenths of the first."""
    embedding, label = np.ones((1, D), np.float32), np.eye(1, 4, dtype=np.float32)
    trainer = NumpyTrainer(D, 4)
    trainer.set_weights(empty_weights(D, 4) | {"b": np.zeros(4, np.float32)})
    trainer.train(embedding, label, 0.0)
    first = trainer.get_weights()["W_momentum"]
    trainer.train(embedding, label, 0.0)
    np.testing.assert_allclose(trainer.get_weights()["W_momentum"], 1.9 * first, rtol=1e-6)


def test_the_step_opens_the_columns_of_new_labels() -> None:
    """A column opens at the lowest bias of the open columns, at most 0, as in the model file's signature."""
    for biases, start in (([MASKED] * 4, 0), ([2, MASKED, 1, MASKED], 0), ([2, MASKED, -3, MASKED], -3)):
        label = np.eye(4, dtype=np.float32)[[0, 1, 1]]
        bias = opened(np.array(biases, np.float32), label)
        assert bias[1] == start
        assert bias[3] == np.float32(MASKED)
        trainer = NumpyTrainer(D, 4)
        trainer.set_weights(empty_weights(D, 4) | {"b": np.array(biases, np.float32)})
        trainer.train(np.ones((3, D), np.float32), label, 0.0)
        assert trainer.get_weights()["b"].tolist() == bias.tolist()


def test_a_model_file_of_version_0_1_0_can_still_be_taught() -> None:
    """Its ``train`` opens no columns, so the head opens them."""
    weights = []
    for path in (tiny.TINY_VERSION_1, tiny.TINY_TAUGHT):
        with Learner.open(path, None, head="softmax", threads=1) as learner:
            learner.learn_many([tiny.photo("yellow", seed) for seed in range(12)], ["yellow"] * 12)
            weights.append(learner.head.weights())  # type: ignore[attr-defined]  # softmax alone has them
            assert learner.predict_one(tiny.photo("yellow", 50)).scores["yellow"] > 0.2
    for name, values in weights[0].items():
        np.testing.assert_allclose(values, weights[1][name], rtol=1e-4, atol=1e-5)


def test_masked_columns_are_neither_predicted_nor_trained() -> None:
    """A column without a label has a probability and a gradient of exactly zero."""
    head = taught("softmax")
    weights = head.weights()  # type: ignore[attr-defined]
    assert (weights["b"][4:] == MASKED).all()
    assert not weights["W"][:, 4:].any()
    assert not weights["W_momentum"][:, 4:].any()


def test_signatures_match_numpy() -> None:
    """A head trained through the signatures of an interpreter is the same."""
    codes, labels = samples(40)
    through = SoftmaxHead(D, trainer=SignatureTrainer(FakeInterpreter(D, 32)))
    through.learn_many(codes, labels)
    plain = SoftmaxHead(D)
    plain.learn_many(codes, labels)
    assert through.digest() == plain.digest()
    assert SignatureTrainer(FakeInterpreter(D, 7)).capacity == 7


def test_another_trainer_continues_from_the_same_weights() -> None:
    """A restored head with an interpreter learns like the original."""
    codes, labels = samples(20, seed=3)
    head = taught("softmax")
    again = SoftmaxHead.restore(D, head.state())
    again.use(SignatureTrainer(FakeInterpreter(D, 32)))
    head.learn_many(codes, labels)
    again.learn_many(codes, labels)
    assert again.digest() == head.digest()
    with pytest.raises(HeadError, match="shape"):
        again.use(NumpyTrainer(D, 5))


def test_more_labels_than_the_capacity_are_refused() -> None:
    """The error names the next step, and nothing is learned."""
    head = SoftmaxHead(D, trainer=NumpyTrainer(D, 3))
    codes, labels = samples(6, 3)
    head.learn_many(codes, labels)
    with pytest.raises(LabelError, match="room for 3 labels"):
        head.learn_many(codes[:1], ["one more"])
    assert head.labels == ("label 0", "label 1", "label 2")


def test_teaching_label_by_label_keeps_the_first_labels() -> None:
    """Replay preserves the labels that were taught first."""
    codes, labels = samples(200)
    order = np.argsort(labels, kind="stable")
    head = SoftmaxHead(D)
    for at in order:
        head.learn_one(codes[at], labels[at])
    fresh, names = samples(200, seed=1)
    answers = [answer.label for answer in head.predict_many(fresh)]
    for label in head.labels:
        mine = [answer == name for answer, name in zip(answers, names, strict=True) if name == label]
        assert np.mean(mine) > 0.5


def test_replay_is_balanced_and_bounded() -> None:
    """Each label has the same number of places and is drawn equally often, even if labels are uneven."""
    replay = Replay(D, 10)
    codes, _ = samples(300)
    replay.add(codes, ["often"] * 290 + ["seldom"] * 10)
    kept = replay.all()[1]
    assert (kept.count("often"), kept.count("seldom")) == (10, 10)
    drawn = replay.fill([], 1000, np.random.default_rng(0))[1]
    assert drawn.count("seldom") == 500


def test_the_same_seed_leads_to_the_same_head() -> None:
    """Training is reproducible, and another seed leads to another result."""
    assert taught("softmax").digest() == taught("softmax").digest()
    assert taught("softmax", seed=1).digest() != taught("softmax").digest()


@pytest.mark.parametrize("at_once", [True, False])
def test_a_new_label_does_not_displace_the_old_ones(at_once: bool) -> None:
    """After 36 samples taught label by label, six of a new label are learned without taking predictions from others."""
    codes, labels = samples(400, seed=5)
    owners = np.unique(labels, return_inverse=True)[1]
    old = np.concatenate([np.flatnonzero(owners == owner)[:12] for owner in range(3)])
    new = np.flatnonzero(owners == 3)[:6]
    head = SoftmaxHead(D)
    head.learn_many(codes[old], [labels[at] for at in old])
    for part in [new] if at_once else new[:, None]:
        head.learn_many(codes[part], [labels[at] for at in part])
    fresh, names = samples(400, seed=6)
    answers = np.array([answer.label for answer in head.predict_many(fresh)])
    assert 0.1 < (answers == "label 3").mean() < 0.4  # a quarter are
    assert (answers == np.array(names)).mean() > 0.6


def test_batches_are_filled_up_to_equal_shares() -> None:
    """With six samples of one label in the batch, the rest balances the labels."""
    replay = Replay(D, 10)
    codes, labels = samples(40)
    replay.add(codes, labels)
    _, drawn = replay.fill(["label 0"] * 6, 26, np.random.default_rng(0))
    assert {label: (["label 0"] * 6 + drawn).count(label) for label in set(labels)} == dict.fromkeys(
        labels, 8
    )
    assert replay.fill([], 0, np.random.default_rng(0))[1] == []
