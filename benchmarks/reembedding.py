"""What does a new model lose if it learns from thumbnails instead of the camera's frames?

Usage: ``python -m benchmarks.reembedding PHOTOS [MODEL] [--taught 10 50] [--fresh 5] [--draws 5]``

PHOTOS contains one folder of photos per label. A head is taught the photos, their thumbnails as the state file stores
them (which `edgetl reembed` uses), or thumbnails and a few fresh photos per label. It is tested on other photos in
full size. The result contains the accuracy and the share of those photos that is known to the head, as means and
standard deviations over the draws.
"""

from __future__ import annotations

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

from .machine import machine_info, model_to_measure, parser_of, write_result

Places = NDArray[np.intp]


def embedded(photos: Path, model: ModelFile, most: int) -> tuple[Codes, Codes, list[str], float]:
    """Return codes of photos and of their thumbnails [N, D], labels, and the mean size of a thumbnail in bytes."""
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
    """Return the indices of `count` samples per label to teach, and of the others to test on."""
    taught: list[int] = []
    for label in sorted(set(labels)):
        own = np.flatnonzero([found == label for found in labels])
        taught += rng.permutation(own)[:count].tolist()
    return np.array(taught), np.setdiff1d(np.arange(len(labels)), taught)


def compare(
    whole: Codes, small: Codes, labels: list[str], taught: int, fresh: int, draws: int, seed: int = 0
) -> dict[str, Any]:
    """Compare the three ways with one number of samples per label."""
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
        extra, asked = rest[extra], rest[asked]  # all three are tested on the same photos
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
    parser = parser_of(__doc__)
    parser.add_argument("photos", type=Path, help="Folder with one folder of photos per label.")
    parser.add_argument("model", type=Path, nargs="?", help="Model file.  [default: int8 EfficientNet-Lite0]")
    parser.add_argument("--most", type=int, default=120, help="Maximum photos per label.  [default: 120]")
    parser.add_argument(
        "--taught",
        type=int,
        nargs="+",
        default=[10, 50],
        help="Samples per label to teach.  [default: 10 50]",
    )
    parser.add_argument("--fresh", type=int, default=5, help="Fresh photos per label.  [default: 5]")
    parser.add_argument("--draws", type=int, default=5, help="Number of random draws.  [default: 5]")
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
