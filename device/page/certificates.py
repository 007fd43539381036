"""Certificates for HTTPS: made on this machine, or files of the user's own.

A certificate made here is signed by its own key, so a browser warns once, and the user compares its fingerprint with the one in
the terminal. Key and certificate are in one file that only its owner can read, and it is used until shortly before it expires.
"""

from __future__ import annotations

import datetime
import hashlib
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import CertificateError, MissingPackageError
from ..files import atomic_output, shown
from ..keys import alternative_name, new_key, private_pem
from .machine import parsed_address

if TYPE_CHECKING:
    from cryptography import x509

FILE_NAME = "edgetl-https.pem"
"""Name of the file with a key and a certificate made here."""

_DAY = 24 * 3600  # seconds
_VALID = 825 * _DAY  # the maximum that Apple accepts (https://support.apple.com/en-us/103769)
_EARLY = _DAY  # a phone's clock may be behind
_RENEW = 30 * _DAY  # before it expires
_NAMES = 40  # maximum number of names; a machine that moves between networks collects addresses
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True)
class Certificate:
    """A certificate and its private key.

    Attributes:
        path: PEM file of the certificate, and of those that sign it.
        key: PEM file of the key; the same file for a certificate made here.
        der: The certificate itself.
        names: Host names and addresses that it is valid for.
        begins: Seconds since 1970 from which it is valid.
        ends: Seconds since 1970 until which it is valid.
    """

    path: Path
    key: Path
    der: bytes
    names: tuple[str, ...]
    begins: float
    ends: float

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, written as browsers do: ``AB:CD:...``."""
        return fingerprint_of(self.der)

    @property
    def expiry(self) -> str:
        """The last day on which it is valid, such as ``2028-12-31``."""
        return datetime.datetime.fromtimestamp(self.ends, datetime.UTC).strftime("%Y-%m-%d")

    def covers(self, name: str) -> bool:
        """Return whether it is valid for a host name or an address; ``*.example`` covers one part of a name."""
        name = name.lower()
        _, _, parent = name.partition(".")
        return name in self.names or (bool(parent) and f"*.{parent}" in self.names)

    def best_name(self, host: str) -> str:
        """Return `host` where it is valid for it, or else the first name that it is valid for."""
        others = [name for name in self.names if not name.startswith("*.")]
        return host if self.covers(host) or not others else others[0]

    def context(self) -> ssl.SSLContext:
        """Return the TLS settings of a server with this certificate.

        Raises:
            CertificateError: Key and certificate do not belong together, or cannot be read.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        self.load_into(context)
        return context

    def load_into(self, context: ssl.SSLContext) -> None:
        """Use this certificate for the next connections of `context`.

        Raises:
            CertificateError: Key and certificate do not belong together, or cannot be read.
        """
        try:
            context.load_cert_chain(self.path, self.key, password=_refuse_passphrase)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise CertificateError(_why_not(error, self.path, self.key)) from error


def fingerprint_of(der: bytes) -> str:
    """Return the SHA-256 of a certificate, written as browsers do.

    Example:
        >>> fingerprint_of(b"")[:11]
        'E3:B0:C4:42'
    """
    digest = hashlib.sha256(der).hexdigest().upper()
    return ":".join(digest[start : start + 2] for start in range(0, len(digest), 2))


def own_certificate(
    folder: Path, names: Iterable[str], clock: Callable[[], float] = time.time
) -> Certificate:
    """Return the certificate in `folder`; make or renew it when there is none, or it expires soon or lacks a name.

    Args:
        folder: Folder of the file `FILE_NAME`.
        names: Host names and addresses under which browsers open the page.
        clock: Returns seconds since 1970.

    Raises:
        CertificateError: The file contains something else.
        MissingPackageError: The package cryptography is not installed.
        StorageError: The file cannot be written.
    """
    _require_cryptography()
    path, wanted = folder / FILE_NAME, _usable(names)
    old = _kept(path) if path.exists() else None
    if old is not None and old.begins <= clock() < old.ends - _RENEW and all(map(old.covers, wanted)):
        return old
    known = [] if old is None else [name for name in old.names if name not in wanted]
    content = _make([*wanted, *known][:_NAMES], clock())
    with atomic_output(path, force=True, private=True) as temporary:
        temporary.write_bytes(content)
    return read_certificate(path)


