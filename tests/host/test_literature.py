"""The engine against the literature: the same sampling run on values and on literally edited maps.

Everything is sampled by ComfyUI in float64, so that the two can be told apart from rounding: a run has
some hundred layers and steps, each with rounding errors around 1e-15, and they have to agree to 1e-9.
"""

from __future__ import annotations

from dataclasses import replace

import comfy.samplers
import pytest
import torch
from prompt_to_prompt.p2p_core.alignment import align
from prompt_to_prompt.p2p_core.edit import Edit
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.hosts.comfy import EditGuider, encode, load_demo
from prompt_to_prompt.p2p_core.hosts.comfy.conditioning import stack
from prompt_to_prompt.p2p_core.schedule import InjectSchedule, Window, parse_word_windows
from reference import cross_attention_control as cac
from reference import hertz

from support.float64 import InFloat64

# With five steps and windows in fifths the paper's int(fraction * (steps + 1)) and int(fraction * steps)
# begin and end at the same steps as `start <= i / n < end`.
STEPS = 5
CFG = 4.0
EXACT = {"rtol": 0, "atol": 1e-9}


@pytest.fixture(scope="module")
def demo():
    model, clip, _ = load_demo()
    model.model.double()
    model.model.diffusion_model.dtype = torch.float64
    return model, clip


@pytest.fixture
def sampled(demo):
    """Samples by the pack: (edit, its trajectory, sampler) -> latents [source, edit 1, ...]."""

    def sampled(edit: Edit, trajectory: str = "dual", sampler=None) -> torch.Tensor:
        guider = EditGuider(demo[0], edit, encode(demo[1], "").encoding, CFG, trajectory=trajectory)
        return _run(guider, 1, sampler)

    return sampled


@pytest.fixture
def literally(demo):
    """Samples by the paper's controllers: (controller, prompts) -> latents [source, edit 1, ...]."""

    def literally(controller: hertz.Controller | None, prompts: list[str], sampler=None) -> torch.Tensor:
        model, clip = demo
        guider = comfy.samplers.CFGGuider(controller.patched(model) if controller else model)
        guider.set_conds(stack([encode(clip, text).encoding for text in prompts]), encode(clip, "").encoding)
        guider.set_cfg(CFG)
        return _run(guider, len(prompts), sampler)

    return literally


def _run(guider, rows: int, sampler=None) -> torch.Tensor:
    noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(3)).double().repeat(rows, 1, 1, 1)
    sigmas = _sigmas(guider.model_patcher)
    with InFloat64():
        sampler = sampler or comfy.samplers.sampler_object("ddim")
        return guider.sample(noise, torch.zeros_like(noise), sampler, sigmas, disable_pbar=True, seed=3)


def _sigmas(model) -> torch.Tensor:
    return comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", STEPS).double()


SOURCE = "a cat sitting on a red car in the snow"
SWAP = "a dog sitting on a red car in the snow"
INSERTION = "a smiling cat wearing a hat sitting on a red car in the snow"
RESTYLE = "a cat sitting on a blue car at the beach"


@pytest.fixture
def ids(demo):
    """A text's token ids with start and end, as the paper's code has them from CLIP's tokenizer."""
    tokenizer = demo[1].tokenizer.clip_l.tokenizer
    return lambda text: tokenizer(text)["input_ids"]


@pytest.fixture
def edit(demo):
    """edit(mode, *edit prompts): edits of SOURCE."""

    def edit(mode: str, *prompts: str) -> Edit:
        made = Edit(encode(demo[1], SOURCE))
        for prompt in prompts:
            made = made.add(encode(demo[1], prompt), mode)
        return made

    return edit


def schedule(cross=(0.0, 0.8), within=(0.0, 0.0), layers="half", words="") -> InjectSchedule:
    return InjectSchedule(Window(*cross), Window(*within), self_layers=layers, word_windows=parse_word_windows(words))


# --- dual: the paper ---


def replacing(ids, *prompts: str) -> hertz.Cross:
    return hertz.replace(torch.stack([hertz.replacement_mapper(SOURCE, prompt, ids) for prompt in prompts]))


def refining(ids, *prompts: str) -> hertz.Cross:
    mappers = [hertz.refinement_mapper(SOURCE, prompt, ids) for prompt in prompts]
    return hertz.refine(*map(torch.stack, zip(*mappers)))


