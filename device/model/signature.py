"""The signature of a model file: it shows who made the file, and covers every byte of it.

The signature is the comment of the appended zip archive: the last `LENGTH` bytes of the file, which readers of .tflite and
of zip files ignore. Everything before it is signed, the length of the comment included. The algorithm is Ed25519 over the
SHA-512 of these bytes, behind a prefix, so that a key that also signs other things cannot be misused.

Keys have the format of OpenSSH: ``ssh-ed25519 AAAA... name``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import BinaryIO

from ..errors import MissingPackageError, SignatureError
from ..printable import printable

ALGORITHM = "ssh-ed25519"
PREFIX = b"edgetl model file 1\0"  # of what is signed
_COMMENT = re.compile(rb"edgetl-signature-1 ([A-Za-z0-9+/=]{44}) ([A-Za-z0-9+/=]{88})\n")
LENGTH = 19 + 44 + 1 + 88 + 1
_CHUNK = 2**20


@dataclass(frozen=True)
class PublicKey:
    """A public Ed25519 key.

    Attributes:
        raw: Its 32 bytes.
        name: Its comment, for people; equal keys may have different names.

    Example:
        >>> PublicKey(bytes(32), "bench").fingerprint
        'SHA256:ux7dlF4ZJDNzuyshnwyk+NCvcU+JpxvTNn4vSzRVbAE'
    """

    raw: bytes
    name: str = field(default="", compare=False)

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """Read the line of a ``.pub`` file.

        Raises:
            SignatureError: It is not an Ed25519 key in the format of OpenSSH.
        """
        words = text.split(None, 2)
        try:
            blob = base64.b64decode(words[1], validate=True)
            raw = blob[-32:]
            if words[0] == ALGORITHM and blob == _blob(raw):
                return cls(raw, printable(words[2].strip()) if len(words) > 2 else "")
        except (IndexError, binascii.Error, ValueError):
            pass
        raise SignatureError(
            f"a public key is a line '{ALGORITHM} AAAA... NAME', got {printable(text[:60])!r}; 'edgetl key new' makes one"
        )

    @property
    def fingerprint(self) -> str:
        """The short form that ``ssh-keygen -l`` shows too."""
        digest = hashlib.sha256(_blob(self.raw)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")

    def __str__(self) -> str:
        """Return the fingerprint and the name."""
        return f"{self.fingerprint} ({self.name})" if self.name else self.fingerprint

    def line(self) -> str:
        """Return the line of a ``.pub`` file."""
        return " ".join(filter(None, (ALGORITHM, base64.b64encode(_blob(self.raw)).decode(), self.name)))


def _blob(raw: bytes) -> bytes:
    name = ALGORITHM.encode()
    return struct.pack(">I", len(name)) + name + struct.pack(">I", len(raw)) + raw


@dataclass(frozen=True)
class Signature:
    """A signature as it is in a file, not yet verified.

    Attributes:
        key: The key that the file names.
        value: The 64 bytes of the signature.
    """

    key: PublicKey
    value: bytes

    def comment(self) -> bytes:
        """Return the comment of the archive."""
        words = (b"edgetl-signature-1", base64.b64encode(self.key.raw), base64.b64encode(self.value))
        return b" ".join(words) + b"\n"


def read_signature(stream: BinaryIO) -> Signature | None:
    """Return the signature at the end of a file, or None."""
    size = stream.seek(0, 2)
    stream.seek(max(0, size - LENGTH))
    comment = stream.read(LENGTH)
    found = _COMMENT.fullmatch(comment)
    if found is None:
        return None
    try:
        key, value = (base64.b64decode(part, validate=True) for part in found.groups())
    except binascii.Error:
        return None
    signature = Signature(PublicKey(key), value)
    # the unused bits of the last digits are part of the file too
    return signature if (len(key), len(value)) == (32, 64) and signature.comment() == comment else None


def signed_message(stream: BinaryIO) -> bytes:
    """Return what is signed in a file that ends in a signature, or in `LENGTH` bytes in its place."""
    left = stream.seek(0, 2) - LENGTH
    stream.seek(0)
    found = hashlib.sha512()
    while left > 0 and (piece := stream.read(min(left, _CHUNK))):
        found.update(piece)
        left -= len(piece)
    return PREFIX + found.digest()


def is_valid(signature: Signature, stream: BinaryIO) -> bool:
    """Return whether `signature` is that of its key over the file.

    Raises:
        MissingPackageError: The package cryptography is not installed.
    """
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError as error:
        raise MissingPackageError(
            "checking a signature needs the package cryptography: pip install 'edgetl[sign]'"
        ) from error
    try:
        Ed25519PublicKey.from_public_bytes(signature.key.raw).verify(signature.value, signed_message(stream))
    except (InvalidSignature, ValueError):
        return False
    return True


def require_signature(stream: BinaryIO, keys: Iterable[PublicKey]) -> PublicKey:
    """Return the one of `keys` that signed the file.

    Raises:
        SignatureError: None of them signed it, or it was changed afterwards.
        MissingPackageError: The package cryptography is not installed.
    """
    signature, keys = read_signature(stream), list(keys)
    trusted = ", ".join(map(str, keys))
    if signature is None:
        raise SignatureError(
            f"the file is not signed, and this device accepts only files signed by {trusted}; sign it with: edgetl sign MODEL"
        )
    known = next((key for key in keys if key == signature.key), None)
    if known is None:
        raise SignatureError(
            f"the file is signed by {signature.key}, and this device accepts only {trusted}; sign it with the right key, or"
            " pin this one with: edgetl key pin"
        )
    if not is_valid(signature, stream):
        raise SignatureError(f"the file was changed after {known} signed it; copy it again, or sign it again")
    return known
