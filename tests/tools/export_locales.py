"""locales/en/nodeDefs.json, made from what the nodes say of themselves.

python tests/tools/export_locales.py

Runs in ComfyUI's Python. The other languages are written by hand; tests/host/test_nodes.py says what they lack.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from bootstrap import CHECKOUT

from support.comfy_server import Server
from tools.export_api import input_specs

ENGLISH = CHECKOUT / "locales" / "en" / "nodeDefs.json"


def texts(definition: dict) -> dict:
    """A node's names and tooltips in the form in which ComfyUI wants translations."""
    inputs = {name: {"name": name, "tooltip": spec[1]["tooltip"]} for name, spec in input_specs(definition).items()}
    outputs = zip(definition["output_name"], definition["output_tooltips"], strict=True)
    return {
        "display_name": definition["display_name"],
        "description": definition["description"],
        **({"inputs": inputs} if inputs else {}),
        "outputs": {str(i): {"name": name, "tooltip": tooltip} for i, (name, tooltip) in enumerate(outputs)},
    }


def main() -> int:
    with Server() as server:
        listed = sorted(server.object_info().items())
    ours = {n: texts(d) for n, d in listed if d["python_module"] == "custom_nodes.prompt-to-prompt"}
    ENGLISH.parent.mkdir(parents=True, exist_ok=True)
    ENGLISH.write_text(json.dumps(ours, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
