"""The demo's transformer in ComfyUI: a Flux.1 like any other."""

from __future__ import annotations

from itertools import pairwise

import comfy.model_base
import comfy.model_detection
import comfy.model_patcher
import comfy.sample
import comfy.samplers
import pytest
import torch
from prompt_to_prompt.p2p_core.demo.transformer import load_transformer
from prompt_to_prompt.p2p_core.edit import Edit
from prompt_to_prompt.p2p_core.hosts.comfy import architecture_of, encode, load_demo

from support.sampling import assert_same, plain, run, sampling


@pytest.fixture(scope="module")
def demo():
    return load_demo("transformer")


def test_the_demo_s_transformer_is_a_flux_that_ksampler_draws_with(demo):
    model, clip, _ = demo
    architecture = architecture_of(model)
    assert (architecture.name, architecture.pixels) == ("Flux.1", 8)
    names = [f"double:{i}" for i in range(2)] + [f"single:{i}" for i in range(6)]
    assert [layer.name for layer in architecture.layers] == names
    edit = Edit(encode(clip, "a cat sitting on a red car")).add(encode(clip, "a dog sitting on a red car"))
    image, how = {"samples": torch.zeros(1, 4, 16, 16)}, sampling(scheduler="simple", steps=6)
    how = {"model": model, "negative": encode(clip, "").encoding, "image": image, "sampled": how, "cfg": 3.5}
    latents, finished = run(edit, **how)
    assert finished.edited and torch.isfinite(latents).all()
    assert_same(latents[:1], plain(edit.source.encoding, **how))
    assert (latents[1:] - plain(edit.variants[0].prompt.encoding, **how)).abs().max() > 1e-3


def test_the_demo_s_transformer_draws_what_its_network_draws(demo):
    """By the steps of its training: from noise to the picture along the velocity, with guidance."""
    model, clip, _ = demo
    network, metadata = load_transformer()
    (context, pooled), (nothing, of_nothing) = (
        (c[0][0], c[0][1]["pooled_output"]) for c in (encode(clip, text).encoding for text in ("a fox on a box", ""))
    )
    image, how = {"samples": torch.zeros(1, 4, 16, 16)}, sampling(scheduler="simple", steps=5)
    positive, negative = ([[c, {"pooled_output": p}]] for c, p in ((context, pooled), (nothing, of_nothing)))
    drawn = plain(positive, model, image=image, cfg=3.0, negative=negative, sampled=how)
    x = comfy.sample.prepare_noise(image["samples"], how.seed)
    times = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", 5).tolist()
    for t, following in pairwise(times):
        at = torch.tensor([t])
        given, plainly = network(x, at, context, pooled), network(x, at, nothing, of_nothing)
        x = x + (following - t) * (plainly + 3.0 * (given - plainly))
    assert_same(drawn, x / metadata["latent_scale"], 1e-3)
