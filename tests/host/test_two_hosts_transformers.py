"""One edit of a transformer through ComfyUI and through diffusers: the same network, noise and sigmas.

The networks compute in float64 in both hosts, but ComfyUI keeps latents and sigmas in float32, and both turn queries
and keys by their positions in float32. So latents may differ by 1e-6 of the largest: they do by a third of it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import comfy.model_management
import comfy.samplers
import pytest
import torch
import torch.nn.functional as F
from prompt_to_prompt.p2p_core.hosts import comfy as comfy_host
from prompt_to_prompt.p2p_core.hosts import diffusers as diffusers_host
from prompt_to_prompt.p2p_core.hosts.diffusers.networks import network_of
from prompt_to_prompt.p2p_core.schedule import InjectSchedule, Window, parse_word_windows

from support.both_hosts import CHANNELS, comfy_model, pipeline_of
from support.small_joint_models import joint_edit, joint_prompt

TOLERANCE = 1e-6
MODELS = ("sd3", "sd35m", "flux")
SIGMAS = [1.0, 0.75, 0.5, 0.25]  # which a thousand times over, as a timestep, float32 does not round
ALWAYS = {"cross_window": Window(0, 1, "cross"), "self_window": Window(0, 1, "self")}
SIZE = (8, 12)

EDITS = {
    "default": lambda edit: edit,
    "nothing": lambda edit: edit.schedule(InjectSchedule(cross_window=Window(0, 0), self_window=Window(0, 0))),
    **{
        mode: lambda edit, mode=mode: edit.schedule(
            InjectSchedule(**ALWAYS, self_mode=mode, cross_strength=0.7, self_strength=0.6)
        )
        for mode in ("map", "layout", "key_value", "output")
    },
    "reweight": lambda edit: edit.reweight("dog", 3.0).reweight("car", -1.0, 0.25, 0.75),
    "word_windows": lambda edit: edit.schedule(InjectSchedule(word_windows=parse_word_windows("dog: 0.0-0.3"))),
    "local_blend": lambda edit: edit.local_blend("cat", "dog", threshold=0.99, start=0.3),
}


@pytest.fixture(autouse=True)
def in_double_precision(monkeypatch):
    # A newer ComfyUI turns positions by kernels that know no float64, but not while it trains.
    monkeypatch.setattr(comfy.model_management, "in_training", True, raising=False)
    with torch.no_grad():
        yield


@cache
def network(name: str):
    model = comfy_model(name)
    return model, pipeline_of(model, name)


def by_diffusers(name: str, edit, noise: torch.Tensor, **how):
    pipe = network(name)[1]
    encodings = [prompt.encoding[0] for prompt in (edit.source, *(variant.prompt for variant in edit.variants))]
    negative = joint_prompt("blurry", name).encoding[0]
    rows = len(encodings)

    def given(entries, prefix=""):
        return {
            f"{prefix}prompt_embeds": torch.cat([embeddings for embeddings, _ in entries]).double(),
            f"{prefix}pooled_prompt_embeds": torch.cat([more["pooled_output"] for _, more in entries]).double(),
        }

    latents = noise.double().repeat(rows, 1, 1, 1)
    if name == "flux":
        more, latents = {"guidance_scale": 3.5}, pipe._pack_latents(latents, rows, CHANNELS, *SIZE)
    else:
        more = {"guidance_scale": 3.0, **given([negative] * rows, "negative_")}
    size = {"height": SIZE[0] * pipe.vae_scale_factor, "width": SIZE[1] * pipe.vae_scale_factor}
    with diffusers_host.prompt_to_prompt(pipe, edit, **how) as run:
        out = pipe(**given(encodings), **more, **size, sigmas=SIGMAS, latents=latents, output_type="latent").images
    if name == "flux":
        out = pipe._unpack_latents(out, size["height"], size["width"], pipe.vae_scale_factor)
    return out, run


def by_comfy(name: str, edit, noise: torch.Tensor, **how):
    model = network(name)[0]
    cfg = 1.0 if name == "flux" else 3.0
    guider = comfy_host.EditGuider(model, edit, joint_prompt("blurry", name).encoding, cfg, **how)
    sigmas = torch.tensor([*SIGMAS, 0.0])
    sampler = comfy.samplers.sampler_object("euler")
    latents, run = guider.run(noise, torch.zeros_like(noise), sampler, sigmas, disable_pbar=True)
    return model.model.process_latent_in(latents), run


def compare(name: str, edit, **how):
    noise = torch.randn(1, CHANNELS, *SIZE, generator=torch.Generator().manual_seed(7))
    mine, run = by_diffusers(name, edit, noise, **how)
    theirs, engine = by_comfy(name, edit, noise, **how)
    assert float((mine - theirs).abs().max() / theirs.abs().max()) < TOLERANCE
    masks = F.interpolate(run.masks()[:, None], SIZE)[:, 0]  # of Flux's packed positions
    assert torch.equal(masks, engine.masks())
    return mine, run, engine


@pytest.mark.parametrize("name", MODELS)
def test_both_hosts_see_the_same_layers(name):
    model, pipe = network(name)
    mine, theirs = network_of(pipe).architecture, comfy_host.architecture_of(model)
    # A position of Flux's latents is a packed one, of 2 x 2, in diffusers.
    packed = int(name == "flux")
    assert [replace(layer, level=layer.level + packed) for layer in mine.layers] == list(theirs.layers)
    assert (mine.name, mine.pixels, mine.blend_blocks) == (theirs.name, 2**packed * theirs.pixels, theirs.blend_blocks)


@pytest.mark.parametrize("kind", EDITS)
@pytest.mark.parametrize("name", MODELS)
def test_every_kind_of_edit_is_the_same(name, kind):
    edit = EDITS[kind](joint_edit(name, "a cat on a car", "a big dog on a car", "a dog on a car"))
    mine, run, engine = compare(name, edit)
    assert kind == "nothing" or (run.engine.edited and engine.edited)
    assert kind != "local_blend" or 0 < engine.masks().mean() < 1
    assert (mine[1:] - mine[:1]).abs().max() > 1e-2


@pytest.mark.parametrize("name", ["sd3", "flux"])
def test_shared_trajectories_and_maps_are_the_same(name):
    _, run, engine = compare(name, joint_edit(name), trajectory="shared", keep_maps=True)
    for mine, theirs in zip((run.maps().source, *run.maps().variants), (engine.maps().source, *engine.maps().variants)):
        assert list(mine.blocks) == list(theirs.blocks)
        assert all(torch.allclose(mine.blocks[name], theirs.blocks[name], atol=1e-6) for name in mine.blocks)
