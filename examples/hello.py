"""Teach two things and recognize them: python examples/hello.py base.tflite [--camera 0]."""

import argparse

from edgetl import Learner, open_camera

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("model", help="a model file, see: edgetl convert --help")
parser.add_argument(
    "--camera", default="fake", help="0, picamera2, a video, ...; fake draws a mug and a bowl"
)
options = parser.parse_args()


def camera_of(label):
    """Return the camera; the fake one shows what `label` names."""
    return open_camera(f"fake:{label}" if options.camera == "fake" else options.camera)


with Learner.open(options.model, state=None) as learner:  # None: forget everything at the end
    for label in ("mug", "bowl"):
        with camera_of(label) as camera:
            print(f"Show the {label}")
            learner.learn_many([camera.read().image for _ in range(10)], [label] * 10)
    for label in ("bowl", "mug"):
        with camera_of(label) as camera:
            seen = learner.predict_one(camera.read().image)
            print(f"{label}: recognized as {seen.label}, probability {seen.probability:.2f}")
