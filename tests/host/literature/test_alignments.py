"""Which token takes which map: the literature's matrices, and the defects of the paper's code."""

from __future__ import annotations

import pytest
import torch
from prompt_to_prompt.p2p_core.edit import Edit
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.hosts.comfy import encode
from reference import cross_attention_control as cac
from reference import hertz

from support.literature import EXACT, INSERTION, RESTYLE, SOURCE, SWAP, padded


@pytest.mark.parametrize(
    ("source", "prompt"),
    [
        (SOURCE, SWAP),
        ("a cat and a cat", "a cat and a dog"),
        ("a hippogriff at night", "a hippogriff at sea"),  # a word of several tokens, kept
        ("a cat on a boat", "a dog in a car"),
    ],
)
def test_replacement_matrix(source, prompt, matrix, ids):
    torch.testing.assert_close(
        matrix(source, prompt, "replace"), hertz.replacement_mapper(source, prompt, ids), **EXACT
    )


def test_replacement_at_the_end_of_several_tokens_by_one(matrix, ids):
    """A shorter word in place of a longer: the words themselves are mapped as in the paper."""
    source, prompt = "a hippogriff", "a cat"
    pieces = len(ids("hippogriff")) - 2
    ours, theirs = matrix(source, prompt, "replace"), hertz.replacement_mapper(source, prompt, ids)
    assert pieces > 1
    torch.testing.assert_close(ours[: 2 + pieces, :3], theirs[: 2 + pieces, :3], **EXACT)


def test_defect_tokens_after_a_swap_of_one_for_several(matrix, ids):
    """The paper's code leaves every token after the last swap one off; ours follow in step."""
    source, prompt = "a cat at night", "a hippogriff at night"
    shift = len(ids("hippogriff")) - 3
    ours, theirs = matrix(source, prompt, "replace"), hertz.replacement_mapper(source, prompt, ids)
    assert shift > 0
    at, night, end = 3, 4, 5
    for token in (at, night, end):
        assert ours[token, token + shift] == 1
        assert theirs[token, token + shift] == 0
        assert theirs[token + shift, token + shift] == 1


def test_defect_swap_of_as_many_tokens_is_the_identity(matrix, ids):
    """The paper's code maps several tokens one to one, as though the second half of one word were that of the other.

    Ours shares every token of the old word over all of the new.
    """
    source, prompt = "a hippogriff at night", "a wolfhound at night"
    pieces = len(ids("hippogriff")) - 2
    assert pieces == len(ids("wolfhound")) - 2 > 1
    ours, theirs = matrix(source, prompt, "replace"), hertz.replacement_mapper(source, prompt, ids)
    word = slice(2, 2 + pieces)
    assert torch.equal(theirs, torch.eye(77, dtype=torch.float64))
    assert torch.equal(ours[word, word], torch.full((pieces, pieces), 1 / pieces, dtype=torch.float64))
    ours[word, word] = theirs[word, word]
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("source", "prompt"),
    [
        (SOURCE, INSERTION),
        (SOURCE, RESTYLE),
        ("a cat", "a cat wearing a hat next to a car in the snow"),
        ("a cat on a cat on a car", "a car on a cat on a cat"),  # ties
    ],
)
def test_refinement_matrix(source, prompt, matrix, ids):
    mapper, alphas = hertz.refinement_mapper(source, prompt, ids)
    theirs = torch.zeros(77, 77, dtype=torch.float64)
    theirs[mapper, torch.arange(77)] = alphas
    torch.testing.assert_close(matrix(source, prompt, "refine"), theirs, **EXACT)


def test_defect_deletion_hands_words_to_padding(matrix, ids):
    """Where the edit is shorter, the paper's code gives its first padding the maps of the source's last words."""
    source, prompt = "a cat sitting on a red car", "a cat"
    last, first_pad = len(ids(source)) - 1, len(ids(prompt))
    mapper, _ = hertz.refinement_mapper(source, prompt, ids)
    assert mapper[first_pad : last + 1].tolist() == list(range(first_pad, last + 1))
    ours = matrix(source, prompt, "refine")
    assert not ours[: last + 1, first_pad:].any()
    assert ours[last + 1 :, first_pad:].any(0).all()
    assert torch.equal(ours[:, :first_pad].argmax(0), torch.tensor([0, 1, 2, last]))


def test_defect_words_are_matched_to_the_letter(demo, ids):
    """The paper's code finds no "cat" in "A Cat, sitting", and says nothing; ours finds it, and says what it can't."""
    text = "A Cat, sitting"
    prompt = encode(demo[1], text)
    assert hertz.word_places(text, "cat", ids) == []
    assert prompt.find("cat") == [(2,)]
    with pytest.raises(EditError, match=r"'dog' is not in the prompt. Its words are: a, cat, sitting"):
        Edit(prompt).add(prompt).reweight("dog", 2.0)


@pytest.mark.parametrize(
    ("source", "prompt"), [(SOURCE, SWAP), (SOURCE, INSERTION), (INSERTION, RESTYLE), ("", SOURCE), (SOURCE, "")]
)
def test_cross_attention_control_matrix(source, prompt, matrix, ids):
    mask, indices = cac.token_mask(padded(ids(source)), padded(ids(prompt)))
    theirs = torch.zeros(77, 77, dtype=torch.float64)
    theirs[indices, torch.arange(77)] = mask
    torch.testing.assert_close(matrix(source, prompt, "sequence"), theirs, **EXACT)
