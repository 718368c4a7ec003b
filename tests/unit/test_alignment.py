"""Which map each token of an edit takes: what holds for all prompts, and what the modes do with some."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from prompt_to_prompt.p2p_core.alignment import MODES, Link, align, needleman_wunsch
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.tokens import Prompt
from reference.prompts import END, tokenised

# Words of one to three tokens, many of them twice in a prompt, in chunks small enough to be spilled over.
words = st.sampled_from(["cat", "dog", "car", "red", "sitting", "bicycle", "hippogriff", "a", ","])
texts = st.lists(words, max_size=14).map(" ".join)
chunks = st.sampled_from([6, 8, 77])
pads = st.sampled_from([END, 99])  # Stable Diffusion 1.x pads with end-of-text, SDXL's second encoder doesn't
modes = st.sampled_from(MODES)
matching = st.sampled_from([mode for mode in MODES if mode != "replace"])


@st.composite
def pairs(draw) -> tuple[Prompt, Prompt]:
    chunk, pad = draw(chunks), draw(pads)
    return tokenised(draw(texts), chunk, pad), tokenised(draw(texts), chunk, pad)


@st.composite
def swaps(draw) -> tuple[Prompt, Prompt]:
    """As many words in both, none of them marks."""
    chunk, length = draw(chunks), draw(st.integers(0, 9))
    drawn = st.lists(words.filter(str.isalpha), min_size=length, max_size=length).map(" ".join)
    return tokenised(draw(drawn), chunk), tokenised(draw(drawn), chunk)


@given(texts, chunks, pads, modes)
def test_identical_prompts_align_to_the_identity(text, chunk, pad, mode):
    prompt = tokenised(text, chunk, pad)
    alignment = align(prompt, tokenised(text, chunk, pad), mode)
    assert torch.equal(alignment.matrix, torch.eye(len(prompt), dtype=torch.float64))
    assert alignment.taken.all()
    assert alignment.links == tuple(Link((i,), (i,)) for i in range(len(prompt)))


@given(pairs(), matching)
def test_the_matrix_has_a_row_per_source_and_a_column_per_edit_token(prompts, mode):
    alignment = align(*prompts, mode)
    matrix, taken = alignment.matrix, alignment.taken
    assert matrix.shape == tuple(map(len, prompts))
    assert torch.equal(matrix, matrix.clamp(0, 1))
    assert torch.equal(matrix.any(0), taken.bool())  # tokens that keep their own map have an empty column


@given(pairs(), matching)
@example((tokenised("dog cat dog red cat", 6), tokenised("red bicycle cat", 6)), "sequence")  # difflib would mix them
def test_kinds_of_tokens_are_never_mixed(prompts, mode):
    """Above all: a deleted word is never handed to padding."""
    source, edit = prompts
    for link in align(source, edit, mode).links:
        assert len({source.tokens[i].kind for i in link.sources} | {edit.tokens[j].kind for j in link.edits}) == 1


@given(pairs(), st.sampled_from(["auto", "refine"]))
def test_start_end_and_padding_are_taken_whatever_the_lengths(prompts, mode):
    source, edit = prompts
    taken = align(source, edit, mode).taken
    assert taken[edit.positions("start")].all()
    assert taken[edit.positions("end")].all()
    if source.positions("pad"):
        assert taken[edit.positions("pad")].all()


@given(texts, texts, pads)
def test_sequence_takes_start_and_end_of_a_single_chunk(source, edit, pad):
    """Padding that the longer prompt lacks keeps its own map, as in CrossAttentionControl."""
    source, edit = tokenised(source, pad=pad), tokenised(edit, pad=pad)
    taken = align(source, edit, "sequence").taken
    assert taken[[*edit.positions("start"), *edit.positions("end")]].all()
    assert taken[edit.positions("pad")].sum() == min(len(source.positions("pad")), len(edit.positions("pad")))


@given(swaps())
def test_replace_conserves_the_mass_of_every_map(prompts):
    """Each source token hands out all it has, so rows of P_s A sum to 1 as those of P_s do."""
    source, edit = prompts
    assume(edit.positions("pad") or not source.positions("pad"))  # else there is nothing to give padding's mass to
    alignment = align(source, edit, "replace")
    torch.testing.assert_close(alignment.matrix.sum(1), torch.ones(len(source), dtype=torch.float64))
    assert alignment.taken[edit.positions("text")].all()


@given(swaps())
def test_replace_shares_each_word_equally_and_the_next_follow_in_step(prompts):
    source, edit = prompts
    matrix = align(source, edit, "replace").matrix
    for old, new in zip(source.words, edit.words):
        block = matrix[list(old.positions)][:, list(new.positions)]
        share = torch.full_like(block, 1 / len(new.positions))
        assert torch.equal(block, torch.eye(len(block)).to(block) if old.ids == new.ids else share)
        assert matrix[list(old.positions)].count_nonzero() == block.count_nonzero()


@given(st.lists(st.sampled_from("abc"), max_size=9), st.lists(st.sampled_from("abc"), max_size=9))
def test_needleman_wunsch_pairs_as_many_as_can_be(old, new):
    """With gaps free and mismatches worse than two gaps, the best alignment is a longest common subsequence."""

    @cache
    def longest(i: int, j: int) -> int:
        if not i or not j:
            return 0
        return max(longest(i - 1, j), longest(i, j - 1), longest(i - 1, j - 1) + (old[i - 1] == new[j - 1]))

    found = needleman_wunsch(old, new)
    assert all(old[i] == new[j] for i, j in found)
    assert all(i < k and j < m for (i, j), (k, m) in pairwise(found))
    assert len(found) == longest(len(old), len(new))


def pieces(source: Prompt, edit: Prompt, mode: str) -> dict[str, str]:
    """Each word of the edit and what it takes, in tokens' texts: {"dog": "cat"}; "" is its own map."""
    taken = {j: link.sources for link in align(source, edit, mode).links for j in link.edits}
    sources = {word: dict.fromkeys(i for j in word.positions for i in taken.get(j, ())) for word in edit.words}
    return {word.text: " ".join(source.tokens[i].text for i in found) for word, found in sources.items()}


