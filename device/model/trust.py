"""The keys that this machine trusts. With one pinned, only model files that it signed are opened."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..errors import MissingPackageError, SignatureError
from ..files import atomic_output, storage_error
from .container import open_plain
from .signature import PublicKey, Signature, is_valid, read_signature

SYSTEM_FILE = Path("/etc/edgetl/trusted-keys")
_HEADER = "# Model files must be signed by one of these keys: edgetl key pin, edgetl key unpin\n"


def config_folder() -> Path | None:
    """Return the user's folder for settings; None where the user has no home folder."""
    chosen = os.environ.get("XDG_CONFIG_HOME", "")
    if Path(chosen).is_absolute():
        return Path(chosen) / "edgetl"
    try:
        return Path.home() / ".config" / "edgetl"
    except RuntimeError:
        return None


def user_file() -> Path | None:
    """Return the file with the keys that this user pinned; None where the user has no home folder."""
    folder = config_folder()
    return None if folder is None else folder / "trusted-keys"


def pinned_keys() -> tuple[PublicKey, ...]:
    """Return the keys pinned for all users and for this user; empty if none was ever pinned.

    Raises:
        SignatureError: A file of pinned keys cannot be read or contains no key. Every model file is refused then.
    """
    found = [key for path in (SYSTEM_FILE, user_file()) if path is not None for key in read_keys(path)]
    return tuple(dict.fromkeys(found))


def read_keys(path: Path) -> list[PublicKey]:
    """Return the keys in a file; empty if there is no such file.

    Raises:
        SignatureError: It cannot be read, contains something else, or no key.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise SignatureError(
            f"the pinned keys in {path} cannot be read, so no model file is accepted: {error}; correct or remove the file"
        ) from error
    try:
        keys = [PublicKey.parse(line) for line in lines if line.strip() and not line.startswith("#")]
    except SignatureError as error:
        raise SignatureError(f"{path}, so no model file is accepted: {error}") from error
    if not keys:
        raise SignatureError(
            f"{path} contains no key, so no model file is accepted; pin one, or remove the file"
        )
    return keys


def write_keys(path: Path, keys: Iterable[PublicKey]) -> None:
    """Write the pinned keys; without keys the file is removed, and every model file is accepted again.

    Raises:
        StorageError: The file cannot be written; for all users that needs sudo.
    """
    lines = [f"{key.line()}\n" for key in keys]
    try:
        if not lines:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, path) from error
    with atomic_output(path, force=True) as temporary:
        temporary.write_text(_HEADER + "".join(lines), encoding="utf-8")


@dataclass(frozen=True)
class Signed:
    """The signature of a file, examined.

    Attributes:
        key: Fingerprint of the key that the file names; "" for an unsigned file.
        valid: Whether the signature is right; None if the file is unsigned or the package cryptography is missing.
        pinned: Whether this machine trusts the key.
        required: Whether this machine refuses files of other keys.
    """

    key: str = ""
    valid: bool | None = None
    pinned: bool = False
    required: bool = False

    def to_dict(self) -> dict[str, str | bool | None]:
        """Return the fields as a JSON-serializable dict."""
        return dict(vars(self))


def examine_signature(path: Path) -> Signed:
    """Return what the signature of a file shows, without refusing it.

    Raises:
        ModelFileError: The file is missing or cannot be read.
        SignatureError: The pinned keys cannot be read.
    """
    keys = pinned_keys()
    with open_plain(path) as stream:
        signature = read_signature(stream)
        if signature is None:
            return Signed(required=bool(keys))
        known = next((key for key in keys if key == signature.key), None)
        return Signed(
            str(known or signature.key), _validity(signature, stream), known is not None, bool(keys)
        )


def describe_signature(found: Signed) -> str:
    """Return a signature in words."""
    if not found.key:
        return "none" if not found.required else "none, and this machine requires one"
    if found.valid is None:
        return f"by {found.key}, not checked, because the package cryptography is missing: pip install 'edgetl[sign]'"
    if not found.valid:
        return f"wrong: the file was changed after {found.key} signed it"
    return f"valid, by {found.key}, {'pinned here' if found.pinned else 'which is not pinned here'}"


def _validity(signature: Signature, stream: BinaryIO) -> bool | None:
    try:
        return is_valid(signature, stream)
    except MissingPackageError:
        return None
