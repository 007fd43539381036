"""The environment file of a service: its content, its permissions, and its removal with the service."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.errors import ServiceError, StorageError
from device.system import service
from device.system.secrets import environment_text, write_environment
from device.system.service import Service

CAMERA = "rtsp://admin:s3cret@10.0.0.5/live"


def unit(user: str | None = None, **variables: str) -> Service:
    """A service with secrets."""
    return Service("door", ("/bin/true", "run"), Path("/"), user, "", tuple(variables.items()))


@pytest.mark.parametrize("user", [None, "root"])
def test_the_unit_refers_to_a_file_that_only_its_owner_can_read(home: Path, user: str | None) -> None:
    """For any umask; neither the unit nor the repr of the service contains a secret."""
    found = unit(user, EDGETL_CAMERA=CAMERA)
    before = os.umask(0)
    try:
        service.install(found, start=False)
    finally:
        os.umask(before)
    file = found.environment_path
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.stat().st_uid == os.geteuid()
    assert f"EnvironmentFile={file}\n" in found.path.read_text()
    assert CAMERA in file.read_text()
    assert "s3cret" not in found.path.read_text() + repr(found)
    if shutil.which("systemd-analyze"):
        assert service.verify(found) is None


def test_a_unit_without_secrets_has_no_file(home: Path) -> None:
    """A unit that is installed again without secrets loses its file."""
    service.install(unit(EDGETL_CAMERA=CAMERA), start=False)
    service.install(unit(), force=True, start=False)
    assert not unit().environment_path.exists()
    assert "EnvironmentFile" not in unit().path.read_text()


def test_uninstalling_removes_the_file(home: Path) -> None:
    """And its folder, unless another service has a file there."""
    found = unit(EDGETL_CAMERA=CAMERA)
    service.install(found, start=False)
    other = found.environment_path.with_name("other.env")
    other.touch()
    service.uninstall("door", of_user=True)
    assert not found.environment_path.exists()
    assert other.exists()
    other.unlink()
    service.install(found, start=False)
    service.uninstall("door", of_user=True)
    assert not found.environment_path.parent.exists()


def test_no_secrets_are_left_when_the_unit_cannot_be_written(home: Path) -> None:
    """A file without a service would be forgotten."""
    found = unit(EDGETL_CAMERA=CAMERA)
    found.path.parent.parent.mkdir(parents=True)
    found.path.parent.touch()  # a file where a folder is needed
    with pytest.raises(StorageError):
        service.install(found, start=False)
    assert not found.environment_path.exists()


VALUES = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.just("\n"), max_size=40)


@given(VALUES)
def test_a_shell_reads_every_value_unchanged(value: str) -> None:
    """By the rules that systemd.exec(5) shares with a POSIX shell: quotes, backslashes, dollars, line breaks."""
    script = environment_text({"VALUE": value}) + "printf '%s' \"$VALUE\"\n"
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=True)
    assert done.stdout.decode() == value


@pytest.mark.parametrize(
    ("name", "value"), [("A", "s3cret\r"), ("A", "s3cret\0"), ("A", "s3cret\udcff"), ("A B", "")]
)
def test_a_value_that_the_file_cannot_hold_is_refused_without_showing_it(
    tmp_path: Path, name: str, value: str
) -> None:
    """Before anything is written."""
    with pytest.raises(ServiceError) as refusal:
        write_environment(tmp_path / "env", {name: value})
    assert "s3cret" not in str(refusal.value)
    assert not (tmp_path / "env").exists()
