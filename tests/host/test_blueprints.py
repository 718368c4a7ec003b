"""The blueprints: whole, up to date, served, and what is in them runs."""

from __future__ import annotations

import json
import urllib.error

import pytest
import torch
from bootstrap import CHECKOUT, STABLE

from support.graphs import DemoGraph, latent
from support.inside_comfyui import COMFYUI
from tools.blueprint import unfolded
from tools.canvases.blueprints import BLUEPRINTS
from tools.export_api import NOTES
from tools.workflow_builder import TITLE

FILES = sorted((CHECKOUT / "subgraphs").glob("*.json"))
DRAWN, PICTURE = "Prompt-to-Prompt Edit", "Prompt-to-Prompt Edit of a Picture"


def read(name: str) -> dict:
    return json.loads((CHECKOUT / "subgraphs" / f"{name}.json").read_text(encoding="utf-8"))


def inside(name: str) -> dict:
    (definition,) = read(name)["definitions"]["subgraphs"]
    return definition


@pytest.mark.skipif(
    f'"{STABLE.version}"' not in (COMFYUI / "comfyui_version.py").read_text(),
    reason=f"they have the inputs that ComfyUI {STABLE.version} gives its nodes",
)
def test_they_are_up_to_date(server):
    object_info = server.object_info()
    made = {f"{blueprint.name}.json": blueprint.json() for blueprint in (make(object_info) for make in BLUEPRINTS)}
    assert {path.name: json.loads(path.read_text(encoding="utf-8")) for path in FILES} == made, (
        "run: python tests/tools/build_workflows.py"
    )


def test_comfyui_offers_them(server):
    try:
        offered = server.get("/global_subgraphs")
    except urllib.error.HTTPError:
        pytest.skip("ComfyUI before 0.3.67 has no blueprints; nothing is lost but they")
    ours = {key: entry for key, entry in offered.items() if entry["info"]["node_pack"].endswith("prompt-to-prompt")}
    assert {entry["name"] for entry in ours.values()} == {DRAWN, PICTURE}
    for key, entry in ours.items():
        assert json.loads(server.get(f"/global_subgraphs/{key}")["data"]) == read(entry["name"])


@pytest.mark.parametrize("name", [DRAWN, PICTURE])
def test_one_node_whose_inside_is_tidy_and_explained(name):
    (whole,) = read(name)["nodes"]
    definition = inside(name)
    assert whole["type"] == definition["id"]
    assert [i["name"] for i in whole["inputs"]] == [end["name"] for end in definition["inputs"]]
    assert [i["name"] for i in whole["inputs"] if "widget" not in i][:3] == ["model", "clip", "vae"]
    assert [end["name"] for end in definition["outputs"]] == ["source", "edited"]
    assert all(end["linkIds"] for end in definition["inputs"])
    assert any(node["type"] in NOTES and len(node["widgets_values"][0]) > 200 for node in definition["nodes"])
    boxes = [(*node["pos"], *node["size"]) for node in definition["nodes"]]
    for i, (x, y, width, height) in enumerate(boxes):
        for other_x, other_y, other_width, other_height in boxes[:i]:
            beside = x >= other_x + other_width or other_x >= x + width
            assert beside or y - TITLE >= other_y + other_height or other_y - TITLE >= y + height


def run(server, graph: DemoGraph, name: str, **inputs):
    """The latents of source, edit and what was there before them, and the pictures of the first two."""
    given = {"model": graph.model, "clip": graph.clip, "vae": graph.vae, "seed": 4, "steps": 8, "cfg": 4.0, **inputs}
    workflow, out = unfolded(read(name), given, server.object_info(), first=100)
    graph.nodes.update(workflow)
    (sampler,) = (number for number, node in workflow.items() if node["class_type"] == "P2PSampler")
    kept = [graph.keep(of) for of in ([sampler, 0], [sampler, 1], workflow[sampler]["inputs"]["latent_image"])]
    shown = [graph.add("PreviewImage", images=out[end]) for end in ("source", "edited")]
    result = server.run(graph.nodes)
    return [latent(server, result, node) for node in kept], [result.images[node] for node in shown]


def test_the_source_is_ksampler_s_picture_and_the_edit_another(server):
    graph = DemoGraph()
    plain = graph.keep(graph.ksampler(graph.text("a cat sitting on a car"), seed=4, steps=8, sampler_name="euler")[0])
    expected = latent(server, server.run(graph.nodes), plain)
    (source, edited, _), pictures = run(server, DemoGraph(), DRAWN, width=128, height=128)
    torch.testing.assert_close(source, expected, rtol=1e-4, atol=1e-4)
    assert not torch.equal(edited, source)
    assert [[picture.size for picture in batch] for batch in pictures] == [[(128, 128)]] * 2


def test_a_picture_comes_back_and_beside_it_its_edit(server):
    graph = DemoGraph()
    drawn = graph.ksampler(graph.text("a cat sitting on a car"), seed=4, steps=8)
    image = graph.add("VAEDecode", samples=drawn[0], vae=graph.vae)
    (source, edited, encoded), pictures = run(server, graph, PICTURE, image=image[0], megapixels=0.02)
    torch.testing.assert_close(source, encoded, rtol=0, atol=1e-5)
    assert not torch.equal(edited, source)
    assert pictures[0][0].size == pictures[1][0].size
