"""Tests run inside a real ComfyUI's Python, with the pack loaded the way ComfyUI loads it.

Tests import the pack as `prompt_to_prompt`, e.g. `from prompt_to_prompt.p2p_core.alignment import align`,
and ComfyUI's own modules under their own names (`comfy`, `nodes`, ...).
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import bootstrap
import pytest
from comfy_server import THREADS, Server

COMFYUI = bootstrap.locate().comfyui


def put_comfyui_first() -> None:
    """ComfyUI on the CPU, in this process, with its own defaults and not pytest's command line."""
    sys.path.insert(0, str(COMFYUI))
    import comfy.options

    comfy.options.enable_args_parsing(False)
    from comfy.cli_args import args

    args.cpu = True


def load_pack(root: Path, name: str = "prompt_to_prompt"):
    """Import the pack from its folder, under `name`, as ComfyUI does for a folder in custom_nodes."""
    spec = importlib.util.spec_from_file_location(name, root / "__init__.py", submodule_search_locations=[str(root)])
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def pytest_configure(config):
    if not (COMFYUI / "main.py").exists():
        pytest.exit("There is no ComfyUI yet. Run `make test`, or: python3 tests/bootstrap.py setup", returncode=2)
    os.environ.update({**THREADS, **os.environ})  # before torch is imported
    put_comfyui_first()
    load_pack(bootstrap.CHECKOUT)


@pytest.fixture(autouse=True)
def seeded():
    """Every test draws the same random numbers, whatever ran before it."""
    import torch

    torch.manual_seed(0)


@pytest.fixture(scope="session")
def server():
    """One real ComfyUI with the pack, for the whole session; started by the first test that wants it."""
    with Server("--preview-method", "auto") as running:
        yield running
