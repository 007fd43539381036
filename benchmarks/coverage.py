"""Does the 95 % interval that `edgetl status` shows contain the accuracy on photos held out from everything?

Usage: ``python -m benchmarks.coverage [FOLDER ...] [--elpv] [--digits] [--tuned] [--splits 10] [--photos 40]``

FOLDER contains one folder of photos per label. Each split draws views (`device.lookalikes`) at random until every
label has `--photos` photos to teach, and holds out all others, which neither training, conversion nor teaching uses.
Frozen: the generic model file is taught the photos. ``--tuned``: the photos are passed to `edgetl finetune` with its
defaults and to `edgetl convert`. The held-out accuracy weights the labels by the shares that were taught, as the
estimate does.

Two counts are kept. *raw*: the held-out accuracy is inside the interval; with few held-out photos it can miss by
chance. *agree*: the two accuracies differ by no more than both samples explain (Newcombe's 95 % interval of a
difference, 1998, method 10, contains 0). Results are written after each split, and the next run continues from there.
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
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.files import atomic_output
from device.heads import Head, create_head
from device.heads.intervals import wilson
from device.heads.report import self_report
from device.images import encode_jpeg, read_photo
from device.lookalikes import group_lookalikes, read_shots
from device.model.codes import Codes, encode
from device.model.embedder import Embedder
from device.model.modelfile import ModelFile

from .embeddings import cache_folder, model_file
from .machine import machine_info, parser_of

RESULT = Path(__file__).resolve().parent / "results" / "coverage.json"
HELD_OUT_TUNED = 800  # maximum number of held-out photos if each split fine-tunes its own backbone

Places = NDArray[np.int64]


@dataclass(frozen=True)
class PhotoData:
    """The photos of a set.

    Attributes:
        name: Name of the set.
        paths: N files.
        labels: N labels.
        views: int64 [N]; look-alikes share a number.
    """

    name: str
    paths: tuple[Path, ...]
    labels: NDArray[np.str_]
    views: Places

    @classmethod
    def of(cls, name: str, photos: Sequence[tuple[Path, str]]) -> PhotoData:
        """Create a set whose look-alike photos are grouped into views."""
        views = group_lookalikes(read_shots(photos)).groups.astype(np.int64)
        return cls(name, tuple(path for path, _ in photos), np.array([label for _, label in photos]), views)


def draw(data: PhotoData, count: int, seed: int) -> tuple[Places, Places]:
    """Return the indices to teach, about `count` per label in complete views, and the held-out indices."""
    random = np.random.default_rng(seed)
    taught: list[int] = []
    for label in np.unique(data.labels):
        mine = np.flatnonzero(data.labels == label)
        for view in random.permutation(np.unique(data.views[mine])).tolist():
            if np.count_nonzero(data.labels[taught] == label) >= count:
                break
            taught += mine[data.views[mine] == view].tolist()
    chosen = np.sort(np.array(taught, np.int64))
    return chosen, np.setdiff1d(np.arange(len(data.labels)), chosen)


def held_out_accuracy(head: Head, codes: Codes, labels: NDArray[np.str_], shares: dict[str, float]) -> float:
    """Return the accuracy on held-out codes [N, D], with the labels weighted by `shares`."""
    answers = np.array(head.labels)[head.probabilities(codes).argmax(axis=1)]
    return float(sum(share * np.mean(answers[labels == label] == label) for label, share in shares.items()))


def agrees(estimate: float, interval: tuple[float, float], truth: float, held_out: int) -> bool:
    """Whether two accuracies differ by no more than both samples explain (Newcombe 1998, method 10)."""
    low, high = interval
    least, most = wilson(truth * held_out, held_out)
    difference = estimate - truth
    below = difference - float(np.hypot(estimate - low, most - truth))
    above = difference + float(np.hypot(high - estimate, truth - least))
    return below <= 0 <= above


def frozen(data: PhotoData, codes: Codes, taught: Places, held_out: Places) -> dict[str, Any]:
    """Teach a head the generic embeddings and compare its estimate and interval with the held-out accuracy."""
    head = create_head("exact", codes.shape[1])
    labels = data.labels[taught].tolist()
    head.learn_many(codes[taught], labels)
    report = self_report(head, codes[taught], labels, bursts=data.views[taught])
    truth = held_out_accuracy(head, codes[held_out], data.labels[held_out], _shares(labels))
    return _judged(report.accuracy, report.interval, report.groups, report.samples, truth, len(held_out))


def tuned(data: PhotoData, taught: Places, held_out: Places, seed: int) -> dict[str, Any]:
    """Fine-tune and convert with the commands, and compare the file's `status` with the held-out accuracy."""
    from device.learner import Learner

    held_out = held_out[np.linspace(0, len(held_out) - 1, min(len(held_out), HELD_OUT_TUNED)).astype(int)]
    with tempfile.TemporaryDirectory() as folder:
        model = _made(data, taught, seed, Path(folder))
        with Learner.open(model, None) as learner:
            status = learner.status(wait=True)
            kind = learner.model.manifest.embedding_map
            codes = encode(np.stack([learner.embed_one(read_photo(data.paths[at])) for at in held_out]), kind)
            shares = _shares(data.labels[taught].tolist())
            truth = held_out_accuracy(learner.head, codes, data.labels[held_out], shares)
    report = status.report
    if report is None or report.accuracy is None:
        return {"estimate": None, "truth": truth, "held_out": len(held_out)}
    return _judged(report.accuracy, report.interval, report.groups, report.samples, truth, len(held_out))


