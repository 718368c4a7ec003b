"""On a ComfyUI that is too old, the pack offers nothing and says why."""

from __future__ import annotations

import subprocess
import sys

from bootstrap import CHECKOUT

LOAD_AS_COMFYUI_DOES = """
import importlib.util, sys
sys.path[0], root = sys.argv[1:]
spec = importlib.util.spec_from_file_location("pack", root + "/__init__.py", submodule_search_locations=[root])
module = sys.modules["pack"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print("loaded", getattr(module, "NODE_CLASS_MAPPINGS", None), hasattr(module, "comfy_entrypoint"))
"""


def test_a_comfyui_without_the_api_that_the_pack_needs(tmp_path):
    """Before the V3 schema there was a comfy_api, or none at all, but no comfy_api.latest."""
    (tmp_path / "comfy_api").mkdir()
    (tmp_path / "comfy_api" / "__init__.py").touch()
    (tmp_path / "comfyui_version.py").write_text('__version__ = "0.3.12"\n')
    command = [sys.executable, "-c", LOAD_AS_COMFYUI_DOES, str(tmp_path), str(CHECKOUT)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)  # noqa: S603
    assert run.returncode or run.stdout.split("\n")[0] == "loaded {} False"
    assert "needs ComfyUI 0.3.75 or newer" in run.stderr
