"""How well are new labels learned beside an old classifier, and how much of its answers stays?

Usage: ``python -m benchmarks.kept FILE.tflite --new FOLDER --old FOLDER [--labels FILE] [--taught 3 10 50]``

FILE is converted as ``edgetl convert FILE --keep-head`` does. Photos of one, of two and of all labels of ``--new``, a folder
with one folder per label, are taught; the share of other photos of these labels that is recognized is shown beside the share
of photos in ``--old`` whose old answer stays. No label of ``--new`` should be one that the classifier has.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.surgery import convert_tflite
from device.heads import Linear
from device.heads.kept import KeptHead
from device.images import read_photo
from device.model.codes import Codes, encode
from device.model.embedder import Embedder
from device.model.modelfile import ModelFile
from device.photos import list_labeled, list_photos

from .machine import machine_info, parser_of, write_result

_MOST = 100  # photos per label, and of old ones


def embed(embedder: Embedder, paths: list[Path]) -> Codes:
    """Return the codes of photos, int16 [N, D]."""
    manifest = embedder.model.manifest
    return encode(embedder.embed_many(read_photo(path) for path in paths), manifest.embedding_map)


def measure(
    head: KeptHead, new: dict[str, Codes], old: Codes, before: NDArray[np.str_], names: list[str], taught: int
) -> dict[str, Any]:
    """Teach `taught` photos of each of `names`, and judge on the others."""
    head = head.clone()
    for name in names:
        head.learn_many(new[name][:taught], [name] * taught)
    right = [one.label == name for name in names for one in head.predict_many(new[name][-_MOST // 2 :])]
    stayed = np.array([one.label for one in head.predict_many(old)]) == before
    return {
        "labels": len(names),
        "taught": taught,
        "new_recognized": round(float(np.mean(right)), 3),
        "old_unchanged": round(float(stayed.mean()), 3),
    }


def main() -> None:
    """Measure and write the result."""
    parser = parser_of(__doc__)
    parser.add_argument("file", type=Path, help="A classifier.")
    parser.add_argument("--new", type=Path, required=True, help="Photos of new labels.")
    parser.add_argument("--old", type=Path, required=True, help="Photos of things that the classifier knows.")
    parser.add_argument("--labels", type=Path, help="Its labels.  [default: those in its metadata]")
    parser.add_argument("--taught", type=int, nargs="+", default=[3, 10, 50], help="Photos per new label.")
    parser.add_argument("--skip", nargs="*", default=[], help="Labels of --new that the classifier has.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "kept.tflite"
        convert_tflite(options.file, out, keep_head=True, labels=options.labels)
        embedder = Embedder(ModelFile.open(out))
    found = embedder.model.old_head()
    assert found is not None
    head = KeptHead(embedder.model.manifest.dimensions, old=Linear(*found[:2]), old_labels=found[2])
    by_label: dict[str, list[Path]] = {}
    for photo in list_labeled(options.new).photos:
        by_label.setdefault(str(photo.label), []).append(photo.path)
    new = {
        label: embed(embedder, paths[:_MOST])
        for label, paths in by_label.items()
        if label not in options.skip
    }
    old = embed(
        embedder,
        list_photos(options.old, deep=True)[:: max(1, len(list_photos(options.old, deep=True)) // _MOST)],
    )
    before = np.array([one.label for one in head.predict_many(old)])
    names = sorted(new)
    runs = [
        measure(head, new, old, before, chosen, taught)
        for chosen in (names[-1:], names[-2:], names)
        for taught in options.taught
    ]
    write_result(
        {"file": options.file.name, "old_photos": len(old), "runs": runs, "machine": machine_info(0)},
        options.out,
    )


if __name__ == "__main__":
    main()
