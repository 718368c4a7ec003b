"""Edits of a real picture, through ComfyUI's real sampling code: the source is the picture, whatever samples it."""

from __future__ import annotations

import comfy.model_sampling
import comfy.samplers
import pytest
import torch
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.hosts.comfy import (
    EditGuider,
    architecture_of,
    sample,
    sample_batches,
)
from prompt_to_prompt.p2p_core.run import Run
from prompt_to_prompt.p2p_core.trials.sweep import grid, read_axis

from support.sampling import CFG, NOTHING, STEPS, assert_same, latent, plain, run, sampling
from support.small_models import NEGATIVE, edit_of, small_model

SAMPLERS = comfy.samplers.SAMPLER_NAMES
# What some leave of the noise in latents with a spread of 1.5, for the run to take out: uni_pc goes to 0.001 instead
# of 0, dpm_fast and dpm_adaptive to the last level above 0, which here is 0.03. ddpm rounds more than others.
LEAVES = {"dpm_fast": 0.5, "dpm_adaptive": 0.5, "uni_pc": 0.02, "uni_pc_bh2": 0.02, "ddpm": 3e-5}
SAME = ("a cat on a car", "a cat on a car")


def picture(batch: int = 1, height: int = 8, width: int = 8, **more) -> dict:
    """A LATENT of noise with the spread of real ones."""
    samples = torch.randn(batch, 4, height, width, generator=torch.Generator().manual_seed(5))
    return {"samples": 1.5 * samples, **more}


def noise_for(sampler: str) -> str:
    """dpm_adaptive takes new noise for an error of its steps, and makes hundreds."""
    return "fixed" if sampler == "dpm_adaptive" else "fresh"


@pytest.fixture
def reached(monkeypatch) -> list[torch.Tensor]:
    """The latents [rows, ...] that each run's sampler came to, before the run does anything with them."""
    seen = []
    final = Run.final
    monkeypatch.setattr(Run, "final", lambda self, latents, *more: seen.append(latents) or final(self, latents, *more))
    return seen


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_source_is_the_picture_and_the_edit_is_another(sampler, reached):
    edit = edit_of().real_picture(noise=noise_for(sampler))
    latents, finished = run(edit, image=picture(), sampled=sampling(sampler))
    own = picture()["samples"][0]
    assert (reached[0][0] - own).abs().max() < LEAVES.get(sampler, 1e-5)
    assert torch.equal(latents[0], own)
    assert torch.isfinite(latents[1]).all()
    assert (latents[1] - own).abs().max() > 0.1
    assert finished.edited and finished.note() is None


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("noise", ["fresh", "fixed"])
def test_the_same_words_give_the_picture_back(sampler, noise):
    """The rows differ by rounding, which wild guidance would amplify more than pictures of a trained model do."""
    latents, _ = run(edit_of(*SAME).real_picture(noise=noise), image=picture(), sampled=sampling(sampler), cfg=1.5)
    assert_same(latents[1], picture()["samples"][0], 1e-3)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_outside_of_the_mask_the_edit_is_the_picture_to_the_bit(sampler):
    mask = torch.zeros(8, 8)
    mask[2:6, 3:5] = 1
    edit = edit_of().local_blend("", "", mask=mask).real_picture(noise=noise_for(sampler))
    latents, _ = run(edit, image=picture(), sampled=sampling(sampler))
    own, outside = picture()["samples"][0], (mask == 0).expand(4, 8, 8)
    assert torch.equal(latents[1][outside], own[outside])
    assert (latents[1] - own).abs().max() > 1e-3


@pytest.mark.parametrize("model", ["sd1", "sd2", "sdxl"])
@pytest.mark.parametrize("trajectory", ["dual", "shared"])
def test_models(model, trajectory):
    """sd2 predicts v."""
    edit = edit_of().real_picture()
    latents, _ = run(edit, model=model, image=picture(1, 16, 16), trajectory=trajectory)
    own = picture(1, 16, 16)["samples"]
    assert latents.shape == (2, 4, 16, 16)
    assert torch.equal(latents[:1], own)
    assert (latents[1] - own).abs().max() > 0.1
    latents, _ = run(edit_of(*SAME).real_picture(), model=model, image=picture(1, 16, 16), trajectory=trajectory, cfg=2)
    assert_same(latents[1:], own, 1e-3)


