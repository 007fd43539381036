"""The last line of a run with skipped tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from .skips import summarize_skips

REPOSITORY = Path(__file__).parents[1]
BROWSER_TEST = "tests/device/page/test_browser.py::test_two_browsers_show_the_same"


def skipped(reason: str) -> SimpleNamespace:
    """Return a report in the form that pytest stores for a skipped test."""
    return SimpleNamespace(longrepr=("test_a.py", 1, f"Skipped: {reason}"))


def test_reasons_are_counted_in_one_line() -> None:
    """The most common reason comes first, each with the command that it names."""
    line = summarize_skips([skipped("no sound"), *[skipped("no Chromium:\n apt-get install chromium")] * 2])
    assert line == "skipped 3: 2 (no Chromium: apt-get install chromium); 1 (no sound)"


def test_a_run_without_skips_prints_nothing() -> None:
    """The line appears only if a test was skipped."""
    assert summarize_skips([]) == ""


@pytest.mark.parametrize(("required", "status", "last"), [("", 0, "skipped 1: 1 (no"), ("required", 1, "")])
def test_a_missing_browser_skips_or_fails(required: str, status: int, last: str, tmp_path: Path) -> None:
    """Without Chromium, a user sees the command that installs it; CI fails."""
    pytest.importorskip("starlette", reason="no Starlette: pip install 'edgetl[serve]'")
    environment = {
        **os.environ,
        "PATH": str(tmp_path),
        "EDGETL_BROWSER": required,
        "PYTHONPATH": str(REPOSITORY),
    }
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", BROWSER_TEST]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stdout
    install = (
        "no Chromium: sudo apt-get install chromium chromium-driver",
        "no Selenium: pip install selenium",
    )
    assert any(text in done.stdout for text in install)
    assert last in done.stdout.splitlines()[-2]
