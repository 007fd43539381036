"""The systemd unit: its text, its location, and what is refused."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.errors import ServiceError, StorageError
from device.system import service
from device.system.service import Service, quote


@pytest.fixture
def systemctl(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A running systemd whose systemctl only records its arguments."""
    said = home / "systemctl.log"
    program = home / "systemctl"
    program.write_text(f'#!/bin/sh\necho "$@" >> {said}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{home}:/usr/bin:/bin")
    monkeypatch.setattr(service, "systemd_runs", lambda: True)
    return said


def unit(name: str = "edgetl", user: str | None = None, *arguments: str) -> Service:
    """A service that runs `true`."""
    return Service(name, ("/bin/true", *(arguments or ("run", "mugs.tflite"))), Path("/"), user)


@pytest.mark.parametrize("user", [None, "root"])
def test_systemd_accepts_the_unit(user: str | None) -> None:
    """Verified by systemd-analyze, with words that need quoting."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze: sudo apt-get install systemd")
    odd = unit("edgetl", user, "run", "a b.tflite", "--on", 'the "mug"', "./ring.sh 100% $HOME \\ 'x' ; y")
    assert service.verify(odd) is None


def test_systemd_reports_a_missing_program() -> None:
    """So the test above can fail."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze: sudo apt-get install systemd")
    missing = Service("edgetl", ("/no/such/program",), Path("/"), "root")
    assert "/no/such/program" in (service.verify(missing) or "")


def test_the_unit_always_restarts_and_starts_at_boot() -> None:
    """For any reason and any number of times."""
    text = unit(user="pi").text()
    for line in ("Restart=always", "StartLimitIntervalSec=0", "WantedBy=multi-user.target", "User=pi"):
        assert line in text.splitlines()


def test_a_user_unit_starts_at_login() -> None:
    """No root, no User= line, and no mounts that the manager of a user cannot create."""
    text = unit().text()
    assert "WantedBy=default.target" in text
    assert "User=" not in text
    assert "ProtectSystem" not in text


@given(st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=30))
def test_words_reach_the_program_unchanged(word: str) -> None:
    """Decoded as systemd.service(5) describes: quotes and backslashes first, then $$ and %%."""
    undone = shlex.split(quote(word))
    assert [part.replace("$$", "$").replace("%%", "%") for part in undone] == [word]


@pytest.mark.parametrize("word", ["two\nlines", "nul\0"])
def test_a_line_break_cannot_enter_the_unit(word: str) -> None:
    """It would add a setting."""
    with pytest.raises(ServiceError, match="line break"):
        unit("edgetl", None, "run", word).text()


@pytest.mark.parametrize("name", ["", "../x", "a b", "a.service", "x" * 65, "-x", "é"])
def test_an_invalid_unit_name_is_refused(name: str) -> None:
    """It would become a path."""
    with pytest.raises(ServiceError, match="name"):
        unit(name)


def test_a_relative_program_is_refused() -> None:
    """Systemd would not find it."""
    with pytest.raises(ServiceError, match="absolute"):
        Service("edgetl", ("edgetl",), Path("/"))


def test_installing_writes_enables_and_starts(systemctl: Path) -> None:
    """In this order."""
    path = service.install(unit())
    assert path.read_text() == unit().text()
    assert path.stat().st_mode & 0o777 == 0o644
    assert systemctl.read_text().splitlines() == [
        "--user daemon-reload",
        "--user enable edgetl.service",
        "--user restart edgetl.service",
    ]


def test_an_existing_unit_is_replaced_only_with_force(home: Path) -> None:
    """It may have been edited."""
    service.install(unit(), start=False)
    with pytest.raises(StorageError, match="--force"):
        service.install(unit(), start=False)
    service.install(unit("edgetl", None, "serve", "x.tflite"), force=True, start=False)
    assert "serve x.tflite" in service.read("edgetl", of_user=True)


def test_without_systemd_nothing_is_written(home: Path) -> None:
    """Unless only the files are wanted."""
    with pytest.raises(ServiceError, match="--no-start"):
        service.install(unit())
    assert not unit().path.exists()
    assert service.install(unit(), start=False).exists()


def test_a_failing_systemctl_is_reported(systemctl: Path, home: Path) -> None:
    """With its message."""
    (home / "systemctl").write_text("#!/bin/sh\necho no bus >&2\nexit 1\n")
    with pytest.raises(ServiceError, match="no bus"):
        service.install(unit())


def test_uninstalling_stops_and_removes_the_service(systemctl: Path) -> None:
    """Nothing is left of it."""
    path = service.install(unit())
    service.uninstall("edgetl", of_user=True)
    assert not path.exists()
    assert "--user disable --now edgetl.service" in systemctl.read_text()


def test_uninstalling_a_missing_service_is_an_error(home: Path) -> None:
    """With the command that installs one."""
    with pytest.raises(ServiceError, match="service install"):
        service.uninstall("edgetl", of_user=True)


def test_a_foreign_unit_is_not_removed(home: Path) -> None:
    """`--name ssh` must not stop ssh."""
    path = service.unit_path("ssh", of_user=False)
    path.parent.mkdir(parents=True)
    path.write_text("[Service]\nExecStart=/usr/sbin/sshd\n")
    with pytest.raises(ServiceError, match="not removed"):
        service.uninstall("ssh")
    assert path.exists()
