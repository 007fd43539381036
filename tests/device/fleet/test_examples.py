"""The examples in the docstrings of the fleet."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import device.fleet

MODULES = sorted(found.name for found in pkgutil.iter_modules(device.fleet.__path__, "device.fleet."))


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_true(name: str) -> None:
    """The doctests of each module pass."""
    assert doctest.testmod(importlib.import_module(name)).failed == 0
