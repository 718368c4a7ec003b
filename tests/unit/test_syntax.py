"""Ways of writing prompts that other tools have are named, and plain prompts are left alone."""

from __future__ import annotations

import pytest
from prompt_to_prompt.p2p_core.spelling.syntax import foreign_syntax


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a [dog:cat:0.1] on a car", "prompt scheduling"),
        ("a [dog:0.5] on a car", "prompt scheduling"),
        ("a [cow|horse] in a field", "alternating words"),
        ("a glass of (water).swap(acid)", "a swap of words"),
        ('a glass of "water".swap("acid", s_end=0.8)', "a swap of words"),
        ("a {cat->dog} on a car", "a swap of words"),
        ("a {red|blue} car", "a dynamic prompt"),
        ("a __colour__ car", "a wildcard"),
        ("a cat <lora:style:0.8>", "an extra network"),
        ("a cat BREAK a dog", "a way to join prompts"),
        ('("a cat", "a dog").and()', "a way to join prompts"),
        ("a cat++ on a (red car)1.3", "a weight"),
        ("a (cat)++, a dog", "a weight"),
    ],
)
def test_a_syntax_that_was_pasted_in_is_named(text, what):
    note = foreign_syntax("a cat", text)
    assert f"looks like {what}" in note


@pytest.mark.parametrize(
    "text",
    [
        "a (cat:1.2) on a car, 16:9, f/1.8",
        "a [red] car",
        "a ((cat)), (red) car - 50% off",
        "[artist name], {oil}, <frame>",
        "a cat, embedding:style",
        "written in C++17 and a + b = c",
        "rock and roll, a/b, cat_dog",
        "\\(cat\\) (a \\(b\\):1.1)",
        "",
    ],
)
def test_a_plain_prompt_is_none_of_them(text):
    assert foreign_syntax(text, text) is None
