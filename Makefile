# Two commands do all set-up on a fresh machine: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/pip --disable-pip-version-check

.PHONY: demo test test-slow bench clean

demo: $(VENV)/.installed
	$(VENV)/bin/python -m tf_directpred.main --flagfile=configs/directpred_digits.cfg --run_dir=runs/demo --overwrite

test: $(VENV)/.installed-test
	$(VENV)/bin/python -m pytest -n 2 -m "not slow"

test-slow: $(VENV)/.installed-test
	$(VENV)/bin/python -m pytest -n 2 -m slow

# PEERS=ENVIRONMENT/bin/python: an interpreter with the extra `bench`, for the comparisons that need it.
bench: $(VENV)/.installed
	$(VENV)/bin/python benchmarks/augment.py $(if $(PEERS),--peers=$(PEERS))
	$(VENV)/bin/python benchmarks/growth.py
	$(VENV)/bin/python benchmarks/step.py
	$(if $(PEERS),$(VENV)/bin/python benchmarks/peers.py --peers=$(PEERS))
	$(VENV)/bin/python benchmarks/defaults.py
	$(VENV)/bin/python benchmarks/predictor.py
	$(VENV)/bin/python benchmarks/probe.py $(if $(PEERS),--peers=$(PEERS))

$(VENV)/.installed: setup.cfg pyproject.toml .ci/constraints.txt
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint .ci/constraints.txt --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) install --quiet --constraint .ci/constraints.txt --editable ".[test]"
	touch $@

clean:
	rm -rf $(VENV) .build .pytest_cache .hypothesis *.egg-info
