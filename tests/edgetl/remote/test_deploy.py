"""Deployments over a real sshd: cut at every step, on a full disk, to several devices, and with an installation."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from device.learner import Learner
from device.store import Store
from edgetl.cli import main
from edgetl.remote import deployment, wheel
from edgetl.remote.deployment import Deployment, Plan
from tests.sshd import Sshd, running_sshd
from tests.tiny import TINY, TINY_GRAY, TINY_TAUGHT

from .conftest import by_hand, exported, programs_sha256, taught, teach

REPOSITORY = Path(__file__).parents[3]
STEPS = ("find", "survey", "prepare", "check_device", "send", "stage", "activate")
"""The connections of a deployment without an installation, in order."""


@pytest.fixture
def folder(sshd: Sshd) -> Path:
    """Return a folder on the device with a model that was copied by hand and taught."""
    by_hand(sshd.home / "edgetl-device")
    return sshd.home / "edgetl-device"


def deploy(sshd: Sshd, model: Path, **options: Any) -> Deployment:
    """Deploy a model file to one device."""
    plan = Plan(model, python=sys.executable, config=sshd.config, **options)
    (result,) = deployment.deploy(plan, [sshd.alias])
    return result


def invoke(sshd: Sshd, *words: object) -> Any:
    """Run a command with the options that reach the device."""
    options = ["--ssh-config", sshd.config, "--python", sys.executable]
    return CliRunner().invoke(main, [*map(str, [*words, *options])])


def in_use(folder: Path) -> str:
    """Return the sha256 of the model that a command would open."""
    return programs_sha256(folder / "mugs.tflite")


CUTS = [
    *((number, "after") for number in range(1, len(STEPS) + 1)),
    (STEPS.index("send") + 1, "during"),
    (STEPS.index("stage") + 1, "during"),
    (STEPS.index("activate") + 1, "before"),
    (STEPS.index("activate") + 1, "during"),
]


@pytest.mark.parametrize(("number", "when"), CUTS, ids=[f"{STEPS[n - 1]}-{when}" for n, when in CUTS])
def test_a_cut_connection_leaves_the_old_or_the_new_model(
    number: int, when: str, sshd: Sshd, folder: Path
) -> None:
    """With all that was taught, although the new model has another backbone; never something between."""
    sshd.kill_at(number, when)
    result = deploy(sshd, TINY_GRAY)
    assert (result.outcome, sshd.count) == ("failed", number)
    assert "check that the device is on" in result.reason
    switched = (number, when) == (len(STEPS), "after")
    assert in_use(folder) == programs_sha256(TINY_GRAY if switched else TINY_TAUGHT)
    assert taught(folder) == {"red": 4}
    assert not list(folder.glob("**/*.part"))


def test_a_second_deployment_completes_the_first(sshd: Sshd, folder: Path) -> None:
    """What was copied before the connection was lost is not copied again."""
    sshd.kill_at(STEPS.index("stage") + 1, "before")
    assert deploy(sshd, TINY_GRAY).outcome == "failed"
    sshd.kill_at(0, "before")
    result = deploy(sshd, TINY_GRAY)
    assert (result.outcome, sshd.count) == ("deployed", len(STEPS) - 1)
    assert result.state["how"] == "embedded"
    assert in_use(folder) == programs_sha256(TINY_GRAY)
    again = deploy(sshd, TINY_GRAY)
    assert (again.outcome, again.probe["samples"]) == ("unchanged", {"red": 4})


@pytest.fixture
def disk(sshd: Sshd) -> Iterator[Path]:
    """Return a folder on the device that is a disk of 60 MB."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small file system needs root")
    folder = sshd.home / "edgetl-device"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=60m", "edgetl-test", str(folder)]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("step", ["check_device", "send", "stage", "activate"])
def test_a_disk_that_becomes_full_leaves_the_old_or_the_new_model(step: str, sshd: Sshd, disk: Path) -> None:
    """It is full from this step on; what cannot be done any more is reported."""
    by_hand(disk)
    number = STEPS.index(step) + 1
    sshd.before_each(f'[ "$1" = {number} ] && dd if=/dev/zero of={disk}/filler bs=64k 2> /dev/null')
    result = deploy(sshd, TINY_GRAY)
    assert (disk / "filler").exists()
    if step != "activate":
        assert result.outcome == "failed"
        assert any(word in result.reason for word in ("disk", "space")), result.reason
    assert in_use(disk) == programs_sha256(TINY_GRAY if result.succeeded else TINY_TAUGHT)
    (disk / "filler").unlink()
    assert taught(disk) == {"red": 4}
    teach(disk / "mugs.tflite", "blue", count=1)


