"""The commands `check` and `service` as a user types them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from device.system import secrets, service
from edgetl.cli import main
from tests.tiny import TINY


def edgetl(*arguments: object) -> Result:
    """Run a command line."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="edgetl")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a working folder with a model; units are written beside it, and no systemd runs."""
    (tmp_path / "mugs.tflite").write_bytes(TINY.read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(service, "SYSTEM_FOLDER", tmp_path / "system")
    monkeypatch.setattr(secrets, "SYSTEM_FOLDER", tmp_path / "secrets")
    monkeypatch.setattr(service, "systemd_runs", lambda: False)
    return tmp_path


def test_check_exits_with_0_when_nothing_failed(folder: Path) -> None:
    """This holds on any machine, with the fake camera."""
    done = edgetl("check", "mugs.tflite", "--camera", "fake")
    assert done.exit_code == 0, done.output
    assert "Ready." in done.output


def test_check_exits_with_1_and_names_what_failed(folder: Path) -> None:
    """The next step is shown."""
    done = edgetl("check", "--camera", "no-such-camera")
    assert done.exit_code == 1
    assert "Failed: camera" in done.output
    assert "->" in done.output


def test_check_writes_json(folder: Path) -> None:
    """The same results, for programs."""
    result = json.loads(edgetl("check", "--camera", "fake", "--json").stdout)
    assert result["passed"] is True
    assert {check["name"] for check in result["checks"]} >= {"board", "runtime", "camera", "clock"}


def test_a_service_is_shown_before_it_is_installed(folder: Path) -> None:
    """The unit has the same Python, this folder, and the command as typed."""
    done = edgetl("service", "show", "--user", "--", "run", "mugs.tflite", "--camera", "0")
    assert done.exit_code == 0, done.output
    assert f"ExecStart={sys.executable} -m edgetl run mugs.tflite --camera 0" in done.stdout
    assert f"WorkingDirectory={folder}" in done.stdout
    assert not (folder / "config").exists()


def test_a_service_is_installed_shown_and_removed(folder: Path) -> None:
    """Without systemd, only the files are written."""
    install = ("service", "install", "--user", "--no-start", "--json", "--", "serve", "mugs.tflite")
    written = json.loads(edgetl(*install).stdout)
    assert Path(written["unit"]).is_file()
    assert "serve mugs.tflite" in edgetl("service", "show", "--user").stdout
    assert edgetl(*install).exit_code == 1
    assert edgetl("service", "uninstall", "--user").exit_code == 0
    assert not Path(written["unit"]).exists()


WITH_SECRETS = (
    "run", "mugs.tflite", "--camera=rtsp://admin:s3cret@10.0.0.5/live", "--on", "mug", "echo ding", "--smooth", "5",
    "--webhook", "https://me:s3cret@host/a", "--webhook=https://host/s3cret", "--webhook-header", "X-Key: ${SHED_KEY} 1",
    "--webhook-header", "X-Device: the shed", "--mqtt", "mqtt://me:s3cret@broker/shed", "--mirror",
)  # fmt: skip


@pytest.mark.parametrize("words", [("install", "--user", "--no-start"), ("install", "--user", "--no-start", "--json"),
                                   ("show", "--user"), ("show", "--user", "--json")])  # fmt: skip
def test_no_secret_is_shown_by_a_service(
    folder: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """Secrets are neither on the terminal nor in the JSON nor in the unit; other words stay on the command line."""
    monkeypatch.setenv("SHED_KEY", "s3cret")
    monkeypatch.setenv("EDGETL_MQTT_PASSWORD", "s3cret")
    done = edgetl("service", *words, "--", *WITH_SECRETS)
    assert done.exit_code == 0, done.output
    unit = service.unit_path("edgetl", of_user=True)
    shown = done.output + (unit.read_text() if unit.exists() else "")
    assert "s3cret" not in shown
    assert "EDGETL_MQTT_PASSWORD" in shown
    assert 'run mugs.tflite --on mug "echo ding" --smooth 5 --mirror' in shown.replace("\\", "")


def test_the_service_gets_the_typed_secrets_from_its_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell reads the file, and the command reads the variables."""
    monkeypatch.setenv("SHED_KEY", "s3cret")
    written = json.loads(
        edgetl("service", "install", "--user", "--no-start", "--json", "--", *WITH_SECRETS).stdout
    )
    assert written["environment_file"] == str(folder / "config/edgetl/edgetl.env")
    script = f"set -a; . {written['environment_file']}; unset PWD OLDPWD SHLVL _; env -0"
    read = subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=True, env={}).stdout.decode()
    for line in read.split("\0")[:-1]:
        monkeypatch.setenv(*line.split("=", 1))
    run = main.get_command(click.Context(main), "run")
    assert run is not None
    params = run.make_context("run", written["command"][4:]).params
    assert params["webhook"] == ("https://me:s3cret@host/a", "https://host/s3cret")
    assert params["headers"] == ("X-Key: ${SHED_KEY} 1", "X-Device: the shed")
    assert params["mqtt"] == ("mqtt://me:s3cret@broker/shed",)
    assert (params["hooks"], params["smooth"], params["mirror"]) == ((("mug", "echo ding"),), 5, True)
    assert params["camera"] == ()
    assert os.environ["EDGETL_CAMERA"] == "rtsp://admin:s3cret@10.0.0.5/live"
    assert os.environ["SHED_KEY"] == "s3cret"


def test_set_variables_are_stored_unless_the_option_is_typed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the variables that the command reads are stored."""
    monkeypatch.setenv("EDGETL_CAMERA", "rtsp://admin:s3cret@host/")
    monkeypatch.setenv("EDGETL_MQTT_PASSWORD", "s3cret")
    show = ("service", "show", "--user", "--")
    assert "EDGETL_CAMERA, EDGETL_MQTT_PASSWORD" in edgetl(*show, "run", "mugs.tflite").stderr
    assert edgetl(*show, "buttons", "mugs.tflite", "--teach", "mug=17").stderr.count("EDGETL_") == 1
    assert "EDGETL_CAMERA" not in edgetl(*show, "run", "mugs.tflite", "--camera", "0").stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--on", "mug", "curl https://me:s3cret@host/"), "script that only you can read"),
        (("--webhook", "https://h/", "--webhook-header", "A: ${NOT_SET}"), "--preserve-env=NOT_SET"),
    ],
)
def test_a_secret_that_cannot_be_moved_is_refused(folder: Path, words: tuple[str, ...], message: str) -> None:
    """The error does not show it."""
    done = edgetl("service", "install", "--user", "--no-start", "--", "run", "mugs.tflite", *words)
    assert done.exit_code == 2
    assert message in done.output
    assert "s3cret" not in done.output
    assert not (folder / "config").exists()


