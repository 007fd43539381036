"""Priors: labels that are expected as frequently as they were taught, or all alike."""

from __future__ import annotations

import numpy as np
import pytest

from device.errors import HeadError
from device.heads import Head, create_head
from device.heads.calibration import fit_sharpness, smoothed_loss
from device.heads.exact import PRIOR_WEIGHTS, ExactHead
from device.heads.kept import KeptHead
from device.heads.lda import LdaHead, within_scatter
from device.model.codes import Codes, decode

from .conftest import D, samples

LINEAR = ("exact", "lda", "ncm")
COUNTS = {"label 0": 40, "label 1": 12, "label 2": 4, "label 3": 3}


def uneven(seed: int = 0) -> tuple[Codes, list[str]]:
    """Return codes of labels with the numbers of samples in `COUNTS`."""
    codes, labels = samples(4 * max(COUNTS.values()), seed=seed)
    left, kept = dict(COUNTS), []
    for at, label in enumerate(labels):
        if left[label]:
            left[label] -= 1
            kept.append(at)
    return codes[kept], [labels[at] for at in kept]


def taught_unevenly(name: str, priors: str | None = None) -> Head:
    """Return a head that has learned `uneven`."""
    head = create_head(name, D, priors=priors)
    head.learn_many(*uneven())
    return head


@pytest.mark.parametrize("name", LINEAR)
def test_priors_differ_by_the_logarithm_of_the_shares(name: str) -> None:
    """For the same sharpness, the intercepts differ by log(n / N) times its weight, and the weights of z are the same."""
    maps = {}
    for priors in ("even", "taught"):
        head = taught_unevenly(name, priors)
        linear, sharpness = head.linear(), head.fit.figures["sharpness"]
        assert linear is not None
        # the sharpness of lda multiplies its priors too
        weight = sharpness if name == "lda" else head.fit.figures.get("prior weight", 1.0)
        maps[priors] = linear.W / sharpness, linear.b, sharpness, weight
    shares = np.log(np.array(list(COUNTS.values())) / sum(COUNTS.values()))
    np.testing.assert_allclose(maps["even"][0], maps["taught"][0], atol=1e-8)
    (_, even, first, _), (_, taught, second, weight) = maps["even"], maps["taught"]
    np.testing.assert_allclose(taught - even * second / first, weight * shares, atol=1e-8)


def test_the_exact_head_with_priors_equals_gaussian_discriminants_with_priors() -> None:
    """Without the logarithm of the shares, times its weight, and the sharpness, the logits are those with even priors."""
    codes, labels = uneven()
    head = taught_unevenly("exact", "taught")
    assert isinstance(head, ExactHead)
    sharpness = head.fit.figures["sharpness"]
    shares = np.log(np.array(list(COUNTS.values())) / len(labels))
    scores = (head._logits(codes) - head.fit.figures["prior weight"] * shares) / sharpness
    even = taught_unevenly("exact", "even")
    np.testing.assert_allclose(scores, even._logits(codes) / even.fit.figures["sharpness"], atol=1e-8)


def test_even_lda_equals_scikit_learn_with_even_priors() -> None:
    """The discriminants equal LinearDiscriminantAnalysis with priors of 1/4, up to what all labels share."""
    pytest.importorskip("sklearn", reason="scikit-learn is the oracle: pip install scikit-learn")
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    codes, labels = uneven()
    head = taught_unevenly("lda", "even")
    assert isinstance(head, LdaHead)
    z, owners = decode(codes), np.unique(labels, return_inverse=True)[1]
    means = np.stack([z[owners == owner].mean(axis=0) for owner in range(4)])
    within = z - means[owners]
    covariance = within.T @ within / len(z)
    shrinkage = within_scatter(head.statistics)[1]
    shrunk = (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / D * np.eye(D)

    class Fixed:
        """An estimator of the pooled covariance; scikit-learn's own one weighs labels by their priors."""

        covariance_ = shrunk

        def fit(self, values: object) -> Fixed:
            """Return itself."""
            return self

    oracle = LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=Fixed(), priors=[0.25] * 4).fit(
        z, owners
    )
    ours, theirs = head.discriminant().logits(codes), oracle.decision_function(z)
    center = lambda scores: scores - scores.mean(axis=1, keepdims=True)  # noqa: E731 - only differences count
    np.testing.assert_allclose(center(ours), center(theirs), atol=1e-8)


def test_leaving_out_with_priors_equals_brute_force() -> None:
    """The priors of a left-out sample are those of the other samples."""
    codes, labels = uneven()
    head = ExactHead(D, ridge=0.7, priors="taught")
    head.learn_many(codes, labels)
    given, figures = head.leave_out(codes, labels), head.fit.figures
    for out in range(0, len(labels), 7):
        rest = np.arange(len(labels)) != out
        brute = ExactHead(D, ridge=0.7, priors="taught")
        brute.learn_many(codes[rest], [labels[at] for at in np.flatnonzero(rest)])
        counts = np.array(list(brute.counts.values()))
        prior = np.log(counts / counts.sum())
        scores = brute._logits(codes[[out]]) - brute.fit.figures["prior weight"] * prior
        scores /= brute.fit.figures["sharpness"]
        expected = figures["sharpness"] * scores + figures["prior weight"] * prior
        np.testing.assert_allclose(given[out], expected[0], atol=1e-6)


