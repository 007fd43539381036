"""Train a better model at night on what devices were taught: python examples/nightly_better_model.py base.tflite pi@shed.local.

The devices run base.tflite, or a model that this program deployed. It fetches what they were taught with its pictures, trains the
backbone on all of these, and deploys it. Each device embeds what it was taught again, and returns to its old model if the test
of the new one fails. For cron: 0 2 * * * cd mugs && edgetl/bin/python nightly_better_model.py base.tflite pi@shed.local
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from edgetl import Learner, convert, finetune

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("model", type=Path, help="the model file that the devices had first")
parser.add_argument("devices", nargs="+", help="as ssh names them")
parser.add_argument("--backbone", default="efficientnet-lite0", help="what the training starts from")
parser.add_argument("--work", type=Path, default=Path("nightly"), help="folder for everything")
parser.add_argument("--always", action="store_true", help="deploy even if the old backbone is as good")
options = parser.parse_args()
work, photos = options.work, options.work / "photos"


def edgetl(*words):
    """Return what a command of edgetl reports about each device, also if some of them fail."""
    command = [sys.executable, "-m", "edgetl", *map(str, words), *options.devices, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    return json.loads(done.stdout)["devices"] if done.stdout else sys.exit(done.returncode)


shutil.rmtree(photos, ignore_errors=True)
work.mkdir(exist_ok=True)
files = [options.model, *work.glob("*/*.tflite")]
models = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in files}
for device in edgetl("pull", "--out", work / "states", "--thumbnails", "--force"):
    if device["error"] or device["model_sha256"] not in models:
        print(f"left out: {device['error'] or device['target'] + ' runs another model'}")
        continue
    with Learner.open(models[device["model_sha256"]], device["path"], read_only=True) as learner:
        for sample in learner.samples():
            if sample.label and sample.thumbnail:
                folder = photos / sample.label
                folder.mkdir(parents=True, exist_ok=True)
                (folder / f"{Path(device['path']).stem}-{sample.id}.jpg").write_bytes(sample.thumbnail)
outcome = finetune(photos, work / "trained", backbone=options.backbone, force=True)
epochs = outcome.metrics["epochs"]
if not (epochs["all_kept"] or epochs["blocks_kept"] or options.always):
    sys.exit("the old backbone is as good: nothing is deployed")
# without memory: what was taught stays with the device that was taught it, so nothing counts twice
new = work / time.strftime("%Y-%m-%d-%H%M%S") / options.model.name
new.parent.mkdir()
convert(outcome.model, new, memory=False)
for device in edgetl("deploy", new):
    print(f"{device['target']}: {device['outcome']} {device['reason']}{device['state'].get('samples', '')}")
