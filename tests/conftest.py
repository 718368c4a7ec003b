"""Tests run inside a real ComfyUI's Python, with the pack loaded the way ComfyUI loads it.

Tests import the pack as `prompt_to_prompt`, e.g. `from prompt_to_prompt.p2p_core.alignment import align`,
and ComfyUI's own modules under their own names (`comfy`, `nodes`, ...).
"""

from __future__ import annotations

import os

import bootstrap
import pytest

from support.comfy_server import THREADS, Server
from support.inside_comfyui import COMFYUI, load_pack, put_comfyui_first


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
