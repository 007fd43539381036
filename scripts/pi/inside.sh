#!/bin/bash
# Inside the Pi: installs the wheel offline into /opt/NAME, runs a complete round of edgetl commands, and runs the
# device tests against the installation.
# Usage: inside.sh SUITE NAME EXTRAS TEST_TOOL...
set -euo pipefail
suite=$1 name=$2 extras=$3
shift 3
export EDGETL_RUNTIME=$name PIP_ROOT_USER_ACTION=ignore
payload=/cache/payload wheels=/cache/wheels/$suite-$name films=/cache/wheels/$suite-picamera2 python=/opt/$name/bin/python
wheel=$(ls "$payload"/edgetl-*.whl)

install() { "$python" -m pip --disable-pip-version-check --no-cache-dir --quiet install --no-index --find-links "$wheels" "$@"; }

# make a new environment only if the dependencies have changed, because it takes minutes under emulation
dependencies=$(printf '%s\n' "$wheels"/*.whl "$films"/*.whl | grep -v '/edgetl-' | sha256sum)
if [ "$(cat "/opt/$name/.dependencies" 2>/dev/null)" = "$dependencies" ]; then
    install --force-reinstall --no-deps "$wheel"
else
    echo "installing the wheel and its dependencies (once, some minutes)"
    rm -rf "/opt/$name"
    python3 -m venv "/opt/$name"
    install "${wheel}[$extras]" "$@"
    install --no-deps "$films"/*.whl
    printf '%s\n' "$dependencies" > "/opt/$name/.dependencies"
fi
"$python" -c 'import platform, device.model.runtime as r; print(r.load_runtime(), "on", platform.machine(), "Python", platform.python_version())'

# LiteRT's integer arithmetic is the same on all machines; tflite-runtime rounds differently
cd /tmp
if [ "$name" = litert ]; then expected=$payload/expected.json; else expected=; fi
"$python" /pi/round.py "$payload/photos" "$payload/model.tflite" round.json $expected

cp -r "$payload/tests" /tmp/tests
cd /tmp/tests
EDGETL_EMULATED=1 "$python" -m pytest -q -p no:cacheprovider -m "not hardware and not browser" tests/device