def _made(data: PhotoData, taught: Places, seed: int, folder: Path) -> Path:
    """Run `edgetl finetune` and `edgetl convert` on the photos to teach; return the model file."""
    for place in taught.tolist():
        target = folder / "photos" / data.labels[place] / data.paths[place].name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(data.paths[place], target)
    trained, model = folder / "trained", folder / "model.tflite"
    for words in (
        ("finetune", folder / "photos", "--out", trained, "--seed", seed),
        ("convert", trained, "--out", model),
    ):
        command = [sys.executable, "-m", "edgetl", *map(str, words)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip()[-2000:]}")
    return model


def _shares(labels: Sequence[str]) -> dict[str, float]:
    return {label: labels.count(label) / len(labels) for label in dict.fromkeys(labels)}


def _judged(
    estimate: float | None,
    interval: tuple[float, float],
    groups: int,
    samples: int,
    truth: float,
    held_out: int,
) -> dict[str, Any]:
    if estimate is None:
        raise RuntimeError("the head has no estimate, expected one; teach more photos with --photos")
    return {
        "estimate": estimate,
        "interval": list(interval),
        "groups": groups,
        "samples": samples,
        "truth": truth,
        "held_out": held_out,
        "raw": bool(interval[0] <= truth <= interval[1]),
        "agree": agrees(estimate, interval, truth, held_out),
    }


def folder_data(folder: Path) -> PhotoData:
    """Return the photos of a folder with one folder per label."""
    from edgetl.photos import find_photos

    return PhotoData.of(folder.name, [(photo.path, photo.label) for photo in find_photos(folder).photos])


def elpv_data() -> PhotoData:
    """Return the ELPV cells with crisp labels, from the package elpv-dataset."""
    from edgetl.demo.data import crisp_cells, elpv_folder

    return PhotoData.of("elpv", [(cell.path, cell.label) for cell in crisp_cells(elpv_folder())])


def digits_data() -> PhotoData:
    """Return scikit-learn's digits, written to the cache folder as files of 96 x 96 pixels."""
    from sklearn.datasets import load_digits

    values, labels = load_digits(return_X_y=True)
    folder = cache_folder() / "digits-files"
    photos = []
    for number, (value, label) in enumerate(zip(values, labels, strict=True)):
        path = folder / f"{number:04}x.jpg"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            small = (value.reshape(8, 8, 1) * 15.9).astype(np.uint8)
            path.write_bytes(encode_jpeg(np.repeat(small.repeat(12, 0).repeat(12, 1), 3, axis=2), 95))
        photos.append((path, str(label)))
    return PhotoData(
        "digits",
        tuple(path for path, _ in photos),
        np.array([label for _, label in photos]),
        np.arange(len(photos)),
    )


