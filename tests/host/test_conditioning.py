"""Other conditioning nodes beside an edit, through the `source` and `edited` inputs; the real nodes of ComfyUI."""

from __future__ import annotations

import pytest
import torch
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.hosts.comfy import EditGuider, sample
from prompt_to_prompt.p2p_core.run import Run

import nodes
from support.sampling import CFG, NOTHING, assert_same, latent, plain, sampling
from support.small_models import NEGATIVE, edit_of, prompt, small_controlnet, small_model

COMMON = prompt("a photo of the sea").encoding


def both(edit, change):
    """Source and edited conditioning, each through the same nodes."""
    return change(edit.source.encoding), change(edit.variants[0].prompt.encoding)


def run_of(edit, source=None, edited=None, negative=NEGATIVE):
    """The latents and the finished run."""
    guider = EditGuider(small_model("sd1"), edit, negative, CFG, source=source, edited=edited)
    return sample(guider, latent(), sampling())


@pytest.fixture
def shared(monkeypatch):
    """Whether source and edit share their prompt, for each kind of evaluation that a layer has seen, in order."""
    seen = {}
    original = Run.attention

    def attention(run, call, *args):
        seen.update({evaluation.shares_prompt: True for evaluation in call.evaluations})
        return original(run, call, *args)

    monkeypatch.setattr(Run, "attention", attention)
    return seen


def half_mask():
    mask = torch.zeros(1, 128, 128)
    mask[..., 64:] = 1
    return mask


