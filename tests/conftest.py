"""Tests run inside a real ComfyUI's Python, with the pack loaded the way ComfyUI loads it.

Tests import the pack as `prompt_to_prompt`, e.g. `from prompt_to_prompt.p2p_core.alignment import align`,
and ComfyUI's own modules under their own names (`comfy`, `nodes`, ...).
"""

from __future__ import annotations

import os
from pathlib import Path

import bootstrap
import pytest

from support.comfy_server import THREADS, Server
from support.inside_comfyui import COMFYUI, load_pack, put_comfyui_first


def pytest_xdist_auto_num_workers(config):
    """Processes side by side, for the whole or a folder. A file or a few words of names are sooner done by one."""
    is_part = config.option.keyword or any(".py" in argument for argument in config.args)
    return 0 if is_part else min(os.cpu_count() or 1, 4)


def pytest_configure(config):
    if not (COMFYUI / "main.py").exists():
        pytest.exit("There is no ComfyUI yet. Run `make test`, or: python3 tests/bootstrap.py setup", returncode=2)
    os.environ.update({**THREADS, **os.environ})  # before torch is imported
    if config.option.dist != "no" and not hasattr(config, "workerinput"):
        return  # the process that hands the tests out runs none itself
    put_comfyui_first()
    load_pack(bootstrap.CHECKOUT)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Tests that share a ComfyUI stay together in one process, so that it is started once."""
    for item in items:
        if "browser" in item.path.relative_to(Path(__file__).parent).parts:
            item.add_marker(pytest.mark.xdist_group("browser"))
        elif "server" in item.fixturenames:
            item.add_marker(pytest.mark.xdist_group("server"))


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
