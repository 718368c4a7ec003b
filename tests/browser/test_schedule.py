"""The schedule editor on AttentionInjectSchedule: bars and inputs say the same."""

from __future__ import annotations

import pytest
from workflows import EVERYTHING, EVERYTHING_LINKS, ID

ALONE = {"schedule": ("AttentionInjectSchedule", {}, [0, 0])}
NODE = ID["schedule"]


def handle(view, row: str, part: str):
    return view.locator(f'[data-row="{row}"] .p2p-{part}')


def positions(canvas) -> dict:
    return {node["id"]: node["pos"] for node in canvas.saved()["nodes"]}


def bar(view, row: str) -> tuple[float, float]:
    """Left and width of a bar, in fractions of its lane."""
    locator = view.locator(f'[data-row="{row}"] .p2p-bar')
    return tuple(locator.evaluate("(b) => [b.style.left, b.style.width].map((part) => parseFloat(part) / 100)"))


@pytest.mark.parametrize("scale", [1.0, 0.6])
def test_dragging_writes_the_inputs(canvas, scale):
    canvas.build(EVERYTHING, EVERYTHING_LINKS)
    canvas.show(NODE, scale=scale)
    view = canvas.view(NODE)
    lane = view.locator('[data-row="cross"] .p2p-lane').bounding_box()["width"]
    before = positions(canvas)
    canvas.drag(handle(view, "cross", "end"), -0.3 * lane)
    assert canvas.value(NODE, "cross_end") == pytest.approx(0.5, abs=0.02)
    canvas.drag(handle(view, "self", "whole"), 0.2 * lane)
    assert canvas.value(NODE, "self_start") == pytest.approx(0.2, abs=0.02)
    assert canvas.value(NODE, "self_end") == pytest.approx(0.6, abs=0.02)
    canvas.drag(handle(view, "self", "start"), lane)
    assert canvas.value(NODE, "self_start") == canvas.value(NODE, "self_end")
    canvas.drag(handle(view, "dog", "end"), 0.2 * lane)
    assert canvas.value(NODE, "word_windows") in ("dog: 0.1-0.49", "dog: 0.1-0.5", "dog: 0.1-0.51")
    assert canvas.prompt()[NODE]["inputs"]["word_windows"] == canvas.value(NODE, "word_windows")
    # The node was not dragged along.
    assert positions(canvas) == before


def test_inputs_move_the_bars(canvas):
    canvas.build(ALONE)
    view = canvas.view("1")
    assert bar(view, "cross") == (0, 0.8)
    canvas.set("1", "cross_start", 0.25)
    assert bar(view, "cross") == pytest.approx((0.25, 0.55))
    canvas.set("1", "word_windows", "dog: 0.0-0.3\nnonsense\nred car = 0.5 to 1")
    assert bar(view, "dog") == pytest.approx((0, 0.3))
    assert bar(view, "red car") == pytest.approx((0.5, 0.5))
    assert "nonsense" in view.locator(".p2p-error").inner_text()
    shape = view.locator('[data-row="cross"] path')
    constant = shape.get_attribute("d")
    canvas.set("1", "ramp", "linear")
    assert shape.get_attribute("d") != constant
    canvas.set("1", "cross_start", 0.9)
    assert "p2p-wrong" in view.locator('[data-row="cross"]').get_attribute("class")


def test_keys_move_a_bar_and_undo_takes_it_back(canvas):
    canvas.build(ALONE)
    canvas.show("1")
    end = handle(canvas.view("1"), "cross", "end")
    end.focus()
    canvas.page.keyboard.press("ArrowLeft")
    canvas.page.keyboard.press("Shift+ArrowLeft")
    canvas.frames()
    assert canvas.value("1", "cross_end") == pytest.approx(0.69)
    assert end.get_attribute("aria-valuenow") == "0.69"
    assert end.get_attribute("aria-label") == "cross, end"
    canvas.page.keyboard.press("Home")
    canvas.frames()
    assert canvas.value("1", "cross_end") == 0
    canvas.undo()
    assert canvas.value("1", "cross_end") == pytest.approx(0.69)
    assert bar(canvas.view("1"), "cross") == pytest.approx((0, 0.69))


def test_keys_faster_than_the_screen_all_count(canvas):
    canvas.build(ALONE)
    canvas.show("1")
    end = handle(canvas.view("1"), "cross", "end")
    end.evaluate(
        """(handle) => {
             const press = () => new KeyboardEvent("keydown", { key: "ArrowLeft", bubbles: true });
             for (let i = 0; i < 5; i++) handle.dispatchEvent(press());
           }"""
    )
    assert canvas.value("1", "cross_end") == pytest.approx(0.75)


