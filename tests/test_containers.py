"""The container files: a linter accepts the Dockerfile, and the commands in them are commands of edgetl.

No container is built here: that needs a Docker daemon and its base image.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest

from device.learner import Learner
from edgetl.cli import main
from tests import tiny

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def check(words: list[str]) -> None:
    """Parse the words of a command line of edgetl without running it."""
    command = main.get_command(click.Context(main), words[0])
    assert command is not None, words
    command.make_context(words[0], words[1:], resilient_parsing=False)


def compose() -> dict[str, Any]:
    """Return the content of compose.yaml."""
    yaml = pytest.importorskip("yaml", reason="PyYAML comes with the group dev")
    content: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    return content


def test_a_linter_accepts_the_dockerfile() -> None:
    """Without a remark, also of the lowest level."""
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if linter is None:
        pytest.skip("no hadolint: it is in the group dev, for x86-64 and arm64")
    done = subprocess.run([linter, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_starts_a_command_of_edgetl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its default command, and that of compose.yaml."""
    model = tmp_path / "base.tflite"
    model.write_bytes(tiny.TINY.read_bytes())
    found = re.search(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    assert found
    for words in (json.loads(found[1]), compose()["services"]["edgetl"]["command"]):
        check([str(model) if word == "/data/base.tflite" else word for word in words])


def test_the_image_contains_the_packages_of_the_wheel_and_known_extras() -> None:
    """What is copied, what .dockerignore lets through and what pip installs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for name in (*packages, "pyproject.toml", "README.md", "LICENSE"):
        assert re.search(rf"^COPY .*\b{re.escape(name)}\b", DOCKERFILE, re.MULTILINE), name
        assert name in allowed
    found = re.search(r"'\.\[([\w,]+)\]'", DOCKERFILE)
    assert found
    assert set(found[1].split(",")) <= project["project"]["optional-dependencies"].keys()


@pytest.mark.parametrize("https", [False, True])
def test_the_health_check_succeeds_while_the_page_runs(https: bool, tmp_path: Path) -> None:
    """It needs no sign-in, also where the page needs one, and no certificate."""
    pytest.importorskip("starlette", reason="the page needs the extra serve")
    pytest.importorskip("cryptography", reason="HTTPS needs the extra https")
    from device.page.certificates import own_certificate
    from device.page.encryption import Encryption
    from device.page.server import PageServer

    found = re.search(r"python\", \"-c\", \"(.*)\"\]", DOCKERFILE)
    assert found
    used = Encryption(lambda: own_certificate(tmp_path, ["localhost"])) if https else None
    with (
        Learner.open(tiny.TINY, None, threads=1) as learner,
        PageServer(learner, None, host="0.0.0.0", port=0, sign_in=True, encryption=used) as server,
    ):
        program = found[1].replace("8080", str(server.port))
        assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode != 0


def test_containers_run_as_a_user_and_keep_their_data() -> None:
    """The state file is in a volume, and the broker publishes no port."""
    assert re.search(r"^USER 1000$", DOCKERFILE, re.MULTILINE)
    assert re.search(r"^VOLUME /data$", DOCKERFILE, re.MULTILINE)
    services = compose()["services"]
    assert services["edgetl"]["volumes"] == ["./data:/data"]
    assert "ports" not in services["mosquitto"]
