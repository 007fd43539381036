"""Errors have one root, the builtin class that a caller would expect, and a clean message."""

from __future__ import annotations

import errno
import re

import pytest

import converters.errors
import device.errors
import edgetl.errors
from device.errors import (
    EdgetlError,
    ModelNotFoundError,
    OutputExistsError,
    SampleNotFoundError,
    StorageError,
)
from device.learner import Learner

ERRORS = {
    error.__name__: error
    for module in (device.errors, edgetl.errors, converters.errors)
    for error in vars(module).values()
    if isinstance(error, type) and issubclass(error, Exception)
}


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_every_error_has_one_root(error: type[Exception]) -> None:
    """`except EdgetlError` catches every error that edgetl raises on purpose."""
    assert issubclass(error, EdgetlError)


def test_the_docstring_shows_every_error_below_its_parent() -> None:
    """The tree in the module's docstring matches the classes."""
    drawn: list[tuple[int, str]] = []
    listed = set()
    for line in (device.errors.__doc__ or "").splitlines():
        if found := re.match(r"    ([│├└─ ]*)(\w+)(?: \((\w+)\))?", line):
            indent, name, builtin = found.groups()
            while drawn and drawn[-1][0] >= len(indent):
                drawn.pop()
            if drawn:
                assert issubclass(ERRORS[name], ERRORS[drawn[-1][1]])
            if builtin:
                assert builtin in {base.__name__ for base in ERRORS[name].__mro__}
            drawn.append((len(indent), name))
            listed.add(name)
    assert {error.__name__ for error in ERRORS.values()} <= listed


def test_the_text_of_an_error_is_its_message_alone() -> None:
    """It has neither an error number before it nor quotation marks around it."""
    assert str(StorageError(errno.ENOSPC, "the disk is full")) == "the disk is full"
    assert str(SampleNotFoundError("no sample 7")) == "no sample 7"
    assert str(EdgetlError()) == ""


def test_a_missing_model_file_is_also_a_file_not_found_error() -> None:
    """`except FileNotFoundError` and `except OSError` catch it, and it names the path."""
    with pytest.raises(FileNotFoundError, match=r"there is no model file nowhere\.tflite") as caught:
        Learner.open("nowhere.tflite")
    assert isinstance(caught.value, ModelNotFoundError)
    assert caught.value.errno == errno.ENOENT


def test_an_existing_output_has_one_class() -> None:
    """It is both a storage error of edgetl and Python's own FileExistsError."""
    assert issubclass(OutputExistsError, StorageError)
    assert issubclass(OutputExistsError, FileExistsError)