def test_a_model_that_fails_its_test_is_rolled_back(sshd: Sshd, folder: Path, tmp_path: Path) -> None:
    """Here the new model cannot predict on the device; the old one is in use again, and the exit code is 1."""
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\n[ "$3" = run ] && {{ echo "Error: no camera" >&2; exit 1; }}\nexec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    new = exported(tmp_path)
    words = ["deploy", new, sshd.alias, "--ssh-config", sshd.config, "--python", python]
    done = CliRunner().invoke(main, [*map(str, words)])
    assert done.exit_code == 1, done.output
    assert "rolled back" in done.stdout
    assert "the old model is in use again: no camera" in " ".join(done.stdout.split())
    assert in_use(folder) == programs_sha256(TINY_TAUGHT)


def test_a_failed_device_does_not_stop_the_others(sshd: Sshd, folder: Path, tmp_path: Path) -> None:
    """One has another host key; the table and the JSON have both, and the exit code is 1."""
    with running_sshd(tmp_path / "second", "second") as second:
        known = second.config.parent / "known_hosts"
        known.write_text(f"{known.read_text().split()[0]} {(second.config.parent / 'user.pub').read_text()}")
        config = tmp_path / "config"
        config.write_text(sshd.config.read_text() + second.config.read_text())
        words = ["deploy", exported(tmp_path), "second", sshd.alias, "--ssh-config", config]
        done = CliRunner().invoke(main, [*map(str, words), "--python", sys.executable, "--json"])
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert found["failed"] == ["second"]
    assert [entry["outcome"] for entry in found["devices"]] == ["failed", "deployed"]
    assert "Host key verification failed" in found["devices"][0]["reason"]
    assert in_use(folder) == found["devices"][1]["sha256"]
    assert f"{sshd.alias}: copying the model" in done.stderr


