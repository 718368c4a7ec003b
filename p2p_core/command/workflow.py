"""An edit as a ComfyUI workflow, to be carried inside of its picture: dropped on the canvas, it opens the edit.

The pack's own examples are the templates, so that what opens looks as they do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

TEMPLATE = Path(__file__).resolve().parents[2] / "example_workflows" / "word_swap.json"
Values = Mapping[str, Any]

# Where the nodes that the template lacks are to be seen.
_EXAMPLES = {"AttentionReweight": "reweighting.json", "AttentionLocalBlend": "local_blend.json"}


def edit_workflow(
    values: Mapping[str, Values], inserted: Sequence[tuple[str, Values]] = (), model: Path | None = None
) -> dict | None:
    """The template with an edit's settings; None where the pack's examples are not at hand.

    Args:
        values: for each type of node its widgets' values by name.
        inserted: nodes that the edit goes through after PromptPairAlign, with their widgets' values.
        model: the file or folder that the model came from; None is the demo model.
    """
    if not TEMPLATE.exists():
        return None
    workflow = _read(TEMPLATE)
    for node in workflow["nodes"]:
        _set_widgets(node, values.get(node["type"], {}))
    if model is not None:
        _load_model(workflow, model)
    for kind, widgets in reversed(inserted):
        _insert(workflow, kind, widgets)
    return workflow


def as_prompt(workflow: dict) -> dict[str, dict]:
    """A workflow in the form that a server executes: for each node its class and inputs."""
    sources = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    prompt = {}
    for node in workflow["nodes"]:
        if node["type"] in ("Note", "MarkdownNote"):
            continue
        inputs = {name: node["widgets_values"][place] for name, place in _places(node).items()}
        inputs |= {i["name"]: sources[i["link"]] for i in node["inputs"] if i.get("link") is not None}
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return prompt


def _places(node: dict) -> dict[str, int]:
    """Where each widget's value is. A seed is followed by what becomes of it after a run, which has no input."""
    places: dict[str, int] = {}
    place = 0
    for name in (i["name"] for i in node["inputs"] if "widget" in i):
        places[name] = place
        place += 2 if name in ("seed", "noise_seed") else 1
    return places


def _set_widgets(node: dict, values: Values) -> None:
    places = _places(node)
    for name, value in values.items():
        node["widgets_values"][places[name]] = value


def _load_model(workflow: dict, model: Path) -> None:
    kind, widget = ("DiffusersLoader", "model_path") if model.is_dir() else ("CheckpointLoaderSimple", "ckpt_name")
    node = next(node for node in workflow["nodes"] if node["type"] == "P2PDemoModel")
    node |= {
        "type": kind,
        "title": "the model",
        "inputs": [_widget(widget, "COMBO")],
        "widgets_values": [model.name],
        "properties": {"Node name for S&R": kind},
    }
    for output in node["outputs"]:
        output["name"] = output["type"]


def _read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def _insert(workflow: dict, kind: str, widgets: Values) -> None:
    """Put a node between PromptPairAlign and what takes its edit."""
    align = next(node for node in workflow["nodes"] if node["type"] == "PromptPairAlign")
    link = next(link for link in workflow["links"] if link[1] == align["id"] and link[5] == "P2P_EDIT")
    workflow["last_node_id"] += 1
    workflow["last_link_id"] += 1
    new, added = workflow["last_node_id"], workflow["last_link_id"]
    above = max(node["pos"][1] + node["size"][1] for node in workflow["nodes"] if node["pos"][0] == align["pos"][0])
    example = _read(TEMPLATE.with_name(_EXAMPLES[kind]))
    node = next(node for node in example["nodes"] if node["type"] == kind)
    node |= {"id": new, "pos": [align["pos"][0], above + 60], "order": len(workflow["nodes"])}
    node.pop("title", None)
    for socket in node["inputs"]:
        socket["link"] = added if socket["name"] == "edit" else None
    node["outputs"][0]["links"] = [link[0]]
    _set_widgets(node, widgets)
    output = next(output for output in align["outputs"] if output["type"] == "P2P_EDIT")
    output["links"] = [added if i == link[0] else i for i in output["links"]]
    workflow["links"].append([added, align["id"], link[2], new, 0, "P2P_EDIT"])
    link[1], link[2] = new, 0
    workflow["nodes"].append(node)


def _widget(name: str, type_: str) -> dict:
    return {"name": name, "type": type_, "widget": {"name": name}, "link": None}
