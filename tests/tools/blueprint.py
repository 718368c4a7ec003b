"""A blueprint: nodes inside of one node, as the front end's node library offers it.

edit = Blueprint("An edit", object_info, "What it does.")
model, seed = edit.input("model", "MODEL"), edit.input("seed", "INT", 1)
sampled = edit.add("P2PSampler", column=0, model=model, seed=seed)
edit.output("edited", sampled["edited"])
edit.json()

An input with a value is a widget of the node. What is inside is laid out as a workflow is.
"""

from __future__ import annotations

from support.comfy_client import Workflow
from tools.export_api import BYPASS, as_prompt, widget_defaults
from tools.workflow_builder import GAP, SLOT, TEXT, WIDGET, Canvas, Placed, provenance

INPUTS, OUTPUTS = -10, -20  # the front end's ids of a subgraph's two ends
END = 150  # pixels, the width of the boxes that stand for them


class Blueprint(Canvas):
    """A subgraph under construction, alone in its workflow."""

    def __init__(self, name: str, object_info: dict[str, dict], description: str):
        super().__init__(name, object_info)
        self.description = description
        self.entrance = Placed(INPUTS, {"name": "", "output": [], "output_name": []}, "", 0, END)
        self.defaults: dict[str, object] = {}
        self.outputs: dict[str, tuple[Placed, int]] = {}

    def input(self, name: str, kind: str, value=None) -> tuple[Placed, int]:
        """One more input of the whole; something to connect inputs inside to. With a value it is a widget."""
        self.entrance.definition["output"].append(kind)
        self.entrance.definition["output_name"].append(name)
        if value is not None:
            self.defaults[name] = value
        return self.entrance[name]

    def output(self, name: str, of: tuple[Placed, int]) -> None:
        self.outputs[name] = of

    def add(self, *where, **inputs) -> Placed:
        placed = super().add(*where, **inputs)
        for name, (origin, number) in placed.links.items():
            if origin is self.entrance and name in placed.values:
                placed.values[name] = self.defaults[self.entrance.definition["output_name"][number]]
        return placed

    def json(self) -> dict:
        inside = self._inside()
        taken = list(zip(self.entrance.definition["output_name"], self.entrance.definition["output"], strict=True))
        widget = {name: {"widget": {"name": name}} for name in self.defaults}
        whole = {
            "id": 1,
            "type": inside["id"],
            "pos": [0, 0],
            "size": [400, self._height()],
            "flags": {},
            "order": 0,
            "mode": 0,
            "inputs": [{"name": name, "type": kind, **widget.get(name, {}), "link": None} for name, kind in taken],
            "outputs": [{"name": end["name"], "type": end["type"], "links": []} for end in inside["outputs"]],
            "title": self.name,
            "properties": {
                **provenance(self.object_info["P2PSampler"]),
                "proxyWidgets": [["-1", n] for n in self.defaults],
            },
            "widgets_values": list(self.defaults.values()),
        }
        return {
            "id": self._uuid(),
            "revision": 0,
            "last_node_id": 1,
            "last_link_id": 0,
            "nodes": [whole],
            "links": [],
            "groups": [],
            "definitions": {"subgraphs": [inside]},
            "config": {},
            "extra": {"BlueprintDescription": self.description, "BlueprintSearchAliases": SEARCH, **self.extra},
            "version": 0.4,
        }

    def _inside(self) -> dict:
        places = self._places()
        right = max(places[node.id][0] + node.width for node in self.nodes)
        links = self._links()
        last = len(links)
        for slot, (origin, output) in enumerate(self.outputs.values()):
            links.append([len(links) + 1, origin.id, output, OUTPUTS, slot, origin.definition["output"][output]])
        nodes = self._nodes(links, places)
        names = self.entrance.definition["output_name"]
        return {
            "id": self._uuid("/inside"),
            "version": 1,
            "state": {"lastGroupId": 0, "lastNodeId": len(nodes), "lastLinkId": len(links), "lastRerouteId": 0},
            "revision": 0,
            "config": {},
            "name": self.name,
            "description": self.description,
            "category": "prompt-to-prompt",
            "inputNode": {"id": INPUTS, "bounding": [-END - 2 * GAP, 0, END, SLOT * (len(names) + 2)]},
            "outputNode": {"id": OUTPUTS, "bounding": [right + 2 * GAP, 0, END, SLOT * (len(self.outputs) + 2)]},
            "inputs": [
                self._end(name, kind, [link[0] for link in links if link[1:3] == [INPUTS, slot]], (-2 * GAP, slot))
                for slot, (name, kind) in enumerate(zip(names, self.entrance.definition["output"], strict=True))
            ],
            "outputs": [
                self._end(name, links[last + slot][5], [links[last + slot][0]], (right + 2 * GAP, slot))
                for slot, name in enumerate(self.outputs)
            ],
            "widgets": [],
            "nodes": nodes,
            "groups": [],
            "links": [dict(zip(LINK, link, strict=True)) for link in links],
            "extra": {},
        }

    def _end(self, name: str, kind: str, links: list[int], at: tuple[int, int]) -> dict:
        x, slot = at
        return {
            "id": self._uuid(f"/{name}/{slot}"),
            "name": name,
            "type": kind,
            "linkIds": links,
            "pos": [x, SLOT * (slot + 1)],
        }

    def _height(self) -> int:
        sockets = len(self.entrance.definition["output"]) - len(self.defaults)
        widgets = sum(TEXT if "\n" in str(v) or n.endswith("prompt") else WIDGET for n, v in self.defaults.items())
        return 20 + SLOT * sockets + widgets


SEARCH = ["prompt to prompt", "p2p", "edit by prompt", "cross attention control"]
LINK = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")


def unfolded(
    blueprint: dict, inputs: dict[str, object], object_info: dict[str, dict], first: int = 1
) -> tuple[Workflow, dict[str, list]]:
    """A blueprint as a server executes it: its nodes, numbered from `first`, and what its outputs are connected to.

    `inputs` are values, or connections of other nodes; those that are left out have the blueprint's own values. Inputs
    that a newer ComfyUI has given a node since have its defaults, as in the front end.
    """
    (inside,) = blueprint["definitions"]["subgraphs"]
    links = {link["id"]: link for link in inside["links"]}
    number = {node["id"]: str(first + i) for i, node in enumerate(inside["nodes"])}

    def origin(link: int):
        """What a link brings: a connection or a value; None where the widget at its end has the blueprint's own."""
        from_id, slot = links[link]["origin_id"], links[link]["origin_slot"]
        if from_id == INPUTS:
            return inputs.get(inside["inputs"][slot]["name"])
        node = next(node for node in inside["nodes"] if node["id"] == from_id)
        if node["mode"] == BYPASS:
            kind = node["outputs"][slot]["type"]
            return origin(next(taken["link"] for taken in node["inputs"] if taken["type"] == kind))
        return [number[from_id], slot]

    active = [node for node in inside["nodes"] if node["mode"] != BYPASS and node["type"] in object_info]  # no notes
    unlinked = {"nodes": [{**node, "inputs": [{**i, "link": None} for i in node["inputs"]]} for node in active]}
    workflow = {number[int(id)]: node for id, node in as_prompt({**unlinked, "links": []}).items()}
    for node in active:
        executed = workflow[number[node["id"]]]
        executed["inputs"] = {**widget_defaults(object_info[node["type"]]), **executed["inputs"]}
        for taken in node["inputs"]:
            if taken["link"] is not None and (given := origin(taken["link"])) is not None:
                executed["inputs"][taken["name"]] = given
    return workflow, {end["name"]: origin(end["linkIds"][0]) for end in inside["outputs"]}
