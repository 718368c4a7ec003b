"""The API form of the example workflows, made from their canvas form and the nodes' own definitions.

python tests/tools/export_api.py            # writes example_workflows/api/*.json
python tests/tools/export_api.py --check    # says which are not up to date

Runs in ComfyUI's Python (.comfyui/venv/bin/python), since a server tells what inputs each node has.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Callable
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


def _load_as_prompt() -> Callable[[dict], Workflow]:
    """The command's own, by its path: the checkout's root must not be on sys.path beside a ComfyUI."""
    spec = importlib.util.spec_from_file_location("workflow", CHECKOUT / "p2p_core" / "command" / "workflow.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.as_prompt


as_prompt = _load_as_prompt()


def to_api(canvas: dict, object_info: dict[str, dict]) -> Workflow:
    """What the front end would queue for a workflow without subgraphs, reroutes or bypassed nodes."""
    nodes = [node for node in canvas["nodes"] if node["mode"] != NEVER]
    for node in nodes:
        _check(node, object_info)
    workflow: Workflow = as_prompt({**canvas, "nodes": sorted(nodes, key=lambda node: node["id"])})
    titles = {str(node["id"]): node.get("title") for node in nodes}
    for number, node in workflow.items():
        definition = object_info[node["class_type"]]
        node["inputs"] = {name: node["inputs"][name] for name in input_specs(definition) if name in node["inputs"]}
        node["_meta"] = {"title": titles[number] or definition["display_name"] or node["class_type"]}
    return workflow


def _check(node: dict, object_info: dict[str, dict]) -> None:
    """Raise ValueError where a node isn't what the server knows by its name, or is bypassed.

    A workflow that was saved before a node got another optional input at its end lacks that one's widget.
    """
    if node["type"] in NOTES:
        return
    if node["mode"] == BYPASS or node["type"] not in object_info:
        raise ValueError(f"node {node['id']} ({node['type']}) can't be exported")
    specs = input_specs(object_info[node["type"]])
    widgets = [name for name, spec in specs.items() if is_widget(spec)]
    saved = [slot["name"] for slot in node["inputs"] if "widget" in slot]
    later = widgets[len(saved) :]
    widgets = widgets[: len(saved)]
    if saved != widgets or set(later) & set(object_info[node["type"]]["input"].get("required", {})):
        raise ValueError(f"node {node['id']} ({node['type']}) has other widgets than {', '.join(widgets)}")
    if len(node.get("widgets_values", [])) != sum(1 + len(extra_values(name, specs[name])) for name in widgets):
        raise ValueError(f"node {node['id']} ({node['type']}) has more or fewer values than widgets")


def input_specs(definition: dict) -> dict[str, list]:
    """A node's inputs by name, in order, each as ComfyUI describes it: [type, settings]."""
    return {**definition["input"].get("required", {}), **definition["input"].get("optional", {})}


def is_widget(spec: list) -> bool:
    kind, settings = spec[0], spec[1] if len(spec) > 1 else {}
    return (isinstance(kind, list) or kind in WIDGETS) and not settings.get("forceInput")


def widget_defaults(definition: dict) -> dict[str, object]:
    """What the front end puts into the widgets of a new node, by input, where the server says it."""
    widgets = {name: spec for name, spec in definition["input"].get("required", {}).items() if is_widget(spec)}
    settings = {name: spec[1] for name, spec in widgets.items() if len(spec) > 1}
    return {name: given["default"] for name, given in settings.items() if "default" in given}


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
