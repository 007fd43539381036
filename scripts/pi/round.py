"""Run one complete round of edgetl commands: check, teach, status, run, export, and run again.

Usage: python round.py PHOTOS MODEL RESULT.json [EXPECTED.json]

EXPECTED is the result of the same round on the host. If it is given, the head and the predictions must be equal to
it, because the int8 arithmetic of LiteRT does not depend on the machine. Needs only the standard library and the
command ``edgetl``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def edgetl(*arguments: object) -> str:
    """Run an edgetl command and return its stdout."""
    command = [sys.executable, "-m", "edgetl", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with status {done.returncode}:\n{done.stdout}")
    return done.stdout


def predictions(model: Path, photos: Path) -> list[dict[str, Any]]:
    """Return the predictions of a model file, one dict per photo."""
    lines = edgetl("run", model, "--camera", photos, "--json").splitlines()
    return [
        {
            "label": seen["prediction"]["label"],
            "known": seen["prediction"]["known"],
            "truth": seen["truth"],
        }
        for seen in map(json.loads, lines)
    ]


def whole_round(photos: Path, model: Path) -> dict[str, Any]:
    """Run every command in a temporary folder and return the status and the predictions."""
    with tempfile.TemporaryDirectory() as scratch:
        mine = Path(shutil.copy(model, Path(scratch) / "base.tflite"))
        print("edgetl check:", edgetl("check", mine, "--camera", "fake").strip().splitlines()[-1])
        edgetl("teach", mine, "--photos", photos / "teach")
        status = json.loads(edgetl("status", mine, "--json"))
        seen = predictions(mine, photos / "ask")
        personal = Path(scratch) / "personal.tflite"
        edgetl("export", mine, "--out", personal)
        return {
            "runtime": status["runtime"],
            "head": status["head"],
            "samples": status["samples"],
            "seen": seen,
            "exported": predictions(personal, photos / "ask"),
        }


def verdict(result: dict[str, Any], expected: dict[str, Any] | None) -> list[str]:
    """Return the problems of a result; an empty list if there are none."""
    wrong = [
        f"{name}: {seen} is not what the photo shows"
        for name in ("seen", "exported")
        for seen in result[name]
        if seen["label"] != seen["truth"]
    ]
    if not result["seen"] or not result["samples"]:
        wrong.append("nothing was taught or predicted")
    for name in ("head", "seen", "exported") if expected else ():
        if expected is not None and result[name] != expected[name]:
            wrong.append(f"{name} differs from the host's: got {result[name]}, expected {expected[name]}")
    return wrong


def main(photos: str, model: str, out: str, expected: str | None = None) -> None:
    """Run the round, write its result and exit with status 1 if something is wrong."""
    result = whole_round(Path(photos), Path(model))
    Path(out).write_text(json.dumps(result, indent=2), encoding="utf-8")
    wrong = verdict(result, json.loads(Path(expected).read_text(encoding="utf-8")) if expected else None)
    if wrong:
        sys.exit("\n".join(wrong))
    same = ", the same to the bit as on the host" if expected else ""
    print(
        f"taught {result['samples']}, recognized {len(result['seen'])} of {len(result['seen'])} photos, "
        f"exported, and again: head {str(result['head'].get('digest'))[:12]}{same}"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
