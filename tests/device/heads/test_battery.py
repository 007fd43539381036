"""Requirements for every head."""

from __future__ import annotations

import numpy as np
import pytest

from device.arrays import pack_arrays, unpack_arrays
from device.errors import EmbeddingError, HeadError, LabelError
from device.heads import HEADS, Head, create_head, head_class
from device.heads.report import self_report
from device.model.codes import Codes, decode, encode

from .conftest import D, samples, taught

ORDER_FREE = [name for name in HEADS if head_class(name).order_free]
every_head = pytest.mark.parametrize("name", HEADS)
every_order_free_head = pytest.mark.parametrize("name", ORDER_FREE)

DEGENERATE = {
    "constant": np.ones((8, D)),
    "zero": np.zeros((8, D)),
    "identical": np.tile(np.arange(D, dtype=float), (8, 1)),
    "tiny": np.eye(8, D) * 1e-30,
    "one dimension alive": np.eye(1, D).repeat(8, axis=0) * np.arange(1, 9)[:, None],
}


def assert_sound(head: Head, codes: Codes) -> None:
    """Check that probabilities are finite and sum to one, and that predictions agree with them."""
    probabilities = head.probabilities(codes)
    assert probabilities.shape == (len(codes), len(head.labels))
    assert np.isfinite(probabilities).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    for prediction, row in zip(head.predict_many(codes), probabilities, strict=True):
        assert prediction.label in head.labels
        assert prediction.probability == pytest.approx(row.max())
        assert np.isfinite(prediction.unknown_score)
        assert list(prediction.scores.values()) == sorted(prediction.scores.values(), reverse=True)


@every_head
def test_probabilities_sum_to_one(name: str, count: int) -> None:
    """The probabilities of each head are a distribution over its labels."""
    assert_sound(taught(name, count), samples(30, seed=1)[0])


@every_head
def test_separable_labels_are_distinguished(name: str) -> None:
    """Each head predicts separable labels correctly."""
    head = taught(name, 100)
    codes, labels = samples(200, seed=1)
    answers = [prediction.label for prediction in head.predict_many(codes)]
    assert np.mean([answer == label for answer, label in zip(answers, labels, strict=True)]) > 0.6


@every_head
def test_predicting_does_not_change_the_head(name: str, count: int) -> None:
    """State, digest and predictions are the same after any number of predictions."""
    head = taught(name, count)
    digest, state = head.digest(), pack_arrays(head.state())
    codes = samples(10, seed=1)[0]
    first = head.predict_many(codes)
    assert head.predict_many(codes) == first
    assert head.digest() == digest
    assert pack_arrays(head.state()) == state


@every_head
def test_predict_one_equals_predict_many(name: str) -> None:
    """predict_one returns the same prediction as predict_many."""
    head = taught(name)
    codes = samples(5, seed=1)[0]
    for code, prediction in zip(codes, head.predict_many(codes), strict=True):
        alone = head.predict_one(code)
        assert alone.label == prediction.label
        assert alone.probability == pytest.approx(prediction.probability, abs=1e-9)


@every_head
def test_a_restored_head_predicts_the_same(name: str, count: int) -> None:
    """After a round trip through bytes, digest, probabilities and thresholds are the same."""
    head = taught(name, count, false_rejection=0.1)
    again = head_class(name).restore(D, unpack_arrays(pack_arrays(head.state())))
    codes = samples(20, seed=1)[0]
    assert again.digest() == head.digest()
    assert again.counts == head.counts
    assert again.predict_many(codes) == head.predict_many(codes)
    assert again.false_rejection == 0.1


@every_head
def test_a_restored_head_learns_like_the_original(name: str, count: int) -> None:
    """Learning after a restart has the same result as without one, optimizer state included."""
    head = taught(name, count)
    again = head_class(name).restore(D, unpack_arrays(pack_arrays(head.state())))
    more = samples(20, seed=2)
    head.learn_many(*more)
    again.learn_many(*more)
    assert again.digest() == head.digest()
    np.testing.assert_array_equal(again.probabilities(more[0]), head.probabilities(more[0]))


@every_head
def test_a_clone_is_independent(name: str) -> None:
    """The original does not learn what its clone learns."""
    head = taught(name)
    digest = head.digest()
    clone = head.clone()
    assert clone.digest() == digest
    clone.learn_many(*samples(4, seed=3))
    assert head.digest() == digest
    assert clone.digest() != digest


