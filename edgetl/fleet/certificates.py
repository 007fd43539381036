"""The fleet's own certificate authority, the certificate of its server, and the keys of its devices.

The server proves with its certificate that it belongs to the fleet, and each device proves with its key that it was
invited. Everything has the formats of OpenSSL and OpenSSH, which Flower reads.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from device.errors import FleetError
from device.files import atomic_output
from device.keys import alternative_name, new_key, private_pem

from ..errors import MissingExtraError
from .folder import FleetFolder

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

_YEARS = 10  # of the authority; the server's certificate is renewed at each start
_DAYS = 397
_LOCAL = ("localhost", "127.0.0.1", "::1")


def require_flower() -> None:
    """Raise `MissingExtraError` with the next step unless Flower is installed."""
    import importlib.util

    if importlib.util.find_spec("flwr") is None or importlib.util.find_spec("cryptography") is None:
        raise MissingExtraError(
            "a fleet needs Flower, which is not installed: pip install 'edgetl[device,fleet]' in an environment without"
            " TensorFlow (see docs/fleet.md)"
        )


def make_authority(folder: FleetFolder) -> None:
    """Make the certificate authority of a fleet, if it has none."""
    require_flower()
    if (folder.path / "ca.pem").exists():
        return
    from cryptography import x509

    key = new_key()
    name = _name("edgetl fleet")
    certificate = (
        _builder(name, name, key, 365 * _YEARS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, _sha256())
    )
    _write(folder.path / "ca.key", private_pem(key), private=True)
    _write(folder.path / "ca.pem", _certificate_bytes(certificate))


def make_server_certificate(folder: FleetFolder, addresses: tuple[str, ...]) -> None:
    """Make the certificate of the server for these host names and IP addresses, signed by the fleet's authority.

    Raises:
        FleetError: A host name contains characters other than ASCII.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    authority = x509.load_pem_x509_certificate((folder.path / "ca.pem").read_bytes())
    signer: Any = load_pem_private_key((folder.path / "ca.key").read_bytes(), None)
    key = new_key()
    names = dict.fromkeys([*_LOCAL, *addresses])
    certificate = (
        _builder(_name("edgetl fleet server"), authority.subject, key, _DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(_alternative_names(names), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .sign(signer, _sha256())
    )
    _write(folder.path / "server.key", private_pem(key), private=True)
    _write(folder.path / "server.pem", _certificate_bytes(certificate))


def new_device_key() -> tuple[str, str]:
    """Return a new key pair of a device, private and public, in the format of OpenSSH; the curve is P-384."""
    from cryptography.hazmat.primitives import serialization as to
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP384R1())
    private = key.private_bytes(to.Encoding.PEM, to.PrivateFormat.OpenSSH, to.NoEncryption())
    public = key.public_key().public_bytes(to.Encoding.OpenSSH, to.PublicFormat.OpenSSH)
    return private.decode(), public.decode()


def public_key_bytes(path: Path) -> bytes:
    """Return the public key in a file as Flower registers it."""
    from cryptography.hazmat.primitives import serialization as to

    key = to.load_ssh_public_key(path.read_bytes())
    return key.public_bytes(to.Encoding.PEM, to.PublicFormat.SubjectPublicKeyInfo)


def _sha256() -> Any:
    from cryptography.hazmat.primitives import hashes

    return hashes.SHA256()


def _name(text: str) -> Any:
    from cryptography import x509

    return x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, text)])


def _builder(subject: Any, issuer: Any, key: EllipticCurvePrivateKey, days: int) -> Any:
    from cryptography import x509

    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # a device's clock may be behind
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _usage(*, signs: bool) -> Any:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative_names(names: Iterable[str]) -> Any:
    from cryptography import x509

    try:
        return x509.SubjectAlternativeName([alternative_name(name) for name in names])
    except ValueError as error:
        raise FleetError(
            "the addresses of the server must be IP addresses or host names in ASCII, got "
            f"{', '.join(names)}; write other letters in Punycode (xn--...)"
        ) from error


def _certificate_bytes(certificate: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    data: bytes = certificate.public_bytes(Encoding.PEM)
    return data


def _write(path: Path, data: bytes, *, private: bool = False) -> None:
    with atomic_output(path, force=True, private=private) as temporary:
        temporary.write_bytes(data)
