"""The instruction that is written where the input has none."""

from __future__ import annotations

import pytest
from prompt_to_prompt.p2p_core.pairs.instructions import instruct

WRITTEN = [
    ("a cat sitting on a car", "a dog sitting on a car", "replace the cat with a dog", "replace"),
    ("a cat", "an owl", "replace the cat with an owl", "replace"),
    ("a cat on a red car", "a cat on a bicycle", "replace the red car with a bicycle", "replace"),
    ("a smiling cow on a car", "a smiling owl on a car", "replace the cow with an owl", "replace"),
    ("an owl on a green cake", "an owl on a green car", "replace the cake with a car", "replace"),
    ("a cat on the grass", "a cat on the sand", "replace the grass with the sand", "replace"),
    ("cats", "dogs", "replace the cats with dogs", "replace"),
    ("a cat on a car", "a cat on a red car", "make the car red", "change"),
    ("a cat on a red car", "a cat on a blue car", "make the car blue", "change"),
    ("a smiling cat", "a cat", "make the cat no longer smiling", "change"),
    ("portrait of a man", "portrait of an old man", "make the man old", "change"),
    ("a cat next to a box", "a cat wearing a hat next to a box", "add a hat", "add"),
    ("a forest", "a forest with snow", "add snow", "add"),
    ("a cat wearing a hat next to a box", "a cat next to a box", "remove the hat", "remove"),
    ("a cat on a car", "a cat on a car in the city", "set it in the city", "setting"),
    ("a cat in the snow", "a cat on the beach", "set it on the beach", "setting"),
    ("a cat at night", "a cat in the snow", "set it in the snow", "setting"),
    ("a cat at night", "a cat", "make it no longer at night", "setting"),
    ("a cat on a car", "an owl on a bus", "replace the cat with an owl and replace the car with a bus", "several"),
    ("a cat next to a box", "a cat sitting on a box", "change it to a cat sitting on a box", "rewrite"),
]


@pytest.mark.parametrize(("source", "edit", "text", "kind"), WRITTEN)
def test_an_instruction_says_what_changes(source, edit, text, kind):
    written = instruct(source, edit)
    assert (written.text, written.kind) == (text, kind)


def test_words_with_weights_are_more_or_less_of_them():
    assert instruct("a smiling cat in the snow", "a smiling cat in the snow", [("smiling", 2.0), ("snow", -4.0)]) == (
        instruct("a cat", "a cat", [("smiling", 3.0), ("snow", 0.5)])
    )
    assert (
        instruct("a cat", "a cat", [("smiling", 3.0), ("snow", 0.5)]).text
        == "make it more smiling and make it less snow"
    )


def test_case_and_marks_change_nothing():
    assert instruct("A cat, on a car.", "a dog on a car").text == "replace the cat with a dog"
