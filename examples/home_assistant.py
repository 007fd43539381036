"""Switch a light in Home Assistant by what a camera sees: python examples/home_assistant.py mugs.tflite URL.

URL is that of a webhook trigger in Home Assistant, such as http://homeassistant.local:8123/api/webhook/mug-seen. `edgetl run
--mqtt` needs no program at all, see docs/home-assistant.md; this one shows how to decide in Python what to send.
"""

import argparse
import json
import urllib.request

from edgetl import EndOfSource, Learner, open_camera

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("model")
parser.add_argument("url")
parser.add_argument("--camera", default="0")
parser.add_argument("--frames", type=int, help="stop after this number of frames")
options = parser.parse_args()


def send(label, probability):
    """POST the label; a Home Assistant that is away must not stop the camera."""
    body = json.dumps({"label": label, "probability": round(probability, 3)}).encode()
    request = urllib.request.Request(options.url, body, {"Content-Type": "application/json"})
    try:
        urllib.request.urlopen(request, timeout=5).close()
    except OSError as error:
        print(f"not sent: {error}")


before, number = None, 0
with Learner.open(options.model, read_only=True) as learner, open_camera(options.camera) as camera:
    while options.frames is None or number < options.frames:
        try:
            seen = learner.predict_one(camera.read().image)
        except EndOfSource:
            break
        number += 1
        label = seen.label if seen.known else "unknown"
        if label != before:
            send(label, seen.probability)
            print(label)
        before = label
