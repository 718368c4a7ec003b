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


ON_ONE_SERVER = ("bad_input", "command", "nodes", "server", "server_faults", "tools", "workflows")  # of host/


def group(test: str) -> str:
    """Tests of a group stay together in one process, so that what they share is started once. Others are their own."""
    file = test.split("::")[0]
    if file in [f"host/test_{name}.py" for name in ON_ONE_SERVER]:
        return "server"
    return next((part for part in ("browser/", "host/test_load.py") if file.startswith(part)), test)


def pytest_xdist_make_scheduler(config, log):
    """The largest groups first, then test by test."""
    from xdist.scheduler.loadscope import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group(nodeid)

    return ByGroup(config, log)


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