def embedded(data: PhotoData) -> Codes:
    """Return the codes of all photos from the generic model file, computed once and kept in the cache."""
    kept = cache_folder() / f"coverage-{data.name}.npz"
    if not kept.exists():
        print(f"embedding {len(data.paths)} photos of {data.name}, once", file=sys.stderr)
        embedder = Embedder(ModelFile.open(model_file()))
        codes = encode(np.stack([embedder.embed_one(read_photo(path)) for path in data.paths]))
        embedder.close()
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(kept, codes=codes)
    with np.load(kept, allow_pickle=False) as stored:
        codes = stored["codes"]
    if len(codes) != len(data.paths):
        raise SystemExit(
            f"{kept} contains {len(codes)} photos, but the folder {len(data.paths)}; delete the file and run again"
        )
    return np.asarray(codes, np.int16)


def summary(runs: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the counts per set and mode: splits, contained, agreeing, mean bias and mean width."""
    found: dict[str, dict[str, Any]] = {}
    for name in sorted({key.rpartition(" ")[0] for key in runs}):
        rows = [run for key, run in runs.items() if key.rpartition(" ")[0] == name]
        judged = [run for run in rows if run["estimate"] is not None]
        if not judged:
            continue
        found[name] = {
            "splits": len(rows),
            "judged": len(judged),
            "raw": sum(run["raw"] for run in judged),
            "agree": sum(run["agree"] for run in judged),
            "estimate": round(float(np.mean([run["estimate"] for run in judged])), 4),
            "truth": round(float(np.mean([run["truth"] for run in judged])), 4),
            "bias": round(float(np.mean([run["estimate"] - run["truth"] for run in judged])), 4),
            "width": round(float(np.mean([run["interval"][1] - run["interval"][0] for run in judged])), 4),
            "samples": round(float(np.mean([run["samples"] for run in judged])), 1),
            "held_out": max(run["held_out"] for run in judged),
        }
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the splits that the result does not contain yet."""
    parser = parser_of(__doc__, out=RESULT)
    parser.add_argument("folders", nargs="*", type=Path, help="Folders with one folder of photos per label.")
    parser.add_argument(
        "--elpv", action="store_true", help="Add the solar cells of the package elpv-dataset."
    )
    parser.add_argument("--digits", action="store_true", help="Add the digits of scikit-learn.")
    parser.add_argument("--tuned", action="store_true", help="Fine-tune a backbone in each split.")
    parser.add_argument("--splits", type=int, default=10, help="Number of random splits.  [default: 10]")
    parser.add_argument("--photos", type=int, default=40, help="Photos to teach per label.  [default: 40]")
    options = parser.parse_args(arguments)
    sets = [folder_data(folder) for folder in options.folders]
    sets += [elpv_data()] if options.elpv else []
    sets += [digits_data()] if options.digits else []
    for seed in range(options.splits):  # one split per set at a time, so that an interrupted run is balanced
        for data in sets:
            _run(data, options, seed)


def _run(data: PhotoData, options: argparse.Namespace, seed: int) -> None:
    mode = "tuned" if options.tuned else "frozen"
    key = f"{data.name} {mode} {seed}"
    kept = json.loads(options.out.read_text()) if options.out.exists() else {"runs": {}}
    if key in kept["runs"]:
        return
    started = time.monotonic()
    taught, held_out = draw(data, options.photos, seed)
    judge = partial(tuned, data, seed=seed) if options.tuned else partial(frozen, data, embedded(data))
    run = judge(taught=taught, held_out=held_out)
    run["seconds"] = round(time.monotonic() - started, 1)
    print(f"{key}: {run}", file=sys.stderr)
    kept["runs"][key] = run
    kept |= {"summary": summary(kept["runs"]), "photos_per_label": options.photos}
    kept[mode] = machine_info() | {"commit": _commit(), "command": f"python -m benchmarks.coverage, {mode}"}
    with atomic_output(options.out, force=True) as temporary:
        temporary.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


def _commit() -> str:
    root = Path(__file__).resolve().parent.parent
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=root, capture_output=True, text=True, check=False
    )
    return os.environ.get("EDGETL_COMMIT") or found.stdout.strip()


if __name__ == "__main__":
    main()
