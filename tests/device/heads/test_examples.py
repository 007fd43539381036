"""The examples in the heads' docstrings hold."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import device.heads

MODULES = sorted(found.name for found in pkgutil.iter_modules(device.heads.__path__, "device.heads."))


@pytest.mark.parametrize("name", MODULES)
def test_examples_hold(name: str) -> None:
    """What a docstring shows is what comes out."""
    assert doctest.testmod(importlib.import_module(name)).failed == 0
