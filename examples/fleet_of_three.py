"""Three devices learn apart, and each knows what all of them were taught: python examples/fleet_of_three.py base.tflite.

Only exact sums are sent, no pictures and no samples. Their total is bit for bit that of one device that was taught everything.
`edgetl fleet` does this over the network, see docs/fleet.md; here all devices are in one process.
"""

import argparse
import tempfile
from pathlib import Path

from device.fleet import Total, contribution_of
from device.learner.shared import Shared, save_shared
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
    states, sent = {place: Path(folder) / f"{place}.db" for place in SEEN}, {}
    for place, color in SEEN.items():
        with Learner.open(options.model, states[place]) as device:
            device.learn_many(frames(color), [color] * 5)
            sent[place] = contribution_of(device.store, place)
            print(f"{place}: knows {', '.join(device.head.labels)}")

    total = Total(sent["kitchen"].model, sent.values())
    for place, state in states.items():
        with Learner.open(options.model, state) as device:
            save_shared(device.store, Shared(total.without(sent[place]), devices=len(SEEN) - 1))
            found = [
                device.predict_one(image).label == color for color in SEEN.values() for image in frames(color)
            ]
            print(
                f"{place}: now knows {', '.join(device.head.labels)}, {sum(found)} of {len(found)} frames correct"
            )

with Learner.open(options.model, state=None) as one:
    for color in SEEN.values():
        one.learn_many(frames(color), [color] * 5)
    same = total.digest() == one.status().head["digest"]
    print(
        f"one device that was taught everything has {'the same' if same else 'another'} head: {total.digest()[:12]}"
    )
