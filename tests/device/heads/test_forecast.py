"""The forecast of the accuracy with more samples."""

import json
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from device.heads import Head, create_head
from device.heads.curve import learning_curve
from device.heads.extrapolate import COVERED, Posterior
from device.heads.forecast import DONE, Forecast, extrapolated, forecast, forecast_from
from device.heads.report import self_report
from device.model.codes import Codes, encode

WIDTH = 12
EMPTY: Callable[[], Head] = partial(create_head, "exact", WIDTH)


def blobs(count: int, apart: float, labels: int = 3, seed: int = 0) -> tuple[Codes, list[str], np.ndarray]:
    """Return samples around one center per label, each a burst of its own."""
    random = np.random.default_rng(seed)
    owners = np.arange(count) % labels
    values = random.normal(size=(count, WIDTH))
    values[np.arange(count), owners] += apart
    return encode(values.astype(np.float32)), [f"label {owner}" for owner in owners], np.arange(count)


def made(codes: Codes, labels: list[str], bursts: np.ndarray) -> Forecast:
    """Return the forecast of a head that has learned these samples."""
    head = EMPTY()
    head.learn_many(codes, labels)
    report = self_report(head, codes, labels, bursts=bursts)
    return forecast(EMPTY, head, report, codes, labels, bursts)


@pytest.mark.parametrize("exponent", [0.3, 0.6])
@pytest.mark.parametrize("remains", [0.0, 0.4])
def test_the_interval_contains_the_error_of_a_power_law(exponent: float, remains: float) -> None:
    """Errors drawn from a known curve: the true error with twice as many samples is mostly in the interval."""
    random = np.random.default_rng(3)
    shares, trials, inside = np.array([0.25, 0.5, 0.75, 0.95]), 200, 0

    def true(growth: float) -> float:
        return float(0.2 * (remains + (1 - remains) * growth**-exponent))

    for _ in range(20):
        measured = np.array([random.binomial(trials, true(share)) / trials for share in shares])
        low, high = Posterior(shares, measured, trials).expected(2.0).interval
        inside += low <= 1 - true(2.0) <= high
    assert inside >= 20 * COVERED - 3


def test_more_trials_make_the_interval_narrower() -> None:
    """Ten times as many samples with the same errors say more."""
    shares, wrong = np.array([0.25, 0.5, 0.75, 0.95]), np.array([0.4, 0.3, 0.25, 0.22])
    few, many = (Posterior(shares, wrong, trials).expected(2.0).interval for trials in (50, 500))
    assert few[0] < many[0] < many[1] < few[1]


def test_a_steeper_curve_has_a_larger_gain() -> None:
    """What the errors at a part of the samples say changes the forecast."""
    shares = np.array([0.25, 0.5, 0.75, 0.95])
    steep = Posterior(shares, np.array([0.5, 0.33, 0.25, 0.2]), 2000)
    flat = Posterior(shares, np.array([0.21, 0.2, 0.2, 0.2]), 2000)
    assert steep.expected(2.0).accuracy > flat.expected(2.0).accuracy + 0.02
    assert flat.largest_gain(2.0) < steep.largest_gain(2.0)


def test_the_curve_measures_heads_that_learned_a_part() -> None:
    """Its errors equal those of heads that learned exactly the samples of the folds, averaged over all of them."""
    codes, labels, groups = blobs(240, apart=2.0)
    owners = np.array([int(label[-1]) for label in labels])
    taught: list[int] = []

    def counted() -> Head:
        head = EMPTY()
        learn = head.learn_many

        def learn_many(codes: Codes, labels: list[str]) -> None:
            taught.append(len(labels))
            learn(codes, labels)

        head.learn_many = learn_many  # type: ignore[method-assign, assignment]
        return head

    names = ["label 0", "label 1", "label 2"]
    steps = learning_curve(counted, codes, names, owners, groups, np.ones(240, np.bool_))
    assert [step.share for step in steps] == [0.25, 0.5, 0.75]
    assert set(taught) == {60, 120, 180}
    assert steps[0].wrong.mean() > steps[2].wrong.mean()


def test_bursts_are_not_divided() -> None:
    """Copies of a sample in one burst do not make the curve better than the separate views do."""
    codes, labels, groups = blobs(60, apart=1.0)
    tripled, burst = np.repeat(codes, 3, axis=0), np.repeat(groups, 3)
    result = made(tripled, [label for label in labels for _ in range(3)], burst)
    assert result.views == 60
    assert all(one.views == 20 for one in result.labels.values())


def test_a_label_without_errors_is_done_and_one_that_is_mixed_up_is_not() -> None:
    """The sentences name what to teach next."""
    random = np.random.default_rng(0)
    codes, labels, _ = blobs(180, apart=8.0)
    mixed = encode((np.eye(WIDTH)[7] * 8 + random.normal(size=(40, WIDTH))).astype(np.float32))
    labels += ["mug", "cup"] * 20
    result = made(np.concatenate([codes, mixed]), labels, np.arange(len(labels)))
    assert result.labels["label 0"].done
    assert not result.labels["mug"].done
    assert result.next in ("mug", "cup")
    assert result.labels["mug"].more == 20
    text = "\n".join(result.describe())
    assert "label 0, label 1, label 2 are done" in text
    assert "About 20 more photos of mug would bring it from" in text
    assert f"less than {100 * DONE:.0f} points" in text


def test_too_few_views_are_not_forecast() -> None:
    """The forecast says so, as a whole and per label."""
    codes, labels, bursts = blobs(6, apart=3.0)
    nothing = made(codes, labels, bursts)
    assert nothing.now is None
    assert "Too few photos to forecast" in nothing.describe()[0]
    codes, labels, bursts = blobs(60, apart=3.0)
    more = encode(np.eye(WIDTH, dtype=np.float32)[8:10])
    some = made(np.concatenate([codes, more]), [*labels, "rare", "rare"], np.arange(62))
    assert some.too_few == ("rare",)
    assert "rare" not in some.labels
    assert any("Too few photos to forecast: rare" in line for line in some.describe())


def test_samples_that_tuned_the_backbone_do_not_judge() -> None:
    """They are learned, but never predicted: with no other sample there is no forecast."""
    codes, labels, bursts = blobs(60, apart=3.0)
    head = EMPTY()
    head.exclude(codes)
    head.learn_many(codes, labels)
    report = self_report(head, codes, labels)
    assert forecast(EMPTY, head, report, codes, labels, bursts).now is None


def test_a_forecast_survives_json() -> None:
    """What is stored beside the head is read back unchanged."""
    result = made(*blobs(60, apart=1.0))
    assert forecast_from(json.loads(json.dumps(result.to_dict()))) == result


def test_a_label_takes_the_shape_of_the_curve_from_all_labels() -> None:
    """A label with few views gains as much as the labels together show, not nothing."""
    codes, labels, groups = blobs(240, apart=1.5)
    owners = np.array([int(label[-1]) for label in labels])
    names = ["label 0", "label 1", "label 2"]
    steps = learning_curve(EMPTY, codes, names, owners, groups, np.ones(240, np.bool_))
    views, left_out = np.array([80, 80, 80]), np.full(3, 0.2)
    result = extrapolated(steps, left_out, names, views, views > 0)
    assert all(one.then.accuracy > one.now.accuracy for one in result.labels.values())
