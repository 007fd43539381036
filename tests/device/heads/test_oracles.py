"""The mathematics of heads, compared with other implementations and brute force."""

from __future__ import annotations

import numpy as np
import pytest

from device.heads.blend import cosine_share
from device.heads.discriminant import inverse_gap, read_out
from device.heads.exact import ExactHead
from device.heads.lda import LdaHead, within_scatter
from device.heads.ncm import NcmHead
from device.model.codes import decode

from .conftest import D, samples, taught

sklearn = pytest.importorskip("sklearn", reason="scikit-learn is the oracle")


def owners_of(labels: list[str]) -> np.ndarray:
    """Return the columns of sorted labels."""
    return np.unique(labels, return_inverse=True)[1]


@pytest.mark.parametrize("ridge", [0.01, 1.0, 100.0])
def test_ridge_equals_scikit_learn(count: int, ridge: float) -> None:
    """The dual and the primal solution equal Ridge with intercept, to 1e-8."""
    from sklearn.linear_model import Ridge

    codes, labels = samples(count)
    head = ExactHead(D, ridge=ridge)
    head.learn_many(codes, labels)
    oracle = Ridge(alpha=ridge).fit(decode(codes), np.eye(4)[owners_of(labels)])
    np.testing.assert_allclose(head.solution().W, oracle.coef_.T, atol=1e-8)
    np.testing.assert_allclose(head.solution().b, oracle.intercept_, atol=1e-8)


def test_dual_and_primal_solutions_agree() -> None:
    """Solving from codes and from sums leads to the same map."""
    codes, labels = samples(20)
    dual, primal = ExactHead(D, ridge=0.3), ExactHead(D, ridge=0.3)
    dual.learn_many(codes, labels)
    more, names = samples(30, seed=4)
    primal.learn_many(np.concatenate([codes, more]), labels + names)
    primal.forget(more, names)
    assert dual.statistics.complete
    assert not primal.statistics.complete
    assert dual.digest() == primal.digest()
    np.testing.assert_allclose(dual.solution().W, primal.solution().W, atol=1e-10)


@pytest.mark.parametrize("size", [1, 3])
def test_leaving_out_equals_brute_force(count: int, size: int) -> None:
    """The formula has the same scores as heads fitted without the samples, one by one and in blocks."""
    codes, labels = samples(count * 2)
    head = ExactHead(D, ridge=0.7)
    head.learn_many(codes, labels)
    groups = np.arange(len(codes)) // size
    given = head.leave_out(codes, labels, groups) / head.fit.figures["sharpness"]
    for group in np.unique(groups):
        out = groups == group
        brute = ExactHead(D, ridge=0.7)
        brute.learn_many(codes[~out], [label for label, gone in zip(labels, out, strict=True) if not gone])
        expected = brute.fit.linear.logits(codes[out]) / brute.fit.figures["sharpness"]  # type: ignore[union-attr]
        np.testing.assert_allclose(given[out], expected, atol=1e-8, rtol=1e-8)


def test_press_equals_refitting(count: int) -> None:
    """PRESS from one factor equals the sum over fits without each sample."""
    from sklearn.linear_model import Ridge

    from device.heads.ridge import Kernel, centered_products

    codes, labels = samples(count)
    owners = owners_of(labels)
    z, Y = decode(codes), np.eye(4)[owners]
    values = codes.astype(np.float64)
    kernel = Kernel(centered_products(values @ values.T), owners)
    brute = 0.0
    for out in range(count):
        rest = np.arange(count) != out
        model = Ridge(alpha=0.4).fit(z[rest], Y[rest])
        brute += float(((model.predict(z[[out]]) - Y[out]) ** 2).sum())
    assert kernel.press(0.4, np.ones(count, np.int64)) == pytest.approx(brute, rel=1e-9)


def test_the_chosen_ridge_has_the_least_penalized_press(count: int) -> None:
    """No other ridge of the grid has a smaller left-out residual, with the penalty for few samples per label."""
    from device.heads.ridge import GRID, Kernel, centered_products

    codes, labels = samples(count)
    head = ExactHead(D)
    head.learn_many(codes, labels)
    values = codes.astype(np.float64)
    kernel = Kernel(centered_products(values @ values.T), owners_of(labels))
    eigenvalue = float(np.trace(kernel.products)) / D
    once = np.ones(count, np.int64)
    per_label = 4 / sum(1 / labels.count(label) for label in set(labels))

    def loss(relative: float) -> float:
        penalty = 0.4 / per_label * (np.log10(relative) - 0.5 - 0.5 / per_label**3) ** 2
        return float(np.log(kernel.press(relative * eigenvalue, once)) + penalty)

    chosen = head.fit.figures["ridge"] / eigenvalue
    best = min(GRID, key=loss)
    assert loss(chosen) <= loss(best) + 1e-3
    assert abs(np.log10(chosen / best)) <= 0.25 + 1e-9


