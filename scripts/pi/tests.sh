#!/bin/bash
# Inside the Pi: the device tests against the installed wheel, not against the checkout.
set -euo pipefail
name=$1
mkdir /tmp/tests
cd /tmp/tests
cp -r /repository/tests /repository/pyproject.toml .
EDGETL_RUNTIME=$name EDGETL_EMULATED=1 /opt/"$name"/bin/python -m pytest -q -p no:cacheprovider \
    -m "not hardware and not browser" tests/device