@every_head
@pytest.mark.parametrize("how", ["missing", "shape", "text"])
def test_a_damaged_state_is_refused(name: str, how: str) -> None:
    """A state without an array, or with an array of another shape, raises HeadError."""
    state = taught(name).state()
    if how == "missing":
        state = {key: state[key] for key in list(state)[1:]}
    elif how == "shape":
        state = {key: value.ravel()[:1] for key, value in state.items()}
    else:
        state = state | {"labels": np.array([255, 254], np.uint8)}
    with pytest.raises(HeadError, match=r"damaged|dimensions"):
        head_class(name).restore(D, state)


@every_head
def test_a_state_of_another_model_is_refused(name: str) -> None:
    """A state with another number of dimensions raises HeadError."""
    with pytest.raises(HeadError, match=r"damaged|dimensions"):
        head_class(name).restore(D + 1, taught(name).state())


@every_order_free_head
def test_learn_many_equals_learn_one_repeated(name: str, count: int) -> None:
    """One call with all samples has the same result as one call per sample."""
    codes, labels = samples(count)
    many, single = taught(name, count), create_head(name, D)
    for code, label in zip(codes, labels, strict=True):
        single.learn_one(code, label)
    assert single.digest() == many.digest()
    np.testing.assert_array_equal(single.probabilities(codes), many.probabilities(codes))


@every_order_free_head
def test_order_does_not_change_the_head(name: str, count: int) -> None:
    """Shuffled samples lead to the same digest and to bit-identical probabilities."""
    codes, labels = samples(count)
    head, shuffled = taught(name, count), create_head(name, D)
    order = np.random.default_rng(5).permutation(count)
    shuffled.learn_many(codes[order], [labels[place] for place in order])
    assert shuffled.digest() == head.digest()
    np.testing.assert_array_equal(shuffled.probabilities(codes), head.probabilities(codes))
    assert shuffled.predict_many(codes) == head.predict_many(codes)


@every_order_free_head
@pytest.mark.parametrize("cut", [0, 5, 30, 60])
def test_merging_equals_learning_all_samples(name: str, cut: int) -> None:
    """Any split, merged in either direction, has the digest and predictions of a head that learned all samples."""
    codes, labels = samples(60)
    whole = taught(name, 60)
    for first, second in ((slice(0, cut), slice(cut, 60)), (slice(cut, 60), slice(0, cut))):
        head, other = create_head(name, D), create_head(name, D)
        head.learn_many(codes[first], labels[first])
        other.learn_many(codes[second], labels[second])
        head.merge(other)
        assert head.digest() == whole.digest()
        np.testing.assert_array_equal(head.probabilities(codes), whole.probabilities(codes))


@every_order_free_head
def test_forgetting_equals_never_learning(name: str, count: int) -> None:
    """After forgetting, the digest is that of a head that never learned the samples."""
    codes, labels = samples(count + 7)
    head, never = create_head(name, D), create_head(name, D)
    head.learn_many(codes, labels)
    never.learn_many(codes[:count], labels[:count])
    _ = head.probabilities(codes)
    head.forget(codes[count:], labels[count:])
    assert head.digest() == never.digest()
    np.testing.assert_allclose(head.probabilities(codes), never.probabilities(codes), atol=1e-9)


@every_head
def test_forgetting_everything_leaves_an_empty_head(name: str, count: int) -> None:
    """A head that forgot all samples has no labels, and can learn again."""
    head = taught(name, count)
    head.forget(*samples(count))
    assert head.labels == ()
    if head.order_free:
        assert head.digest() == create_head(name, D).digest()
    with pytest.raises(HeadError, match="teach"):
        head.predict_one(samples(1)[0][0])
    head.learn_many(*samples(8))
    assert_sound(head, samples(4, seed=1)[0])


@every_head
def test_forgetting_an_unknown_label_is_refused(name: str) -> None:
    """The head does not change."""
    head = taught(name)
    digest = head.digest()
    codes, _ = samples(2, seed=9)
    with pytest.raises(HeadError, match="cannot forget"):
        head.forget(codes, ["label 0", "never taught"])
    assert head.digest() == digest


@every_head
def test_an_empty_head_refuses_to_predict(name: str) -> None:
    """The error names the next step."""
    with pytest.raises(HeadError, match="teach it"):
        create_head(name, D).predict_one(samples(1)[0][0])