def test_the_ridge_is_about_ten_mean_eigenvalues_with_one_sample_per_label() -> None:
    """Left-out residuals know nothing of a label without its only sample."""
    codes, labels = samples(8, labels=8, dimensions=200)
    head = ExactHead(200)
    head.learn_many(codes, labels)
    relative = head.fit.figures["ridge"] / head.solution().moments.eigenvalue
    assert 10**0.5 <= relative <= 10**1.5


def test_lda_equals_scikit_learn(count: int) -> None:
    """The discriminants equal LinearDiscriminantAnalysis with the same shrinkage, to 1e-8."""
    from sklearn.covariance import oas
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    codes, labels = samples(count)
    head = LdaHead(D)
    head.learn_many(codes, labels)
    z, owners = decode(codes), owners_of(labels)
    means = np.stack([z[owners == owner].mean(axis=0) for owner in range(4)])
    shrinkage = float(oas(z - means[owners], assume_centered=True)[1])
    assert within_scatter(head.statistics)[1] == pytest.approx(shrinkage, abs=1e-10)
    oracle = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(z, owners)
    ours, theirs = head.discriminant().logits(codes), oracle.decision_function(z)
    center = lambda scores: scores - scores.mean(axis=1, keepdims=True)  # noqa: E731 - only differences count
    np.testing.assert_allclose(center(ours), center(theirs), atol=1e-8)


def test_scores_equal_gaussian_discriminants(count: int) -> None:
    """The discriminant scores equal discriminant analysis with the ridge in its covariance."""
    codes, labels = samples(count)
    head = ExactHead(D, ridge=0.5)
    head.learn_many(codes, labels)
    z, owners = decode(codes), owners_of(labels)
    means = np.stack([z[owners == owner].mean(axis=0) for owner in range(4)])
    scatter = (z - means[owners]).T @ (z - means[owners]) + 0.5 * np.eye(D)
    distance = np.stack(
        [np.einsum("nd,nd->n", z - mean, np.linalg.solve(scatter, (z - mean).T).T) for mean in means], axis=1
    )
    solution = head.solution()
    ours = read_out(solution.centered(codes) @ solution.W, solution.P, solution.moments.counts).scores
    expected = -count * distance / 2
    np.testing.assert_allclose(ours - ours[:, :1], expected - expected[:, :1], atol=1e-8)


def test_scores_blend_the_discriminant_with_cosines(count: int) -> None:
    """The head's scores equal discriminant and cosine scores of the same size, computed from their definitions."""
    codes, labels = samples(count)
    head = ExactHead(D, ridge=0.5)
    head.learn_many(codes, labels)
    z, owners = decode(codes), owners_of(labels)
    counts = np.bincount(owners)
    X = z - z.mean(axis=0)
    A = X.T @ X + 0.5 * np.eye(D)
    Q = np.stack([X[owners == owner].sum(axis=0) for owner in range(4)], axis=1)
    within = A - sum(np.outer(Q[:, k], Q[:, k]) / counts[k] for k in range(4))
    means = Q / counts
    discriminant = count * np.linalg.solve(within, means)
    intercept = -count / 2 * np.einsum("dk,dk->k", means, np.linalg.solve(within, means))
    solved = np.linalg.solve(A, Q)
    cosine = solved / np.sqrt(np.einsum("dk,dk->k", Q, solved))

    def size(weights: np.ndarray) -> float:
        centered = weights - weights.mean(axis=1, keepdims=True)
        return float(np.sqrt(np.einsum("dk,de,ek->", centered, A, centered)))

    harmonic = 4 / (1 / counts).sum()
    share = (1.5 / (harmonic + 1)) ** (0.5 + (harmonic / counts.mean()) ** 4 / 2)
    W = (1 - share) * discriminant + share * size(discriminant) / size(cosine) * cosine
    expected = X @ W + (1 - share) * intercept
    ours = head.fit.linear.logits(codes) / head.fit.figures["sharpness"]  # type: ignore[union-attr]
    np.testing.assert_allclose(ours - ours[:, :1], expected - expected[:, :1], atol=1e-8)


@pytest.mark.parametrize(
    ("counts", "share"),
    [([1, 1], 0.75), ([2, 2, 2], 0.5), ([5, 5], 0.25), ([7], 0.0), ([2, 0, 2], 0.5), ([0, 0], 0.0)],
)
def test_the_share_of_the_cosine_readout_falls_with_the_samples_per_label(
    counts: list[float], share: float
) -> None:
    """The share is 0.75 for one sample of each label and 0 for a single label."""
    assert cosine_share(np.array(counts, np.float64)) == pytest.approx(share)


