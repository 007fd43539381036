"""What does a new model lose when it learns from thumbnails in place of the camera's frames?

``python -m benchmarks.reembedding PHOTOS [MODEL] [--most 120] [--taught 10 50] [--fresh 5] [--draws 5] [--out FILE]``

PHOTOS has one subfolder a label. A head is taught the photos, their thumbnails as the state file keeps them (what
`edgetl reembed` has), or thumbnails and a few fresh photos of each label; and asked about other photos, whole. Told
are accuracy and the share of those photos that it calls known, means and standard deviations over the draws.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device.heads import create_head
from device.images import read_photo, thumbnail
from device.model.codes import Codes, encode
from device.model.embedder import Embedder
from device.model.modelfile import ModelFile
from device.photos import list_photos

from .machine import machine_info, model_to_measure, write_result

Places = NDArray[np.intp]


def embedded(photos: Path, model: ModelFile, most: int) -> tuple[Codes, Codes, list[str], float]:
    """Give codes of photos and of their thumbnails [N, D], labels, and the mean size of a thumbnail in bytes."""
    embedder = Embedder(model)
    whole, small, labels, sizes = [], [], [], []
    for folder in sorted(path for path in photos.iterdir() if path.is_dir()):
        for path in list_photos(folder)[:most]:
            image = read_photo(path)
            jpeg = thumbnail(image)
            whole.append(embedder.embed_one(image))
            small.append(embedder.embed_one(read_photo(jpeg)))
            labels.append(folder.name)
            sizes.append(len(jpeg))
    kind = model.manifest.embedding_map
    return encode(np.stack(whole), kind), encode(np.stack(small), kind), labels, float(np.mean(sizes))


def _asked(head: Any, whole: Codes, labels: list[str], asked: Places) -> tuple[float, float]:
    said = head.predict_many(whole[asked])
    right = [answer.label == labels[place] for answer, place in zip(said, asked, strict=True)]
    return float(np.mean(right)), float(np.mean([answer.known for answer in said]))


def draw(labels: list[str], count: int, rng: np.random.Generator) -> tuple[Places, Places]:
    """Choose `count` places of each label to teach, and give those left to ask about."""
    taught: list[int] = []
    for label in sorted(set(labels)):
        own = np.flatnonzero([found == label for found in labels])
        taught += rng.permutation(own)[:count].tolist()
    return np.array(taught), np.setdiff1d(np.arange(len(labels)), taught)


def compare(
    whole: Codes, small: Codes, labels: list[str], taught: int, fresh: int, draws: int, seed: int = 0
) -> dict[str, Any]:
    """Compare the three ways at one number of samples a label."""
    figures: dict[str, list[tuple[float, float]]] = {
        "photos": [],
        "thumbnails": [],
        "thumbnails and fresh": [],
    }
    for number in range(draws):
        rng = np.random.default_rng([seed, number])
        learned, rest = draw(labels, taught, rng)
        names = [labels[place] for place in rest]
        extra, asked = draw(names, fresh, rng)
        extra, asked = rest[extra], rest[asked]  # the same photos are asked about in all three
        for name, codes, places in (
            ("photos", whole[learned], learned),
            ("thumbnails", small[learned], learned),
            (
                "thumbnails and fresh",
                np.concatenate([small[learned], whole[extra]]),
                np.concatenate([learned, extra]),
            ),
        ):
            head = create_head("exact", whole.shape[1])
            head.learn_many(codes, [labels[place] for place in places])
            figures[name].append(_asked(head, whole, labels, asked))
    return {name: _summed(pairs) for name, pairs in figures.items()}


def _summed(pairs: list[tuple[float, float]]) -> dict[str, float]:
    accuracy, known = np.array(pairs).T
    return {
        "accuracy": round(float(accuracy.mean()), 4),
        "accuracy_sd": round(float(accuracy.std()), 4),
        "known": round(float(known.mean()), 4),
    }


def main() -> None:
    """Compare and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("photos", type=Path)
    parser.add_argument("model", type=Path, nargs="?", help="By default int8 EfficientNet-Lite0.")
    parser.add_argument("--most", type=int, default=120, help="Photos used of a label.")
    parser.add_argument("--taught", type=int, nargs="+", default=[10, 50])
    parser.add_argument("--fresh", type=int, default=5)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    model = ModelFile.open(model_to_measure(options.model))
    whole, small, labels, size = embedded(options.photos, model, options.most)
    results = {
        str(taught): compare(whole, small, labels, taught, options.fresh, options.draws)
        for taught in options.taught
    }
    settings = {
        "photos": len(labels),
        "labels": len(set(labels)),
        "fresh": options.fresh,
        "draws": options.draws,
    }
    write_result(
        {
            "machine": machine_info(0),
            "settings": settings,
            "thumbnail_bytes": round(size),
            "results": results,
        },
        options.out,
    )


if __name__ == "__main__":
    main()
