"""The blueprints on the canvas: found in the search, one node, run; the nodes inside can be opened."""

from __future__ import annotations

import contextlib

import browsers
import pytest
from canvas import EMPTY
from PIL import ImageChops

DRAWN, PICTURE = "Prompt-to-Prompt Edit", "Prompt-to-Prompt Edit of a Picture"
WIRED = """(node) => {
  const { graph } = window.app;
  const add = (type) => { const made = window.LiteGraph.createNode(type); graph.add(made); return made; };
  const demo = add("P2PDemoModel");
  ["model", "clip", "vae"].forEach((name, i) => demo.connect(i, node, node.inputs.findIndex((at) => at.name === name)));
  [0, 1].forEach((end) => node.connect(end, add("PreviewImage"), 0));
}"""
LOADED = """(node) => {
  const image = window.LiteGraph.createNode("LoadImage");
  window.app.graph.add(image);
  image.widgets.find((widget) => widget.name === "image").value = "cat_on_a_car.png";
  image.connect(0, node, node.inputs.findIndex((at) => at.name === "image"));
}"""
SIDEBAR = "(tab) => { window.app.extensionManager.sidebarTab.activeSidebarTabId = tab; }"


def shown(canvas) -> list[dict]:
    """The files of the pictures in the PreviewImage nodes, in their order."""
    outputs = canvas.page.evaluate("() => window.app.nodeOutputs")
    previews = sorted(node["id"] for node in canvas.saved()["nodes"] if node["type"] == "PreviewImage")
    return [file for node in previews for file in outputs[str(node)]["images"]]


def until(canvas, act, condition: str) -> None:
    """Do something until it has happened: a canvas that is still busy takes no clicks."""
    from playwright.sync_api import TimeoutError  # where there is none, the tests are skipped

    for _ in range(20):
        act()
        with contextlib.suppress(TimeoutError):
            canvas.page.wait_for_function(condition, timeout=1000)
            return
    raise AssertionError(f"it never came to {condition}")


def place(canvas, name: str) -> str:
    """The blueprint that is called so, put on an empty canvas as a person does it."""
    canvas.load(EMPTY)
    mouse, keyboard = canvas.page.mouse, canvas.page.keyboard
    until(canvas, lambda: mouse.dblclick(700, 300), "() => document.activeElement?.tagName === 'INPUT'")
    keyboard.type(name)
    canvas.page.get_by_text(name, exact=True).first.wait_for()
    until(canvas, lambda: keyboard.press("Enter"), "() => document.activeElement?.tagName !== 'INPUT'")
    canvas.frames(6)
    if canvas.front_end == browsers.NEWEST:
        mouse.click(700, 240)  # it lets the place be chosen
    canvas.page.wait_for_function("() => window.app.graph.nodes.length > 0")
    (node,) = canvas.saved()["nodes"]
    return str(node["id"])


@pytest.fixture
def drawn(canvas):
    return place(canvas, DRAWN)


def test_it_is_one_node_and_gives_two_pictures(canvas, drawn):
    values = {"width": 128, "height": 128, "steps": 3, "seed": 7, "cfg": 4.0, "edit_prompt": "a fox sitting on a car"}
    for name, value in values.items():
        canvas.set(drawn, name, value)
    canvas.on(drawn, WIRED)
    canvas.record()
    queued = {node["class_type"]: node["inputs"] for node in canvas.prompt().values()}
    assert queued["PromptPairAlign"]["edit_prompt"] == "a fox sitting on a car"
    assert (queued["P2PSampler"]["seed"], queued["P2PSampler"]["steps"]) == (7, 3)
    assert queued["EmptyLatentImage"]["width"] == 128
    assert "AttentionInjectSchedule" not in queued  # bypassed: every model has its own defaults
    canvas.run()
    assert len(shown(canvas)) == 2


def test_its_nodes_can_be_opened(canvas, drawn):
    canvas.on(drawn, "(node) => window.app.canvas.openSubgraph(node.subgraph, node)")
    canvas.frames(6)
    inside = canvas.page.evaluate("() => window.app.canvas.graph.nodes.map((node) => [node.type, node.id])")
    assert "P2PSampler" in dict(inside)
    view = canvas.view(str(dict(inside)["PromptPairAlign"]))
    assert "cat" in view.inner_text()
    assert "dog" in view.inner_text()


def test_that_of_a_picture_gives_the_picture_and_its_edit(canvas):
    node = place(canvas, PICTURE)
    assert canvas.on(node, "(node) => node.inputs.map((input) => input.name)")[:4] == ["model", "clip", "vae", "image"]
    for name, value in {"steps": 3, "cfg": 4.0, "source_cfg": 2.4, "megapixels": 0.02}.items():
        canvas.set(node, name, value)
    canvas.on(node, LOADED)
    canvas.on(node, WIRED)
    canvas.record()
    queued = {node["class_type"]: node["inputs"] for node in canvas.prompt().values()}
    assert queued["P2PRealPicture"]["source_cfg"] == 2.4
    canvas.run()
    source, edited = (canvas.server.image(file).convert("RGB") for file in shown(canvas))
    assert source.size == edited.size
    assert ImageChops.difference(source, edited).getbbox()


def test_both_are_in_the_node_library(canvas):
    canvas.load(EMPTY)
    page = canvas.page
    page.evaluate(SIDEBAR, "node-library")
    try:
        page.locator("input[placeholder^='Search']:visible").first.fill(DRAWN)
        for name in (DRAWN, PICTURE):
            page.get_by_text(name, exact=True).first.wait_for()
        page.get_by_text(PICTURE, exact=True).first.click()
        canvas.frames(6)
        if canvas.front_end == browsers.NEWEST:
            page.mouse.click(900, 400)
        page.wait_for_function("() => window.app.graph.nodes.length > 0")
    finally:
        page.evaluate(SIDEBAR, None)
    assert "P2PRealPicture" in {node["class_type"] for node in canvas.prompt().values()}
