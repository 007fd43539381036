"""Every block of the documents is run, or has the reason why not; here those that need no TensorFlow.

`make docs-check` runs all of them, in fresh environments with the extras that the pages name.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from scripts.blocks import ROOT, RUN, SUBSTITUTIONS, Block, adapt, read_pages

from .run_block import extras

for module in ("starlette", "uvicorn", "paho"):
    pytest.importorskip(module, reason=f"no {module}: pip install 'edgetl[serve,mqtt]'")

PAGES = read_pages()
BLOCKS = [block for page in PAGES for block in page.blocks]
ELSEWHERE = {
    "README.md": "tests/test_readme.py",
    "docs/api.md": "tests/edgetl/test_api.py",
    "docs/model-file.md": "tests/device/model/test_recipe.py",
}


def groups() -> dict[str, list[str]]:
    """Return the pages per set of extras, without those that have blocks for the host alone."""
    found: dict[str, list[str]] = defaultdict(list)
    for page in PAGES:
        needs = {
            need
            for block in page.blocks
            if not block.reason and "host" not in block.needs
            for need in block.needs
        }
        if needs and page.name not in ELSEWHERE:
            found[",".join(sorted(needs))].append(page.name)
    return found


def test_a_block_that_is_not_run_has_a_reason_and_the_others_their_extras() -> None:
    """The reason is a comment above the block; what is needed is an extra of edgetl, or a package for a single block."""
    assert len(BLOCKS) > 60
    assert all(len(block.reason) >= 8 for block in BLOCKS if block.reason)
    assert {need for block in BLOCKS for need in block.needs} - set(extras()) <= {"scikit-learn"}
    assert sum(not block.reason for block in BLOCKS) > 50


def test_every_comment_about_a_block_is_directly_above_one() -> None:
    """Elsewhere it would have no effect."""
    for page in PAGES:
        text = (ROOT / page.name).read_text(encoding="utf-8")
        comments = re.findall(r"^<!-- (?:not run|needs): .*-->\n(.*)$", text, re.MULTILINE)
        assert [line for line in comments if line.removeprefix("```") not in RUN] == [], page.name


def test_only_what_a_test_cannot_have_is_replaced() -> None:
    """Each substitution has its reason and is used by a page; other words stay."""
    used = set()
    lines = [
        line for block in BLOCKS for line in (block.text.splitlines() if block.is_python else block.lines())
    ]
    for line in lines:
        for pattern, replacement, _ in SUBSTITUTIONS:
            before, line = line, re.sub(pattern, replacement, line)  # noqa: PLW2901
            used |= {pattern} if line != before else set()
    assert [pattern for pattern, _, reason in SUBSTITUTIONS if pattern not in used or not reason] == []
    assert adapt("edgetl status mugs.tflite --json", 1) == "edgetl status mugs.tflite --json"


def test_a_command_without_a_camera_and_an_end_gets_both() -> None:
    """The label that is taught is what the fake camera shows."""
    assert adapt("edgetl teach mugs.tflite mug --camera 0", 1).startswith(
        "edgetl teach mugs.tflite mug --camera fake:mug --countdown 0"
    )
    assert adapt("edgetl run mugs.tflite --camera 0", 1).endswith("--camera fake:mug*3,bowl*3 --frames 3")
    assert adapt("edgetl serve mugs.tflite --no-camera", 5) == "edgetl serve mugs.tflite --no-camera --port 5"


def test_a_block_without_comments_and_with_its_lines_joined_is_what_is_typed() -> None:
    """A backslash at the end of a line continues it."""
    block = Block(
        "page.md", 1, "bash", "# first\nedgetl status \\\n  a.tflite  # how good?\n\n", ("device",), ""
    )
    assert block.lines() == ["edgetl status a.tflite"]


@pytest.mark.parametrize("chosen", groups())
def test_the_blocks_for_the_device_run_as_written(chosen: str, tmp_path: Path) -> None:
    """In one process per set of extras, where only the packages of these extras can be imported."""
    if not shutil.which("curl") or not shutil.which("bash"):
        pytest.skip("no curl or no bash: sudo apt-get install curl bash")
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "HOME": str(tmp_path / "home"),
    }
    command = [sys.executable, "-m", "tests.run_page", str(tmp_path), chosen, *groups()[chosen]]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert "Traceback" not in done.stderr
