"""The API form of the example workflows, made from their canvas form and the nodes' own definitions.

python tests/tools/export_api.py            # writes example_workflows/api/*.json
python tests/tools/export_api.py --check    # says which are not up to date

Runs in ComfyUI's Python (.comfyui/venv/bin/python), since a server tells what inputs each node has.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from bootstrap import CHECKOUT

from support.comfy_client import Workflow
from support.comfy_server import Server

CANVAS = CHECKOUT / "example_workflows"
API = CANVAS / "api"
WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
NEVER, BYPASS = 2, 4  # a node's mode when it is muted or bypassed
NOTES = {"Note", "MarkdownNote"}


def to_api(canvas: dict, object_info: dict[str, dict]) -> Workflow:
    """What the front end would queue for a workflow without subgraphs, reroutes or bypassed nodes."""
    origins = {link[0]: [str(link[1]), link[2]] for link in canvas["links"]}
    workflow: Workflow = {}
    for node in sorted(canvas["nodes"], key=lambda node: node["id"]):
        if node["type"] in NOTES or node["mode"] == NEVER:
            continue
        if node["mode"] == BYPASS or node["type"] not in object_info:
            raise ValueError(f"node {node['id']} ({node['type']}) can't be exported")
        definition = object_info[node["type"]]
        inputs = widget_values(definition, node.get("widgets_values", []))
        inputs |= {slot["name"]: origins[slot["link"]] for slot in node.get("inputs", []) if slot["link"] is not None}
        ordered = {name: inputs[name] for name in input_specs(definition) if name in inputs}
        title = node.get("title") or definition["display_name"] or node["type"]
        workflow[str(node["id"])] = {"class_type": node["type"], "inputs": ordered, "_meta": {"title": title}}
    return workflow


def input_specs(definition: dict) -> dict[str, list]:
    """A node's inputs by name, in order, each as ComfyUI describes it: [type, settings]."""
    return {**definition["input"].get("required", {}), **definition["input"].get("optional", {})}


def widget_values(definition: dict, values: list) -> dict:
    """The values of a node's widgets by name, without those that only the front end has."""
    remaining, named = list(values), {}
    for name, spec in input_specs(definition).items():
        if is_widget(spec):
            named[name] = remaining.pop(0)
            del remaining[: len(extra_values(name, spec))]
    if remaining:
        raise ValueError(f"{definition['name']} has {len(remaining)} values more than widgets")
    return named


def is_widget(spec: list) -> bool:
    kind, settings = spec[0], spec[1] if len(spec) > 1 else {}
    return (isinstance(kind, list) or kind in WIDGETS) and not settings.get("forceInput")


def extra_values(name: str, spec: list) -> list:
    """What the front end keeps after a widget's value: what becomes of a seed, the button of an upload."""
    settings = spec[1] if len(spec) > 1 else {}
    if settings.get("control_after_generate"):
        return ["fixed"]
    return ["image"] if settings.get("image_upload") else []


def written(workflow: Workflow) -> str:
    return json.dumps(workflow, indent=2, ensure_ascii=False) + "\n"


def outdated(object_info: dict[str, dict]) -> dict[Path, str]:
    """The API files that differ from what their canvas files give, and what should be in them."""
    wanted = {
        API / path.name: written(to_api(json.loads(path.read_text(encoding="utf-8")), object_info))
        for path in sorted(CANVAS.glob("*.json"))
    }
    return {p: text for p, text in wanted.items() if not p.exists() or p.read_text(encoding="utf-8") != text}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args(arguments).check
    with Server() as server:
        files = outdated(server.object_info())
    for path, text in files.items():
        print(f"{'out of date' if check else 'written'}: {path.relative_to(CHECKOUT)}")
        if not check:
            path.write_text(text, encoding="utf-8")
    return int(check and bool(files))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
