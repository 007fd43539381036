"""Backbones on the way from the frozen weights to the tuned ones."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="fine-tuning needs TensorFlow")

from edgetl.training.blending import blend_weights, compile_blends
from tests import tiny


def test_a_blend_is_at_its_share_of_the_way() -> None:
    """A share of 1 is the tuned backbone itself, bit for bit."""
    frozen, tuned = [np.array([0.0, 2.0], np.float32)], [np.array([1.0, 0.1], np.float32)]
    assert np.allclose(blend_weights(frozen, tuned, 0.3)[0], [0.3, 1.43])
    assert blend_weights(frozen, tuned, 0.3)[0].dtype == np.float32
    assert np.array_equal(blend_weights(frozen, tuned, 1.0)[0], tuned[0])


@pytest.mark.parametrize("count", [8, 1000])
def test_each_blend_embeds_with_its_own_weights(count: int) -> None:
    """Beside each other in one row, for few images and for many, which are computed in LiteRT."""
    import keras

    layers = tiny.backbone()
    backbone = keras.Model(layers.inputs[0], layers.outputs[0])
    frozen = backbone.get_weights()
    variants = [[weights * factor for weights in frozen] for factor in (1.0, 0.5)]
    shape = (3, tiny.PREPROCESSING.height, tiny.PREPROCESSING.width, 3)
    batch = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    found = compile_blends(backbone, variants, tiny.PREPROCESSING, count)(batch)
    width = backbone.output_shape[-1]
    assert found.shape == (3, 2 * width)
    for place, weights in enumerate(variants):
        backbone.set_weights(weights)
        expected = np.asarray(backbone(tiny.PREPROCESSING.normalize(batch), training=False))
        assert np.allclose(found[:, place * width : (place + 1) * width], expected, atol=1e-4)
    assert not np.allclose(found[:, :width], found[:, width:])
