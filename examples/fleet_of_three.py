"""Three devices learn apart, and one knows everything: python examples/fleet_of_three.py base.tflite.

What was taught in different places is merged exactly: the result is the same as if one device had seen all of it.
"""

import argparse
import tempfile
from pathlib import Path

from edgetl import Learner, open_camera

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("model")
options = parser.parse_args()
SEEN = {"kitchen": "red", "garage": "green", "shed": "blue"}  # the fake camera draws colors


def frames(color):
    """Return five frames of the scripted camera."""
    with open_camera(f"fake:{color}*5,end") as camera:
        return [frame.image for frame in camera]


with tempfile.TemporaryDirectory() as folder:
    states = {place: Path(folder) / f"{place}.db" for place in SEEN}
    for place, color in SEEN.items():
        with Learner.open(options.model, states[place]) as device:
            device.learn_many(frames(color), [color] * 5)
            print(f"{place}: knows {', '.join(device.labels)}")
    with Learner.open(options.model, states["kitchen"]) as device:
        for place in ("garage", "shed"):
            device.merge(states[place])
        right = sum(
            device.predict_one(image).label == color for color in SEEN.values() for image in frames(color)
        )
        print(f"together: knows {', '.join(device.labels)}, {right} of {5 * len(SEEN)} frames correct")
