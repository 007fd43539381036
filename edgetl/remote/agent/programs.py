"""Commands on the device, most of them of edgetl."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .folder import StepError

PATIENCE_SECONDS = 3600.0  # for one command; pip needs minutes on a slow card


def run(words: Sequence[str], folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command, and return what it wrote."""
    try:
        return subprocess.run(
            words, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace",
            timeout=PATIENCE_SECONDS, check=False,
        )  # fmt: skip
    except OSError as error:
        raise StepError(f"{words[0]} cannot be run: {error.strerror}") from error
    except subprocess.TimeoutExpired:
        raise StepError(f"{' '.join(words)} did not end within {PATIENCE_SECONDS:g} s") from None


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """Return the message of a failed command: the error of edgetl, or the last line of another program."""
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    found = [place for place, line in enumerate(lines) if line.startswith("Error: ")]
    if found:
        return " ".join(lines[found[0] :]).removeprefix("Error: ")
    return lines[-1] if lines else f"exit code {done.returncode}"


def ask(edgetl: Sequence[str], *words: str | Path) -> Any:
    """Run an edgetl command with ``--json``, and return its result."""
    done = run([*edgetl, *map(str, words), "--json"])
    if done.returncode:
        raise StepError(complaint(done))
    return json.loads(done.stdout)


def check(edgetl: Sequence[str], *words: str | Path) -> list[dict[str, Any]]:
    """Run ``edgetl check`` and return its lines; a failed one ends the step."""
    done = run([*edgetl, "check", *map(str, words), "--no-camera", "--json"])
    try:
        lines: list[dict[str, Any]] = json.loads(done.stdout)["checks"]
    except (ValueError, KeyError):
        raise StepError(f"edgetl check does not work: {complaint(done)}") from None
    failed = [
        f"{line['name']}: {line['finding']}; {line['fix']}" for line in lines if line["result"] == "failed"
    ]
    if failed:
        raise StepError(". ".join(failed))
    return lines


def status(edgetl: Sequence[str], model: Path, state: Path) -> dict[str, Any]:
    """Return the result of ``edgetl status``."""
    found: dict[str, Any] = ask(edgetl, "status", model, "--state", os.path.realpath(state))
    return found
