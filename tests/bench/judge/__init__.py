"""Reads pictures of the demo world; see README.md. Runs without ComfyUI, and beside it.

p2p_core is imported by its path where it is not importable: the checkout's root must not be on sys.path beside a
ComfyUI, whose `nodes` module it would hide.
"""

import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("p2p_core") is None:
    folder = Path(__file__).parents[3] / "p2p_core"
    spec = importlib.util.spec_from_file_location(
        "p2p_core", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    sys.modules["p2p_core"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["p2p_core"])
