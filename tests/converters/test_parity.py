"""The comparison of a converted backbone with its source, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from converters import ConversionError, TrainedModel, convert
from converters.parity import Parity, cautions, compare, refuse_loss
from tests import tiny

LABELS = ["a", "b", "c", "d"] * 15


def photos(count: int, alike: bool = False) -> list[NDArray[np.uint8]]:
    """Return random images, or the same image with a little noise."""
    random = np.random.default_rng(1)
    if alike:
        scene = random.integers(20, 230, (16, 16, 3))
        return [(scene + random.integers(-2, 3, scene.shape)).astype(np.uint8) for _ in range(count)]
    return list(random.integers(0, 256, (count, 16, 16, 3), np.uint8))


def embeddings(count: int = 60, common: float = 0.0) -> NDArray[np.float32]:
    """Return embeddings of four labels, with a part that all of them share."""
    random = np.random.default_rng(0)
    values = random.normal(size=(count, 48)) + 2 * np.eye(4, 48)[np.arange(count) % 4]
    return (values + common).astype(np.float32)


def rounded(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round to 256 levels over the whole range, as an int8 output does."""
    step = (max(values.max(), 0) - min(values.min(), 0)) / 255
    return (np.round(values / step) * step).astype(np.float32)


def with_common_part(size: float) -> Any:
    """Return the tiny backbone with `size` added to each number of the embedding."""
    import keras

    model = tiny.backbone()
    shifted = keras.layers.Rescaling(1.0, offset=size)(model.outputs[0])
    return keras.Model(model.inputs[0], shifted)


def test_a_common_part_that_hides_lost_differences_is_refused() -> None:
    """The plain cosine is 1.0000 although the differences are lost."""
    source = embeddings(common=5000)
    parity = compare(source, rounded(source), photos(60), LABELS)
    assert parity.cosine_mean > 0.9999
    assert parity.centered_cosine is not None
    assert parity.centered_cosine < 0.4
    with pytest.raises(ConversionError, match=r"without the part all photos share.*float16"):
        refuse_loss(parity, "int8")


def test_a_common_part_that_leaves_the_differences_is_accepted() -> None:
    """A source without a common part is accepted too."""
    for common in (0, 20):
        source = embeddings(common=common)
        parity = compare(source, rounded(source), photos(60), LABELS)
        assert parity.centered_cosine is not None
        assert parity.centered_cosine > 0.9
        assert (parity.followed, parity.recognized, parity.unchecked) == (1.0, 1.0, "")
        refuse_loss(parity, "int8")


def test_an_int8_backbone_with_a_large_common_part_is_refused_and_float16_is_not(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """From the Keras model to the message."""
    labels = tuple(tiny.COLORS)
    model = TrainedModel(
        with_common_part(3000),
        "shifted",
        tiny.PREPROCESSING,
        labels,
        photos=tuple(request.getfixturevalue("photos")),
    )
    with pytest.raises(ConversionError, match=r"without the part all photos share"):
        convert(model, tmp_path / "m.tflite")
    assert not list(tmp_path.iterdir())
    report = convert(model, tmp_path / "m.tflite", quantize="float16")
    assert report.parity.recognized == 1.0


def test_dimensions_that_are_mixed_up_are_refused() -> None:
    """Each dimension is compared separately; the labels are still separable, but the weights of a head would not fit."""
    source = embeddings(common=5)
    mixed = source[:, np.random.default_rng(3).permutation(48)]
    parity = compare(source, mixed, photos(60), None)
    assert parity.cosine_mean > 0.9
    assert parity.correlation is not None
    assert parity.correlation < 0.3
    with pytest.raises(ConversionError, match="lost too much"):
        refuse_loss(parity, "int8")


def test_embeddings_of_other_photos_are_refused() -> None:
    """Recognition detects what averages over dimensions may miss."""
    source = embeddings(common=5)
    parity = compare(source, np.roll(source, 4, axis=0), photos(60), LABELS)
    assert parity.recognized is not None
    assert parity.recognized < 0.7
    with pytest.raises(ConversionError, match="lost too much"):
        refuse_loss(parity, "int8")


@pytest.mark.parametrize("count", [1, 2, 3, 19])
def test_few_photos_are_enough_to_convert_and_the_report_shows_what_was_not_checked(count: int) -> None:
    """The plain cosine alone decides then."""
    source = embeddings(count, common=5000)
    parity = compare(source, rounded(source), photos(count), None)
    refuse_loss(parity, "int8")
    assert (
        "cannot" in parity.unchecked or "too few" in parity.unchecked or "same embedding" in parity.unchecked
    )


def test_photos_that_look_alike_refuse_nothing() -> None:
    """Frames of one scene differ only by noise, which int8 need not keep."""
    source = embeddings(40, common=5000)
    parity = compare(source, rounded(source), photos(40, alike=True), None)
    assert "look alike" in parity.unchecked
    refuse_loss(parity, "int8")


def test_a_source_with_one_embedding_for_all_photos_is_not_reported_as_a_loss() -> None:
    """Then there are no differences to compare."""
    source = np.ones((30, 8), np.float32)
    parity = compare(source, source, photos(30), None)
    assert parity.centered_cosine is None
    assert parity.unchecked == "the source has the same embedding for all photos"
    refuse_loss(parity, "int8")


@pytest.mark.parametrize(("lost", "refused"), [(0.05, False), (0.2, True)])
def test_a_head_that_got_worse_is_refused(lost: float, refused: bool) -> None:
    """Leave-one-out on both embeddings of the same photos."""
    parity = Parity(
        60, 0.99, 0.98, 0.1, 0.9, 0.9, 0.9, 1.0, "", accuracy_float=0.9, accuracy_converted=0.9 - lost
    )
    if refused:
        with pytest.raises(ConversionError, match=r"accuracy 0\.700 against 0\.900 in float"):
            refuse_loss(parity, "int8")
    else:
        refuse_loss(parity, "int8")


def test_a_low_plain_cosine_alone_refuses_only_when_nothing_else_was_checked() -> None:
    """A backbone fine-tuned on enlarged digits has a cosine of .79 in int8, and its head keeps its accuracy."""
    parity = Parity(
        160, 0.79, 0.44, 0.4, 0.74, 0.7, 0.78, 0.99, "", accuracy_float=0.856, accuracy_converted=0.825
    )
    refuse_loss(parity, "int8")
    assert "more than usual (mean cosine 0.790)" in cautions(parity, "int8")[0]
    assert cautions(replace(parity, cosine_mean=0.95), "int8") == ()
    with pytest.raises(ConversionError, match=r"mean cosine of 0\.7900"):
        refuse_loss(replace(parity, unchecked="too few photos"), "int8")
    with pytest.raises(ConversionError, match=r"mean cosine of 0\.7900"):
        refuse_loss(parity, "float16")
