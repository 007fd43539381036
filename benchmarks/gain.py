"""How many points does `edgetl finetune` gain over the frozen backbone, in the int8 file that a device runs?

Usage: ``python -m benchmarks.gain [FOLDER ...] [--elpv] [--splits 3] [--minutes M] [-- OPTION ...]``

FOLDER contains one folder of photos per label. Each split holds out a quarter of each label, look-alikes together
(`edgetl.split`). The other photos are passed to `edgetl finetune` twice, with ``--head-only`` and with the defaults
(and ``--minutes`` and each OPTION after ``--``), then to `edgetl convert`; `edgetl evaluate` judges the files on the
held-out photos with the exact head, which is taught the same photos. The tuned backbone is also converted to float, which
shows what int8 costs. Results are written after each split, and the next run continues from there.

Seconds are those of the whole command. CPU minutes are what it would take on one core that does nothing else: on a shared
machine they are more reliable than elapsed times.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from device.files import atomic_output

from .machine import machine_info, parser_of, warn_of_noise

RESULT = Path(__file__).resolve().parent / "results" / "gain.json"
HELD_OUT = 0.25
MODES = ("frozen", "tuned")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the splits that the result does not contain yet."""
    options = _options(arguments)
    warn_of_noise()
    sets = [(folder.name, folder) for folder in options.folders] + ([("elpv", None)] if options.elpv else [])
    for seed in range(options.first, options.splits):
        for name, folder in sets:  # one split per set at a time, so that an interrupted run is balanced
            _run(name, folder, seed, options)


def summary(runs: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the means over the splits of each set, in percent, and the mean gain in points."""
    found: dict[str, dict[str, Any]] = {}
    for name in sorted({key.rpartition(" ")[0] for key in runs}):
        rows = [run for key, run in sorted(runs.items()) if key.rpartition(" ")[0] == name]
        frozen, tuned, exact = (
            np.array([100 * run[kind]["accuracy"] for run in rows]) for kind in (*MODES, "float")
        )
        found[name] = {
            "splits": len(rows),
            "photos": rows[0]["photos"],
            "held_out": rows[0]["held_out"],
            "frozen": round(float(frozen.mean()), 2),
            "tuned": round(float(tuned.mean()), 2),
            "gain": round(float((tuned - frozen).mean()), 2),
            "gains": [round(gain, 2) for gain in (tuned - frozen).tolist()],
            "float": round(float(exact.mean()), 2),
            "minutes": round(float(np.mean([run["tuned"]["seconds"] for run in rows])) / 60, 1),
            "cpu_minutes": round(float(np.mean([run["tuned"]["cpu_seconds"] for run in rows])) / 60, 1),
        }
    return found


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = parser_of(__doc__, out=RESULT)
    parser.add_argument("folders", type=Path, nargs="*", help="Folders with one folder of photos per label.")
    parser.add_argument(
        "--elpv", action="store_true", help="Add the solar cells of the package elpv-dataset."
    )
    parser.add_argument("--splits", type=int, default=3, help="Number of random splits.  [default: 3]")
    parser.add_argument("--first", type=int, default=0, help="Number of the first split.  [default: 0]")
    parser.add_argument("--minutes", help="Time granted to finetune.  [default: that of finetune]")
    given = list(sys.argv[1:] if arguments is None else arguments)
    cut = given.index("--") if "--" in given else len(given)
    options = parser.parse_args(given[:cut])
    options.more = given[cut + 1 :]
    if options.minutes:
        options.more += ["--minutes", options.minutes]
    return options


def _run(name: str, folder: Path | None, seed: int, options: argparse.Namespace) -> None:
    key = f"{' '.join([name, *options.more])} {seed}"
    kept = json.loads(options.out.read_text()) if options.out.exists() else {"runs": {}}
    if key in kept["runs"]:
        return
    with tempfile.TemporaryDirectory() as temporary:
        run = _measure(_split(_photos(folder), Path(temporary), seed), Path(temporary), seed, options.more)
    kept = json.loads(options.out.read_text()) if options.out.exists() else {"runs": {}}
    kept["runs"][key] = run | {"load": round(os.getloadavg()[2], 1)}
    kept["summary"], kept["machine"] = summary(kept["runs"]), machine_info()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_output(options.out, force=True) as temporary_file:
        temporary_file.write_text(json.dumps({"benchmark": "gain"} | kept, indent=1) + "\n")
    figures = ", ".join(f"{kind} {run[kind]['accuracy']:.4f}" for kind in (*MODES, "float"))
    print(f"{key}: {figures}", flush=True)


def _photos(folder: Path | None) -> list[tuple[Path, str]]:
    if folder is None:
        from edgetl.demo.data import crisp_cells, elpv_folder

        return [(cell.path, cell.label) for cell in crisp_cells(elpv_folder())]
    from edgetl.photos import find_photos

    return [(photo.path, photo.label) for photo in find_photos(folder).photos]


def _split(photos: Sequence[tuple[Path, str]], folder: Path, seed: int) -> tuple[int, int]:
    """Copy the photos to the folders ``train`` and ``test``; return the number of photos of each."""
    from edgetl.photos import TRAINING, find_photos
    from edgetl.split import split_photos

    whole = folder / "all"
    for path, label in photos:
        (whole / label).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, whole / label / path.name)
    counts = {"train": 0, "test": 0}
    for photo in split_photos(find_photos(whole), HELD_OUT, seed).photos:
        part = "train" if photo.part == TRAINING else "test"
        counts[part] += 1
        (folder / part / photo.label).mkdir(parents=True, exist_ok=True)
        photo.path.rename(folder / part / photo.label / photo.path.name)
    return counts["train"], counts["test"]


def _measure(counts: tuple[int, int], folder: Path, seed: int, more: Sequence[str]) -> dict[str, Any]:
    run: dict[str, Any] = {"photos": counts[0], "held_out": counts[1]}
    for mode, words in (("frozen", ["--head-only"]), ("tuned", list(more))):
        trained, started, cpu = folder / mode, time.perf_counter(), _cpu_seconds()
        metrics = _edgetl("finetune", folder / "train", "--out", trained, "--seed", seed, *words)
        figures = {
            "seconds": round(time.perf_counter() - started),
            "cpu_seconds": round(_cpu_seconds() - cpu),
        }
        run[mode] = figures | _judge(trained, folder, "int8")
        if mode == "tuned":
            run[mode] |= {name: metrics[name] for name in ("layers", "epochs", "comparison", "warnings")}
    run["float"] = _judge(folder / "tuned", folder, "none")
    return run


def _judge(trained: Path, folder: Path, quantize: str) -> dict[str, Any]:
    model = folder / f"{trained.name}-{quantize}.tflite"
    _edgetl("convert", trained, "--quantize", quantize, "--out", model)
    judged = _edgetl("evaluate", model, folder / "test")
    return {name: judged[name] for name in ("accuracy", "correct", "photos")}


def _edgetl(*words: Any) -> dict[str, Any]:
    command = [sys.executable, "-m", "edgetl", *map(str, words), "--json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr.strip()[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _cpu_seconds() -> float:
    """Return the CPU time of all commands that have ended, in seconds."""
    times = os.times()
    return times.children_user + times.children_system


if __name__ == "__main__":
    main()
