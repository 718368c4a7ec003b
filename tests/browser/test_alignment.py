"""The alignment view on PromptPairAlign, and the description it is drawn from."""

from __future__ import annotations

import json

from prompt_to_prompt.p2p_core.alignment import align
from prompt_to_prompt.p2p_core.show.alignment import describe
from prompt_to_prompt.p2p_core.tokens import Prompt, Stream, Token
from workflows import EVERYTHING, EVERYTHING_LINKS, ID

PAIR = {"align": ("PromptPairAlign", {"source_prompt": "a cat on a car", "edit_prompt": "a dog on a blue car"}, [0, 0])}


def kinds(view) -> list[tuple[str, str]]:
    chips = view.locator(".p2p-token")
    return [tuple(pair) for pair in chips.evaluate_all("(all) => all.map((c) => [c.textContent, c.dataset.kind])")]


def prompt(*words: str) -> Prompt:
    text = (Token(word, "text", word, i) for i, word in enumerate(words))
    tokens = (Token(0, "start"), *text, Token(1, "end"), Token(1, "pad"))
    return Prompt(" ".join(words), (Stream(tokens, len(tokens)),))


def test_description_is_json_without_padding():
    source, edit = prompt("a", "cat", "sleeps"), prompt("a", "red", "dog")
    said = describe(source, edit, align(source, edit))
    assert json.loads(json.dumps(said)) == said
    assert [token["text"] for token in said["edit"]] == ["", "a", "red", "dog", ""]
    assert {(tuple(link["source"]), tuple(link["edit"]), link["kind"]) for link in said["links"]} == {
        ((0,), (0,), "taken"),
        ((1,), (1,), "taken"),
        ((2,), (2,), "swapped"),
        ((3,), (3,), "swapped"),
        ((4,), (4,), "taken"),
    }


def test_preview_pairs_words_before_any_run(canvas):
    canvas.build(PAIR)
    view = canvas.view("1")
    assert "p2p-preview" in view.get_attribute("class")
    assert kinds(view) == [
        *[("a", "taken"), ("cat", "swapped"), ("on", "taken"), ("a", "taken"), ("car", "taken")],
        *[("a", "taken"), ("dog", "swapped"), ("on", "taken"), ("a", "taken"), ("blue", "inserted"), ("car", "taken")],
    ]
    canvas.set("1", "mode", "refine")
    assert ("cat", "dropped") in kinds(view)
    canvas.set("1", "edit_prompt", "a (cat:1.3) car")
    assert kinds(view)[5:] == [("a", "taken"), ("cat", "taken"), ("car", "taken")]
    assert ("on", "dropped") in kinds(view)


def test_marks_are_paired_with_marks_and_refused_prompts_not_at_all(canvas):
    canvas.build(PAIR)
    view = canvas.view("1")
    canvas.set("1", "edit_prompt", "a dog, on a car")
    assert kinds(view)[1] == ("cat", "swapped")
    assert kinds(view)[6:8] == [("dog", "swapped"), (",", "inserted")]
    canvas.set("1", "mode", "replace")
    assert kinds(view)[6:8] == [("dog", "swapped"), (",", "inserted")]
    canvas.set("1", "edit_prompt", "a blue dog, on a car")
    assert {kind for _, kind in kinds(view)} == {"unpaired"}
    assert view.locator(".p2p-ribbon").count() == 0
    assert view.locator(".p2p-status").inner_text() == "replace needs as many words in both: here are 5 and 6"


def test_run_shows_the_tokens_and_typing_greys_them(canvas):
    canvas.build(EVERYTHING, EVERYTHING_LINKS)
    view = canvas.view(ID["align"])
    canvas.show(ID["align"])
    # A prompt that no run before this one had, so that nothing comes out of the server's cache.
    canvas.set(ID["align"], "edit_prompt", f"a dog sitting on a {canvas.rendering} zorgblat")
    canvas.run()
    assert "p2p-preview" not in view.get_attribute("class")
    assert view.locator(".p2p-status").inner_text() == "Tokens as encoded"
    assert kinds(view)[0] == ("start", "taken")
    assert ("dog", "swapped") in kinds(view)

    # The encoder has no token for the last word, and spells it.
    assert view.locator(".p2p-joined").count() >= 1

    canvas.textarea(ID["align"], 1).click()
    canvas.page.keyboard.press("End")
    canvas.page.keyboard.type(" in snow")
    canvas.frames(3)
    assert "p2p-preview" in view.get_attribute("class")
    assert [text for text, _ in kinds(view)[-2:]] == ["in", "snow"]
    # The same text again is what was run.
    for _ in " in snow":
        canvas.page.keyboard.press("Backspace")
    canvas.frames(3)
    assert "p2p-preview" not in view.get_attribute("class")


def test_keys_walk_along_the_tokens(canvas):
    canvas.build(PAIR)
    canvas.show("1")
    view = canvas.view("1")
    view.locator(".p2p-token").first.focus()
    canvas.page.keyboard.press("ArrowRight")
    assert view.locator(".p2p-ribbon.p2p-lit").count() == 1
    said = canvas.page.evaluate("() => document.activeElement.getAttribute('aria-label')")
    assert said == "source: cat: swapped, to dog"
    canvas.page.keyboard.press("Delete")
    assert len(canvas.saved()["nodes"]) == 1


def test_long_prompts_scroll_and_leave_the_node_as_wide_as_it_was(canvas):
    canvas.build(PAIR)
    canvas.show("1")
    width = canvas.saved()["nodes"][0]["size"][0]
    canvas.set("1", "edit_prompt", " ".join(f"word{chr(97 + i % 26)}" for i in range(60)))
    canvas.frames(6)
    assert canvas.saved()["nodes"][0]["size"][0] == width
    assert canvas.view("1").locator(".p2p-alignment").evaluate("(e) => e.scrollWidth > 2 * e.clientWidth")
