# make demo   the program over a sample release, on this machine alone    make demo-stop undoes it
# make test   every check and every test, real mounts included            .ci/run calls it
# make test-site  nodes of a site in network namespaces, as root: what the origin sends, with and without caches
# make bench  beside rclone and s3fs    make soak  half an hour of trouble    make chaos  to be watched
# make test-allensdk  the real AllenSDK, in an environment of its own, on a mounted sample
# make install, make uninstall   the command, units, mount helper, manual page and completions
# make deb    a Debian package    make test-deb  installs and removes it    make test-systemd  boots
# make lock   the versions and hashes of what vbofs needs    make audit  is any known to be vulnerable?

PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check -q
ifeq ($(shell id -u),0)
HOME_OF_VBOFS ?= /opt/vbofs
PREFIX ?= /usr/local
else
HOME_OF_VBOFS ?= $(HOME)/.local/share/vbofs
PREFIX ?= $(HOME)/.local
endif

# What is installed is what is locked, bit by bit: the versions and hashes in .ci/*.lock.
LOCKED := --require-hashes -r

.PHONY: lock audit demo demo-stop test test-site test-allensdk test-systemd test-deb deb lint types unit bench soak chaos format install uninstall packages test-packages clean

demo: $(VENV)/.demo
	@$(VENV)/bin/vbofs demo start

demo-stop:
	@if [ -x $(VENV)/bin/vbofs ]; then $(VENV)/bin/vbofs demo stop; fi

test: lint types unit

lint: $(VENV)/.test
	$(VENV)/bin/ruff format --check vbofs tests
	$(VENV)/bin/ruff check vbofs tests

types: $(VENV)/.test
	$(VENV)/bin/mypy

unit: $(VENV)/.test test-packages
	$(VENV)/bin/python -m pytest

# After a change of dependencies in pyproject.toml; both need a network.
lock: | $(VENV)/bin/python
	@.ci/lock $(VENV)/bin/python

audit: | $(VENV)/bin/python
	@.ci/audit $(VENV)/bin/python

test-site: $(VENV)/.test test-packages
	$(VENV)/bin/python -m tests.site $(SITE)

# AllenSDK wants numpy<1.24, hence Python 3.11 or older.
ALLENSDK := .venv-allensdk
ALLENSDK_PYTHON ?= $(PYTHON)

test-allensdk: $(VENV)/.test test-packages $(ALLENSDK)/.installed
	ALLENSDK_PYTHON=$(abspath $(ALLENSDK))/bin/python $(VENV)/bin/python -m pytest tests/allensdk/on_the_mount.py

$(ALLENSDK)/.installed: tests/allensdk/constraints.txt
	@echo "Installing AllenSDK into $(ALLENSDK), a minute or two …"
	$(ALLENSDK_PYTHON) -m venv --clear $(ALLENSDK)
	$(ALLENSDK)/bin/python -m pip --disable-pip-version-check -q install -c $< allensdk
	@touch $@

# Under a real systemd, booted in namespaces over a copy of this machine: needs root.
test-systemd: $(VENV)/.test test-packages
	RUN_SYSTEMD_TESTS=1 $(VENV)/bin/python -m pytest tests/systemd tests/test_install.py

deb:
	@sh systemd/deb/build

test-deb: $(VENV)/.test test-packages
	RUN_DEB_TEST=1 $(VENV)/bin/python -m pytest tests/systemd/test_packaged_deb.py

bench: $(VENV)/.test
	$(VENV)/bin/python -m tests.benchmarks

soak: $(VENV)/.test
	$(VENV)/bin/python -m tests.soak $(SOAK)
	SOAK_STEPS=10000 SOAK_KILLS=60 SOAK_TIMEOUT=60 SOAK_MEMORY=1 $(VENV)/bin/python -m pytest tests/model tests/mount/test_faults_killed.py tests/mount/test_faults_network.py tests/mount/test_memory.py -k "long_life or killed or cp_ends or memory or handles"

chaos: $(VENV)/.test
	$(VENV)/bin/python -m tests.soak.chaos

format: $(VENV)/.test
	$(VENV)/bin/ruff format vbofs tests
	$(VENV)/bin/ruff check --fix vbofs tests

$(VENV)/bin/python:
	@$(MAKE) --no-print-directory packages
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml .ci/demo.lock | $(VENV)/bin/python packages
	@echo "Installing vbofs into $(VENV) …"
	@$(PIP) install $(LOCKED) .ci/demo.lock
	@$(PIP) install --no-deps -e .
	@touch $@

$(VENV)/.test: pyproject.toml .ci/tests.lock | $(VENV)/bin/python packages
	@echo "Installing vbofs and what its tests need into $(VENV) …"
	@$(PIP) install $(LOCKED) .ci/tests.lock
	@$(PIP) install --no-deps -e .
	@touch $@ $(VENV)/.demo

install: packages
	$(PYTHON) -m venv $(HOME_OF_VBOFS)
	$(HOME_OF_VBOFS)/bin/python -m pip --disable-pip-version-check -q install $(LOCKED) .ci/requirements.lock
	@# From a copy: building leaves its traces in a checkout, and under sudo they would be root's.
	@copy=$$(mktemp -d) && trap 'rm -rf "$$copy"' EXIT \
		&& cp -r pyproject.toml README.md LICENSE vbofs systemd "$$copy" \
		&& $(HOME_OF_VBOFS)/bin/python -m pip --disable-pip-version-check -q install --no-deps "$$copy"
	@$(HOME_OF_VBOFS)/bin/vbofs install --prefix $(PREFIX)

uninstall:
	@[ ! -x $(HOME_OF_VBOFS)/bin/vbofs ] || $(HOME_OF_VBOFS)/bin/vbofs uninstall --prefix $(PREFIX)
	rm -rf $(HOME_OF_VBOFS)

# What the system must have, found out by looking for the thing and not for Debian's name of it.
packages:
	@PYTHON="$(PYTHON)" sh .ci/packages build

test-packages:
	@PYTHON="$(PYTHON)" sh .ci/packages test

clean:
	rm -rf $(VENV) $(ALLENSDK) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
