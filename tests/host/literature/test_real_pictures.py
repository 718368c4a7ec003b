"""Edits of a real picture against the literature: what four papers do step by step, and what the pack does.

Everything is sampled by ComfyUI in float64, as the paper's own edits are: without attention control, and under the
paper's controllers on literally edited maps.
"""

from __future__ import annotations

from itertools import pairwise

import comfy.model_sampling
import comfy.samplers
import pytest
import torch
from prompt_to_prompt.p2p_core.edit import Edit
from prompt_to_prompt.p2p_core.hosts.comfy import EditGuider, encode
from prompt_to_prompt.p2p_core.hosts.comfy.conditioning import stack
from prompt_to_prompt.p2p_core.noise import FreshNoise
from prompt_to_prompt.p2p_core.schedule import InjectSchedule, Window
from reference import direct_inversion, edit_friendly, flowedit, hertz, infedit

from support.float64 import InFloat64
from support.literature import CFG, EXACT, SOURCE, STEPS, SWAP


def drawn(number: int, seed: int) -> list[torch.Tensor]:
    return list(torch.randn(number, 1, 4, 16, 16, generator=torch.Generator().manual_seed(seed)).double())


PICTURE = 5 * drawn(1, 1)[0]
FIRST = drawn(1, 2)[0]
NOISES = drawn(STEPS, 3)


@pytest.fixture
def model(demo):
    return demo[0]


@pytest.fixture
def flow(demo):
    """The same network as a model of straight paths."""

    class Sampling(comfy.model_sampling.ModelSamplingDiscreteFlow, comfy.model_sampling.CONST):
        pass

    model = demo[0].clone()
    model.add_object_patch("model_sampling", Sampling(model.model.model_config).double())
    return model


@pytest.fixture(params=[False, True], ids=["alone", "with attention control"])
def controls(request) -> bool:
    """Whether the source's attention is injected."""
    return request.param


@pytest.fixture(autouse=True)
def given_noise(monkeypatch):
    """The fresh noise is NOISES, one after another."""

    class Given(FreshNoise):
        def __init__(self, *_):
            self.draw = iter(NOISES).__next__

    monkeypatch.setattr("prompt_to_prompt.p2p_core.hosts.comfy.real_picture.FreshNoise", Given)


@pytest.fixture
def ours(demo, controls):
    """Samples by the pack: (model, sampler, settings of the picture) -> latents [source, edit]."""

    def ours(model, sampler, **settings) -> torch.Tensor:
        clip = demo[1]
        windows = Window(0.0, 0.8 * controls, "cross"), Window(0.0, 0.4 * controls, "self")
        edit = Edit(encode(clip, SOURCE)).add(encode(clip, SWAP), "replace").schedule(InjectSchedule(*windows))
        return _run(EditGuider(model, edit.real_picture(**settings), encode(clip, "").encoding, CFG), 1, sampler)

    return ours


@pytest.fixture
def theirs(demo, controls):
    """Samples by a reference, under the paper's controller: (model, sampler) -> latents [source, edit]."""

    def theirs(model, sampler) -> torch.Tensor:
        clip = demo[1]
        if controls:
            ids = lambda text: clip.tokenizer.clip_l.tokenizer(text)["input_ids"]  # noqa: E731
            cross = hertz.replace(hertz.replacement_mapper(SOURCE, SWAP, ids)[None])
            alphas = hertz.time_alphas([SWAP], STEPS, {"default_": 0.8}, ids)
            control = hertz.Controller(STEPS, cross, alphas, self_replace=(0.0, 0.4), self_resolution=8)
            model = control.patched(model)
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(stack([encode(clip, text).encoding for text in (SOURCE, SWAP)]), encode(clip, "").encoding)
        guider.set_cfg(CFG)
        return _run(guider, 2, sampler)

    return theirs


