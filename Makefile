# Everything from nothing: Python >= 3.11, make and dbus-daemon are all a machine needs.
#
#   make demo                      translate the signs of a generated street walk
#   make demo ARGS="--image F"     the same on a picture of your own (see `make demo ARGS=--help`)
#   make test                      linters, type checks, import rule, proto drift, all tests
#   make bench-photos PHOTOS=DIR   every photo of a folder through the whole system
#   make fuzz                      hostile bytes for the link, guided by coverage, five minutes (ARGS=--help tells more)
#   make radio-vm                  the link's tests on real BlueZ in a virtual machine (ARGS=--help tells more)
#   make bench-stabiliser          stabilisers side by side on sequences with ground truth (ARGS=--help tells more)

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
ARGS   ?=
PHOTOS ?= ../shared/photos
# The last OpenCV with the trackers that the stabiliser is compared with; only a child process of the bench sees it.
CONTRIB := opencv-contrib-python-headless==4.14.0.94
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo test check unit bench-photos bench-translation bench-stabiliser radio-vm fuzz proto constraints clean

help:
	@sed -n 's/^#   //p' $(MAKEFILE_LIST)

# Stamps stand for an installed set of extras; a changed pyproject or constraints file renews them.
$(VENV)/.stamp-sim: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "wayword needs Python >= 3.11; set PYTHON=" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[sim]'
	@touch $@

$(VENV)/.stamp-dev: $(VENV)/.stamp-sim
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

$(VENV)/.stamp-bench: $(VENV)/.stamp-sim
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	@touch $@

demo: $(VENV)/.stamp-sim
	$(BIN)/wayword-phone packs install >&2
	$(BIN)/wayword-glasses --warm
	$(BIN)/wayword-sim demo $(ARGS)

test: check unit

check: $(VENV)/.stamp-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python proto/generate.py --check

unit: $(VENV)/.stamp-dev
	@command -v dbus-daemon >/dev/null || { echo "make test needs dbus-daemon (Debian: apt install dbus-daemon)" >&2; exit 1; }
	$(BIN)/wayword-phone packs install
	$(BIN)/wayword-glasses --warm
	$(BIN)/python -m pytest -m 'not nightly and not realtime' --numprocesses auto --maxprocesses 4
	$(BIN)/python -m pytest -m 'realtime and not nightly'

bench-photos: $(VENV)/.stamp-bench
	$(BIN)/wayword-phone packs install
	$(BIN)/wayword-sim bench photos $(PHOTOS)

bench-translation: $(VENV)/.stamp-bench
	$(BIN)/wayword-phone packs install
	$(BIN)/wayword-sim bench translation

$(VENV)/.stamp-contrib: Makefile $(VENV)/.stamp-sim
	$(BIN)/python -m pip install --quiet --upgrade --no-deps --target $(VENV)/contrib $(CONTRIB) && touch $@ \
		|| echo "opencv-contrib cannot be installed: its trackers will be missing from the tables" >&2

bench-stabiliser: $(VENV)/.stamp-sim $(VENV)/.stamp-contrib
	$(BIN)/wayword-sim bench stabiliser $(ARGS)

# Takes half an hour and more; skips with a reason where the machine cannot be had. ARGS goes to pytest.
radio-vm: $(VENV)/.stamp-dev
	$(BIN)/python -m simulations.radio.vm $(ARGS)

$(VENV)/.stamp-fuzz: $(VENV)/.stamp-sim
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[fuzz]'
	@touch $@

# By hand: Atheris (libFuzzer) has wheels for Linux only. Inputs that break a promise are left here as fuzz-*.
fuzz: $(VENV)/.stamp-fuzz
	$(BIN)/wayword-sim bench link-fuzz --engine atheris --seconds 300 $(ARGS)

proto: $(VENV)/.stamp-dev
	$(BIN)/python proto/generate.py

# Pins what CI installs to what is installed now.
constraints: $(VENV)/.stamp-dev $(VENV)/.stamp-bench
	$(BIN)/python -m pip freeze --exclude-editable | sed '/^wayword/d' > constraints.txt

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