@pytest.mark.parametrize("name", [*LINEAR, "knn"])
def test_even_priors_predict_rare_labels_more_often(name: str) -> None:
    """With even priors, fewer new samples are predicted as the most frequent label."""
    codes, _ = samples(400, seed=5)
    frequent = {
        priors: sum(one.label == "label 0" for one in taught_unevenly(name, priors).predict_many(codes))
        for priors in ("even", "taught")
    }
    assert frequent["even"] < frequent["taught"]


@pytest.mark.parametrize("name", [*LINEAR, "knn"])
def test_priors_change_nothing_for_labels_with_equal_counts(name: str) -> None:
    """With as many samples of each label, both priors lead to the same probabilities.

    Neighbors vote on left-out samples for the temperature, when their own label has one vote less.
    """
    heads = [create_head(name, D, priors=priors) for priors in ("even", "taught")]
    for head in heads:
        head.learn_many(*samples(40))
    codes = samples(30, seed=2)[0]
    np.testing.assert_allclose(
        heads[0].probabilities(codes), heads[1].probabilities(codes), atol=0.01 if name == "knn" else 1e-6
    )


@pytest.mark.parametrize("priors", ["even", "taught"])
@pytest.mark.parametrize("name", [*LINEAR, "knn"])
def test_a_copy_keeps_its_priors(name: str, priors: str) -> None:
    """The state contains them, unless they are the default of the head; old states thus stay the same."""
    head = taught_unevenly(name, priors)
    codes = samples(10, seed=3)[0]
    assert head.clone().priors == priors
    np.testing.assert_array_equal(head.clone().probabilities(codes), head.probabilities(codes))
    assert ("priors" in head.state()) == (priors != head.default_priors)


def test_lessons_follow_the_priors_before_the_head_is_complete() -> None:
    """An updated fit has the priors of the present samples."""
    codes, labels = samples(200)
    head = ExactHead(D, priors="taught")
    head.learn_many(codes, labels)
    _ = head.fit
    more, names = samples(4, labels=1, seed=9)
    head.learn_many(more, names)
    assert not head.settled
    soon = [one.scores for one in head.predict_many(codes[:20], all_scores=True)]
    complete = head.snapshot()
    assert complete.priors == "taught"
    later = [one.scores for one in complete.clone().predict_many(codes[:20], all_scores=True)]
    for one, other in zip(soon, later, strict=True):
        assert one == pytest.approx(other, abs=0.05)


# NumPy's choice with probabilities asks for the smallest subnormal number, which tflite-runtime switches off on aarch64
@pytest.mark.filterwarnings("ignore:The value of the smallest subnormal")
def test_the_temperature_with_an_offset_maximizes_the_likelihood() -> None:
    """No other factor on a fine grid has a smaller loss when something is added to the scaled scores."""
    random = np.random.default_rng(3)
    owners = random.choice(4, 90, p=[0.7, 0.1, 0.1, 0.1])
    scores = random.normal(size=(90, 4))
    scores[np.arange(90), owners] += 1
    offset = np.tile(np.log([0.7, 0.1, 0.1, 0.1]), (90, 1))
    found = fit_sharpness(scores, owners, None, offset)
    assert found != pytest.approx(fit_sharpness(scores, owners), rel=1e-3)

    def loss(factor: float) -> float:
        return smoothed_loss(factor * scores + offset, owners, None, 1 / 92)

    assert all(loss(factor) >= loss(found) - 1e-12 for factor in np.geomspace(0.01, 100, 400) * found)


@pytest.mark.parametrize("name", ["exact", "lda", "ncm", "knn"])
def test_unknown_priors_are_refused(name: str) -> None:
    """The message lists the priors there are."""
    with pytest.raises(HeadError, match="priors must be one of even, taught, got 'uniform'"):
        create_head(name, D, priors="uniform")


def test_heads_without_priors_refuse_them() -> None:
    """The softmax head and an old classifier have no priors to choose."""
    with pytest.raises(HeadError, match="the softmax head has no priors"):
        create_head("softmax", D, priors="even")
    with pytest.raises(HeadError, match="keeps an old classifier"):
        KeptHead(D, priors="even")


# NumPy's choice with probabilities asks for the smallest subnormal number, which tflite-runtime switches off on aarch64
@pytest.mark.filterwarnings("ignore:The value of the smallest subnormal")
def test_the_weight_of_the_priors_has_the_least_left_out_loss() -> None:
    """No other weight of the grid leads to a smaller loss of left-out samples with its own best sharpness."""
    random = np.random.default_rng(1)
    owners = random.choice(3, 120, p=[0.8, 0.15, 0.05])
    scores = random.normal(size=(120, 3))
    scores[np.arange(120), owners] += 1
    offset = np.tile(np.log([0.8, 0.15, 0.05]), (120, 1))
    once = np.ones(120, np.int64)
    # scores that have no priors yet, and scores that have them
    for already, expected in ((0.0, 1.0), (1.0, 0.0)):
        given = scores + already * offset
        sharpness, weight = ExactHead(2, priors="taught")._calibration(given, offset, owners, once)
        found = smoothed_loss(sharpness * given + weight * offset, owners, once, 0.0)
        assert abs(weight - expected) <= 0.5
        for other in PRIOR_WEIGHTS:
            best = fit_sharpness(given, owners, once, other * offset)
            assert found <= smoothed_loss(best * given + other * offset, owners, once, 0.0)
