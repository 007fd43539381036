"""The errors of the host side; `device.errors` shows the whole tree."""

from __future__ import annotations

from device.errors import EdgetlError, MissingPackageError, OutputExistsError, PhotoError

__all__ = [
    "BackboneError",
    "EdgetlError",
    "MissingExtraError",
    "OutputExistsError",
    "PhotoFolderError",
    "RemoteCommandError",
    "RemoteError",
    "TrainingError",
    "WorkerError",
]


class PhotoFolderError(PhotoError):
    """A folder of photos cannot be used for what was asked."""


class BackboneError(EdgetlError, ValueError):
    """A backbone is unknown, or its weights are damaged or foreign."""


class TrainingError(EdgetlError, RuntimeError):
    """Training cannot start or continue."""


class WorkerError(EdgetlError, RuntimeError):
    """A worker of a big job ended in the middle, or its cluster cannot be reached."""


class MissingExtraError(MissingPackageError):
    """A package of an optional extra is not installed."""


class RemoteError(EdgetlError, ConnectionError):
    """Another machine cannot be reached over ssh, refuses the user, or has another host key."""


class RemoteCommandError(EdgetlError, RuntimeError):
    """A command on another machine failed.

    Attributes:
        status: Its exit code.
    """

    def __init__(self, message: str = "", status: int = 1) -> None:
        super().__init__(message)
        self.status = status
