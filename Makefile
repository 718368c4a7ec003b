# Needs Python 3.11 or newer. Another one: make test PYTHON=python3.12. Arguments: make test ARGS="unit -k alignment"
PYTHON ?= python3

.PHONY: demo test bench server packs matrix clean

demo: ; @$(PYTHON) tests/bootstrap.py demo $(ARGS)
test: ; @$(PYTHON) tests/bootstrap.py test $(ARGS)
bench: ; @$(PYTHON) tests/bootstrap.py python tests/bench/bench.py $(ARGS)
packs: ; @$(PYTHON) tests/other_packs.py $(ARGS)
matrix: ; @$(PYTHON) tests/matrix.py $(ARGS)
server: ; @$(PYTHON) tests/bootstrap.py server $(ARGS)
clean: ; @rm -rf .comfyui .comfyui-* demo.png tests/bench/results .pytest_cache tests/.pytest_cache .ruff_cache .hypothesis tests/.hypothesis
