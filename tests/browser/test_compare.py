"""The compare view on P2PCompare."""

from __future__ import annotations

import pytest
from workflows import EVERYTHING, EVERYTHING_LINKS, ID

NODE = ID["compare"]


def loaded(view, name: str) -> bool:
    view.locator(f".p2p-of-{name}").evaluate("(img) => img.decode()")
    return view.locator(f".p2p-of-{name}").evaluate("(img) => img.naturalWidth") == 128


def cut(view) -> float:
    """How much of the edit is cut off at its left."""
    return view.locator(".p2p-of-edit").evaluate("(img) => parseFloat(img.style.clipPath.split(' ').at(-1)) / 100")


@pytest.fixture
def compared(canvas):
    canvas.build(EVERYTHING, EVERYTHING_LINKS)
    canvas.show(NODE)
    assert "Run the workflow" in canvas.view(NODE).locator(".p2p-stage").get_attribute("data-hint")
    canvas.run()
    canvas.frames(4)
    canvas.show(NODE)
    return canvas


def test_pictures_under_a_slider(compared):
    view = compared.view(NODE)
    assert loaded(view, "source")
    assert loaded(view, "edit")
    assert cut(view) == 0.5
    frame = view.locator(".p2p-frame").bounding_box()
    assert frame["width"] == pytest.approx(frame["height"], abs=1)
    compared.drag(view.locator(".p2p-divider"), 0.25 * frame["width"])
    assert cut(view) == pytest.approx(0.75, abs=0.02)
    compared.page.mouse.click(frame["x"] + 0.1 * frame["width"], frame["y"] + 10)
    compared.frames()
    assert cut(view) == pytest.approx(0.1, abs=0.02)
    view.locator(".p2p-divider").focus()
    compared.page.keyboard.press("End")
    compared.frames()
    assert cut(view) == 1


def test_words_lay_their_maps_over_the_pictures(compared):
    view = compared.view(NODE)
    heat = view.locator(".p2p-of-heat")
    assert heat.is_hidden()
    dog = view.get_by_role("button", name="dog")
    dog.hover()
    compared.frames()
    assert heat.is_visible()
    assert loaded(view, "heat")
    assert heat.get_attribute("alt") == "Where 'dog' is"
    view.locator(".p2p-frame").hover()
    compared.frames()
    assert heat.is_hidden()
    dog.click()
    view.locator(".p2p-frame").hover()
    compared.frames()
    assert heat.is_visible()
    assert dog.get_attribute("aria-pressed") == "true"
    view.get_by_role("button", name="difference").hover()
    compared.frames()
    assert heat.get_attribute("alt") == "Where source and edit differ"


def test_a_tab_for_each_edit(canvas):
    second = ("PromptPairAlign", {**EVERYTHING["align"][1], "edit_prompt": "a fox sitting on a car"}, [350, -500])
    aside = {"reweight", "schedule", "blend"}
    links = [link for link in EVERYTHING_LINKS if not {link[0], link[2]} & aside]
    chain = [("align", "edit", "second", "edit"), ("second", "edit", "sampler", "edit")]
    canvas.build({**EVERYTHING, "second": second}, [*links, *chain, ("demo", "clip", "second", "clip")])
    for name in aside:
        canvas.on(ID[name], "(node) => node.graph.remove(node)")
    canvas.show(NODE)
    canvas.run()
    view = canvas.view(NODE)
    tabs = view.get_by_role("tab")
    assert tabs.all_inner_texts() == ["edit 1", "edit 2"]
    first = view.locator(".p2p-of-edit").get_attribute("src")
    tabs.nth(1).click()
    canvas.frames()
    assert view.locator(".p2p-of-edit").get_attribute("src") != first
    assert loaded(view, "edit")
    assert view.get_by_role("button", name="fox").count() == 1
    assert view.get_by_role("button", name="dog").count() == 0


AS_VERSION_0_1_REPORTED = """(node) => {
    const [[report]] = app.nodeOutputs[String(node.id)].p2p_compare;
    const old = Object.entries(report).map(([name, value]) => [`p2p_${name}`, value]);
    app.nodeOutputs[String(node.id)] = Object.fromEntries(old);
    node.onExecuted?.(app.nodeOutputs[String(node.id)]);
}"""


def test_a_result_in_the_form_of_version_0_1_is_shown(compared):
    """A workflow that was saved with its results carries them."""
    compared.on(NODE, AS_VERSION_0_1_REPORTED)
    compared.frames(4)
    view = compared.view(NODE)
    assert loaded(view, "source") and loaded(view, "edit")
    assert view.get_by_role("button", name="dog").count() == 1