def flow():
    """A model of straight paths: x = (1 - sigma) picture + sigma noise."""

    class Sampling(comfy.model_sampling.ModelSamplingDiscreteFlow, comfy.model_sampling.CONST):
        pass

    model = small_model("sd1").clone()
    model.add_object_patch("model_sampling", Sampling(model.model.model_config))
    return model


@pytest.mark.parametrize("sampler", ["euler", "euler_ancestral", "dpmpp_2m", "dpmpp_sde", "res_multistep", "uni_pc"])
def test_flow_models(sampler, reached):
    how = {"image": picture(), "model": flow(), "sampled": sampling(sampler, "simple")}
    latents, _ = run(edit_of().real_picture(), **how)
    own = picture()["samples"]
    assert (reached[0][:1] - own).abs().max() < LEAVES.get(sampler, 1e-5)
    assert (latents[1] - own).abs().max() > 0.1
    latents, _ = run(edit_of(*SAME).real_picture(), **how, cfg=1.5)
    assert_same(latents[1:], own, 1e-3)


@pytest.mark.parametrize("trajectory", ["dual", "shared"])
def test_batches_and_several_edits_are_what_each_gives_alone(trajectory):
    words = ("a big dog on a car", "a cat on a blue bus")
    both = picture(2)
    together, _ = run(edit_of("a cat on a car", *words).real_picture(), image=both, trajectory=trajectory)
    for i, edited in enumerate(words):
        for of in (0, 1):
            own = {"samples": both["samples"][of : of + 1], "batch_index": [of]}
            alone, _ = run(edit_of("a cat on a car", edited).real_picture(), image=own, trajectory=trajectory)
            assert_same(together[of], alone[0])
            assert_same(together[2 + 2 * i + of], alone[1])


def test_lots_are_what_they_are_together():
    edit = edit_of().real_picture().on(architecture_of(small_model("sd1")))
    edit = grid(edit, read_axis("x", "cross_end", "0, 0.5, 1", ""), read_axis("y", "nothing", "", ""))
    how = (small_model("sd1"), edit, NEGATIVE, CFG, picture(), sampling())
    source, together = sample_batches(*how)
    one_by_one, lots = sample_batches(*how, rows_at_once=1)
    assert torch.equal(source, picture()["samples"]) and torch.equal(one_by_one, source)
    assert_same(lots, together)


@pytest.mark.parametrize("cfg", [1.0, 20.0])
def test_little_and_much_guidance(cfg):
    latents, _ = run(edit_of().real_picture(), image=picture(), cfg=cfg)
    assert torch.equal(latents[:1], picture()["samples"])
    assert torch.isfinite(latents).all()
    assert (latents[1] - latents[0]).abs().max() > 0.01


@pytest.mark.parametrize("denoise", [0.3, 0.0])
def test_denoise(denoise):
    latents, _ = run(edit_of().real_picture(), image=picture(), sampled=sampling(denoise=denoise))
    assert torch.equal(latents[:1], picture()["samples"])
    assert torch.equal(latents[1], latents[0]) == (denoise == 0)


def test_another_seed_is_another_edit_and_the_same_is_the_same():
    first, again, other = (
        run(edit_of().real_picture(), image=picture(), sampled=sampling(seed=seed))[0] for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert (first[1] - other[1]).abs().max() > 1e-3
    assert torch.equal(first[0], other[0])


def test_without_fidelity_and_injection_the_edit_is_an_ordinary_run():
    edit = edit_of().schedule(NOTHING).real_picture(fidelity=0.0)
    how = {"image": picture(), "sampled": sampling(denoise=0.6)}
    latents, _ = run(edit, **how)
    assert_same(latents[1:], plain(edit.variants[0].prompt.encoding, **how))
    released, _ = run(edit.real_picture(fidelity=1.0, release=1.0), **how)
    assert torch.equal(released, latents)


def test_fidelity_and_release_lie_between():
    """What each lets go is seen in how far the edit moves."""

    def moved(**settings) -> float:
        latents, _ = run(edit_of().schedule(NOTHING).real_picture(**settings), image=picture(), cfg=1.5)
        return float((latents[1] - latents[0]).pow(2).mean())

    held, half, free = (moved(fidelity=f) for f in (1.0, 0.5, 0.0))
    assert held < half < free
    assert held < moved(release=0.5) != free


def test_guidance_of_the_sources_own():
    def edited(cfg, source_cfg, words=()) -> torch.Tensor:
        latents, _ = run(edit_of(*words).real_picture(source_cfg=source_cfg), image=picture(), cfg=cfg)
        assert torch.equal(latents[:1], picture()["samples"])
        return latents[1]

    assert_same(edited(5.0, 5.0), edited(5.0, 0.0), 1e-3)
    for cfg, own in ((5.0, 1.0), (1.0, 3.0)):
        assert (edited(cfg, own) - edited(cfg, 0.0)).abs().max() > 1e-2
    assert (edited(5.0, 3.0, SAME) - picture()["samples"][0]).abs().max() > 1e-2


def test_what_other_packs_add_to_guidance_is_in_source_and_edit_alike():
    model = small_model("sd1").clone()
    model.set_model_sampler_post_cfg_function(lambda args: args["denoised"] + args["denoised"].roll(1, -1))
    latents, _ = run(edit_of(*SAME).real_picture(), model=model, image=picture(), cfg=1.5)
    assert_same(latents[1], latents[0], 1e-3)
    assert torch.equal(latents[:1], picture()["samples"])


def test_with_an_inpaint_mask():
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 32:] = 1
    latents, _ = run(edit_of().real_picture(), image=picture(noise_mask=mask))
    own = picture()["samples"]
    assert torch.equal(latents[:1], own)
    assert_same(latents[1:, ..., :3], own[..., :3], 1e-5)
    assert (latents[1] - own).abs().max() > 0.1


