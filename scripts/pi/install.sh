#!/bin/bash
# Inside the Pi: installs the wheel with a runtime into /opt/NAME, from the wheels that were fetched.
set -euo pipefail
name=$1 extras=$2
shift 2
wheels=/cache/wheels/$name
wheel=$(ls "$wheels"/edgetl-*.whl)
stamp=$(cd "$wheels" && printf '%s\n' *.whl | grep -v '^edgetl-' | sha256sum)
pip=(/opt/"$name"/bin/python -m pip --disable-pip-version-check --no-cache-dir --quiet install --no-index --find-links "$wheels")
export PIP_ROOT_USER_ACTION=ignore

if [ "$(cat "/opt/$name/.wheels" 2>/dev/null)" != "$stamp" ]; then
    rm -rf "/opt/$name"
    python3 -m venv "/opt/$name"
    "${pip[@]}" "${wheel}[$extras]" "$@"
    printf '%s\n' "$stamp" > "/opt/$name/.wheels"
else
    "${pip[@]}" --force-reinstall --no-deps "$wheel"
fi
/opt/"$name"/bin/python -c 'import platform, device.runtime as r; print(r.load_runtime(), "on", platform.machine(), "Python", platform.python_version())'