def _run(guider, rows: int, sampler) -> torch.Tensor:
    sampling = guider.model_patcher.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(sampling, "simple", STEPS).double()
    noise, picture = (one.repeat(rows, 1, 1, 1) for one in (FIRST, PICTURE))
    with InFloat64():
        return guider.sample(noise, picture, sampler, sigmas, disable_pbar=True, seed=3)


def with_noise(name: str, noises: list[torch.Tensor]) -> comfy.samplers.KSAMPLER:
    """One of ComfyUI's samplers, with given noise for its steps."""
    remaining = iter(noises)
    return comfy.samplers.ksampler(name, {"noise_sampler": lambda *_: next(remaining).repeat(2, 1, 1, 1)})


def assert_one(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, **EXACT)
    assert (ours[1] - ours[0]).abs().max() > 0.1, "an edit that changes nothing shows nothing"


@pytest.mark.parametrize("source_cfg", [None, 1.5])
def test_flowedit(source_cfg, model, ours, theirs):
    edited = ours(model, comfy.samplers.sampler_object("euler"), source_cfg=source_cfg or 0.0)
    assert_one(edited, theirs(model, flowedit.sampler(NOISES, source_cfg=source_cfg)))


def test_flowedit_on_a_flow_model(flow, ours, theirs):
    edited = ours(flow, comfy.samplers.sampler_object("euler"))
    assert_one(edited, theirs(flow, flowedit.sampler(NOISES, flowedit.straight)))


def test_infedit(model, ours, theirs):
    edited = ours(model, with_noise("lcm", NOISES), noise="fixed")
    assert_one(edited, theirs(model, infedit.sampler(NOISES)))


def test_edit_friendly(model, ours, theirs):
    """The noise of ComfyUI's own steps is another's: it is in source and edit alike, and is not asked at."""
    edited = ours(model, with_noise("euler_ancestral", drawn(STEPS, 7)))
    assert_one(edited, theirs(model, edit_friendly.sampler(NOISES)))


def test_direct_inversion_on_a_line(model, ours, theirs):
    """Its path without inversion is the picture with one noise."""
    sampling = model.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(sampling, "simple", STEPS).double()
    picture = model.model.process_latent_in(PICTURE)
    # At full denoise the host starts from sqrt(1 + sigma^2) of its noise.
    noise = FIRST * (1 + sigmas[0] ** 2).sqrt() / sigmas[0]
    edited = ours(model, comfy.samplers.sampler_object("euler"), fidelity=0.0)
    assert_one(edited, theirs(model, direct_inversion.sampler([picture + sigma * noise for sigma in sigmas])))


def test_direct_inversion(model, ours, theirs, monkeypatch):
    """On a path that is bent, the source is pinned at each step to where that step's straight line ends."""

    def sample(session_of):
        def sample(steps, x, sigmas, extra_args, callback=None, disable=None):
            guider = steps.inner_model
            path = session_of(steps, sigmas, extra_args)
            x = path[0].repeat(2, 1, 1, 1)
            for (now, then), (before, after) in zip(pairwise(sigmas), pairwise(path)):
                guider.current_run._picture = before - now * (after - before) / (then - now)
                x = x + (x - steps(x, now * x.new_ones(2), **extra_args)) / now * (then - now)
            return x

        return comfy.samplers.KSAMPLER(sample)

    seen = []

    def inverted(*arguments):
        seen.append(original(*arguments))
        return seen[-1]

    original = direct_inversion.inverted
    monkeypatch.setattr(direct_inversion, "inverted", inverted)
    reference = theirs(model, direct_inversion.sampler())
    edited = ours(model, sample(lambda *_: seen[0]), fidelity=0.0)
    assert_one(edited, reference)


def test_another_noise_is_seen(model, ours, controls):
    """The comparisons above could not hold by accident."""
    euler = comfy.samplers.sampler_object("euler")
    fresh, fixed = (ours(model, euler, noise=noise) for noise in ("fresh", "fixed"))
    torch.testing.assert_close(fresh[0], fixed[0], **EXACT)
    assert (fresh[1] - fixed[1]).abs().max() > 1e-2
