"""`make` without a target lists the targets and starts nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


def make(*arguments: str) -> str:
    """Run make in the repository and return what it prints."""
    if not shutil.which("make"):
        pytest.skip("no make: sudo apt-get install make")
    # without what the make that runs the tests hands down: it would print directories
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        ["make", *arguments], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_make_alone_lists_every_target_with_one_line_each() -> None:
    """A new target needs a line of help."""
    text = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    declared = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert declared
    lines = make().splitlines()
    assert [line.split()[1] for line in lines] == declared[1].split()
    assert all(re.fullmatch(r"make [a-z-]+ +\w.+", line) for line in lines)


def test_make_help_is_the_same() -> None:
    """Both print the same list."""
    assert make("help") == make()
