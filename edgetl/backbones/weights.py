"""Files of weights that are kept on this machine: where they are looked for, and how they are checked."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ..errors import BackboneError

VARIABLE = "EDGETL_WEIGHTS"
"""Environment variable with the name of a folder; published files of weights are looked for there first."""

_MD5_DIGITS = 32


def find_weights(file: str) -> Path | None:
    """Return the published file of weights in the folder of ``EDGETL_WEIGHTS``, or None."""
    folder = os.environ.get(VARIABLE)
    path = Path(folder) / Path(file).name if folder else None
    return path if path is not None and path.is_file() else None


def digest_of(path: Path, algorithm: str = "sha256") -> str:
    """Return the checksum of a file, in hexadecimal digits.

    Raises:
        BackboneError: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(
                file, lambda: hashlib.new(algorithm, usedforsecurity=False)
            ).hexdigest()
    except OSError as error:
        raise BackboneError(f"{path} cannot be read: {error.strerror}; check the path") from error


def check_digest(path: Path, expected: str, advice: str) -> None:
    """Raise if a file is not the published one.

    Args:
        path: The file.
        expected: Its MD5, for files of which nothing else is published, or its SHA-256.
        advice: What to do about another file.

    Raises:
        BackboneError: The checksum differs.
    """
    algorithm = "md5" if len(expected) == _MD5_DIGITS else "sha256"
    found = digest_of(path, algorithm)
    if found != expected:
        raise BackboneError(
            f"{path} is not the published file: its {algorithm} is {found}, expected {expected}; {advice}"
        )
