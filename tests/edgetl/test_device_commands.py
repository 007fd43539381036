"""The commands `check`, `service` and `bench` as a user types them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from device.system import service
from edgetl.cli import main
from tests.tiny import TINY


def edgetl(*arguments: object) -> Result:
    """Run a command line."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="edgetl")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model in it, to work in; units go beside it, and no systemd runs."""
    (tmp_path / "mugs.tflite").write_bytes(TINY.read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(service, "SYSTEM_FOLDER", tmp_path / "system")
    monkeypatch.setattr(service, "systemd_runs", lambda: False)
    return tmp_path


def test_check_ends_with_0_when_nothing_failed(folder: Path) -> None:
    """On any machine, with the fake camera."""
    done = edgetl("check", "mugs.tflite", "--camera", "fake")
    assert done.exit_code == 0, done.output
    assert "Ready." in done.output


def test_check_ends_with_1_and_names_what_failed(folder: Path) -> None:
    """And shows how to put it right."""
    done = edgetl("check", "--camera", "no-such-camera")
    assert done.exit_code == 1
    assert "Failed: camera" in done.output
    assert "->" in done.output


def test_check_writes_json(folder: Path) -> None:
    """The same verdicts, for programs."""
    result = json.loads(edgetl("check", "--camera", "fake", "--json").stdout)
    assert result["passed"] is True
    assert {check["name"] for check in result["checks"]} >= {"board", "runtime", "camera", "clock"}


def test_bench_prints_percentiles_and_what_they_were_measured_with(folder: Path) -> None:
    """Runtime, version, governor."""
    done = edgetl("bench", "mugs.tflite", "--frames", 3, "--samples", 12)
    assert done.exit_code == 0, done.output
    for word in ("p50", "p99", "governor", "threads", "backbone"):
        assert word in done.output


def test_bench_writes_json(folder: Path) -> None:
    """Nothing but JSON on stdout."""
    done = edgetl("bench", "mugs.tflite", "--frames", 3, "--samples", 12, "--json")
    assert {timing["step"] for timing in json.loads(done.stdout)["timings"]} >= {"preprocessing", "backbone"}


def test_bench_needs_a_sample_for_each_label(folder: Path) -> None:
    """A usage error."""
    assert edgetl("bench", "mugs.tflite", "--samples", 2, "--labels", 3).exit_code == 2


def test_a_service_is_shown_before_it_is_installed(folder: Path) -> None:
    """The same Python, this folder, and the command as typed."""
    done = edgetl("service", "show", "--user", "--", "run", "mugs.tflite", "--camera", "0")
    assert done.exit_code == 0, done.output
    assert f"ExecStart={sys.executable} -m edgetl run mugs.tflite --camera 0" in done.stdout
    assert f"WorkingDirectory={folder}" in done.stdout
    assert not (folder / "config").exists()


def test_a_service_is_installed_shown_and_removed(folder: Path) -> None:
    """Without systemd only the file is written."""
    install = ("service", "install", "--user", "--no-start", "--json", "--", "serve", "mugs.tflite")
    written = json.loads(edgetl(*install).stdout)
    assert Path(written["unit"]).is_file()
    assert "serve mugs.tflite" in edgetl("service", "show", "--user").stdout
    assert edgetl(*install).exit_code == 1
    assert edgetl("service", "uninstall", "--user").exit_code == 0
    assert not Path(written["unit"]).exists()


def test_behind_sudo_the_service_runs_as_the_user(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root would own what is taught."""
    monkeypatch.setenv("SUDO_USER", "pi")
    assert "User=pi\n" in edgetl("service", "show", "--", "run", "mugs.tflite").stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("teach", "mugs.tflite", "mug"), "run, serve, buttons"),
        (("run", "mugs.tflite", "--camra", "0"), "No such option"),
        (("run", "bowls.tflite"), "bowls.tflite is not in"),
    ],
)
def test_a_command_that_would_fail_at_boot_is_refused_now(
    folder: Path, words: tuple[str, ...], told: str
) -> None:
    """A usage error instead of a line in the journal."""
    done = edgetl("service", "install", "--user", "--no-start", "--", *words)
    assert done.exit_code == 2
    assert told in done.output
    assert not (folder / "config").exists()


def test_no_systemd_is_said_plainly(folder: Path) -> None:
    """As in a container."""
    done = edgetl("service", "install", "--user", "--", "run", "mugs.tflite")
    assert done.exit_code == 1
    assert "systemd does not run here" in done.output
