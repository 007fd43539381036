# make lists the targets. Each makes its own virtual environment when it is missing.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	&& { echo $$p; break; }; done)
PYTHON_311 ?= $(shell for p in python3.11 python3; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
	&& { echo $$p; break; }; done)
VENV := .venv
VENV_TFLITE := .venv-tflite-runtime
VENV_MEDIAPIPE := .venv-mediapipe
VENV_TEACHABLE := .venv-teachable
VENV_FLEET := .venv-fleet
VENV_SIMULATION := .venv-simulation
PIP := -m pip --disable-pip-version-check --quiet
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: help demo test test-litert test-tflite-runtime lint format docs docs-site docs-check pictures bench bench-all pi-test fresh-test clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-20s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/ready ## the complete process on real photos: train, convert, teach in the field, report
	$(VENV)/bin/edgetl demo

test: test-litert test-tflite-runtime ## every test, on LiteRT and on tflite-runtime

test-litert: $(VENV)/ready ## every test, on LiteRT
	$(VENV)/bin/python -m pytest --durations=10

# it has wheels for Python 3.11 at most; what a browser shows does not depend on the runtime
test-tflite-runtime: ## the device tests on tflite-runtime, which needs Python 3.11
ifeq ($(PYTHON_311),)
	@echo "skipped: tflite-runtime 2.14 needs Python 3.11, and none was found"
else
	@$(MAKE) --no-print-directory $(VENV_TFLITE)/ready
	EDGETL_RUNTIME=tflite-runtime $(VENV_TFLITE)/bin/python -m pytest --durations=10 -m "not browser" tests/device
endif

lint: $(VENV)/ready ## ruff, mypy --strict, codespell, the prose of the docs, and whether their help pages are current
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/codespell
	$(VENV)/bin/python -m scripts.prose
	$(VENV)/bin/python -m cogapp --check README.md docs/*.md

format: $(VENV)/ready ## fix what ruff can fix
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

docs: $(VENV)/ready ## write the help pages in the docs
	$(VENV)/bin/python -m cogapp -r README.md docs/*.md

docs-site: $(VENV)/ready ## the documentation as a site, in the folder site; warnings are errors
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --strict --quiet
	@echo "Open site/index.html; for the search: python3 -m http.server --directory site"

docs-check: $(VENV)/ready ## every block of the docs in fresh environments; downloads TensorFlow
	$(VENV)/bin/python -m scripts.docs_check $(PAGES)

pictures: $(VENV)/ready ## the pictures of README and docs: pages, terminals, charts, notebooks; needs Chromium
	$(VENV)/bin/python $(PIP) install --no-deps --group pictures
	$(VENV)/bin/python -m scripts.pictures $(NAMES)

bench: $(VENV)/ready ## the quick benchmarks, in less than ten minutes; writes benchmarks/RESULTS.md
	$(VENV)/bin/python $(PIP) install --group bench
	$(VENV)/bin/python -m benchmarks.run

bench-all: $(VENV)/ready ## all benchmarks that need no photos of yours; takes hours
	$(VENV)/bin/python $(PIP) install --group bench
	$(VENV)/bin/python -m benchmarks.run --all

# 77 is a skip; it has said why. It makes $(VENV) itself, once it knows that it can run
pi-test: ## the wheel and the device tests in an emulated Raspberry Pi; needs root
	@scripts/pi/pi_test.sh $(RUNS) || test $$? = 77

fresh-test: ## the first commands of README.md in bare Debian 12 and 13 roots; needs root, takes about an hour
	@scripts/fresh/fresh_test.sh $(SUITES)

$(VENV)/ready: pyproject.toml
	@test -n "$(PYTHON)" || { echo "edgetl needs Python 3.11, 3.12 or 3.13; install one, or name it: make PYTHON=/path/to/python3"; exit 1; }
	@echo "Setting up $(VENV) (once, some minutes: TensorFlow is large)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "No virtual environment could be made. On Debian: sudo apt-get install python3-venv"; exit 1; }
	@$(VENV)/bin/python $(PIP) install --upgrade 'pip>=25.1'
	@$(VENV)/bin/python $(PIP) install --editable '.[host,device,demo,serve,https,gpio,mqtt,photos,sign]' --group dev
	@$(VENV)/bin/python $(PIP) install --no-deps --only-binary=:all: --group picamera2 --group axe
	@touch $@

# $(call new_environment,PYTHON): the folder of the target as an environment with a recent pip
define new_environment
@echo "Setting up $(@D)"
@$(1) -m venv $(@D)
@$(@D)/bin/python $(PIP) install --upgrade 'pip>=25.1'
endef

$(VENV_TFLITE)/ready: pyproject.toml
	$(call new_environment,$(PYTHON_311))
	@$(@D)/bin/python $(PIP) install --editable '.[tflite-runtime,serve,https,gpio,mqtt,photos,sign]' --group device-test
	@$(@D)/bin/python $(PIP) install --no-deps --only-binary=:all: --group picamera2
	@touch $@

# MediaPipe brings an OpenCV of its own, so it has an environment of its own; without it, its tests are skipped
$(VENV_MEDIAPIPE)/ready: pyproject.toml
	$(call new_environment,$(PYTHON))
	@$(@D)/bin/python $(PIP) install --only-binary=:all: --group mediapipe
	@touch $@

# Flower needs older releases of what TensorFlow and the page use, so it has environments of its own; without this one, its tests
# are skipped
$(VENV_FLEET)/ready: pyproject.toml
	$(call new_environment,$(PYTHON))
	@$(@D)/bin/python $(PIP) install --editable '.[device,fleet]'
	@touch $@

# Flower's simulation and Ray, for benchmarks.fleet_scale
$(VENV_SIMULATION)/ready: pyproject.toml
	$(call new_environment,$(PYTHON))
	@$(@D)/bin/python $(PIP) install --editable '.[device]' --group simulation
	@touch $@

# a peer of the benchmarks, on the last tflite-runtime, which needs Python 3.11
$(VENV_TEACHABLE)/ready: pyproject.toml
	$(call new_environment,$(PYTHON_311))
	@$(@D)/bin/python $(PIP) install --only-binary=:all: --group teachable
	@touch $@

clean: ## remove the virtual environments and caches
	rm -rf $(VENV) $(VENV_TFLITE) $(VENV_MEDIAPIPE) $(VENV_TEACHABLE) $(VENV_FLEET) $(VENV_SIMULATION) dist build .pytest_cache .mypy_cache .ruff_cache