@every_head
def test_one_sample_is_enough_to_predict(name: str) -> None:
    """One sample of one label is enough for a prediction."""
    head = taught(name, 1, 1)
    prediction = head.predict_one(samples(1)[0][0])
    assert (prediction.label, prediction.probability) == ("label 0", 1.0)
    assert prediction.known
    assert_sound(head, samples(5, seed=1)[0])


@every_head
@pytest.mark.parametrize("count", [2, 60])
def test_one_label_is_enough_to_predict(name: str, count: int) -> None:
    """With one label, every prediction is that label, and may still be unknown."""
    head = taught(name, count, 1)
    assert_sound(head, samples(5, seed=1)[0])
    assert head.predict_one(samples(1, seed=1)[0][0]).probability == 1.0


@every_head
@pytest.mark.parametrize("kind", DEGENERATE)
@pytest.mark.parametrize("labels", [1, 2, 8])
@pytest.mark.parametrize("copies", [1, 8])
def test_degenerate_samples_never_lead_to_nan(name: str, kind: str, labels: int, copies: int) -> None:
    """Constant, zero, identical and one-dimensional embeddings, few and many, have finite predictions."""
    codes = np.tile(encode(DEGENERATE[kind]), (copies, 1))
    head = create_head(name, D)
    head.learn_many(codes, [str(place % labels) for place in range(len(codes))])
    assert_sound(head, codes)
    assert_sound(head, samples(5)[0])
    report = self_report(head, codes, [str(place % labels) for place in range(len(codes))])
    assert report.warnings
    linear = head.linear()
    assert linear is None or (np.isfinite(linear.W).all() and np.isfinite(linear.b).all())


@every_head
def test_nan_is_refused(name: str) -> None:
    """Heads accept only int16 codes, so floats and NaN are refused."""
    head = create_head(name, D)
    with pytest.raises(EmbeddingError, match="NaN"):
        encode(np.full((1, D), np.nan))
    with pytest.raises(EmbeddingError, match="int16"):
        head.learn_many(np.full((1, D), np.nan), ["a"])  # type: ignore[arg-type]
    assert head.labels == ()


@every_head
def test_codes_of_another_width_are_refused(name: str) -> None:
    """Learning, forgetting and predicting check the shape."""
    head, codes = taught(name), np.zeros((1, D + 1), np.int16)
    for attempt in (
        lambda: head.learn_many(codes, ["a"]),
        lambda: head.forget(codes, ["a"]),
        lambda: head.predict_many(codes),
    ):
        with pytest.raises(EmbeddingError, match="shape"):
            attempt()


@every_head
def test_labels_must_match_the_codes(name: str) -> None:
    """The number of labels must be that of the codes, and each label must be valid."""
    head = create_head(name, D)
    for labels in (["a"], "ab", ["a", ""], ["a", "b\nc"]):
        with pytest.raises(LabelError):
            head.learn_many(samples(2)[0], labels)
    assert head.labels == ()


@every_head
def test_a_new_label_is_predicted_at_once(name: str, count: int) -> None:
    """A label in any script can be predicted as soon as it is taught."""
    head = taught(name, count)
    new = encode(np.eye(1, D, 10).repeat(6, axis=0) + np.random.default_rng(0).normal(0, 0.01, (6, D)))
    head.learn_many(new, ["Räucherstäbchen 香"] * 6)
    assert "Räucherstäbchen 香" in head.labels
    assert head.predict_one(new[0]).label == "Räucherstäbchen 香"


@every_head
def test_a_label_can_be_renamed(name: str, count: int) -> None:
    """Renaming keeps the learned samples."""
    head, before = taught(name, count), taught(name, count)
    head.rename("label 0", "zebra")
    assert head.labels == ("label 1", "label 2", "label 3", "zebra")
    codes = samples(10, seed=1)[0]
    np.testing.assert_allclose(
        head.probabilities(codes), before.probabilities(codes)[:, [1, 2, 3, 0]], atol=1e-9
    )


@every_order_free_head
def test_renaming_to_an_existing_label_joins_them(name: str, count: int) -> None:
    """The result is the same as if both had always had one label."""
    codes, labels = samples(count)
    head, always = taught(name, count), create_head(name, D)
    head.rename("label 0", "label 1")
    always.learn_many(codes, ["label 1" if label == "label 0" else label for label in labels])
    assert head.digest() == always.digest()
    np.testing.assert_allclose(head.probabilities(codes), always.probabilities(codes), atol=1e-9)


