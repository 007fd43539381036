"""Does a state file survive being killed at any moment? ``python -m benchmarks.crash --kills 500``.

A child teaches, forgets and relabels through the learner as fast as it can, and says of each change what it is
about to do and when it has returned. The parent kills it (SIGKILL) at a random moment, often while it opens the
file, then opens the file itself and compares it with what was acknowledged: every acknowledged change must be
there, exactly once; the one change under way may be there whole, or not at all; and every page, checksum and
journal entry must be right. The same file lives through many kills.

With ``--disk 400`` the files lie on a disk of 400 KiB (a tmpfs, which root alone may mount), where most changes are
refused because it is full: of a change that was refused nothing may be there.

SIGKILL shows that nothing hangs on the process; that nothing hangs on the power either is SQLite's doing
(WAL, ``synchronous = FULL``: the log is flushed to the disk before a change returns), which this cannot show.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from device.errors import StorageError
from device.learner.learner import Learner, identity_of
from device.model.modelfile import ModelFile
from device.store import Store

from .machine import machine_info, percentiles, write_result

MODEL = Path(__file__).resolve().parents[1] / "tests" / "data" / "tiny.tflite"
KILLS_A_FILE = 25
LONGEST = 0.25  # seconds a child lives at most after it is ready
EARLY = 0.25  # share of the kills while the child still starts up or opens the file
LABELS = ("mug", "bowl", "schön blau")

Labels = dict[int, str | None]  # id -> label, None when forgotten


@dataclass
class Tally:
    """What happened over all kills."""

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
    """Run the harness; exit 1 when anything acknowledged was lost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where the state files go; default a temporary folder")
    parser.add_argument("--disk", type=int, metavar="KIB", help="size of a small disk to fill; needs root")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child, given.seed)
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as folder, _disk(Path(folder), given.disk):
        tally = crash(given.kills, given.seed, Path(folder))
    write_result({"disk_kib": given.disk, **result(tally, given.seed)}, given.out)
    sys.exit(1 if tally.failures else 0)


def crash(kills: int, seed: int, folder: Path) -> Tally:
    """Kill `kills` children and check the file after each."""
    rng, tally = random.Random(seed), Tally()  # noqa: S311 - moments of killing, no secrets
    for number in range(kills):
        path = folder / "state.db"
        if number % KILLS_A_FILE == 0:
            _remove(path)
        expected = _labels(path) if path.exists() else {}
        said = _killed(path, seed * 1_000_003 + number, rng, tally)
        _check(path, expected, said, tally)
        if tally.failures:
            break
    return tally


def result(tally: Tally, seed: int) -> dict[str, Any]:
    """Give what is written out."""
    return {
        "kills": tally.kills,
        "killed_before_ready": tally.early,
        "acknowledged_changes": tally.acknowledged,
        "acknowledged_samples": tally.samples,
        "refused_for_want_of_room": tally.refused,
        "under_way_when_killed": tally.under_way,
        "of_these_found_whole": tally.under_way_kept,
        "lost_or_wrong": tally.failures,
        "opening_after_a_kill": percentiles(tally.opened) if tally.opened else None,
        "machine": machine_info(seed),
    }


def child(path: Path, seed: int) -> None:
    """Teach, forget and relabel without end, saying so; runs until it is killed."""
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
    while True:  # on a full disk there may be no room to open for writing until the parent has looked
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
    """Start a child, kill it at a random moment, and give what it said."""
    command = [sys.executable, "-m", "benchmarks.crash", "--child", str(path), "--seed", str(seed)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    early = rng.random() < EARLY
    if not early:
        _wait_until_ready(process)
    time.sleep(rng.uniform(0, 0.5 if early else LONGEST))
    process.send_signal(signal.SIGKILL)
    said, complaints = process.communicate()
    tally.kills += 1
    if process.returncode != -signal.SIGKILL:
        tally.failures.append(f"kill {tally.kills}: the child ended by itself: {complaints[-2000:]}")
    # the line being written when the kill came may be cut off
    lines = [json.loads(line) for line in said.splitlines(keepends=True) if line.endswith("\n")]
    tally.early += early and "ready" not in lines
    return [line for line in lines if line != "ready"]


def _wait_until_ready(process: subprocess.Popen[str]) -> None:
    """Wait for the first byte without reading it: what is read here would be missing later."""
    stream: IO[str] | None = process.stdout
    if stream is not None:
        select.select([stream], [], [], 60)


def _check(path: Path, before: Labels, said: list[Any], tally: Tally) -> None:
    """Compare the file with what was acknowledged."""
    expected, pending = dict(before), None
    for line in said:
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
    """Lay a disk of `kib` KiB over `folder`, when that is asked for."""
    if kib is None:
        yield
        return
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "edgetl-crash", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"a small disk cannot be mounted here: {done.stderr.strip()}")
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
