"""On a ComfyUI that is too old, the pack offers nothing and says why."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from bootstrap import CHECKOUT

from support.inside_comfyui import COMFYUI

LOAD_AS_COMFYUI_DOES = """
import contextlib, importlib.util, sys
sys.path[0], root = sys.argv[1:]
with contextlib.suppress(ImportError):
    from comfy.cli_args import args
    args.cpu = True
spec = importlib.util.spec_from_file_location("pack", root + "/__init__.py", submodule_search_locations=[root])
module = sys.modules["pack"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print("loaded", getattr(module, "NODE_CLASS_MAPPINGS", None), hasattr(module, "comfy_entrypoint"))
"""


def load(comfyui) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", LOAD_AS_COMFYUI_DOES, str(comfyui), str(CHECKOUT)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)  # noqa: S603


def version() -> tuple[int, ...]:
    """Of the ComfyUI that the tests run on."""
    text = (COMFYUI / "comfyui_version.py").read_text()
    return tuple(map(int, re.search(r'"([\d.]+)"', text).group(1).split(".")))


def write_comfyui(folder, files: dict[str, str]) -> None:
    for name, text in {"comfyui_version.py": '__version__ = "0.3.12"\n', **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


ATTENTION = "comfy/ldm/modules/attention.py"
TOO_OLD = {
    "no comfy_api.latest": {"comfy_api/__init__.py": "", ATTENTION: "def wrap_attn(): ..."},
    "attention without options": {"comfy_api/latest/__init__.py": "", ATTENTION: "def optimized_attention(): ..."},
}


@pytest.mark.parametrize("files", TOO_OLD.values(), ids=TOO_OLD)
def test_a_comfyui_without_what_the_pack_needs(tmp_path, files):
    """Before the V3 schema there was a comfy_api, or none at all; and for half a year after it, older attention."""
    write_comfyui(tmp_path, files)
    run = load(tmp_path)
    assert run.returncode or run.stdout.split("\n")[0] == "loaded {} False"
    assert "needs ComfyUI 0.3.60" in run.stderr


def test_the_comfyui_of_these_tests():
    """`make matrix` runs this on real ones from before and after."""
    run = load(COMFYUI)
    new_enough = version() >= (0, 3, 60)
    assert ("loaded None True" in run.stdout) == new_enough, run.stderr
    assert ("needs ComfyUI 0.3.60" in run.stderr) == (not new_enough)