def test_a_password_in_a_unit_of_an_older_version_is_hidden_and_reported(folder: Path) -> None:
    """Every user can read the unit."""
    unit = service.unit_path("edgetl", of_user=True)
    unit.parent.mkdir(parents=True)
    unit.write_text("# edgetl service install\nExecStart=edgetl run m --camera rtsp://a:s3cret@h/\n")
    done = edgetl("service", "show", "--user")
    assert "rtsp://a:***@h/" in done.stdout
    assert "--force" in done.stderr
    assert "s3cret" not in done.output


def test_with_sudo_the_service_runs_as_the_user(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise root would own the state file."""
    monkeypatch.setenv("SUDO_USER", "pi")
    assert "User=pi\n" in edgetl("service", "show", "--", "run", "mugs.tflite").stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("teach", "mugs.tflite", "mug"), "run, serve, buttons"),
        (("run", "mugs.tflite", "--camra", "0"), "No such option"),
        (("run", "bowls.tflite"), "bowls.tflite is not in"),
    ],
)
def test_a_command_that_would_fail_at_boot_is_refused(
    folder: Path, words: tuple[str, ...], message: str
) -> None:
    """It is a usage error instead of a line in the journal."""
    done = edgetl("service", "install", "--user", "--no-start", "--", *words)
    assert done.exit_code == 2
    assert message in done.output
    assert not (folder / "config").exists()


def test_missing_systemd_is_reported(folder: Path) -> None:
    """This happens in a container."""
    done = edgetl("service", "install", "--user", "--", "run", "mugs.tflite")
    assert done.exit_code == 1
    assert "systemd is not running" in done.output