def test_words_get_windows_and_lose_them(canvas):
    canvas.build(EVERYTHING, EVERYTHING_LINKS)
    canvas.show(NODE)
    canvas.set(NODE, "word_windows", "dog: 0.1-0.3\nsomething odd")
    view = canvas.view(NODE)
    choice = view.locator(".p2p-word-choice")
    assert "blue" in choice.inner_text()
    assert "dog" not in choice.inner_text()
    choice.select_option("blue")
    canvas.frames()
    assert canvas.value(NODE, "word_windows") == "dog: 0.1-0.3\nsomething odd\nblue: 0-0.8"
    view.locator('[data-row="dog"] .p2p-remove').click()
    canvas.frames()
    assert canvas.value(NODE, "word_windows") == "something odd\nblue: 0-0.8"
    handle(view, "blue", "start").focus()
    canvas.page.keyboard.press("Delete")
    canvas.frames()
    assert canvas.value(NODE, "word_windows") == "something odd"
    assert len(canvas.saved()["nodes"]) == len(EVERYTHING)


def test_steps_are_those_of_the_sampler(canvas):
    canvas.build(EVERYTHING, EVERYTHING_LINKS)
    canvas.set(ID["sampler"], "steps", 20)
    canvas.record()
    canvas.frames()
    view = canvas.view(NODE)
    assert handle(view, "cross", "end").get_attribute("aria-valuetext") == "0.8: steps 1 to 16 of 20"


@pytest.mark.parametrize("kind", ["P2PSampler", "P2PSweep", "P2PLayerStudy"])
def test_steps_are_those_of_any_node_that_samples(canvas, kind):
    sampling = (kind, {"steps": 12}, [900, 0])
    reweight = ("AttentionReweight", {}, [450, 0])
    links = [("schedule", "edit", "reweight", "edit"), ("reweight", "edit", "sampling", "edit")]
    canvas.build({**ALONE, "reweight": reweight, "sampling": sampling}, links)
    end = handle(canvas.view("1"), "cross", "end")
    assert end.get_attribute("aria-valuetext") == "0.8: steps 1 to 10 of 12"
    canvas.on("3", "(node) => { node.mode = 2; }")
    canvas.record()
    canvas.frames()
    assert end.get_attribute("aria-valuetext") == "0.8"


def test_steps_are_found_from_inside_a_subgraph(canvas):
    sampling = ("P2PSampler", {"steps": 12}, [900, 0])
    reweight = ("AttentionReweight", {}, [450, 0])
    links = [("schedule", "edit", "reweight", "edit"), ("reweight", "edit", "sampling", "edit")]
    canvas.build({**ALONE, "reweight": reweight, "sampling": sampling}, links)
    canvas.page.evaluate(
        """() => { const { graph } = window.app;
             graph.convertToSubgraph(new Set(graph.nodes.filter((node) => String(node.id) === "2"))); }"""
    )
    canvas.record()
    canvas.frames(6)
    assert handle(canvas.view("1"), "cross", "end").get_attribute("aria-valuetext") == "0.8: steps 1 to 10 of 12"


def test_connected_numbers_are_shown_and_left_alone(canvas):
    constant = ("PrimitiveFloat", {"value": 0.3}, [-300, 0])
    canvas.build({**ALONE, "number": constant}, [("number", "FLOAT", "schedule", "cross_end")])
    canvas.show("1")
    view = canvas.view("1")
    assert bar(view, "cross") == pytest.approx((0, 0.3))
    canvas.drag(handle(view, "cross", "end"), -40)
    assert canvas.value("2", "value") == 0.3
    assert canvas.value("1", "cross_end") == 0.8
    assert handle(view, "cross", "end").get_attribute("aria-disabled") == "true"
    canvas.set("2", "value", 0.6)
    canvas.record()
    canvas.frames()
    assert bar(view, "cross") == pytest.approx((0, 0.6))


def test_a_kind_of_edit_sets_both_windows_in_one_step_of_undo(canvas):
    canvas.build(ALONE)
    canvas.show("1")
    view = canvas.view("1")
    preset = view.locator(".p2p-preset")
    assert preset.input_value() == "word swap"  # the defaults are its windows
    preset.select_option("another place")
    canvas.frames()
    assert [canvas.value("1", name) for name in ("cross_start", "cross_end", "self_start", "self_end")] == [
        0,
        0.8,
        0,
        0,
    ]
    canvas.set("1", "self_end", 0.33)
    assert preset.input_value() == ""
    canvas.undo()
    assert [canvas.value("1", name) for name in ("cross_end", "self_end")] == [0.8, 0.4]
