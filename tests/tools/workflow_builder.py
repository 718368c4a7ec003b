"""Lay a workflow out on ComfyUI's canvas in a few words.

canvas = Canvas("swap", object_info)
demo = canvas.add("P2PDemoModel", column=0)
text = canvas.add("CLIPTextEncode", column=0, clip=demo["clip"], text="a cat")
canvas.note("What to try ...")
canvas.json()

Nodes stand in columns, one below the other; where a node's inputs are left out it has their defaults.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field

import bootstrap
import tomllib

from tools.export_api import BYPASS, extra_values, input_specs, is_widget

FILES = {
    "sd_xl_base_1.0.safetensors": "https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/resolve/main/"
    "sd_xl_base_1.0.safetensors",
    "v1-5-pruned-emaonly-fp16.safetensors": "https://huggingface.co/Comfy-Org/stable-diffusion-v1-5-archive/resolve/"
    "main/v1-5-pruned-emaonly-fp16.safetensors",
}
"""Checkpoints that the examples name, as ComfyUI's own templates do."""
TITLE, SLOT, WIDGET, TEXT, GAP = 30, 20, 28, 112, 50
WIDE = {
    "P2PCompare": 460,
    "PromptPairAlign": 400,
    "PreviewAny": 700,
    "P2PSampler": 320,
    "P2PRecordSource": 320,
    "P2PEditRecorded": 320,
    "VAEDecode": 220,
}
# Previews, and the views that the pack's own nodes have on the canvas.
EXTRA = {
    "PromptPairAlign": 150,
    "AttentionInjectSchedule": 190,
    "AttentionReweight": 110,
    "AttentionLocalBlend": 130,
    "P2PAttentionMaps": 60,
    "P2PCompare": 420,
    "LoadImage": 310,
    "PreviewImage": 310,
    "SaveImage": 290,
    "PreviewAny": 420,
}


@dataclass
class Placed:
    """A node on the canvas; indexed by an output's name, something to connect an input to."""

    id: int
    definition: dict
    title: str
    column: int
    width: int
    bypassed: bool = False
    values: dict = field(default_factory=dict)
    links: dict = field(default_factory=dict)

    def __getitem__(self, output: str) -> tuple[Placed, int]:
        return self, self.definition["output_name"].index(output)

    @property
    def sockets(self) -> list[str]:
        return [name for name, spec in input_specs(self.definition).items() if not is_widget(spec)]

    @property
    def widgets(self) -> list[str]:
        return [name for name, spec in input_specs(self.definition).items() if is_widget(spec)]

    @property
    def height(self) -> int:
        slots = max(len(self.sockets), len(self.definition["output"]))
        specs = input_specs(self.definition)
        widgets = sum(self._widget_height(specs[name]) for name in self.widgets)
        return 20 + SLOT * slots + widgets + EXTRA.get(self.definition["name"], 0)

    @staticmethod
    def _widget_height(spec: list) -> int:
        settings = spec[1] if len(spec) > 1 else {}
        return TEXT if settings.get("multiline") else WIDGET * (1 + len(extra_values("", spec)))


