"""What a user downloads is a whole pack: ComfyUI loads it, and an edit is made with it."""

from __future__ import annotations

import shutil

import pytest
from bootstrap import CHECKOUT, PACK

from support.comfy_server import Server
from support.graphs import DemoGraph
from tools import registry


@pytest.mark.skipif(not (CHECKOUT / ".git").exists(), reason="git tells what is published")
def test_an_edit_with_the_files_of_the_archive_alone(tmp_path):
    pack = tmp_path / PACK
    for path in registry.archived():
        (pack / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / path, pack / path)
    with Server("--preview-method", "none", pack=False, beside=[pack]) as server:
        graph = DemoGraph()
        shown = graph.add(
            "PreviewImage",
            images=graph.add("VAEDecode", samples=graph.p2p(graph.align()[0], steps=2)[1], vae=graph.vae)[0],
        )
        assert server.run(graph.nodes).images[shown][0].size == (128, 128)
        transformer = DemoGraph()
        transformer.nodes[transformer.model[0]]["inputs"]["architecture"] = "transformer"
        kept = transformer.keep(transformer.p2p(transformer.align()[0], steps=2)[1])
        assert server.run(transformer.nodes).outputs[kept]
