"""Build API-format workflows in a few words.

graph = Graph()
model = graph.add("P2PDemoModel")
text = graph.add("CLIPTextEncode", clip=model[1], text="a cat")
server.run(graph.nodes)
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from support.comfy_client import Result, WorkflowError
from support.comfy_server import Server

SOURCE, EDIT = "a cat sitting on a car", "a dog sitting on a car"


class Node(str):
    """A node's id; indexed, one of its outputs."""

    def __getitem__(self, output: int) -> list:
        return [str(self), output]


class Graph:
    """A workflow under construction."""

    def __init__(self):
        self.nodes: dict[str, dict] = {}

    def add(self, class_type: str, **inputs) -> Node:
        """Add a node. Inputs left at None are left out, which an optional input may be."""
        node = Node(len(self.nodes) + 1)
        given = {name: value for name, value in inputs.items() if value is not None}
        self.nodes[node] = {"class_type": class_type, "inputs": given}
        return node

    def keep(self, latent: list) -> Node:
        return self.add("SaveLatent", samples=latent, filename_prefix="kept")


class DemoGraph(Graph):
    """A graph on the demo model: model, clip, vae, an empty negative and an empty latent are there."""

    def __init__(self, batch: int = 1):
        super().__init__()
        self.model, self.clip, self.vae = (self.add("P2PDemoModel")[i] for i in range(3))
        self.negative = self.text("")
        self.latent = self.add("EmptyLatentImage", width=128, height=128, batch_size=batch)[0]

    def text(self, prompt: str) -> list:
        return self.add("CLIPTextEncode", clip=self.clip, text=prompt)[0]

    def align(self, source: str = SOURCE, edit: str = EDIT, mode: str = "auto", more: list | None = None) -> Node:
        return self.add("PromptPairAlign", clip=self.clip, source_prompt=source, edit_prompt=edit, mode=mode, edit=more)

    def reweight(self, edit: list, words: str, scale: float = 2.0, start: float = 0.0, end: float = 1.0) -> list:
        return self.add("AttentionReweight", edit=edit, words=words, scale=scale, start=start, end=end)[0]

    def schedule(self, edit: list, cross: tuple = (0.0, 0.8), self_: tuple = (0.0, 0.4), **optional) -> list:
        windows = {"cross_start": cross[0], "cross_end": cross[1], "self_start": self_[0], "self_end": self_[1]}
        return self.add("AttentionInjectSchedule", edit=edit, **windows, **optional)[0]

    def p2p(self, edit: list, model: list | None = None, **changed) -> Node:
        return self.add("P2PSampler", edit=edit, **self._sampling(model, changed))

    def ksampler(self, positive: list, model: list | None = None, **changed) -> Node:
        return self.add("KSampler", positive=positive, **self._sampling(model, changed))

    def _sampling(self, model: list | None, changed: dict) -> dict:
        settings = {
            "seed": 1,
            "steps": 12,
            "cfg": 4.0,
            "sampler_name": "dpmpp_2m",
            "scheduler": "normal",
            "denoise": 1.0,
        }
        links = {"model": model or self.model, "negative": self.negative, "latent_image": self.latent}
        return {**links, **settings, **changed}


def latent(server: Server, result: Result, node: Node) -> torch.Tensor:
    """The latent that `Graph.keep` kept, to the bit: [batch, 4, height, width]."""
    (file,) = result.outputs[node]["latents"]
    return load_file(Path(server.output) / file["subfolder"] / file["filename"])["latent_tensor"]


def fails(server, graph: DemoGraph, node_type: str, *mentioned: str) -> None:
    """Running `graph` has to fail on one node of `node_type`, with a message that mentions all of `mentioned`."""
    with pytest.raises(WorkflowError) as failure:
        server.run(graph.nodes)
    (error,) = failure.value.errors
    assert error.node_type == node_type
    message = f"{error.input} {error.message}".lower()
    assert [word for word in mentioned if word.lower() not in message] == [], error.message
