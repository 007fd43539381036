"""Unlock a cat flap for one cat: python examples/cat_flap.py cats.tflite --cat minka [--camera picamera2].

It stays locked for other cats, for everything unlike what was taught, and while the head is not sure.
"""

import argparse
import time

from edgetl import EndOfSource, FrameTimeout, Learner, open_camera

SURE = 0.9  # probability
OPEN_SECONDS = 10.0

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("model")
parser.add_argument("--cat", required=True, help="the label of the cat")
parser.add_argument("--camera", default="0")
parser.add_argument("--frames", type=int, help="stop after this number of frames")
options = parser.parse_args()


def set_lock(locked):
    """Replace this by your lock."""
    print("locked" if locked else "unlocked", flush=True)


number, closes = 0, 0.0
set_lock(True)
with Learner.open(options.model, read_only=True) as learner, open_camera(options.camera) as camera:
    while options.frames is None or number < options.frames:
        try:
            seen = learner.predict_one(camera.read().image)
        except FrameTimeout:
            continue  # the camera is opened again by itself
        except EndOfSource:
            break
        number += 1
        now = time.monotonic()
        if seen.known and seen.label == options.cat and seen.probability >= SURE:
            if now >= closes:
                set_lock(False)
            closes = now + OPEN_SECONDS
        elif closes and now >= closes:
            set_lock(True)
            closes = 0.0
set_lock(True)
