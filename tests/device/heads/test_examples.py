"""The examples in the docstrings of heads."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import device.heads

MODULES = sorted(found.name for found in pkgutil.iter_modules(device.heads.__path__, "device.heads."))


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_true(name: str) -> None:
    """The doctests of each module pass."""
    assert doctest.testmod(importlib.import_module(name)).failed == 0
