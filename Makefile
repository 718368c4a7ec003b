# Needs Python 3.11 or newer. Another one: make test PYTHON=python3.12. Arguments: make test ARGS="unit -k alignment"
PYTHON ?= python3

.PHONY: demo test bench edits train packs matrix server registry clean

demo: ; @$(PYTHON) tests/bootstrap.py demo $(ARGS)
test: ; @$(PYTHON) tests/bootstrap.py test $(ARGS)
bench: ; @$(PYTHON) tests/bootstrap.py python tests/bench/speed/benchmark.py $(ARGS)
edits: ; @$(PYTHON) tests/bootstrap.py python tests/bench/quality/benchmark.py $(ARGS)
train: ; @$(PYTHON) tests/bootstrap.py python -m p2p_core.demo.train $(ARGS)
packs: ; @$(PYTHON) tests/tools/other_packs.py $(ARGS)
matrix: ; @$(PYTHON) tests/tools/matrix.py $(ARGS)
server: ; @$(PYTHON) tests/bootstrap.py server $(ARGS)
registry: ; @$(PYTHON) tests/bootstrap.py python tests/tools/registry.py check
clean: ; @rm -rf .comfyui .comfyui-* demo.png tests/bench/speed/results tests/bench/quality/results p2p_core/demo/training .pytest_cache tests/.pytest_cache .ruff_cache .hypothesis tests/.hypothesis
