"""Does a state file survive if the process that writes it is killed at any moment?

Usage: ``python -m benchmarks.crash [--kills 500] [--disk KIB]``

A child process teaches, forgets and relabels through the learner as fast as it can. It prints each change before it
starts and after it returns. The parent kills the child (SIGKILL) at a random moment, often while it opens the file,
then opens the file itself and compares it with the acknowledged changes: every acknowledged change must be there
exactly once; the one change in progress must be complete or absent; and every page, checksum and journal entry must
be correct. The same file goes through many kills.

With ``--disk 400`` the files are on a disk of 400 KiB (a tmpfs, which only root may mount), where most changes are
refused because the disk is full. A refused change must leave no trace.

SIGKILL shows that no change depends on the process. That no change depends on the power either is due to SQLite (WAL,
``synchronous = FULL``: the log is flushed to the disk before a change returns), which this benchmark cannot show.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from device.errors import StorageError
from device.learner.learner import Learner, identity_of
from device.model.modelfile import ModelFile
from device.store import Store

from .figures import Figure
from .machine import percentiles
from .measurement import Measurement, question_parser

MODEL = Path(__file__).resolve().parents[1] / "tests" / "data" / "tiny.tflite"
KILLS_A_FILE = 25
LONGEST = 0.25  # maximum seconds that a child runs after it is ready
# fewer changes than this are awaited before a kill, so that a slow machine acknowledges some too
MOST_CHANGES = 4
EARLY = 0.25  # share of the kills that come while the child still starts or opens the file
LABELS = ("mug", "bowl", "schön blau")

Labels = dict[int, str | None]  # id -> label; None if forgotten


@dataclass
class Tally:
    """Counts over all kills."""

    kills: int = 0
    early: int = 0
    acknowledged: int = 0
    samples: int = 0
    under_way: int = 0
    under_way_kept: int = 0
    refused: int = 0
    opened: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def main() -> None:
    """Run the harness; exit with status 1 if any acknowledged change was lost."""
    parser = question_parser("crash", __doc__)
    parser.add_argument("--kills", type=int, default=500, help="Number of kills.  [default: 500]")
    parser.add_argument(
        "--seed", type=int, default=0, help="Seed for the changes and the moments of the kills."
    )
    parser.add_argument(
        "--folder", type=Path, help="Folder for the state files.  [default: a temporary folder]"
    )
    parser.add_argument("--disk", type=int, metavar="KIB", help="Size of a small disk to fill; needs root.")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child, given.seed)
        return
    measurement = Measurement("crash", given.seed)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder, _disk(Path(folder), given.disk):
        tally = crash(given.kills, given.seed, Path(folder))
    details = {"disk_kib": given.disk, **result(tally)}
    measurement.finish(measurement.result(figures(tally), details=details), given, passed=not tally.failures)


def crash(kills: int, seed: int, folder: Path) -> Tally:
    """Kill `kills` children and check the file after each."""
    rng, tally = random.Random(seed), Tally()  # noqa: S311 - moments of the kills, no secrets
    for number in range(kills):
        path = folder / "state.db"
        if number % KILLS_A_FILE == 0:
            _remove(path)
        expected = _labels(path) if path.exists() else {}
        events = _killed(path, seed * 1_000_003 + number, rng, tally)
        _check(path, expected, events, tally)
        if tally.failures:
            break
    return tally


def figures(tally: Tally) -> list[Figure]:
    """Return what is compared."""
    found = [
        Figure("changes lost or wrong", len(tally.failures), "", tolerance=1, goal=0),
        Figure("kills", tally.kills, "", "higher", tolerance=1),
        Figure("acknowledged samples", tally.samples, "", "higher", tolerance=10),
    ]
    if tally.opened:
        found.append(
            Figure("opening after a kill, p50", percentiles(tally.opened)["p50_ms"], "ms", tolerance=3)
        )
    return found


def result(tally: Tally) -> dict[str, Any]:
    """Return the result as a JSON-serializable dict."""
    return {
        "kills": tally.kills,
        "killed_before_ready": tally.early,
        "acknowledged_changes": tally.acknowledged,
        "acknowledged_samples": tally.samples,
        "refused_because_the_disk_was_full": tally.refused,
        "in_progress_when_killed": tally.under_way,
        "of_these_found_complete": tally.under_way_kept,
        "lost_or_wrong": tally.failures,
        "opening_after_a_kill": percentiles(tally.opened) if tally.opened else None,
    }


def child(path: Path, seed: int) -> None:
    """Teach, forget and relabel, and print each change, until the process is killed."""
    rng = np.random.default_rng(seed)
    with _opened(path) as learner:
        print(json.dumps("ready"), flush=True)
        for kind, argument in _changes(rng, learner):
            print(json.dumps(["try", kind, argument]), flush=True)
            try:
                _change(learner, rng, kind, argument)
            except StorageError:
                print(json.dumps(["refused"]), flush=True)
            else:
                print(json.dumps(["done"]), flush=True)


def _opened(path: Path) -> Learner:
    while True:  # a full disk may have no room to open the file for writing until the parent has opened it
        with contextlib.suppress(StorageError):
            return Learner.open(MODEL, path, threads=1)
        time.sleep(0.01)


def _changes(rng: np.random.Generator, learner: Learner) -> Iterator[tuple[str, Any]]:
    while True:
        ids, _, _ = learner.store.ids()
        label = LABELS[int(rng.integers(len(LABELS)))]
        match int(rng.integers(10)):
            case 0 if len(ids):
                yield "forget", [int(number) for number in rng.choice(ids, min(3, len(ids)), replace=False)]
            case 1 if len(ids):
                yield "relabel", [int(rng.choice(ids)), label]
            case 2 | 3:
                yield "learn", [label] * int(rng.integers(2, 6))
            case _:
                yield "learn", [label]


def _change(learner: Learner, rng: np.random.Generator, kind: str, argument: Any) -> None:
    if kind == "forget":
        learner.forget(argument)
    elif kind == "relabel":
        learner.relabel(*argument)
    elif len(argument) == 1:
        learner.learn_one(rng.integers(0, 256, (16, 16, 3), np.uint8), argument[0])
    else:
        learner.learn_many(list(rng.integers(0, 256, (len(argument), 16, 16, 3), np.uint8)), argument)


def _killed(path: Path, seed: int, rng: random.Random, tally: Tally) -> list[Any]:
    """Start a child, kill it at a random moment, and return the changes that it printed."""
    command = [sys.executable, "-m", "benchmarks.crash", "--child", str(path), "--seed", str(seed)]
    with tempfile.TemporaryFile() as printed:
        process = subprocess.Popen(command, stdout=printed, stderr=subprocess.PIPE, text=True)
        early = rng.random() < EARLY
        if not early:
            _wait_for_lines(process, printed.fileno(), 1 + 2 * rng.randrange(MOST_CHANGES))
        time.sleep(rng.uniform(0, 0.5 if early else LONGEST))
        process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
        printed.seek(0)
        output = printed.read().decode()
    tally.kills += 1
    if process.returncode != -signal.SIGKILL:
        tally.failures.append(f"kill {tally.kills}: the child ended by itself: {errors[-2000:]}")
    # the last line may be cut off by the kill
    lines = [json.loads(line) for line in output.splitlines(keepends=True) if line.endswith("\n")]
    tally.early += early and "ready" not in lines
    return [line for line in lines if line != "ready"]


def _wait_for_lines(process: subprocess.Popen[str], printed: int, count: int) -> None:
    """Wait until the child has printed a number of lines: one when it is ready, and two per change."""
    limit = time.monotonic() + 120
    while os.pread(printed, 1 << 20, 0).count(b"\n") < count:
        if process.poll() is not None or time.monotonic() > limit:
            return
        time.sleep(0.002)


def _check(path: Path, before: Labels, events: list[Any], tally: Tally) -> None:
    """Compare the file with the acknowledged changes."""
    expected, pending = dict(before), None
    for line in events:
        if line[0] == "try":
            pending = line[1:]
            continue
        if line[0] == "refused":
            tally.refused += 1
            pending = None
            continue
        assert pending is not None
        _apply(expected, *pending)
        tally.acknowledged += 1
        tally.samples += len(pending[1]) if pending[0] == "learn" else 0
        pending = None
    allowed = [expected]
    if pending is not None:
        tally.under_way += 1
        allowed.append(dict(expected))
        _apply(allowed[-1], *pending)
    start = time.perf_counter()
    with Store.open(path, identity_of(ModelFile.open(MODEL))) as store:
        tally.opened.append(time.perf_counter() - start)
        store.verify()
    found = _labels(path)
    if found not in allowed:
        tally.failures.append(
            f"kill {tally.kills}: {path.name} has {len(found)} samples, expected {len(expected)}"
        )
    tally.under_way_kept += pending is not None and found == allowed[-1]


@contextlib.contextmanager
def _disk(folder: Path, kib: int | None) -> Iterator[None]:
    """Mount a disk of `kib` KiB on `folder`, if `kib` is not None."""
    if kib is None:
        yield
        return
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "edgetl-crash", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"cannot mount a small disk: {done.stderr.strip()}; run as root, or without --disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _remove(path: Path) -> None:
    for part in path.parent.glob(f"{path.name}*"):
        part.unlink()


def _apply(labels: Labels, kind: str, argument: Any) -> None:
    if kind == "learn":
        for label in argument:
            labels[len(labels) + 1] = label
    elif kind == "forget":
        labels.update(dict.fromkeys(argument))
    else:
        labels[argument[0]] = argument[1]


def _labels(path: Path) -> Labels:
    with Store.open(path, None) as store:
        return dict(store.database.rows("SELECT id, label FROM samples ORDER BY id"))


if __name__ == "__main__":
    main()