@pytest.mark.parametrize(
    ("source", "edit", "mode", "expected"),
    [
        ("a cat on mars", "a dog on mars", "auto", {"a": "a", "dog": "cat", "on": "on", "mars": "mars"}),
        ("a cat", "a fat cat", "auto", {"a": "a", "fat": "", "cat": "cat"}),
        ("a fat cat", "a cat", "auto", {"a": "a", "cat": "cat"}),
        ("red car", "bike", "auto", {"bike": "car"}),
        ("the cat", "the hippogriff", "auto", {"the": "the", "hippogriff": "cat"}),
        ("a hippogriff", "a cat", "auto", {"a": "a", "cat": "hipp ogri ff"}),
        ("cat sits on", "cat, smiling, on", "auto", {"cat": "cat", ",": "", "smiling": "sits", "on": "on"}),
        ("cat, dog", "cat and dog", "auto", {"cat": "cat", "and": "", "dog": "dog"}),
        ("cat, dog", "cat. dog", "auto", {"cat": "cat", ".": ",", "dog": "dog"}),
        ("a cat", "a dog", "refine", {"a": "a", "dog": ""}),
        ("a cat", "a fat cat", "refine", {"a": "a", "fat": "", "cat": "cat"}),
        ("a cat on mars", "a dog on mars", "sequence", {"a": "a", "dog": "cat", "on": "on", "mars": "mars"}),
        ("a cat on", "a hippogriff on", "sequence", {"a": "a", "hippogriff": "", "on": "on"}),
        ("cat, dog", "cat dog", "replace", {"cat": "cat", "dog": "dog"}),
        ("cat dog", "cat, fox", "replace", {"cat": "cat", ",": "", "fox": "dog"}),
    ],
)
def test_words(source, edit, mode, expected):
    assert pieces(tokenised(source), tokenised(edit), mode) == expected


@pytest.mark.parametrize("mode", ["auto", "refine", "sequence"])
@pytest.mark.parametrize(("source", "edit"), [("", "a cat"), ("a cat", ""), ("", "")])
def test_an_empty_prompt_leaves_nothing_but_start_end_and_padding(source, edit, mode):
    source, edit = tokenised(source), tokenised(edit)
    kinds = {source.tokens[i].kind for link in align(source, edit, mode).links for i in link.sources}
    assert kinds == {"start", "end", "pad"}


def test_padding_takes_the_padding_of_its_own_place_and_chunk():
    source, edit = tokenised("cat dog", chunk=6), tokenised("cat dog fox car hat", chunk=6)  # 1 and 2 chunks
    links = {j: link.sources for link in align(source, edit).links for j in link.edits}
    assert [edit.tokens[j].kind for j in (9, 10, 11)] == ["pad"] * 3
    assert [links[j] for j in (9, 10, 11)] == [(4,), (4,), (5,)]  # place 3 is the source's end of text
    assert links[0] == links[6] == (0,)
    assert links[5] == links[8] == (3,)


def test_padding_in_the_middle_stays_there():
    """A long word that begins a new chunk leaves padding before it, encoded by its place like any other."""
    source, edit = tokenised("cat hippogriff bicycle", chunk=7), tokenised("cat bicycle hippogriff", chunk=7)
    links = {j: link.sources for link in align(source, edit).links for j in link.edits}
    assert source.positions("pad") == [6, 11, 12, 13]
    assert {j: links[j] for j in edit.positions("pad")} == {5: (6,), 6: (6,), 12: (12,), 13: (13,)}


def test_replace_of_different_numbers_of_words_says_how_many():
    with pytest.raises(EditError, match=r"^mode: 'replace'.* source_prompt has 2 words and edit_prompt 3"):
        align(tokenised("a cat"), tokenised("a fat cat"), "replace")


def test_an_unknown_mode_lists_the_known():
    with pytest.raises(EditError, match=r"^mode: 'swap' is not one of: auto, replace, refine, sequence"):
        align(tokenised("a"), tokenised("a"), "swap")
