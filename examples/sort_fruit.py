"""Open a flap when a bad fruit passes on a belt: python examples/sort_fruit.py fruit.tflite [--frames 100].

The flap is a servo or a relay on GPIO 17. A fruit counts when three frames in a row agree, and anything that is unlike the
taught fruits is sorted out too. Without a Pi: GPIOZERO_PIN_FACTORY=mock.
"""

import argparse
from collections import deque

from gpiozero import OutputDevice

from edgetl import EndOfSource, Learner, open_camera

AGREE = 3  # frames

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("model")
parser.add_argument("--camera", default="0")
parser.add_argument("--bad", default="bad", help="the label to sort out")
parser.add_argument("--pin", type=int, default=17)
parser.add_argument("--frames", type=int, help="stop after this number of frames")
options = parser.parse_args()

flap, recent, sorted_out, number = OutputDevice(options.pin), deque(maxlen=AGREE), 0, 0
with Learner.open(options.model, read_only=True) as learner, open_camera(options.camera) as camera:
    while options.frames is None or number < options.frames:
        try:
            seen = learner.predict_one(camera.read().image)
        except EndOfSource:
            break
        number += 1
        recent.append(seen.label if seen.known else "unknown")
        wanted = len(recent) == AGREE and set(recent) <= {options.bad, "unknown"}
        if wanted and not flap.value:
            sorted_out += 1
            print(f"frame {number}: {recent[-1]}, flap open")
        flap.value = wanted
flap.off()
print(f"{number} frames, {sorted_out} sorted out")
