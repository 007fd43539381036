"""Every error the device side raises on purpose.

`DeviceError` is the root. Each leaf also inherits the builtin a caller would expect, so that
``except ValueError`` and ``except OSError`` keep working. A message says what was wrong, what was
expected, what came, and what to do next.
"""

from __future__ import annotations


class DeviceError(Exception):
    """Root of all errors of `device` and `converters`."""


class ModelFileError(DeviceError, ValueError):
    """A model file is truncated, foreign, altered, or of an unknown version."""


class RuntimeMissingError(DeviceError, ImportError):
    """Neither LiteRT nor tflite-runtime can be imported."""


class DelegateError(DeviceError, OSError):
    """A delegate such as the Edge TPU's cannot be loaded."""


class PhotoError(DeviceError, ValueError):
    """A photo or frame cannot be read or is not an image of the expected form."""


class EmbeddingError(DeviceError, ValueError):
    """An embedding has the wrong shape or holds NaN or infinity."""


class LabelError(DeviceError, ValueError):
    """A label is empty, too long, unknown, or one too many."""


class HeadError(DeviceError, ValueError):
    """A head cannot do what was asked: nothing taught yet, unknown name, other dimensions."""


class StateError(DeviceError, ValueError):
    """A state file is foreign, damaged, of another model, or of a newer version."""


class StateBusyError(StateError):
    """Another process holds the state file."""


class StorageError(DeviceError, OSError):
    """A file cannot be written: disk full, read-only, or no permission."""


class CameraError(DeviceError, OSError):
    """A camera is missing, busy, unplugged, or gives no frames."""


class SampleNotFoundError(DeviceError, KeyError):
    """No sample has the given id."""

    def __str__(self) -> str:
        """Give the message itself; KeyError would show its repr."""
        return str(self.args[0]) if self.args else ""


class PeripheralError(DeviceError, OSError):
    """A button, LED or message broker cannot be reached."""


class ServiceError(DeviceError, RuntimeError):
    """A systemd service cannot be described, installed or removed."""
