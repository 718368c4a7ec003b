"""tests/cases/ holds what the engine says; browser/test_cases.py holds the page to the same files.

Where one of these fails because the engine was meant to change: tools/make_pairs.py makes the files anew.
"""

from __future__ import annotations

import pytest
from prompt_to_prompt.p2p_core.alignment import MODES
from prompt_to_prompt.p2p_core.tokens import Prompt

from tools import make_pairs

PAIRS = make_pairs.read("pairs")["pairs"]


def is_spelled(prompt: Prompt) -> bool:
    """Whether the encoder has more than one token for a word."""
    return any(len(word.positions) > 1 for word in prompt.words)


def is_entangled(source: Prompt, edit: Prompt) -> bool:
    """Whether the encoder spells a word in two ways, as it does where its tokens reach from one letter to the next."""
    spelled: dict[str, set] = {}
    for word in (*source.words, *edit.words):
        spelled.setdefault(word.text, set()).add(word.ids)
    return any(len(ways) > 1 for ways in spelled.values())


def in_pieces(text: str, prompt: Prompt) -> bool:
    """Whether words in parentheses may have gone to the next chunk together, and left padding in this one."""
    return "(" in text and len(prompt) > prompt.streams[0].chunk


def test_the_cases_are_many_and_of_all_kinds():
    assert len(PAIRS) >= 300
    texts = [case[side] for case in PAIRS for side in ("source", "edit")]
    assert sum(text.isascii() for text in texts) < len(texts) - 100
    assert sum(any(mark in text for mark in ",.;!?") for text in texts) > 100
    assert sum("(" in text for text in texts) > 50
    assert sum(len(text.split()) > 75 for text in texts) > 10
    assert sum(len(set(words := text.split())) < len(words) for text in texts) > 100
    assert 100 < sum(case["replace"] is None for case in PAIRS) < len(PAIRS) - 100


def test_pairs_are_the_engine_s():
    for case in PAIRS:
        assert make_pairs.pair(case["source"], case["edit"]) == case


@pytest.mark.parametrize("mode", MODES)
def test_words_are_paired_as_their_tokens_are(mode):
    """Encoded for real: refine and sequence look at tokens, and say the same where each word is one token."""
    compared = 0
    for case in PAIRS:
        source, edit = (make_pairs.encoded(case[side]) for side in ("source", "edit"))
        if is_entangled(source, edit):
            continue
        if mode in ("refine", "sequence") and (is_spelled(source) or is_spelled(edit)):
            continue
        if mode == "sequence" and (in_pieces(case["source"], source) or in_pieces(case["edit"], edit)):
            continue
        assert make_pairs.links(source, edit, mode) == case[mode], case["source"]
        compared += 1
    assert compared > 150


def test_phrases_are_the_engine_s():
    known = make_pairs.read("phrases")
    for case in known["phrases"]:
        assert make_pairs.phrase(case["text"], case["phrase"]) == case
    assert known["marks"] == make_pairs.marks()


def test_windows_are_the_engine_s():
    known = make_pairs.read("windows")
    for case in known["lines"]:
        assert make_pairs.line(case["line"]) == case
    for case in known["windows"]:
        assert make_pairs.window(case["start"], case["end"], case["steps"]) == case
