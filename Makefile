# make demo, make test: all that a fresh machine with Python >= 3.10 needs. Both create .venv here, install from setup.cfg, and
# do neither again until setup.cfg or pyproject.toml changes.

VENV   := .venv
PY     := $(VENV)/bin/python
# the first Python that is new enough; make PYTHON=... chooses another
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1 && echo $$p && break; done)
RUFF   := ruff check --isolated --line-length 130 --select E,F,W,I,B,UP --ignore E741,B023,B905,B028 --target-version py310 \
	--per-file-ignores '__init__.py:F401,__init__.py:F403,__init__.py:I001,tests/*:E501'
JOBS   ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 2)
ARGS   ?=

.PHONY: help demo test test-cuda bench warmup lint clean

help:           ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1	/p' $(MAKEFILE_LIST) | expand -t 10

demo: $(VENV)/demo.stamp    ## trains LeNet on handwritten digits and draws digits.png
	$(PY) demos/lenet_digits.py $(ARGS)

test: $(VENV)/test.stamp    ## all tests, in as many processes as there are cores; make test ARGS="-k softmax" runs some
	$(PY) -m pytest -n $(JOBS) --dist worksteal $(ARGS)

test-cuda: $(VENV)/test.stamp $(VENV)/cuda.stamp  ## compiles all CUDA kernels for five architectures; needs no GPU, but the cuda extra
	$(PY) -m pytest -n $(JOBS) --dist worksteal tests/cuda $(ARGS)

bench: $(VENV)/parity.stamp ## speed and memory as ratios to PyTorch, which is installed for it
	$(PY) tests/bench.py $(ARGS)

warmup: $(VENV)/demo.stamp  ## compiles the common kernels ahead of their first use
	$(PY) -m numtorch warmup

lint: $(VENV)/dev.stamp     ## ruff
	$(VENV)/bin/$(RUFF) kernels numtorch tests demos

clean:          ## removes .venv and what builds and tests leave behind; the cache of compiled kernels stays
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find kernels numtorch tests demos -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "numtorch needs Python >= 3.10; none was found on the PATH" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot create virtual environments; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }

# one stamp an extra; an interrupted install leaves none, and is repeated
$(VENV)/%.stamp: $(VENV)/bin/python setup.cfg pyproject.toml
	$(PY) -m pip install --quiet --disable-pip-version-check --editable ".[$*]"
	@touch $@
