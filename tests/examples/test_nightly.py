"""The example that trains a better model at night: over a real sshd if there is one, and with a tiny backbone."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("tensorflow", reason="the example trains on the host: pip install 'edgetl[host]'")

from device.learner import Learner
from tests import tiny
from tests.sshd import running_sshd

from .test_examples import ROOT, run


@dataclass(frozen=True)
class Shed:
    """A device that ``ssh shed`` reaches.

    Attributes:
        home: Its home folder.
        programs: A folder with the program ssh that reaches it.
    """

    home: Path
    programs: Path


@pytest.fixture
def shed(tmp_path: Path) -> Iterator[Shed]:
    """Return a device whose Python is this one; where there is no sshd, ssh is a script that runs commands here."""
    programs, remote = tmp_path / "programs", tmp_path / "remote-programs"
    programs.mkdir()
    remote.mkdir()
    (remote / "python3").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    (remote / "python3").chmod(0o755)
    path = f"{remote}:/usr/bin:/bin"
    with contextlib.ExitStack() as stack:
        try:
            device = stack.enter_context(running_sshd(tmp_path / "sshd", "shed", path))
            home, call = device.home, f'exec {shutil.which("ssh")} -F {device.config} "$@"'
        except pytest.skip.Exception:
            home = tmp_path / "home"
            home.mkdir()
            call = (
                f'for last; do :; done\n[ "$1" = -G ] && exit 0\ncd {home} && HOME={home} PATH={path} '
                f'PYTHONPATH={ROOT} exec sh -c "$last"'
            )
        (programs / "ssh").write_text(f"#!/bin/sh\n{call}\n")
        (programs / "ssh").chmod(0o755)
        yield Shed(home, programs)


def save_backbone(path: Path) -> Path:
    """Write the tiny backbone as a Keras model that scales pixels itself."""
    import keras

    layers = [keras.layers.Rescaling(1 / 127.5, -1), *tiny.backbone().layers]
    keras.Sequential([keras.Input((tiny.SIDE, tiny.SIDE, 3)), *layers]).save(path)
    return path


def test_a_device_gets_a_better_model_and_keeps_what_it_was_taught(shed: Shed, tmp_path: Path) -> None:
    """Pulled, trained, deployed, and embedded again on the device."""
    folder = shed.home / "edgetl-device"
    folder.mkdir()
    model = Path(shutil.copy(tiny.TINY, folder / "mugs.tflite"))
    with Learner.open(model) as learner:
        for label in ("red", "blue"):
            learner.learn_many([tiny.photo(label, seed) for seed in range(8)], [label] * 8)
    backbone = save_backbone(tmp_path / "backbone.keras")
    here = Path(shutil.copy(tiny.TINY, tmp_path / "mugs.tflite"))
    printed = run(
        "nightly_better_model.py", here, "shed", "--backbone", backbone, "--work", tmp_path / "nightly", "--always",
        path=shed.programs,
    )  # fmt: skip
    assert "shed: deployed {'blue': 8, 'red': 8}" in printed
    assert len(list((tmp_path / "nightly" / "photos").glob("*/*.jpg"))) == 16
    with Learner.open(model, read_only=True) as learner:
        assert learner.status().samples == {"blue": 8, "red": 8}
        assert learner.model.manifest.backbone == "backbone.keras"
        assert learner.predict_one(tiny.photo("red", 50)).label == "red"
