"""This process as ComfyUI's own: its modules under their names, and the pack loaded as it loads one."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import bootstrap

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
