#!/usr/bin/env bash
# Builds what the emulated Raspberry Pi needs and executes all runs in parallel. Only pi_test.sh calls it, in its own
# mount and PID namespace.
# Usage: run.sh RUN...      a run is SUITE-RUNTIME, such as trixie-litert
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$here/../.." && pwd)
cache=$EDGETL_PI_CACHE
payload=$cache/payload # what is copied into the Pi: wheel, tests, photos, model; all from one moment
python=$(command -v "$PYTHON" || true)
[[ $python = /* ]] || python=$PWD/$python
minutes=${EDGETL_PI_MINUTES:-60}
extras=serve,https,gpio,mqtt,photos,sign
test_tools=(pytest hypothesis) # the group device-test; the pip of Debian 12 does not support groups

say() { printf '%(%H:%M:%S)T  %s\n' -1 "$*"; }
skip() { say "pi-test skipped: $*"; exit 77; }
fail() { say "pi-test FAILED: $*"; exit 1; }
pip() { "$python" -m pip --disable-pip-version-check --quiet "$@"; }

build_root() {
    local suite=$1 root=$cache/$1 log=$cache/debootstrap-$1.log
    [ ! -e "$root/.complete" ] || return 0
    say "building the arm64 root in $root (once, about 5 minutes)"
    rm -rf --one-file-system "$root"
    timeout --signal=KILL 1200 nice debootstrap --arch=arm64 --variant=minbase --include=python3,python3-venv \
        "$suite" "$root" > "$log" 2>&1 || { tail -5 "$log"; say "debootstrap of $suite failed; see $log"; return 1; }
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
    touch "$root/.complete"
}

# suites_of RUN...
suites_of() { printf '%s\n' "${@%%-*}" | sort -u; }

# python_of SUITE: the version of its Python, such as 3.13
python_of() { readlink "$cache/$1/usr/bin/python3" | sed 's/^python//'; }

extras_of() { [ "$1" = litert ] && echo "device,$extras" || echo "$1,$extras"; }

# Wheel and tests are copied together, before any slow step, so that they match even if the checkout changes later.
build_payload() {
    rm -rf "$payload"
    mkdir -p "$payload/tests"
    pip wheel --no-deps --no-build-isolation --wheel-dir "$payload" "$repository"
    cp -r "$repository/tests" "$repository/pyproject.toml" "$payload/tests/"
    install -D -t "$payload/tests/docs" "$repository"/docs/{model-file,export,native}.md # programs there are tests
    find "$payload/tests" -name __pycache__ -prune -exec rm -rf {} +
    wheel=$(ls "$payload"/edgetl-*.whl)
}

# fetch SUITE NAME REQUIREMENT...: download the wheels that a Pi would install; none is built here
fetch() {
    local suite=$1 name=$2 wheels=$cache/wheels/$1-$2 log=$cache/fetch-$1-$2.log
    shift 2
    local options=(--only-binary=:all: --python-version "$(python_of "$suite")" --dest "$wheels"
        --platform manylinux_2_34_aarch64 --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64
        --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64)
    mkdir -p "$wheels"
    rm -f "$wheels"/edgetl-*.whl
    pip download "${options[@]}" --no-index --find-links "$wheels" "$@" > "$log" 2>&1 && return
    say "fetching the aarch64 wheels of $name for $suite (once)"
    rm -f "$wheels"/*.whl
    pip download "${options[@]}" "$@" > "$log" 2>&1 && return
    tail -3 "$log"
    ! grep -qE 'connection|timed out|name resolution' "$log" || skip "the wheels cannot be fetched; see $log"
    fail "the wheels of $name are not available for aarch64 and $suite; see $log"
}

# The model that the round starts from, converted again only if the code of the conversion has changed.
make_model() {
    local key
    key=$(cd "$repository" && find converters edgetl/backbones device -name '*.py' | sort | xargs cat | sha256sum)
    local model=${EDGETL_PI_MODEL:-$cache/base-${key:0:12}.tflite}
    if [ ! -e "$model" ]; then
        rm -f "$cache"/base*.tflite
        say "converting EfficientNet-Lite0 for the round"
        (cd "$repository" && TF_CPP_MIN_LOG_LEVEL=3 "$python" -m edgetl convert efficientnet-lite0 --quantize int8 --out "$model") \
            > "$cache/convert.log" 2>&1 || { tail -20 "$cache/convert.log"; fail "edgetl convert ended with an error"; }
    fi
    cp "$model" "$payload/model.tflite"
}

# Run the same wheel on the host, to compare the results.
ask_host() {
    say "running the round on the host, to compare the results"
    "$python" -m zipfile -e "$wheel" "$payload/host"
    (cd "$repository" && "$python" -m scripts.pi.make_photos "$payload/photos")
    (cd "$payload" && PYTHONPATH=$payload/host EDGETL_RUNTIME=litert \
        "$python" "$here/round.py" photos model.tflite expected.json) > "$cache/host.log" 2>&1 \
        || { cat "$cache/host.log"; fail "the round on the host"; }
}

# enter RUN COMMAND...: run inside the Pi, in separate namespaces: two runs share only the root
enter() {
    local run=$1
    shift
    EDGETL_PI_ROOT=$cache/${run%%-*} timeout --signal=KILL "$((minutes * 60))" \
        unshare --mount --propagation private --pid --fork --kill-child bash "$here/enter.sh" "$@" 2>&1 \
        | tee "$cache/$run.log" | while IFS= read -r line; do say "[$run] $line"; done
}

[ -f "$python" ] || fail "PYTHON=$PYTHON is not a command"
"$python" -c 'import importlib.util as i, sys; sys.exit(not all(map(i.find_spec, ["hatchling", "hatch_fancy_pypi_readme", "tensorflow"])))' \
    || fail "$python has no TensorFlow, hatchling or hatch-fancy-pypi-readme: leave PYTHON unset to create .venv"
for suite in $(suites_of "$@"); do build_root "$suite" & done
wait
runs=()
for run; do
    if [ -e "$cache/${run%%-*}/.complete" ]; then runs+=("$run"); else say "$run is skipped: it has no root"; fi
done
[ ${#runs[@]} -gt 0 ] || skip "no root could be built"
set -- "${runs[@]}"
start=$SECONDS
build_payload
for suite in $(suites_of "$@"); do fetch "$suite" picamera2 --no-deps --group "$repository/pyproject.toml:picamera2"; done
for run; do fetch "${run%%-*}" "${run#*-}" "${wheel}[$(extras_of "${run#*-}")]" "${test_tools[@]}"; done
make_model
ask_host

say "in the Pi, $# run(s) in parallel: install the wheel offline, one round, the device tests"
jobs=()
for run; do
    enter "$run" /pi/inside.sh "${run%%-*}" "${run#*-}" "$(extras_of "${run#*-}")" "${test_tools[@]}" & jobs+=($!)
done
status=0
for job in "${jobs[@]}"; do wait "$job" || status=1; done

say "kept in $cache for the next run: $(du -sh "$cache" | cut -f1)"
say "pi-test $([ "$status" = 0 ] && echo passed || echo FAILED) in $(((SECONDS - start) / 60)) min $(((SECONDS - start) % 60)) s, under emulation:"
for run; do
    printf '%-24s Python %-6s %s\n' "$run" "$(python_of "${run%%-*}")" \
        "$(grep -E '^[0-9]+ (passed|failed|skipped|error)' "$cache/$run.log" || echo "did not finish; see $cache/$run.log")"
done
exit "$status"