def controller(ids, cross: hertz.Cross, *prompts: str, windows=0.8, **more) -> hertz.Controller:
    windows = windows if isinstance(windows, dict) else {"default_": windows}
    return hertz.Controller(STEPS, cross, hertz.time_alphas(prompts, STEPS, windows, ids), **more)


def test_replace(sampled, literally, edit, ids):
    ours = sampled(edit("replace", SWAP).schedule(schedule()))
    theirs = literally(controller(ids, replacing(ids, SWAP), SWAP), [SOURCE, SWAP])
    torch.testing.assert_close(ours, theirs, **EXACT)


def test_refine(sampled, literally, edit, ids):
    ours = sampled(edit("refine", INSERTION).schedule(schedule(cross=(0.2, 0.6))))
    theirs = literally(controller(ids, refining(ids, INSERTION), INSERTION, windows=(0.2, 0.6)), [SOURCE, INSERTION])
    torch.testing.assert_close(ours, theirs, **EXACT)


def test_several_edits_of_one_source(sampled, literally, edit, ids):
    ours = sampled(edit("refine", INSERTION, RESTYLE).schedule(schedule()))
    theirs = literally(
        controller(ids, refining(ids, INSERTION, RESTYLE), INSERTION, RESTYLE), [SOURCE, INSERTION, RESTYLE]
    )
    torch.testing.assert_close(ours, theirs, **EXACT)


@pytest.mark.parametrize(("layers", "resolution"), [("all", 16), ("half", 8), ("quarter", 4)])
def test_self_replacement_up_to_a_resolution(layers, resolution, sampled, literally, edit, ids):
    """The paper's limit is a number for latents of 64 x 64; ours is a part of the latent's size, here 16 x 16."""
    ours = sampled(edit("replace", SWAP).schedule(schedule(within=(0.2, 0.8), layers=layers)))
    theirs = controller(ids, replacing(ids, SWAP), SWAP, self_replace=(0.2, 0.8), self_resolution=resolution)
    torch.testing.assert_close(ours, literally(theirs, [SOURCE, SWAP]), **EXACT)


def test_word_windows(sampled, literally, edit, ids):
    ours = sampled(edit("replace", SWAP).schedule(schedule(words="dog: 0.0-0.2\nsnow: 0.4-1.0")))
    windows = {"default_": 0.8, "dog": 0.2, "snow": (0.4, 1.0)}
    theirs = literally(controller(ids, replacing(ids, SWAP), SWAP, windows=windows), [SOURCE, SWAP])
    torch.testing.assert_close(ours, theirs, **EXACT)


@pytest.mark.parametrize(
    ("mode", "prompt", "before"),
    [("replace", SOURCE, None), ("replace", SWAP, replacing), ("refine", INSERTION, refining)],
    ids=["alone", "after replace", "after refine"],
)
def test_reweight(mode, prompt, before, sampled, literally, edit, ids):
    """The paper's weights hold within its cross window, so ours are given that window."""
    made = edit(mode, prompt).schedule(schedule(cross=(0.0, 0.6)))
    made = made.reweight("snow", 4.0, end=0.6).reweight("red", -2.0, end=0.6)
    weights = hertz.equalizer(prompt, {"snow": 4.0, "red": -2.0}, ids)[None]
    cross = hertz.reweight(weights, before and before(ids, prompt))
    theirs = literally(controller(ids, cross, prompt, windows=0.6), [SOURCE, prompt])
    torch.testing.assert_close(sampled(made), theirs, **EXACT)


@pytest.mark.parametrize("subtracted", ["", "sitting"])
def test_local_blend_by_words(subtracted, sampled, literally, edit, ids):
    # A threshold of 0.6 leaves a part of the picture, so that the masks are neither empty nor full.
    made = edit("replace", SWAP).schedule(schedule(within=(0.0, 0.4)))
    made = made.local_blend("cat", "dog", threshold=0.6, start=0.2, subtract_words=subtracted)

    def chosen(*words: str) -> torch.Tensor:
        places = torch.zeros(2, 77, dtype=torch.float64)
        for row, (text, word) in enumerate(zip((SOURCE, SWAP), words)):
            places[row, hertz.word_places(text, word, ids)] = 1
        return places

    words = hertz.WordBlend(chosen("cat", "dog"), threshold=0.6, start=0.2, resolution=8)
    blend = replace(words, subtract=chosen(subtracted, subtracted)) if subtracted else words
    theirs = controller(ids, replacing(ids, SWAP), SWAP, self_replace=(0.0, 0.4), self_resolution=8, blend=blend)
    torch.testing.assert_close(sampled(made), literally(theirs, [SOURCE, SWAP]), **EXACT)

    inside = theirs.mask(STEPS - 1, (16, 16))[1].mean()
    theirs.blend = words
    assert 0 < inside < 1
    assert (inside < theirs.mask(STEPS - 1, (16, 16))[1].mean()) == bool(subtracted)


