"""The files that the blocks of the documents name: models, a state with two labels, photos, and exports of other programs."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np

from device.cameras.fake import draw
from device.images import encode_jpeg
from device.learner import Learner

from . import tiny

MODELS = ("mugs", "base", "better", "small", "large", "efficientnet-lite0", "mobilenet-v2", "mobilenet_v2")
SCRIPTS = ("ring.sh", "log.sh")
LABELS = ("mug", "bowl")
# what the photos of a label show; they are not alike, as those of the fake camera are
SHOWN = {"mug": "red", "bowl": "blue"}
PHOTOS = 6  # per label
SAMPLES = 10  # per label; the pages correct sample 17
DOUBTS = 12  # the pages answer uncertain frames up to this number


def prepare(folder: Path, model: Path) -> None:
    """Write the files into `folder`; `model` is a model file without labels."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in MODELS:
        shutil.copy(model, folder / f"{name}.tflite")
    _teach(folder / "mugs.tflite")
    shutil.copy(folder / "mugs.db", folder / "other.db")
    for number, name in enumerate(("photos", "other-photos", "some-photos", "more-photos", "new-photos")):
        _write_photos(folder / name, 100 * (number + 1))
    for name in SCRIPTS:
        (folder / name).write_text("#!/bin/sh\necho $EDGETL_LABEL >> seen.txt\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    for number, name in enumerate(("mug.jpg", "bowl.jpg", "another.jpg", "photo.png", "photo.jpg")):
        (folder / name).write_bytes(encode_jpeg(draw("bowl" if name == "bowl.jpg" else "mug", number)))
    _write_exports(folder)


def _write_photos(folder: Path, first: int) -> None:
    """Write a folder of photos per label."""
    for label in LABELS:
        (folder / label).mkdir(parents=True)
        for number in range(first, first + PHOTOS):
            (folder / label / f"{number}.jpg").write_bytes(encode_jpeg(tiny.photo(SHOWN[label], number)))


def _write_exports(folder: Path) -> None:
    """Write photos as Frigate, Teachable Machine and Edge Impulse keep them."""
    photos = {name: [encode_jpeg(draw(name, 100 + number)) for number in range(3)] for name in LABELS}
    for label, pictures in photos.items():
        dataset = folder / "media" / "frigate" / "clips" / "mugs" / "dataset" / label
        dataset.mkdir(parents=True)
        for number, picture in enumerate(pictures):
            (dataset / f"{number}.jpg").write_bytes(picture)
    with zipfile.ZipFile(folder / "mug-samples.zip", "w") as archive:
        for number, picture in enumerate(photos["mug"]):
            archive.writestr(f"{number}.jpg", picture)
    with zipfile.ZipFile(folder / "export.zip", "w") as archive:
        entries = []
        for label, pictures in photos.items():
            for number, picture in enumerate(pictures):
                path = f"training/{label}.{number}.jpg"
                archive.writestr(path, picture)
                entries.append(
                    {"path": path, "category": "training", "label": {"type": "label", "label": label}}
                )
        archive.writestr("info.labels", json.dumps({"version": 1, "files": entries}))


def _teach(model: Path) -> None:
    """Let the model know the labels from photos, as after `finetune`, teach it, and leave frames that wait for a label."""
    random = np.random.default_rng(0)
    with Learner.open(model, state=None) as host:
        for label in LABELS:
            photos = [tiny.photo(SHOWN[label], 1000 + number) for number in range(SAMPLES)]
            host.learn_many(photos, [label] * SAMPLES)
        host.export(model, force=True)
    with Learner.open(model) as learner:
        for label in LABELS:
            learner.learn_many([draw(label, number) for number in range(SAMPLES)], [label] * SAMPLES)
        learner.doubts._pause = 0.0  # frames are not added at the rate of a camera
        for number in range(DOUBTS):
            image = draw(f"thing {number}")
            embedding = random.standard_normal(learner.head.dimensions, np.float32)  # no two are look-alikes
            guess = learner.predict_embedding(embedding, all_scores=True)
            learner.doubts.offer(
                embedding, guess, lambda image=image: encode_jpeg(image), time=number, source="fake"
            )
