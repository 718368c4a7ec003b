"""What people tried and what worked, so that it stays so."""

from __future__ import annotations

import comfy_extras.nodes_post_processing  # noqa: F401 - before nodes_latent: in newer ComfyUIs each imports the other
import pytest
import torch
from comfy_extras.nodes_latent import LatentBatchSeedBehavior
from prompt_to_prompt.p2p_core.alignment import MODES
from prompt_to_prompt.p2p_core.edit import Edit
from prompt_to_prompt.p2p_core.hosts.comfy import encode, load_demo

from support.sampling import NOTHING, assert_same, latent, plain, run, sampling
from support.small_models import edit_of, prompt

FEW = {"image": latent(1, 8, 8), "sampled": sampling(steps=2)}


def test_a_negative_of_six_chunks_beside_a_prompt_of_one():
    negative, edit = prompt("blurry", 6).encoding, edit_of().reweight("dog", 2.0)
    latents, finished = run(edit, negative=negative, **FEW)
    assert_same(latents[:1], plain(edit.source.encoding, negative=negative, **FEW))
    assert finished.edited


def test_a_word_of_scale_0_is_gone_and_leaves_the_picture_finite():
    edit = edit_of().reweight("dog", 0.0)
    latents, _ = run(edit, **FEW)
    assert torch.isfinite(latents).all()
    assert (latents[1] - run(edit_of(), **FEW)[0][1]).abs().max() > 1e-4
    everything = edit_of().reweight("a, big, dog, on, car", 0.0)
    assert torch.isfinite(run(everything, **FEW)[0]).all()


@pytest.mark.parametrize("size", [(65, 65), (15, 23)])
def test_latents_of_odd_sizes(size):
    edit, few = (
        edit_of().local_blend("cat", "dog", start=0.0),
        {"image": latent(1, *size), "sampled": sampling(steps=1), "cfg": 1.0},
    )
    latents, finished = run(edit, keep_maps=True, **few)
    assert_same(latents[:1], plain(edit.source.encoding, **few))
    assert finished.masks().shape[1:] == size
    assert finished.maps().source.of((2,)).shape == (1, *size)


@pytest.mark.parametrize("sampler", ["euler_ancestral", "dpmpp_2m_sde"])
def test_a_fixed_seed_for_the_batch_with_a_sampler_that_adds_noise(sampler):
    fixed = LatentBatchSeedBehavior.execute(latent(2, 8, 8), "fixed").result[0]
    edit, few = edit_of().schedule(NOTHING), {"image": fixed, "sampled": sampling(sampler, steps=2)}
    latents, _ = run(edit, **few)
    assert_same(latents[:2], plain(edit.source.encoding, **few))
    assert_same(latents[2:], plain(edit.variants[0].prompt.encoding, **few))


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "replace"])
def test_a_word_of_several_tokens_for_two_words(mode):
    _, clip, _ = load_demo()
    edit = Edit(encode(clip, "a supernova over a city")).add(encode(clip, "a black hole over a city"), mode)
    links, source, edited = edit.variants[0].alignment.links, edit.source, edit.variants[0].prompt
    paired = {source.tokens[link.sources[0]].text: edited.tokens[link.edits[0]].text for link in links}
    assert paired["city"] == "city" and paired["over"] == "over"


def test_a_swap_on_sd_2():
    edit = edit_of("a turtle on a rock", "a monkey on a rock")
    latents, finished = run(edit, "sd2", **FEW)
    assert_same(latents[:1], plain(edit.source.encoding, "sd2", **FEW))
    assert finished.edited and torch.isfinite(latents).all()


def test_a_user_s_mask_over_one_of_several_things():
    mask = torch.zeros(64, 64)
    mask[:, :32] = 1
    edit = edit_of("a cat and a cat", "a cat and a dog").local_blend("", "", mask=mask, start=0.0)
    latents, _ = run(edit, **FEW)
    assert torch.equal(latents[1][..., 5:], latents[0][..., 5:])
    assert (latents[1][..., :4] - latents[0][..., :4]).abs().max() > 1e-3
