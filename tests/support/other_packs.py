"""Graphs with the nodes of other people's packs, where those are at hand."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.comfy_server import Server
from support.graphs import DemoGraph
from tools.other_packs import PINNED

GIVEN = os.environ.get("P2P_OTHER_PACKS")
PRESENT = [name for name in PINNED if GIVEN and (Path(GIVEN) / name).is_dir()]


def of(name: str, **cases):
    """Cases that need the pack `name`."""
    missing = pytest.mark.skipif(name not in PRESENT, reason=f"{name} is not in P2P_OTHER_PACKS")
    return [pytest.param(case, id=f"{name}-{about}", marks=missing) for about, case in cases.items()]


class Canvas(DemoGraph):
    """A graph on the demo model in which other packs' nodes have their defaults where nothing is said."""

    def __init__(self, server, batch: int = 1):
        super().__init__(batch)
        self.known = server.known

    def place(self, class_type: str, **given):
        required = self.known[class_type]["input"].get("required", {})
        defaults = {name: value for name, spec in required.items() if (value := default(*spec)) is not None}
        return self.add(class_type, **{**defaults, **given})

    def patch(self, class_type: str, model: list | None = None, **given) -> list:
        """A node that takes a model and gives one."""
        return self.place(class_type, model=model or self.model, **given)[0]

    def mask(self, width: int = 128) -> list:
        """Ones in the left `width` pixels."""
        whole = self.add("SolidMask", value=0.0, width=128, height=128)[0]
        part = self.add("SolidMask", value=1.0, width=width, height=128)[0]
        return self.add("MaskComposite", destination=whole, source=part, x=0, y=0, operation="add")[0]


def default(kind, settings: dict | None = None):
    """What the canvas would put into a widget; None for what has to be connected."""
    settings = settings or {}
    choices = kind if isinstance(kind, list) else settings.get("options", [])
    return settings.get("default", choices[0] if choices else None)


@contextmanager
def server_beside_packs():
    """A ComfyUI with this pack and all others that are at hand; `known`: its nodes."""
    with Server(beside=[Path(GIVEN) / name for name in PRESENT]) as running:
        running.known = running.object_info()
        yield running


def tiles(**given):
    """TiledDiffusion on a model."""
    sizes = {"tile_width": 96, "tile_height": 96, "tile_overlap": 32}
    return lambda graph: graph.patch("TiledDiffusion", **{**sizes, **given})


def patch(node: str, **given):
    """A node on a model."""
    return lambda graph: graph.patch(node, **given)
