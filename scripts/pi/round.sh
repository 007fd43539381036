#!/bin/bash
# Inside the Pi: the whole round. On LiteRT its result must be the host's.
set -euo pipefail
name=$1
expected=
if [ "$name" = litert ] && [ -e /cache/expected.json ]; then expected=/cache/expected.json; fi
cd /tmp
EDGETL_RUNTIME=$name exec /opt/"$name"/bin/python /pi/round.py /cache/photos /cache/model.tflite /tmp/round.json $expected
