"""The error of a conversion that cannot be made, or whose result does not hold."""

from __future__ import annotations

from device.errors import EdgetlError


class ConversionError(EdgetlError, ValueError):
    """A model cannot be converted, or its converted file failed verification."""