CHANGES = {
    "combine": lambda c: nodes.ConditioningCombine().combine(c, COMMON)[0],
    "area": lambda c: nodes.ConditioningSetArea().append(c, 64, 128, 64, 0, 1.0)[0] + COMMON,
    "mask": lambda c: nodes.ConditioningSetMask().append(c, half_mask(), "default", 0.8)[0] + COMMON,
    "time range": lambda c: (
        nodes.ConditioningSetTimestepRange().set_range(c, 0.0, 0.6)[0]
        + nodes.ConditioningSetTimestepRange().set_range(COMMON, 0.6, 1.0)[0]
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_rows_are_ordinary_runs_of_the_same_conditioning(change):
    edit = edit_of().schedule(NOTHING)
    source, edited = both(edit, CHANGES[change])
    latents, *_ = run_of(edit, source, edited)
    assert_same(latents[:1], plain(source))
    assert_same(latents[1:], plain(edited))


@pytest.mark.parametrize("change", CHANGES)
def test_an_edit_beside_it_edits_its_own_words_only(change, shared):
    edit = edit_of()
    source, edited = both(edit, CHANGES[change])
    latents, finished = run_of(edit, source, edited)
    assert_same(latents[:1], plain(source))
    assert (latents[1:] - plain(edited)).abs().max() > 1e-3
    assert finished.edited
    assert set(shared) == {False, True}, "the words of the prompts mean nothing in what both have in common"


def test_reweighting_alone_knows_its_prompt_from_what_is_combined_with_it(shared):
    edit = edit_of("a cat", "a cat").reweight("cat", 3.0)
    run_of(edit, *both(edit, CHANGES["combine"]))
    assert set(shared) == {False, True}


def test_a_negative_area_leaves_the_edit_where_it_is(shared):
    """The host then copies the positive entry under the negative's name, to pair the areas."""
    edit = edit_of()
    negative = nodes.ConditioningSetArea().append(NEGATIVE, 64, 128, 64, 0, 1.0)[0] + NEGATIVE
    latents, _ = run_of(edit, negative=negative)
    assert list(shared) == [False]
    assert_same(latents[:1], plain(edit.source.encoding, negative=negative))


@pytest.mark.parametrize("change", CHANGES)
def test_a_negative_that_changes_over_time_or_place_is_the_same_for_source_and_edit(change):
    edit, negative = edit_of().schedule(NOTHING), CHANGES[change](NEGATIVE)
    latents, _ = run_of(edit, negative=negative)
    assert_same(latents[:1], plain(edit.source.encoding, negative=negative))
    assert_same(latents[1:], plain(edit.variants[0].prompt.encoding, negative=negative))


def test_words_that_only_have_an_area_make_no_blend_mask():
    edit = edit_of().local_blend("cat", "dog", start=0.0)
    source, edited = both(edit, lambda c: nodes.ConditioningSetArea().append(c, 64, 128, 64, 0, 1.0)[0])
    with pytest.raises(EditError, match=r"no attention map.*Connect a mask"):
        run_of(edit, source, edited)


@pytest.fixture(scope="module")
def controlnet():
    return small_controlnet()


def controlled(conditioning, controlnet, image, strength=1.0):
    return nodes.ControlNetApplyAdvanced().apply_controlnet(conditioning, [], controlnet, image, strength, 0.0, 1.0)[0]


def test_controlnet(controlnet):
    image = torch.rand(1, 128, 128, 3)
    edit = edit_of()
    source, edited = both(edit, lambda c: controlled(c, controlnet, image))
    latents, *_ = run_of(edit.schedule(NOTHING), source, edited)
    assert_same(latents[:1], plain(source))
    assert_same(latents[1:], plain(edited))
    assert (latents[:1] - plain(edit.source.encoding)).abs().max() > 1e-3
    injected, *_ = run_of(edit, source, edited)
    assert_same(injected[:1], latents[:1])
    assert (injected[1:] - latents[1:]).abs().max() > 1e-3


@pytest.mark.parametrize("other", ["none", "other picture", "other strength"])
def test_controlnet_on_one_side_only_is_an_error(controlnet, other):
    image = torch.rand(1, 128, 128, 3)
    edit = edit_of()
    source = controlled(edit.source.encoding, controlnet, image)
    edited = edit.variants[0].prompt.encoding
    if other == "other picture":
        edited = controlled(edited, controlnet, 1 - image)
    if other == "other strength":
        edited = controlled(edited, controlnet, image, 0.5)
    with pytest.raises(EditError, match="ControlNet"):
        run_of(edit, source, edited)


def test_conditioning_that_does_not_fit_is_an_error_that_says_so():
    edit = edit_of("a cat", "a dog", "a fox")
    with pytest.raises(EditError, match=r"^edited: it has 1 row, .*2 edited prompts"):
        run_of(edit, edited=prompt("a dog").encoding)
    edit = edit_of()
    with pytest.raises(EditError, match=r"^source and edited: they have different numbers of conditioning entries"):
        run_of(edit, source=CHANGES["combine"](edit.source.encoding))
    with pytest.raises(EditError, match="different text encoders"):
        run_of(edit, source=prompt("a cat on a car", width=32).encoding)
    with pytest.raises(EditError, match=r"^edit: it has embeddings of width 32, but the model expects 64"):
        run_of(edit, prompt("a cat", width=32).encoding, prompt("a dog", width=32).encoding)
    with pytest.raises(EditError, match=r"^negative: it has embeddings of width 32"):
        run_of(edit, negative=prompt("", width=32).encoding)
    longer = nodes.ConditioningConcat().concat(edit.variants[0].prompt.encoding, COMMON)[0]
    with pytest.raises(EditError, match=r"^edited: it has 154 tokens.*77.*ConditioningConcat"):
        run_of(edit, edited=longer)


def told(edit, source=None, edited=None):
    """What is told of a run with these inputs."""
    notes = []
    guider = EditGuider(small_model("sd1"), edit, NEGATIVE, CFG, source=source, edited=edited, tell=notes.append)
    sample(guider, latent(), sampling(steps=1))
    return notes


@pytest.mark.parametrize("words", ["the sea", "a cat on a car", "a big dog on a car"])
@pytest.mark.parametrize("behind", ["itself", "area"])
def test_one_text_in_source_and_edited_is_an_error_that_names_them(words, behind):
    """As "anything everywhere" nodes fill them."""
    broadcast = prompt(words).encoding
    if behind == "area":
        broadcast = CHANGES["area"](broadcast)
    with pytest.raises(EditError, match=r"^source and edited: they are one text"):
        told(edit_of(), broadcast, broadcast)


@pytest.mark.parametrize("filled", ["source", "edited"])
def test_another_text_in_one_of_source_and_edited_is_named(filled):
    (note,) = told(edit_of(), **{filled: prompt("the sea").encoding})
    assert note.startswith(f"{filled}: not what the edit's prompts are encoded to")


def test_another_text_beside_two_equal_prompts_is_named():
    broadcast = prompt("the sea").encoding
    (note,) = told(edit_of("a cat", "a cat").reweight("cat", 2.0), broadcast, broadcast)
    assert note.startswith("source and edited: not what")


@pytest.mark.parametrize("change", CHANGES)
def test_the_edit_s_own_texts_are_no_others(change):
    edit = edit_of()
    assert told(edit, *both(edit, CHANGES[change])) == []
    same = edit_of("a cat", "a cat").reweight("cat", 2.0)
    assert told(same, *both(same, CHANGES[change])) == []


def test_texts_that_nodes_have_changed_on_both_sides_are_no_others():
    def change(conditioning):
        return [[text * 1.01, options] for text, options in conditioning]

    edit = edit_of()
    assert told(edit, *both(edit, change)) == []
