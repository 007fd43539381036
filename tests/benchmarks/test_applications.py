"""The comparison with keras.applications finds a network that is loaded in another way."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("tensorflow", reason="the networks are Keras models")

from benchmarks.applications import MODULES, compare, custom_ops
from edgetl.backbones.applications import APPLICATIONS
from tests.tiny import TINY


def test_a_network_equals_keras_and_its_figures_are_reported() -> None:
    """The smallest network, without the conversion, which takes longer."""
    result = compare("MobileNetV3Small", int8=False)
    assert result["parameters"] == APPLICATIONS["MobileNetV3Small"].parameters
    assert result["largest_difference"] <= 1e-4


def test_every_network_has_a_module_with_its_preprocessing() -> None:
    """A name that is missing in the table is the name of its module."""
    import keras

    for name in APPLICATIONS:
        module = getattr(keras.applications, MODULES.get(name, name.lower()))
        assert callable(module.preprocess_input)


def test_a_model_file_of_builtin_ops_has_no_custom_op() -> None:
    """The model file of the tests consists of builtin ops."""
    assert custom_ops(Path(TINY)) == []