class Canvas:
    """A workflow under construction. `name` only makes its id, so that a rebuilt file is the same file."""

    def __init__(self, name: str, object_info: dict[str, dict]):
        self.name, self.object_info = name, object_info
        self.nodes: list[Placed] = []
        self.text = ""
        self.extra: dict = {}  # what the workflow says of itself beside its nodes

    def add(
        self, node_type: str, column: int, title: str = "", wide: int = 0, bypassed: bool = False, **inputs
    ) -> Placed:
        """Add a node at the end of a column. An input is a value, or an output of another node."""
        definition = self.object_info[node_type]
        placed = Placed(len(self.nodes) + 1, definition, title, column, wide or WIDE.get(node_type, 300), bypassed)
        specs = input_specs(definition)
        unknown = set(inputs) - set(specs)
        if unknown:
            raise ValueError(f"{node_type} has no input {', '.join(unknown)}")
        for name, spec in specs.items():
            if isinstance(inputs.get(name), tuple):
                placed.links[name] = inputs[name]
            if is_widget(spec):
                given = inputs.get(name)
                placed.values[name] = default(spec) if given is None or isinstance(given, tuple) else given
        self.nodes.append(placed)
        return placed

    def note(self, text: str) -> None:
        """What to try, in Markdown, under the first columns."""
        self.text = text.strip() + "\n"

    def json(self) -> dict:
        links = self._links()
        nodes = self._nodes(links, self._places())
        return {
            "id": self._uuid(),
            "revision": 0,
            "last_node_id": len(nodes),
            "last_link_id": len(links),
            "nodes": nodes,
            "links": links,
            "groups": [],
            "config": {},
            "extra": {"ds": {"scale": 0.6, "offset": [60, 80]}, **self.extra},
            "version": 0.4,
        }

    def _uuid(self, of: str = "") -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"prompt-to-prompt/{self.name}{of}"))

    def _links(self) -> list[list]:
        """[id, from node, its output, to node, its input, type] of every link."""
        links = []
        for node in self.nodes:
            for slot, name in enumerate(node.sockets + node.widgets):
                if name in node.links:
                    origin, output = node.links[name]
                    kind = origin.definition["output"][output]
                    links.append([len(links) + 1, origin.id, output, node.id, slot, kind])
        return links

    def _nodes(self, links: list[list], places: dict[int, tuple[int, int]]) -> list[dict]:
        """The nodes as they are saved, the note last."""
        ids = {(link[3], link[4]): link[0] for link in links}
        outputs: dict[tuple[int, int], list[int]] = {}
        for number, origin, output, *_ in links:
            outputs.setdefault((origin, output), []).append(number)
        placed = [self._node(node, order, places[node.id], ids, outputs) for order, node in enumerate(self.nodes)]
        return [*placed, self._note(len(placed) + 1, places)]

    def _places(self) -> dict[int, tuple[int, int]]:
        columns = sorted({node.column for node in self.nodes})
        widths = {c: max(node.width for node in self.nodes if node.column == c) for c in columns}
        lefts, x = {}, 0
        for column in columns:
            lefts[column] = x
            x += widths[column] + GAP
        places, bottoms = {}, dict.fromkeys(columns, 0)
        for node in self.nodes:
            places[node.id] = (lefts[node.column], bottoms[node.column])
            bottoms[node.column] += node.height + TITLE + GAP - 10
        return places

    def _node(self, node: Placed, order: int, at: tuple[int, int], ids: dict, outputs: dict) -> dict:
        specs, optional = input_specs(node.definition), node.definition["input"].get("optional", {})
        inputs = []
        for slot, name in enumerate(node.sockets + node.widgets):
            kind = specs[name][0]
            entry = {"name": name, "type": "COMBO" if isinstance(kind, list) else kind}
            if name in node.widgets:
                entry["widget"] = {"name": name}
            elif name in optional:
                entry["shape"] = 7
            inputs.append({**entry, "link": ids.get((node.id, slot))})
        values = []
        for name in node.widgets:
            values += [node.values[name], *extra_values(name, specs[name])]
        named = zip(node.definition["output_name"], node.definition["output"], strict=True)
        return {
            "id": node.id,
            "type": node.definition["name"],
            "pos": list(at),
            "size": [node.width, node.height],
            "flags": {},
            "order": order,
            "mode": BYPASS if node.bypassed else 0,
            "inputs": inputs,
            "outputs": [
                {"name": name, "type": kind, "links": outputs.get((node.id, slot), [])}
                for slot, (name, kind) in enumerate(named)
            ],
            **({"title": node.title} if node.title else {}),
            "properties": {
                "Node name for S&R": node.definition["name"],
                **provenance(node.definition),
                **files_of(node.values.values()),
            },
            "widgets_values": values,
        }

    def _note(self, number: int, places: dict[int, tuple[int, int]]) -> dict:
        """Under the columns of its width, wherever they end."""
        width = 760
        above = [node for node in self.nodes if places[node.id][0] < width]
        top = max(places[node.id][1] + node.height for node in above) + TITLE + GAP - 10
        lines = sum(1 + len(line) // 95 for line in self.text.splitlines())
        return {
            "id": number,
            "type": "MarkdownNote",
            "pos": [0, top],
            "size": [width, 60 + 16 * lines],
            "flags": {},
            "order": number - 1,
            "mode": 0,
            "inputs": [],
            "outputs": [],
            "title": "What to try",
            "properties": {},
            "widgets_values": [self.text],
            "color": "#432",
            "bgcolor": "#653",
        }


def provenance(definition: dict) -> dict[str, str]:
    """What a saved node says of the pack that it is from: its name in the registry, and the version."""
    if definition["python_module"] == f"custom_nodes.{bootstrap.PACK}":
        return {"cnr_id": bootstrap.PACK, "ver": pack_version()}
    return {"cnr_id": "comfy-core", "ver": bootstrap.STABLE.version}


def files_of(values: Iterable) -> dict[str, list[dict[str, str]]]:
    """Where those of a node's files can be had that a newcomer lacks: the front end offers to fetch them."""
    named = [value for value in values if isinstance(value, str) and value in FILES]
    entries = [{"name": name, "url": FILES[name], "directory": "checkpoints"} for name in named]
    return {"models": entries} if entries else {}


def pack_version() -> str:
    return tomllib.loads((bootstrap.CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def default(spec: list):
    """What the front end puts into a new node's widget."""
    kind, settings = spec[0], spec[1] if len(spec) > 1 else {}
    if "default" in settings:
        return settings["default"]
    if isinstance(kind, list) or kind == "COMBO":
        return (kind if isinstance(kind, list) else settings["options"])[0]
    return {"INT": 0, "FLOAT": 0.0, "STRING": "", "BOOLEAN": False}[kind]