def test_an_empty_source_prompt_is_aligned_with_nothing():
    edit = edit_of("", "a dog on a car").real_picture()
    latents, finished = run(edit, image=picture(1, 16, 16))
    assert not finished.edit.variants[0].alignment.taken.any()
    assert finished.edited, "self-attention is injected"
    assert (latents[1] - latents[0]).abs().max() > 0.1
    latents, _ = run(edit_of("", "").real_picture(), image=picture(1, 16, 16), cfg=1.5)
    assert_same(latents[1], latents[0], 1e-3)


def sampled_by_hand(guider, sigmas) -> torch.Tensor:
    """As SamplerCustomAdvanced does, with noise of its own."""
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    return guider.sample(noise, picture()["samples"], comfy.samplers.sampler_object("euler"), sigmas), noise


def test_the_guider_alone_and_sigmas_that_end_above_zero():
    model = small_model("sd1")
    guider = EditGuider(model, edit_of().real_picture(), NEGATIVE, CFG)
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "karras", STEPS)
    latents, _ = sampled_by_hand(guider, sigmas)
    own = picture()["samples"]
    assert torch.equal(latents[:1], own)
    latents, noise = sampled_by_hand(guider, sigmas[:3])
    noisy = own + sigmas[2] * noise / model.model.latent_format.scale_factor
    assert_same(latents[:1], noisy, 1e-2)  # at full denoise the host starts from a little more noise


@pytest.mark.parametrize(
    ("image", "problem"), [(latent(), "Connect VAEEncode"), ({"samples": torch.ones(1, 16, 8, 8)}, "16 channels")]
)
def test_what_is_no_picture_is_an_error(image, problem):
    with pytest.raises(EditError, match=f"latent_image: .*{problem}"):
        run(edit_of().real_picture(), image=image)


def test_an_edit_that_hardly_moved_says_so(caplog):
    _, finished = run(edit_of(*SAME).real_picture(), image=picture(), cfg=1.5)
    assert "hardly moved from the picture, by 0.0%" in finished.note()
    assert finished.note() in caplog.text
    _, finished = run(edit_of(SAME[0], SAME[1], "a dog").real_picture(), image=picture(), cfg=1.5)
    assert "Edit 1 hardly moved" in finished.note() and "Edit 2" not in finished.note()


@pytest.mark.parametrize("error", [None, RuntimeError("out of memory"), KeyboardInterrupt()])
def test_nothing_is_left_behind(error, monkeypatch):
    model = small_model("sd1")
    before, reference = repr(model.model_options), plain(edit_of().source.encoding)
    guider = EditGuider(model, edit_of().real_picture(source_cfg=2.0), NEGATIVE, CFG)
    mine = set(vars(guider))
    if error is None:
        sample(guider, picture(), sampling())
    else:
        monkeypatch.setattr(Run, "predictions", lambda *_: (_ for _ in ()).throw(error))
        with pytest.raises(type(error)):
            sample(guider, picture(), sampling())
    assert repr(model.model_options) == before
    assert set(vars(guider)) == mine
    assert torch.equal(plain(edit_of().source.encoding), reference)
    assert not torch.overrides._get_current_function_mode_stack()