def test_devices_pull_and_rollback(sshd: Sshd, folder: Path, tmp_path: Path) -> None:
    """A state in use is fetched too, without pictures unless asked for; names with spaces work."""
    (folder / "mugs.tflite").rename(folder / "my mugs.tflite")
    (folder / "mugs.db").rename(folder / "my mugs.db")
    new = exported(tmp_path).rename(tmp_path / "my mugs.tflite")
    done = invoke(sshd, "deploy", new, sshd.alias)
    assert done.exit_code == 0, done.output
    assert "kept: red 4" in done.stdout
    done = invoke(sshd, "devices", sshd.alias, "--json")
    (found,) = json.loads(done.stdout)["devices"]
    assert (found["sha256"], found["model"]) == (programs_sha256(new), "my mugs")
    assert (found["samples"], found["verified"], found["error"]) == ({"red": 4}, True, "")
    with Learner.open(folder / "my mugs.tflite", folder / "my mugs.db"):  # in use
        for options in ([], ["--thumbnails", "--force"]):
            done = invoke(sshd, "pull", sshd.alias, "--out", tmp_path / "states", *options)
            assert done.exit_code == 0, done.output
            with Store.open(tmp_path / "states" / "device.db", None, read_only=True) as store:
                assert store.counts() == {"red": 4}
                assert store.verify_pictures().intact == (4 if options else 0)
    assert not list((folder / "incoming").iterdir())
    done = invoke(sshd, "pull", sshd.alias, "--out", tmp_path / "states")
    assert done.exit_code == 1
    assert "already exists" in " ".join(done.stdout.split())
    done = invoke(sshd, "deploy", "--rollback", sshd.alias)
    assert done.exit_code == 0, done.output
    assert "returned" in done.stdout
    assert programs_sha256(folder / "my mugs.tflite") == programs_sha256(TINY_TAUGHT)


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """Return a folder of wheels with the names of edgetl's dependencies, which lead to the packages installed here."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    paths = "\n".join(path for path in sys.path if path.endswith("site-packages"))
    names = {"click": "8.2", "msgspec": "0.20", "numpy": "2.1", "rich": "14.0", "threadpoolctl": "3.6"}
    for name, version in names.items():
        info = f"{name}-{version}.dist-info"
        with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
            archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            archive.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            archive.writestr(f"{name}_here.pth", f"{paths}\n")
            archive.writestr(f"{info}/RECORD", "")
    return folder


def test_edgetl_is_installed_from_this_checkout_without_a_network(wheels: Path, tmp_path: Path) -> None:
    """In an environment of its own, which later deployments use; an installed one is not installed again."""
    for module in ("hatchling", "hatch_fancy_pypi_readme"):
        pytest.importorskip(module, reason="no build backend: pip install hatchling hatch-fancy-pypi-readme")
    options = {"install": True, "wheels": wheels, "extras": ""}
    with running_sshd(tmp_path / "bare", checkout=False) as sshd:
        folder = by_hand(sshd.home / "edgetl-device").parent
        result = deploy(sshd, exported(tmp_path), **options)
        assert result.outcome == "deployed", result.reason
        program = "import edgetl; print(edgetl.__file__)"
        command = [folder / "venv" / "bin" / "python", "-I", "-c", program]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.startswith(f"{folder}/venv")
        sshd.kill_at(0, "before")
        again = deploy(sshd, TINY, **options)
        assert (again.outcome, sshd.count) == ("deployed", len(STEPS))
        assert taught(folder) == {"red": 4}


def test_the_wheel_of_an_installed_package_is_packed_again(tmp_path: Path) -> None:
    """The program pip installs it like the original."""
    path = wheel.pack_installed("click", tmp_path)
    assert path.name.startswith("click-8")
    words = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        tmp_path / "there",
        path,
    ]
    subprocess.run([sys.executable, *map(str, words)], check=True, capture_output=True)
    program = "import click; print(click.__file__)"
    there = {**os.environ, "PYTHONPATH": str(tmp_path / "there")}
    done = subprocess.run(
        [sys.executable, "-c", program], env=there, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(str(tmp_path))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mugs.tflite"], "name a model file and at least one device"),
        (["mugs.tflite", "pi", "--wheels", "."], "--wheels needs --install"),
        (["mugs.tflite", "pi", "--service", "teach mugs.tflite red"], "a service runs one of the commands"),
        (
            ["mugs.tflite", "pi", "--service", "run cups.tflite"],
            "--service runs cups.tflite, but the model will be",
        ),
        (["mugs.tflite", "pi", "--service", "run 'mugs"], "cannot be read"),
        (["mugs.tflite", "pi", "--service", "run mugs.tflite --no-such"], "No such option"),
        (["mugs.tflite", "pi", "--ssh-config", "nowhere"], "does not exist"),
    ],
)
def test_mistakes_are_found_before_anything_is_reached(words: list[str], message: str) -> None:
    """They are errors of usage."""
    done = CliRunner().invoke(main, ["deploy", *words])
    assert done.exit_code == 2
    assert message in done.output


def test_a_model_that_cannot_be_used_here_is_not_sent(sshd: Sshd, tmp_path: Path) -> None:
    """No device is reached."""
    (tmp_path / "cut.tflite").write_bytes(TINY.read_bytes()[:-100])
    done = invoke(sshd, "deploy", tmp_path / "cut.tflite", sshd.alias)
    assert done.exit_code == 1
    assert "has no readable edgetl manifest" in done.output
    assert sshd.commands == []


def test_a_service_needs_systemd(sshd: Sshd, folder: Path) -> None:
    """Without it, nothing is changed."""
    if Path("/run/systemd/system").is_dir():
        pytest.skip("systemd runs here")
    result = deploy(sshd, TINY, service=("run", "tiny.tflite"))
    assert (result.outcome, result.reason) == (
        "failed",
        "systemd does not run there, so --service cannot install a service",
    )
    assert not (folder / "current").exists()


def test_an_unreachable_device_is_reported_by_every_command(sshd: Sshd) -> None:
    """The exit code is 1."""
    for words in (["devices", sshd.alias], ["pull", sshd.alias], ["deploy", "--rollback", sshd.alias]):
        sshd.kill_at(1, "before")
        done = invoke(sshd, *words)
        assert done.exit_code == 1, done.output
        assert "device: " in done.stdout
        assert "check that the device is on" in " ".join(done.stdout.split())
