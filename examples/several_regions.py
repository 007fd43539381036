"""Watch two parts of one picture, each with labels of its own: python examples/several_regions.py mugs.tflite [--camera 0].

Teach each part first: --teach left=full, then --teach left=empty, and the same for right. Each part has a state file, such as
mugs.left.db; the backbone is in RAM once. `edgetl run --region` does the same without a program, see docs/several-cameras.md.
"""

import argparse
from contextlib import ExitStack
from pathlib import Path

from edgetl import EndOfSource, Learner, open_camera

REGIONS = {"left": (0.0, 0.0, 0.5, 1.0), "right": (0.5, 0.0, 1.0, 1.0)}  # left, top, right, bottom: 0 to 1
BURST = 10  # frames

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("model", type=Path)
parser.add_argument("--camera", default="0")
parser.add_argument("--teach", metavar="REGION=LABEL", help="teach the next frames instead of watching")
parser.add_argument("--frames", type=int, help="stop after this number of frames")
options = parser.parse_args()


def cut(image, region):
    """Return a part of the picture; it stays in place if the camera changes its size."""
    height, width = image.shape[:2]
    left, top, right, bottom = REGIONS[region]
    return image[round(top * height) : round(bottom * height), round(left * width) : round(right * width)]


with ExitStack() as stack:
    first, *others = [options.model.with_suffix(f".{region}.db") for region in REGIONS]
    learner = stack.enter_context(Learner.open(options.model, first))
    learners = [learner, *(stack.enter_context(learner.beside(state)) for state in others)]
    parts = dict(zip(REGIONS, learners, strict=True))
    camera = stack.enter_context(open_camera(options.camera))
    if options.teach:
        region, label = options.teach.split("=")
        images = [cut(camera.read().image, region) for _ in range(BURST)]
        parts[region].learn_many(images, [label] * BURST)
        print(f"{region}: taught {label}, {BURST} frames")
        raise SystemExit
    before, number = dict.fromkeys(REGIONS), 0
    while options.frames is None or number < options.frames:
        try:
            image = camera.read().image
        except EndOfSource:
            break
        number += 1
        for region, part in parts.items():
            seen = part.predict_one(cut(image, region))
            label = seen.label if seen.known else "unknown"
            if label != before[region]:
                print(f"frame {number}: {region} is {label}, probability {seen.probability:.2f}")
            before[region] = label
