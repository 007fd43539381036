"""Run every command block of README.md in one folder from top to bottom, as a reader would type it.

Only what a test cannot use is replaced: the camera by the fake one, the backbone by a tiny one, and endless commands by
a few frames. ``pip install`` lines are compared with the extras of pyproject.toml.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from scripts.blocks import FENCE, GENERATED, adapt

from . import tiny
from .run_block import extras

for module in ("tensorflow", "starlette", "uvicorn"):
    pytest.importorskip(module, reason=f"no {module}: pip install 'edgetl[host,serve]'")

REPOSITORY = Path(__file__).parents[1]
README = REPOSITORY / "README.md"
HOST_COMMANDS = {"convert", "finetune"}


@dataclass
class CommandBlock:
    """The contents of one block.

    Attributes:
        extras: Extras that its pip line installs; None if it has no pip line.
        commands: The words of each edgetl command.
        make: Targets of make.
        setup: Other lines, which create a virtual environment.
        python: Source of a Python block.
    """

    extras: list[str] | None = None
    commands: list[list[str]] = field(default_factory=list)
    make: list[str] = field(default_factory=list)
    setup: list[list[str]] = field(default_factory=list)
    python: str = ""


def read_block(language: str, text: str) -> CommandBlock:
    """Sort the lines of a block; a line of an unknown kind fails the test."""
    if language == "python":
        return CommandBlock(python=text)
    block = CommandBlock()
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        match words:
            case []:
                continue
            case ["edgetl", *rest]:
                block.commands.append(rest)
            case ["make", target]:
                block.make.append(target)
            case ["pip", "install", requirement]:
                found = re.fullmatch(r"\.\[([\w,-]+)\]", requirement)
                assert found, f"pip installs something other than extras of edgetl: {line}"
                block.extras = found[1].split(",")
            case ["python3", "-m", "venv", *_] | [".", _] | ["scp", *_] | ["git", "clone", _] | ["cd", _]:
                block.setup.append(words)
            case _:
                pytest.fail(f"README.md has a command that this test cannot run: {line}")
    return block


def blocks() -> list[CommandBlock]:
    """Return every block of README.md that a reader would type; the first screen needs a model file of those below."""
    first, heading, rest = GENERATED.sub("", README.read_text(encoding="utf-8")).partition("\n## Install")
    assert heading
    fences = [*FENCE.findall(rest), *FENCE.findall(first)]
    unknown = {language for language, _ in fences} - {"console", "bash", "python", "text"}
    assert not unknown, f"README.md has blocks of a kind that this test does not know: {unknown}"
    return [read_block(language, text) for language, text in fences if language != "text"]


BLOCKS = blocks()


def adapted(words: list[str]) -> list[str]:
    """Return a command with the fake camera and with an end, in the folder of the test, on a free port."""
    written = shlex.join(["edgetl", *(word.removeprefix("~/") for word in words)])
    return shlex.split(adapt(written, port=0))[1:]


def run_block(block: CommandBlock, folder: Path) -> str:
    """Run the edgetl commands or the Python of a block in `folder` and return the output."""
    wanted = {
        "extras": block.extras,
        "host": any(words[0] in HOST_COMMANDS for words in block.commands),
        "commands": [adapted(words) for words in block.commands],
        "python": adapt(block.python, port=0),
    }
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.run_block"], cwd=folder, env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps(wanted))
        process.stdin.close()
        lines = []
        for line in process.stdout:
            lines.append(line)
            if page := re.match(r"The page is at (http://\S+)", line):
                with urllib.request.urlopen(page[1], timeout=20) as answer:
                    assert b"<html" in answer.read()
                process.send_signal(signal.SIGINT)  # as Ctrl-C does
    printed = "".join(lines)
    assert process.returncode == 0, printed
    return printed


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the photos that README.md names."""
    folder = tmp_path_factory.mktemp("reader")
    for first, name in enumerate(("photos", "some-photos", "other-photos")):
        tiny.write_photos(folder / name, count=8, first=100 * first)
    return folder


def test_the_readme_has_the_blocks_that_are_run_here() -> None:
    """Without blocks, the tests below would pass without a case."""
    assert [block.make for block in BLOCKS if block.make] == [["demo", "test"]]
    assert sum(len(block.commands) for block in BLOCKS) >= 8
    assert [bool(block.python) for block in BLOCKS].count(True) == 2
    assert [block.extras for block in BLOCKS if block.extras] == [["host"], ["device", "serve"]]


@pytest.mark.parametrize("target", [target for block in BLOCKS for target in block.make])
def test_a_target_of_make_exists(target: str) -> None:
    """Only `make -n` runs it here; `make fresh-test` runs it completely."""
    if not shutil.which("make"):
        pytest.skip("no make: sudo apt-get install make")
    done = subprocess.run(["make", "-n", target], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("number", [n for n, block in enumerate(BLOCKS) if block.extras])
def test_pip_installs_known_extras_in_a_virtual_environment(number: int, tmp_path: Path) -> None:
    """Debian refuses pip outside of one; the environment is created as written and then activated."""
    block = BLOCKS[number]
    assert set(block.extras or []) <= set(extras())
    [*_, path], entered = block.setup[:2]
    made = tmp_path / "environment"
    command = [sys.executable, *block.setup[0][1:-1], "--without-pip", str(made)]
    subprocess.run(command, check=True)
    assert entered == [".", f"{path}/bin/activate"]
    assert (made / "bin" / "activate").is_file()


@pytest.mark.parametrize("number", [n for n, block in enumerate(BLOCKS) if block.commands or block.python])
def test_a_block_runs_as_written(number: int, folder: Path) -> None:
    """It uses only the packages that its pip line installs, and the files that the blocks above left."""
    printed = run_block(BLOCKS[number], folder)
    assert "Traceback" not in printed
    for words in BLOCKS[number].commands:
        assert f"$ edgetl {words[0]}" in printed


def test_a_block_without_a_needed_extra_fails(folder: Path) -> None:
    """`[device]` alone does not install the page, so the test above can fail."""
    shutil.copy(tiny.TINY, folder / "forgetful.tflite")
    block = CommandBlock(extras=["device"], commands=[["serve", "forgetful.tflite", "--camera", "0"]])
    with pytest.raises(AssertionError, match=r"the page needs a package that is not installed"):
        run_block(block, folder)