def test_local_blend_under_a_fixed_mask_is_the_papers_blend_of_latents(sampled, literally, edit, ids):
    mask = torch.zeros(16, 16, dtype=torch.float64)
    mask[3:11, 5:14] = 1
    made = edit("replace", SWAP).schedule(schedule()).local_blend("", "", start=0.0, mask=mask)
    theirs = literally(
        controller(ids, replacing(ids, SWAP), SWAP), [SOURCE, SWAP], sampler=hertz.latent_blend_sampler(mask)
    )
    ours = sampled(made)
    torch.testing.assert_close(ours, theirs, **EXACT)
    assert torch.equal(ours[1][:, mask == 0], ours[0][:, mask == 0])
    assert not torch.isclose(ours[1][:, mask == 1], ours[0][:, mask == 1]).all()


def test_one_step_more_or_less_is_seen(sampled, edit):
    """The comparisons above could not hold by accident: one step of injection is far more than 1e-9."""
    four, three = (sampled(edit("replace", SWAP).schedule(schedule(cross=(0.0, end)))) for end in (0.8, 0.6))
    assert torch.equal(four[0], three[0])
    assert (four[1] - three[1]).abs().max() > 1e-4


# --- dual: which token takes which map, and the defects of the paper's code ---


@pytest.fixture
def matrix(demo):
    def matrix(source: str, prompt: str, mode: str) -> torch.Tensor:
        return align(*(encode(demo[1], text) for text in (source, prompt)), mode).matrix

    return matrix


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


# --- shared: CrossAttentionControl ---


@pytest.mark.parametrize("prompt", [SWAP, INSERTION, "a cat on a boat"], ids=["swap", "insertion", "deletion"])
def test_cross_attention_control(prompt, demo, sampled, edit, ids):
    """Its windows are on t / 1000 from 1 to 0, so ours run from 1 - end to 1 - start."""
    # Token 5 of "... on" and 2, the cat or dog, are in all the prompts.
    weights = ((2, 1.5), (5, -2.0))
    control = cac.Control(
        _padded(ids(SOURCE)), _padded(ids(prompt)), tokens=(0.2, 1.0), spatial=(0.4, 0.8), weights=weights
    )
    made = edit("sequence", prompt).schedule(schedule(cross=(0.0, 0.8), within=(0.2, 0.6), layers="all"))
    for token, weight in weights:
        made = made.reweight(f"[{token}]", weight)
    theirs = _three_passes(demo, control, prompt)
    torch.testing.assert_close(sampled(made, "shared")[1:], theirs, **EXACT)


def test_cross_attention_control_weights_without_an_edit(demo, sampled, edit, ids):
    """With one prompt, its weights are all there is."""
    control = cac.Control(_padded(ids(SOURCE)), _padded(ids(SOURCE)), (1.0, 0.0), (1.0, 0.0), ((7, 3.0),))
    made = edit("sequence", SOURCE).schedule(schedule(cross=(0.0, 0.0))).reweight("[7]", 3.0)
    torch.testing.assert_close(sampled(made, "shared")[1:], _three_passes(demo, control, SOURCE), **EXACT)


@pytest.mark.parametrize(
    ("source", "prompt"), [(SOURCE, SWAP), (SOURCE, INSERTION), (INSERTION, RESTYLE), ("", SOURCE), (SOURCE, "")]
)
def test_cross_attention_control_matrix(source, prompt, matrix, ids):
    mask, indices = cac.token_mask(_padded(ids(source)), _padded(ids(prompt)))
    theirs = torch.zeros(77, 77, dtype=torch.float64)
    theirs[indices, torch.arange(77)] = mask
    torch.testing.assert_close(matrix(source, prompt, "sequence"), theirs, **EXACT)


def _padded(ids: list[int]) -> list[int]:
    """As Stable Diffusion 1.x pads: with the end-of-text token."""
    return ids + [ids[-1]] * (77 - len(ids))


def _three_passes(demo, control: cac.Control, prompt: str) -> torch.Tensor:
    model, clip = demo
    source, edited, negative = (encode(clip, text).encoding for text in (SOURCE, prompt, ""))
    return _run(cac.Guider(model, control, source, edited, negative, CFG), 1)
