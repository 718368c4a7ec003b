"""The word picker on AttentionReweight and AttentionLocalBlend."""

from __future__ import annotations

import pytest
from picker import PAIR, PROMPTS, REWEIGHT, chip, words
from workflows import EVERYTHING, EVERYTHING_LINKS, ID


def test_clicking_chooses_words_and_text_stays_the_truth(canvas):
    canvas.build({"align": PAIR, "reweight": REWEIGHT}, [("align", "edit", "reweight", "edit")])
    canvas.show("2")
    view = canvas.view("2")
    assert list(words(view)) == ["a#1", "dog", "and", "a#2", "red", "cat"]
    chip(view, "dog").click()
    chip(view, "a#2").click()
    canvas.frames()
    assert canvas.value("2", "words") == "dog, a#2"
    assert canvas.prompt()["2"]["inputs"]["words"] == "dog, a#2"
    assert words(view)["dog"]
    chip(view, "dog").click()
    canvas.frames()
    assert canvas.value("2", "words") == "a#2"

    canvas.set("2", "words", "Red cat, bird, [3], a")
    assert words(view) == {
        **{"a#1": True, "dog": False, "and": False, "a#2": True, "red": True, "cat": True},
        **{"bird": True, "[3]": True},
    }
    assert view.locator(".p2p-missing").inner_text() == "bird"
    chip(view, "red").click()
    chip(view, "a#1").click()
    chip(view, "bird").click()
    canvas.frames()
    assert canvas.value("2", "words") == "cat, [3], a#2"


def test_keys_choose_words(canvas):
    canvas.build({"align": PAIR, "reweight": REWEIGHT}, [("align", "edit", "reweight", "edit")])
    canvas.show("2")
    chip(canvas.view("2"), "a#1").focus()
    for key in ("ArrowRight", "Space", "End", "Enter"):
        canvas.page.keyboard.press(key)
        canvas.frames()
    assert canvas.value("2", "words") == "dog, cat"
    canvas.undo()
    assert canvas.value("2", "words") == "dog"


def test_slider_and_number_say_the_same(canvas):
    canvas.build({"reweight": REWEIGHT})
    canvas.show("1")
    slider = canvas.view("1").locator("input[type=range]")
    assert slider.input_value() == "2"
    slider.focus()
    canvas.page.keyboard.press("ArrowRight")
    canvas.frames()
    assert canvas.value("1", "scale") == pytest.approx(2.05)
    canvas.set("1", "scale", -20)
    assert canvas.value("1", "scale") == -20
    assert canvas.view("1").locator("output").inner_text() == "×-20"


def test_nothing_connected_leaves_the_text(canvas):
    canvas.build({"reweight": ("AttentionReweight", {"words": "dog"}, [0, 0])})
    view = canvas.view("1")
    assert "connect an edit" in view.inner_text()
    assert canvas.prompt()["1"]["inputs"]["words"] == "dog"


def test_connected_words_are_shown_and_left_alone(canvas):
    text = ("PrimitiveString", {"value": "dog"}, [0, 400])
    links = [("align", "edit", "reweight", "edit"), ("text", "STRING", "reweight", "words")]
    canvas.build({"align": PAIR, "reweight": REWEIGHT, "text": text}, links)
    view = canvas.view("2")
    assert words(view)["dog"]
    assert chip(view, "dog").is_disabled()


def test_prompts_typed_upstream_arrive(canvas):
    canvas.build({"align": PAIR, "reweight": REWEIGHT}, [("align", "edit", "reweight", "edit")])
    canvas.set("1", "edit_prompt", "an owl")
    assert list(words(canvas.view("2"))) == ["an", "owl"]
    canvas.set("1", "edit_prompt", "")
    assert list(words(canvas.view("2"))) == ["a#1", "cat#1", "and", "a#2", "cat#2"]


def test_blend_has_a_row_for_each_input(canvas):
    canvas.build(EVERYTHING, EVERYTHING_LINKS)
    canvas.show(ID["blend"])
    view = canvas.view(ID["blend"])
    chip(view, "car", '[data-input="source_words"]').click()
    chip(view, "blue", '[data-input="edit_words"]').click()
    chip(view, "sitting", '[data-input="subtract_words"]').click()
    canvas.frames()
    inputs = canvas.prompt()[ID["blend"]]["inputs"]
    assert [inputs[name] for name in ("source_words", "edit_words", "subtract_words")] == [
        "cat, car",
        "dog, blue",
        "sitting",
    ]


def test_several_edits_offer_all_their_words(canvas):
    second = ("PromptPairAlign", {**PROMPTS, "edit_prompt": "a fox and a cat"}, [0, 500])
    links = [("align", "edit", "second", "edit"), ("second", "edit", "reweight", "edit")]
    canvas.build({"align": PAIR, "second": second, "reweight": REWEIGHT}, links)
    assert list(words(canvas.view("3"))) == ["a#1", "dog", "and", "a#2", "red", "cat", "fox"]