def _kept(path: Path) -> Certificate:
    try:
        found = read_certificate(path)
        found.context()
    except CertificateError as error:
        raise CertificateError(f"{error}; delete {shown(path)} to have a new one made") from error
    return found


def given_certificate(
    path: Path, key: Path | None = None, clock: Callable[[], float] = time.time
) -> Certificate:
    """Return the user's own certificate.

    Args:
        path: PEM file of the certificate, followed by those that sign it.
        key: PEM file of its private key; None: the key is in `path` too.
        clock: Returns seconds since 1970.

    Raises:
        CertificateError: A file is missing or contains something else, the key has a passphrase or does not fit, or the
            certificate has expired.
        MissingPackageError: The package cryptography is not installed.
    """
    found = read_certificate(path, key)
    found.context()
    if found.ends < clock():
        raise CertificateError(
            f"the certificate {shown(path)} expired on {found.expiry}; renew it, or leave out --certificate to have one made"
        )
    return found


def read_certificate(path: Path, key: Path | None = None) -> Certificate:
    """Return the first certificate in a PEM file; whether the key fits is not checked.

    Raises:
        CertificateError: The file is missing, or contains no certificate.
        MissingPackageError: The package cryptography is not installed.
    """
    _require_cryptography()
    from cryptography import x509

    try:
        content = path.read_bytes()
    except OSError as error:
        raise CertificateError(
            f"the certificate {shown(path)} cannot be read: {error.strerror}; check the path and its permissions"
        ) from error
    pem = _PEM.search(content)
    if pem is None:
        raise CertificateError(
            f"{shown(path)} contains no certificate; a PEM file with a line BEGIN CERTIFICATE is expected"
        )
    try:
        parsed = x509.load_pem_x509_certificate(pem.group())
        names = _names_in(parsed)
    except ValueError as error:
        raise CertificateError(f"the certificate in {shown(path)} is damaged: {error}") from error
    begins, ends = parsed.not_valid_before_utc.timestamp(), parsed.not_valid_after_utc.timestamp()
    return Certificate(
        path, key or path, ssl.PEM_cert_to_DER_cert(pem.group().decode("ascii")), names, begins, ends
    )


def _usable(names: Iterable[str]) -> list[str]:
    """Return the names that a certificate can have, as it writes them, each once."""
    plain = [str(parsed_address(name) or name.lower()) for name in names if name.isascii() and name]
    return list(dict.fromkeys(plain))


def _make(names: Sequence[str], now: float) -> bytes:
    """Return a new key and a certificate signed by it, as PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = new_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"edgetl on {socket.gethostname()}"[:64])])
    builder = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(_moment(now - _EARLY))
        .not_valid_after(_moment(now - _EARLY + _VALID))
        .add_extension(
            x509.SubjectAlternativeName([alternative_name(name) for name in names]), critical=False
        )
        # not an authority: with the stolen key of one that phones trust, any site could be forged
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256())
    return private_pem(key) + certificate.public_bytes(serialization.Encoding.PEM)


def _moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC)


def _names_in(parsed: x509.Certificate) -> tuple[str, ...]:
    from cryptography import x509

    try:
        found = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    names = found.get_values_for_type(x509.DNSName)
    return (
        *(name.lower() for name in names),
        *(str(one) for one in found.get_values_for_type(x509.IPAddress)),
    )


def _refuse_passphrase() -> bytes:
    raise ValueError("the key has a passphrase; write one without: openssl pkey -in KEY -out NEW-KEY")


def _why_not(error: OSError | ValueError, path: Path, key: Path) -> str:
    """Return why a certificate and a key cannot be used."""
    try:
        content = key.read_bytes()
    except OSError as problem:
        return f"the key {shown(key)} cannot be read: {problem.strerror}; check the path and its permissions"
    if b"PRIVATE KEY-----" not in content:
        step = (
            "name its file with --key"
            if key == path
            else "a PEM file with a line BEGIN PRIVATE KEY is expected"
        )
        return f"{shown(key)} contains no private key; {step}"
    if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
        return f"the key {shown(key)} does not belong to the certificate {shown(path)}; name the file of its own key"
    reason = (error.reason or "") if isinstance(error, ssl.SSLError) else str(error)
    return f"the certificate {shown(path)} with the key {shown(key)} cannot be used: {reason or 'they are damaged'}"


def _require_cryptography() -> None:
    try:
        import cryptography  # noqa: F401  (only looked for)
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            "HTTPS needs the package cryptography; install it with: pip install 'edgetl[https]'"
        ) from error