@every_head
def test_a_label_can_be_deleted_while_samples_are_kept(name: str) -> None:
    """The result is the same as if the label had never been taught."""
    codes, labels = samples(20)
    head, never = taught(name, 20), create_head(name, D)
    head.delete("label 2")
    kept = [place for place, label in enumerate(labels) if label != "label 2"]
    never.learn_many(codes[kept], [labels[place] for place in kept])
    assert head.counts == never.counts
    if head.order_free:
        assert head.digest() == never.digest()


@every_head
def test_renaming_or_deleting_an_unknown_label_is_refused(name: str) -> None:
    """The error lists the existing labels."""
    head = taught(name)
    with pytest.raises(LabelError, match="label 0, label 1"):
        head.rename("nothing", "a")
    with pytest.raises(LabelError, match="label 0, label 1"):
        head.delete("nothing")


@every_head
def test_merging_refuses_other_dimensions_and_kinds(name: str) -> None:
    """Only states of the same model and kind can be merged."""
    head = taught(name)
    with pytest.raises(HeadError, match="dimensions"):
        head.merge(create_head(name, D + 1))
    other = create_head("ncm" if name != "ncm" else "knn", D)
    with pytest.raises(HeadError, match="kind"):
        head.merge(other)


@every_head
def test_a_linear_head_equals_its_map(name: str, count: int) -> None:
    """The probabilities are softmax(z W + b), temperature included, so the map can be written to a file."""
    head = taught(name, count)
    linear = head.linear()
    if linear is None:
        assert name == "knn"
        return
    codes = samples(10, seed=1)[0]
    logits = decode(codes) @ linear.W + linear.b
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(
        powers / powers.sum(axis=1, keepdims=True), head.probabilities(codes), atol=1e-12
    )


@every_head
def test_taught_samples_are_known_and_noise_is_unknown(name: str) -> None:
    """The threshold keeps the false-rejection rate approximately, and rejects distant samples."""
    head = taught(name, 200)
    fresh = samples(200, seed=1)[0]
    known = np.mean([prediction.known for prediction in head.predict_many(fresh)])
    assert known > 0.8
    far = encode(-np.abs(np.random.default_rng(2).normal(size=(100, D))))
    assert np.mean([prediction.known for prediction in head.predict_many(far)]) < 0.6


@every_head
def test_the_state_contains_numeric_arrays_only(name: str, count: int) -> None:
    """Every array can be stored without pickle."""
    assert all(array.dtype.kind in "biuf" for array in taught(name, count).state().values())


def test_an_unknown_head_is_refused() -> None:
    """The error lists the available heads."""
    with pytest.raises(HeadError, match="exact, lda, ncm, softmax, knn"):
        create_head("forest", D)


@every_head
def test_options_out_of_range_are_refused(name: str) -> None:
    """The false-rejection rate must be in [0, 1), and the number of dimensions positive."""
    with pytest.raises(HeadError, match="false-rejection"):
        create_head(name, D, false_rejection=1.5)
    with pytest.raises(HeadError, match="dimension"):
        create_head(name, 0)


@every_head
def test_repr_shows_how_much_was_learned(name: str) -> None:
    """It shows the number of samples and labels in one line."""
    assert "nothing learned" in repr(create_head(name, D))
    head = taught(name)
    assert f"{sum(head.counts.values())} samples of {len(head.labels)} labels" in repr(head)


@pytest.mark.parametrize("name", ["exact", "lda"])
def test_too_many_labels_are_refused_and_nothing_is_learned(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the head that can have more; samples of known labels are learned as before."""
    head = create_head(name, D)
    monkeypatch.setattr(type(head), "most_labels", 3)
    codes, _ = samples(6)
    head.learn_many(codes[:3], ["a", "b", "c"])
    digest = head.digest()
    with pytest.raises(LabelError, match="can have 3 of them, but there would be 5; use --head ncm"):
        head.learn_many(codes[:4], ["a", "d", "e", "d"])
    assert head.digest() == digest
    head.learn_many(codes[3:], ["a", "b", "c"])
    assert sum(head.counts.values()) == 6
