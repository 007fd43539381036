"""Making keys, and signing model files with them; `device.model.signature` describes the signature."""

from __future__ import annotations

import getpass
import io
import socket
import stat
import struct
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from device.errors import SignatureError
from device.files import atomic_output, refuse_existing, storage_error
from device.model.modelfile import ModelFile
from device.model.signature import LENGTH, PublicKey, Signature, read_signature, signed_message
from device.model.trust import config_folder

from .errors import MissingExtraError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_END = b"PK\5\6"  # of the archive; its comment follows after 22 bytes
_END_BYTES = 22


def default_key() -> Path:
    """Return the path of the user's own private key.

    Raises:
        SignatureError: The user has no home folder.
    """
    folder = config_folder()
    if folder is None:
        raise SignatureError("there is no home folder for a key; name its file")
    return folder / "signing-key"


def new_key(path: str | Path, *, name: str = "", force: bool = False) -> PublicKey:
    """Make a key pair: the private key in `path`, readable only by its owner, and the public key in ``PATH.pub``.

    Both have the format of OpenSSH.

    Args:
        path: The file of the private key.
        name: Name in the public key, for people. By default it is that of the user and the machine.
        force: Replace an existing key. Devices that pin it then refuse new signatures.

    Raises:
        StorageError: A file exists and `force` is false, or cannot be written.
        MissingExtraError: The package cryptography is not installed.
    """
    path = Path(path)
    public_path = path.with_name(f"{path.name}.pub")
    for each in (path, public_path):
        refuse_existing(each, force)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, path) from error
    private, content = _generate()
    public = PublicKey(_raw(private), name or f"{getpass.getuser()}@{socket.gethostname()}")
    with atomic_output(path, force=force, private=True) as temporary:
        temporary.write_bytes(content)
    with atomic_output(public_path, force=force) as temporary:
        temporary.write_text(f"{public.line()}\n", encoding="utf-8")
    return public


def sign(
    model: str | Path, key: str | Path | None = None, out: str | Path | None = None, *, force: bool = False
) -> PublicKey:
    """Sign a model file, and return the public key that verifies it.

    Every byte of the file is covered. The same file and key always give the same signature.

    Args:
        model: The model file; it is verified first.
        key: File of a private Ed25519 key in the format of OpenSSH, without a passphrase. None: `default_key`.
        out: The signed file; None replaces `model`.
        force: Replace `out`, or the signature of another key.

    Raises:
        ModelFileError: `model` is damaged or foreign.
        SignatureError: The key cannot be used, or another key signed the file and `force` is false.
        StorageError: The signed file cannot be written.
        MissingExtraError: The package cryptography is not installed.
    """
    path, private = Path(model), _private_key(Path(key) if key is not None else default_key())
    ModelFile.open(path, trusted=True)
    content, public = path.read_bytes(), PublicKey(_raw(private))
    before = read_signature(io.BytesIO(content))
    if before is not None and before.key != public and out is None and not force:
        raise SignatureError(
            f"{path} is signed by another key, {before.key}; use --force to replace its signature"
        )
    body = _without_comment(path, content)
    prepared = body[:-2] + struct.pack("<H", LENGTH) + bytes(LENGTH)
    value = private.sign(signed_message(io.BytesIO(prepared)))
    with atomic_output(path if out is None else out, force=force or out is None) as temporary:
        temporary.write_bytes(prepared[:-LENGTH] + Signature(public, value).comment())
    return public


def _without_comment(path: Path, content: bytes) -> bytes:
    """Return a model file without the comment of its archive, and with its length set to 0."""
    end = content.rfind(_END)
    if end < 0 or len(content) < end + _END_BYTES:
        raise SignatureError(f"{path} has no archive that could contain a signature; convert the model again")
    return content[: end + _END_BYTES - 2] + bytes(2)


def _private_key(path: Path) -> Ed25519PrivateKey:
    serialization, ed25519 = _cryptography()
    try:
        content, mode = path.read_bytes(), path.stat().st_mode
    except FileNotFoundError:
        raise SignatureError(f"there is no key {path}; make one with: edgetl key new") from None
    except OSError as error:
        raise SignatureError(f"the key {path} cannot be read: {error.strerror}") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SignatureError(f"other users can read the key {path}; run: chmod 600 {path}")
    try:
        found = serialization.load_ssh_private_key(content, None)
    except Exception as error:  # the package raises many kinds for a damaged file
        raise SignatureError(
            f"{path} is no private key of OpenSSH without a passphrase ({error}); 'edgetl key new' makes one"
        ) from error
    if not isinstance(found, ed25519.Ed25519PrivateKey):
        raise SignatureError(f"{path} is no Ed25519 key; 'edgetl key new' makes one")
    private: Ed25519PrivateKey = found
    return private


def _generate() -> tuple[Ed25519PrivateKey, bytes]:
    serialization, ed25519 = _cryptography()
    private = ed25519.Ed25519PrivateKey.generate()
    content = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    return private, content


def _raw(private: Ed25519PrivateKey) -> bytes:
    return private.public_key().public_bytes_raw()


def _cryptography() -> tuple[ModuleType, ModuleType]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise MissingExtraError(
            "signing needs the package cryptography; install it with: pip install 'edgetl[sign]'"
        ) from error
    return serialization, ed25519
