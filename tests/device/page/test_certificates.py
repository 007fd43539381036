"""Certificates for HTTPS: made here, kept, renewed; and files of the user's own."""

from __future__ import annotations

import datetime
import ssl
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="HTTPS needs its extra: pip install 'edgetl[https]'")

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from device.errors import CertificateError
from device.page.certificates import (
    FILE_NAME,
    given_certificate,
    own_certificate,
    read_certificate,
)
from device.page.machine import addresses_of_machine

NAMES = ("localhost", "127.0.0.1", "::1")
NOW = datetime.datetime(2026, 11, 27, tzinfo=datetime.UTC).timestamp()
DAY = 24 * 3600


def at(days: float) -> Callable[[], float]:
    """Return a clock that shows this number of days after `NOW`."""
    return lambda: NOW + days * DAY


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate of another authority for pi.example and its key, in two files."""
    return write_pair(tmp_path, "pi.example", "*.home.example")


def write_pair(folder: Path, *names: str, days: int = 90, passphrase: str = "") -> tuple[Path, Path]:
    """Write a certificate that is valid from the day before `NOW`, and its key."""
    key, issuer = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    begin = datetime.datetime.fromtimestamp(NOW, datetime.UTC) - datetime.timedelta(days=1)
    builder = x509.CertificateBuilder(
        subject, subject, key.public_key(), 7, begin, begin + datetime.timedelta(days=1 + days)
    ).add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
    pem = serialization.Encoding.PEM
    certificate, private = folder / "own.crt", folder / "own.key"
    certificate.write_bytes(builder.sign(issuer, hashes.SHA256()).public_bytes(pem))
    private.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, encryption))
    return certificate, private


def test_a_certificate_is_made_once_and_readable_only_by_its_owner(tmp_path: Path) -> None:
    """The next start uses the same one, so that a browser warns once."""
    made = own_certificate(tmp_path, NAMES)
    assert made.path == made.key == tmp_path / FILE_NAME
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    assert made.names == NAMES
    assert own_certificate(tmp_path, NAMES) == made
    printed = subprocess.run(
        ["openssl", "x509", "-in", made.path, "-noout", "-fingerprint", "-sha256", "-ext", "basicConstraints"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert made.fingerprint in printed
    assert "CA:FALSE" in printed  # with its key no other certificate can be signed
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_a_certificate_is_renewed_thirty_days_before_it_expires(tmp_path: Path) -> None:
    """It is valid for 825 days less the first, which is for clocks that are behind."""
    first = own_certificate(tmp_path, NAMES, at(0))
    assert first.begins == NOW - DAY
    assert first.ends == NOW + 824 * DAY
    assert own_certificate(tmp_path, NAMES, at(793)) == first
    second = own_certificate(tmp_path, NAMES, at(795))
    assert second.fingerprint != first.fingerprint
    assert second.ends == NOW + (795 + 824) * DAY
    assert own_certificate(tmp_path, NAMES, at(795)) == second


def test_a_certificate_from_a_time_to_come_is_replaced(tmp_path: Path) -> None:
    """A board without a clock of its own may have made it at a wrong time."""
    early = own_certificate(tmp_path, NAMES, at(1000))
    assert own_certificate(tmp_path, NAMES, at(0)).begins < early.begins


def test_a_new_address_is_added_and_the_earlier_ones_stay(tmp_path: Path) -> None:
    """A device that moves between two networks has one certificate for both, from the second visit on."""
    own_certificate(tmp_path, (*NAMES, "192.168.1.5"))
    both = own_certificate(tmp_path, (*NAMES, "10.0.0.7"))
    assert both.names == (*NAMES, "10.0.0.7", "192.168.1.5")
    assert own_certificate(tmp_path, (*NAMES, "192.168.1.5")) == both


def test_names_are_written_as_browsers_compare_them(tmp_path: Path) -> None:
    """Lower case, short IPv6 addresses, each once; a name that no certificate can have is left out."""
    made = own_certificate(tmp_path, ("Pi.Example", "pi.example", "2001:DB8:0:0::5", "küche", ""))
    assert made.names == ("pi.example", "2001:db8::5")
    assert made.covers("PI.example")
    assert not made.covers("example")


def test_a_file_of_something_else_is_refused_and_kept(tmp_path: Path) -> None:
    """A certificate without its key, with the key of another one, or no certificate at all."""
    made = own_certificate(tmp_path, NAMES)
    pem = made.path.read_text()
    (tmp_path / "other").mkdir()
    other = own_certificate(tmp_path / "other", NAMES).path.read_text()
    begin = "-----BEGIN CERTIFICATE-----"
    for content, message in (
        ("hello", "no certificate"),
        (begin + pem.partition(begin)[2], "no private key"),
        (other.partition(begin)[0] + begin + pem.partition(begin)[2], "does not belong"),
        (pem.replace(begin, begin + "\nAAAA"), "damaged"),
    ):
        made.path.write_text(content)
        with pytest.raises(CertificateError, match=f"{message}.*delete .*{FILE_NAME} to have a new one made"):
            own_certificate(tmp_path, NAMES)
        assert made.path.read_text() == content


def test_a_given_certificate_with_its_key_is_used(files: tuple[Path, Path], tmp_path: Path) -> None:
    """In two files or in one."""
    found = given_certificate(*files, at(0))
    assert found.names == ("pi.example", "*.home.example")
    assert found.covers("kitchen.home.example")
    assert not found.covers("a.kitchen.home.example")
    assert (found.best_name("192.168.1.5"), found.best_name("x.home.example")) == (
        "pi.example",
        "x.home.example",
    )
    assert found.context().minimum_version >= ssl.TLSVersion.TLSv1_2
    both = tmp_path / "both.pem"
    both.write_bytes(files[0].read_bytes() + files[1].read_bytes())
    assert given_certificate(both, clock=at(0)).fingerprint == found.fingerprint


def test_a_certificate_that_cannot_be_used_is_an_error_with_the_next_step(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    """Each message names the file and what to do."""
    certificate, key = files
    (tmp_path / "expired").mkdir()
    (tmp_path / "locked").mkdir()
    foreign = own_certificate(tmp_path, NAMES).path
    cases: list[tuple[Path, Path | None, str]] = [
        (certificate, None, "own.crt contains no private key; name its file with --key"),
        (certificate, certificate, "own.crt contains no private key"),
        (key, key, "own.key contains no certificate"),
        (certificate, foreign, "does not belong to the certificate"),
        (tmp_path / "none.crt", key, "none.crt cannot be read: No such file"),
        (certificate, tmp_path / "none.key", "none.key cannot be read: No such file"),
        (tmp_path, key, "cannot be read: Is a directory"),
        (*write_pair(tmp_path / "locked", "pi.example", passphrase="secret"), "has a passphrase"),
        (*write_pair(tmp_path / "expired", "pi.example", days=0), "expired on 2026-11-27; renew it"),
    ]  # fmt: skip
    for path, private, message in cases:
        with pytest.raises(CertificateError) as caught:
            given_certificate(path, private, at(0.5))
        assert message in str(caught.value)


def test_a_certificate_without_names_covers_nothing(tmp_path: Path) -> None:
    """Browsers ignore the common name."""
    certificate, key = write_pair(tmp_path)
    found = given_certificate(certificate, key, at(0))
    assert not found.covers("test")
    assert found.best_name("192.168.1.5") == "192.168.1.5"


def test_the_addresses_of_this_machine_can_be_in_a_certificate(tmp_path: Path) -> None:
    """Whatever network this machine has, also none."""
    found = addresses_of_machine()
    assert len(found) == len(set(found))
    assert own_certificate(tmp_path, ["localhost", *found]).names == ("localhost", *found)


def test_without_cryptography_the_message_names_the_extra(tmp_path: Path) -> None:
    """No traceback, and no file."""
    program = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from pathlib import Path\n"
        "from device.errors import MissingPackageError\n"
        "from device.page.certificates import own_certificate\n"
        "try: own_certificate(Path(sys.argv[1]), ['localhost'])\n"
        "except MissingPackageError as error: print(error)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "pip install 'edgetl[https]'" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_reading_a_certificate_does_not_need_its_key(files: tuple[Path, Path]) -> None:
    """Its names and its dates are there."""
    found = read_certificate(files[0])
    assert (found.begins, found.expiry) == (NOW - DAY, "2027-02-25")
