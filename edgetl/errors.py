"""Every error the host side raises on purpose; see `device.errors` for the device's."""

from __future__ import annotations


class EdgetlError(Exception):
    """Root of all errors of the host side."""


class PhotosError(EdgetlError, ValueError):
    """A folder of photos cannot be used for what was asked."""


class BackboneError(EdgetlError, ValueError):
    """A backbone is unknown, or its weights are damaged or foreign."""


class TrainingError(EdgetlError, RuntimeError):
    """Training cannot start or go on."""


class OutputExistsError(EdgetlError, FileExistsError):
    """The output is already there and was not to be overwritten."""


class MissingExtraError(EdgetlError, ImportError):
    """A package of an optional extra is not installed."""