def test_the_share_of_the_cosine_readout_is_larger_for_uneven_labels() -> None:
    """A label with far fewer samples than the others raises the share."""
    even, uneven = np.array([20.0, 20.0]), np.array([20.0, 400.0])
    assert cosine_share(uneven) > 2 * cosine_share(even)


def test_relative_mahalanobis_equals_its_definition(count: int) -> None:
    """The distance of the read-out is Mahalanobis to the nearest class minus Mahalanobis to all samples."""
    codes, labels = samples(count)
    head = ExactHead(D, ridge=0.5)
    head.learn_many(codes, labels)
    solution = head.solution()
    z, owners = decode(codes), owners_of(labels)
    means = np.stack([z[owners == owner].mean(axis=0) for owner in range(4)])
    within = (z - means[owners]).T @ (z - means[owners]) + 0.5 * np.eye(D)
    total = (z - z.mean(axis=0)).T @ (z - z.mean(axis=0)) + 0.5 * np.eye(D)

    def squared(center: np.ndarray, scatter: np.ndarray) -> np.ndarray:
        return np.einsum("nd,nd->n", z - center, np.linalg.solve(scatter, (z - center).T).T)

    nearest = np.min([squared(mean, within) for mean in means], axis=0)
    ours = read_out(solution.centered(codes) @ solution.W, solution.P, solution.moments.counts).distance
    np.testing.assert_allclose(ours, count * (nearest - squared(z.mean(axis=0), total)), atol=1e-8)


def test_a_huge_ridge_equals_the_nearest_mean() -> None:
    """In the limit the discriminant is the distance to the class means, without loss of precision."""
    codes, labels = samples(60)
    head = ExactHead(D, ridge=1e12)
    head.learn_many(codes, labels)
    z, owners = decode(codes), owners_of(labels)
    means = np.stack([z[owners == owner].mean(axis=0) for owner in range(4)])
    nearest = ((z[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(head.probabilities(codes).argmax(axis=1), nearest)


def test_labels_without_samples_are_ignored() -> None:
    """inverse_gap leaves rows and columns of absent labels zero."""
    R = inverse_gap(np.zeros((3, 3)), np.array([2.0, 0.0, 4.0]))
    np.testing.assert_allclose(R, np.diag([0.5, 0, 0.25]))


def test_imprinting_is_the_nearest_mean_by_cosine() -> None:
    """The ncm head predicts the label with the largest cosine to the sum of its samples."""
    codes, labels = samples(60)
    head = NcmHead(D)
    head.learn_many(codes, labels)
    sums = np.stack([codes[owners_of(labels) == owner].sum(axis=0, dtype=np.int64) for owner in range(4)])
    cosine = codes @ (sums / np.linalg.norm(sums, axis=1, keepdims=True)).T
    np.testing.assert_array_equal(head.probabilities(codes).argmax(axis=1), cosine.argmax(axis=1))


def test_imprinting_leaves_out_by_subtraction() -> None:
    """The ncm head without a sample equals one that never learned it."""
    codes, labels = samples(12)
    head = NcmHead(D)
    head.learn_many(codes, labels)
    given = head.leave_out(codes, labels) / head.fit.figures["sharpness"]
    for out in range(12):
        brute = NcmHead(D)
        rest = [at for at in range(12) if at != out]
        brute.learn_many(codes[rest], [labels[at] for at in rest])
        expected = brute.fit.linear.logits(codes[[out]]) / brute.fit.figures["sharpness"]  # type: ignore[union-attr]
        np.testing.assert_allclose(given[[out]], expected, atol=1e-10)


def test_nearest_neighbors_leave_out_as_if_never_learned() -> None:
    """The knn head without a sample votes like one that never learned it."""
    codes, labels = samples(20)
    head = taught("knn", 20)
    given = head.leave_out(codes, labels).argmax(axis=1)
    for out in range(20):
        brute = taught("knn", 20)
        brute.forget(codes[[out]], [labels[out]])
        assert brute.probabilities(codes[[out]]).argmax() == given[out]


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_the_temperature_maximizes_the_likelihood(scale: float) -> None:
    """No other factor on a fine grid has a smaller loss, for any scale of the scores and any weights."""
    from device.heads.calibration import fit_sharpness, smoothed_loss

    random = np.random.default_rng(3)
    owners, weights = random.integers(0, 5, 80), random.integers(1, 4, 80)
    scores = random.normal(size=(80, 5)) * scale
    scores[np.arange(80), owners] += scale
    smoothing = 1 / (float(weights.sum()) + 2)
    found = fit_sharpness(scores, owners, weights)
    least = smoothed_loss(found * scores, owners, weights, smoothing)
    for factor in np.geomspace(0.01, 100, 400) * found:
        assert smoothed_loss(factor * scores, owners, weights, smoothing) >= least - 1e-12
