"""The errors of edgetl, under one root.

A message states what was wrong, what was expected, what was received, and the next step. Each leaf also inherits
the builtin that a caller would expect, so that ``except ValueError`` and ``except FileNotFoundError`` keep working.
All of them can be imported from `edgetl`; those of the host side are defined in `edgetl.errors` and
`converters.errors`::

    EdgetlError
    ├── ModelFileError (ValueError)
    │   ├── ModelNotFoundError (FileNotFoundError)
    │   └── SignatureError
    ├── StateError (ValueError)
    │   └── StateBusyError
    ├── StorageError (OSError)
    │   ├── OutputExistsError (FileExistsError)
    │   └── StateNotFoundError (FileNotFoundError)
    ├── LabelError (ValueError)
    ├── SampleNotFoundError (KeyError)
    ├── SelectionError (ValueError)
    ├── HeadError (ValueError)
    ├── EmbeddingError (ValueError)
    ├── FleetError (ValueError)
    ├── ArraysError (ValueError)
    ├── PhotoError (ValueError)
    │   └── PhotoFolderError            host
    ├── CameraError (OSError)
    │   ├── EndOfSource (EOFError)
    │   └── FrameTimeout (TimeoutError)
    ├── AddressError (ValueError)
    ├── PeripheralError (OSError)
    ├── ServerError (OSError)
    ├── CertificateError (ValueError)
    ├── ServiceError (RuntimeError)
    ├── DelegateError (OSError)
    ├── MeasurementError (ValueError)
    ├── MissingPackageError (ImportError)
    │   ├── RuntimeMissingError
    │   └── MissingExtraError           host
    ├── BackboneError (ValueError)      host
    ├── TrainingError (RuntimeError)    host
    ├── WorkerError (RuntimeError)      host
    ├── RemoteError (ConnectionError)   host
    ├── RemoteCommandError (RuntimeError)   host
    └── ConversionError (ValueError)    host
"""

from __future__ import annotations

from .formats import Reason


class EdgetlError(Exception):
    """Root of all errors of edgetl."""

    def __str__(self) -> str:
        """Return only the message: OSError would add the error number, KeyError quotation marks."""
        return str(self.args[-1]) if self.args else ""


class ModelFileError(EdgetlError, ValueError):
    """A model file is truncated, foreign, altered, or of an unknown version."""


class ModelNotFoundError(FileNotFoundError, ModelFileError):  # OSError first, or `errno` would stay empty
    """There is no model file at the given path."""

    __str__ = EdgetlError.__str__


class SignatureError(ModelFileError):
    """A model file is not signed by a key that this machine requires, or a key cannot be used."""


class StateError(EdgetlError, ValueError):
    """A state file is foreign, damaged, of another model, or of a newer version."""


class StateBusyError(StateError):
    """Another process holds the state file."""


class StorageError(EdgetlError, OSError):
    """A file cannot be written: the disk is full or read-only, or permission is missing."""


class OutputExistsError(StorageError, FileExistsError):
    """The output exists and must not be overwritten."""


class StateNotFoundError(StorageError, FileNotFoundError):
    """There is no state file at the given path."""


class LabelError(EdgetlError, ValueError):
    """A label is empty, too long or unknown, or there are too many labels."""


class SampleNotFoundError(EdgetlError, KeyError):
    """No sample has the given id."""


class SelectionError(EdgetlError, ValueError):
    """Conditions that select samples are missing or contradict each other."""


class HeadError(EdgetlError, ValueError):
    """A head has no samples, an unknown name or other dimensions, or lacks an operation."""


class EmbeddingError(EdgetlError, ValueError):
    """An embedding has the wrong shape or contains NaN or infinity."""


class FleetError(EdgetlError, ValueError):
    """Statistics cannot belong to a fleet: they are of another model, damaged, or of no set of samples."""


class ArraysError(EdgetlError, ValueError):
    """Packed arrays are damaged or not of the expected form."""


class PhotoError(EdgetlError, ValueError):
    """A photo or frame cannot be read or is not an image of the expected form.

    Attributes:
        reason: Why the photo cannot be decoded.
    """

    def __init__(self, message: str = "", reason: Reason = Reason.DAMAGED) -> None:
        super().__init__(message)
        self.reason = reason


class CameraError(EdgetlError, OSError):
    """A camera is missing, busy, unplugged, or delivers no frames."""


class EndOfSource(CameraError, EOFError):  # noqa: N818  (an end, not a fault)
    """A finite source, such as a folder, a video file or a scripted fake, has no more frames."""


class FrameTimeout(CameraError, TimeoutError):  # noqa: N818  (it may pass by itself)
    """A live camera delivered no new frame in time; reading again is allowed."""


class AddressError(EdgetlError, ValueError):
    """The address of a camera, webhook or broker is malformed."""


class PeripheralError(EdgetlError, OSError):
    """A button, LED or message broker cannot be reached."""


class ServerError(EdgetlError, OSError):
    """A server of `edgetl serve` cannot be reached, or refused a request.

    Attributes:
        status: The HTTP status, or None if there was no answer.
    """

    def __init__(self, message: str = "", status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class CertificateError(EdgetlError, ValueError):
    """A certificate or key for HTTPS is missing, damaged or expired, or the two do not belong together."""


class ServiceError(EdgetlError, RuntimeError):
    """A systemd service cannot be described, installed or removed."""


class DelegateError(EdgetlError, OSError):
    """A delegate such as the Edge TPU's cannot be loaded."""


class MeasurementError(EdgetlError, ValueError):
    """A result of ``edgetl bench`` is foreign or damaged, or two of them cannot be compared."""


class MissingPackageError(EdgetlError, ImportError):
    """A package that this task needs is not installed."""


class RuntimeMissingError(MissingPackageError):
    """Neither LiteRT nor tflite-runtime can be imported."""
