"""An edit inside everything that people do with sampling in ComfyUI, through its real sampling code."""

from __future__ import annotations

from itertools import pairwise

import comfy.samplers
import pytest
import torch
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.hosts.comfy import EditGuider, sample
from prompt_to_prompt.p2p_core.schedule import InjectSchedule, Window
from prompt_to_prompt.p2p_core.step import step_of

from support.sampling import EVERYTHING, NOTHING, STEPS, assert_same, latent, plain, run, sampling
from support.small_models import NEGATIVE, edit_of, small_model

SAMPLERS = comfy.samplers.SAMPLER_NAMES
# Its step sizes come from an error measured over the whole batch, so a row depends on its neighbours.
BATCH_DEPENDENT = {"dpm_adaptive"}


def by(sampler: str) -> dict:
    """How the laws that hold for every sampler are tried: on small pictures, for there are many samplers."""
    return {"sampled": sampling(sampler), "image": latent(1, 8, 8)}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_without_injection_rows_are_ordinary_runs(sampler):
    edit = edit_of().schedule(NOTHING)
    latents, _ = run(edit, **by(sampler))
    assert torch.isfinite(latents).all()
    if sampler in BATCH_DEPENDENT:
        return
    assert_same(latents[:1], plain(edit.source.encoding, **by(sampler)))
    assert_same(latents[1:], plain(edit.variants[0].prompt.encoding, **by(sampler)))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_source_is_what_ksampler_gives_and_the_edit_is_another(sampler):
    edit = edit_of()
    latents, finished = run(edit, **by(sampler))
    if sampler not in BATCH_DEPENDENT:
        assert_same(latents[:1], plain(edit.source.encoding, **by(sampler)))
    assert finished.edited
    assert (latents[1] - latents[0]).abs().max() > 1e-3


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_identical_prompts_under_full_injection_give_equal_rows(sampler):
    latents, _ = run(edit_of("a cat", "a cat").schedule(EVERYTHING), **by(sampler))
    assert_same(latents[1], latents[0])


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_outside_of_the_mask_the_edit_is_the_source(sampler):
    mask = torch.zeros(8, 8)
    mask[2:6, 3:5] = 1
    latents, finished = run(edit_of().local_blend("", "", mask=mask), **by(sampler))
    outside = (mask == 0).expand(4, 8, 8)
    assert_same(latents[1][outside], latents[0][outside], 1e-6)
    assert (latents[1] - latents[0]).abs().max() > 1e-3
    assert torch.equal(finished.masks()[0], mask)


def test_a_soft_edge_is_blended_once():
    """Euler's last step ends at the prediction, which is blended already."""
    model, predictions = small_model("sd1"), []
    guider = EditGuider(model, edit_of().local_blend("", "", mask=torch.full((16, 16), 0.5), start=0.0), NEGATIVE, 5.0)
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "karras", STEPS)
    final = guider.sample(
        torch.randn(1, 4, 16, 16),
        torch.zeros(1, 4, 16, 16),
        comfy.samplers.sampler_object("euler"),
        sigmas,
        callback=lambda i, x0, x, steps: predictions.append(x0),
    )
    assert_same(final, model.model.process_latent_out(predictions[-1]), 1e-6)


@pytest.mark.parametrize("scheduler", comfy.samplers.SCHEDULER_NAMES)
def test_every_scheduler_s_steps_are_found_from_their_sigmas(scheduler):
    levels = small_model("sd1").get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(levels, scheduler, 20).tolist()
    steps = [step_of(sigma, sigmas) for sigma in sigmas[:-1]]
    assert steps == sorted(steps)
    assert all(sigmas[step] == sigma for step, sigma in zip(steps, sigmas))
    for i, (high, low) in enumerate(pairwise(sigmas[:-1])):
        assert step_of((high + low) / 2, sigmas) in (i, step_of(low, sigmas)), "an evaluation between two steps"
    latents, _ = run(edit_of().schedule(NOTHING), sampled=sampling(scheduler=scheduler))
    assert_same(latents[:1], plain(edit_of().source.encoding, sampled=sampling(scheduler=scheduler)))


@pytest.mark.parametrize("model", ["sd1", "sd2", "sdxl"])
@pytest.mark.parametrize("trajectory", ["dual", "shared"])
def test_models(model, trajectory):
    edit = edit_of().schedule(EVERYTHING)
    latents, _ = run(edit, model=model, trajectory=trajectory)
    assert latents.shape == (2, 4, 16, 16)
    assert_same(latents[:1], plain(edit.source.encoding, model=model))
    assert (latents[1:] - plain(edit.variants[0].prompt.encoding, model=model)).abs().max() > 1e-3


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("model", ["sd1", "sdxl"])
def test_half_precision_weights(model, dtype):
    """Half the digits, the same picture: the edit moves where that of full precision moves."""
    edit = edit_of().reweight("dog", 2.0)
    full, _ = run(edit, model=model)
    half, _ = run(edit, model=small_model(model, dtype))
    assert torch.isfinite(half).all()
    moved, off = full[1] - full[0], half[1] - full[1]
    assert off.pow(2).mean() < 0.25 * moved.pow(2).mean()


@pytest.mark.parametrize("trajectory", ["dual", "shared"])
def test_batches_and_several_edits_are_what_each_gives_alone(trajectory):
    words = ("a big dog on a car", "a cat on a blue bus")
    together, _ = run(edit_of("a cat on a car", *words), image=latent(2), trajectory=trajectory)
    assert len(together) == 6
    for i, edited in enumerate(words):
        alone, _ = run(edit_of("a cat on a car", edited), image=latent(2), trajectory=trajectory)
        assert_same(together[:2], alone[:2])
        assert_same(together[2 + 2 * i : 4 + 2 * i], alone[2:])


def test_batch_index_picks_the_noise_of_that_picture():
    both, _ = run(edit_of(), image=latent(2))
    second, _ = run(edit_of(), image=latent(1, batch_index=[1]))
    assert_same(second, both[1::2])


@pytest.mark.parametrize("sampler", ["euler", "ddim", "dpmpp_2m_sde"])
def test_image_to_image_with_a_mask(sampler):
    picture = torch.randn(1, 4, 16, 16)
    mask = torch.zeros(1, 1, 128, 128)
    mask[..., 64:] = 1
    image = {"samples": picture, "noise_mask": mask}
    edit = edit_of()
    latents, _ = run(edit, image=image, sampled=sampling(sampler, denoise=0.6))
    assert_same(latents[:1], plain(edit.source.encoding, image=image, sampled=sampling(sampler, denoise=0.6)))
    assert_same(latents[1, :, :, :7], picture[0, :, :, :7])
    assert (latents[1] - latents[0]).abs().max() > 1e-3


def test_denoise_zero_returns_the_pictures():
    picture = torch.randn(1, 4, 16, 16)
    latents, _ = run(edit_of(), image={"samples": picture}, sampled=sampling(denoise=0.0))
    assert torch.equal(latents, picture.expand(2, -1, -1, -1))


@pytest.mark.parametrize("chunks", [(2, 1), (1, 2), (2, 3), (2, 2)])
def test_prompts_of_any_length(chunks):
    edit = edit_of(chunks=chunks).schedule(NOTHING)
    latents, _ = run(edit)
    assert_same(latents[:1], plain(edit.source.encoding))
    assert_same(latents[1:], plain(edit.variants[0].prompt.encoding))
    latents, _ = run(edit_of(chunks=chunks).reweight("dog", 3.0))
    assert (latents[1:] - plain(edit.variants[0].prompt.encoding)).abs().max() > 1e-3


def test_tiling_the_keys_changes_nothing():
    """A negative prompt of two chunks makes the host tile the edit's one, unless memory splits the call."""
    edit = edit_of().reweight("dog", 3.0)
    long_negative = [[torch.cat([NEGATIVE[0][0]] * 2, 1), NEGATIVE[0][1]]]
    tiled, _ = run(edit, negative=long_negative)
    once, _ = run(edit)
    assert_same(tiled, once)


@pytest.mark.parametrize("cfg", [1.0, 5.0])
def test_low_memory_splits_cond_from_uncond(cfg, monkeypatch):
    edit = edit_of().reweight("dog", 2.0)
    together, _ = run(edit, cfg=cfg)
    monkeypatch.setattr("comfy.model_management.get_free_memory", lambda *_, **__: 0 if not _[1:] else (10**9, 10**9))
    apart, _ = run(edit, cfg=cfg)
    assert_same(apart, together)


@pytest.mark.parametrize("denoise", [1.0, 0.5])
def test_windows_count_the_steps_that_are_made(denoise):
    edit = edit_of().schedule(InjectSchedule(Window(0, 0.2, "cross"), Window(0, 0.2, "self")))
    guider = EditGuider(small_model("sd1"), edit, NEGATIVE, 5.0)
    original = guider.predict_noise
    seen = []

    def predict(*args, **kwargs):
        out = original(*args, **kwargs)
        run = guider.current_run
        seen.append((run.step, run.steps))
        return out

    guider.predict_noise = predict
    sample(guider, {"samples": torch.randn(1, 4, 16, 16)}, sampling(denoise=denoise))
    assert seen == [(i, STEPS) for i in range(STEPS)]


@pytest.mark.parametrize("size", [(8, 8), (1, 3), (24, 9), (17, 40)])
def test_local_blend_by_words_at_any_size(size):
    edit = edit_of().local_blend("cat", "dog", threshold=0.5, start=0.0, subtract_words="car")
    latents, finished = run(edit, image=latent(1, *size))
    mask = finished.masks()[0]
    assert mask.shape == size
    assert_same(latents[1][:, mask == 0], latents[0][:, mask == 0], 1e-6)


def test_maps_are_kept_only_when_asked_for(monkeypatch):
    from prompt_to_prompt.p2p_core import maps as core_maps

    calls = []
    original = core_maps.word_maps
    monkeypatch.setattr(core_maps, "word_maps", lambda *args: calls.append(1) or original(*args))
    _, without = run(edit_of())
    assert without.maps() is None and not calls
    _, finished = run(edit_of(), keep_maps=True)
    maps = finished.maps()
    assert calls
    cat = maps.source.of(maps.source.prompt.find("cat")[0])
    dog = maps.variants[0].of(maps.variants[0].prompt.find("dog")[0])
    assert cat.shape == dog.shape == (1, 16, 16)
    everything = maps.source.of(maps.source.positions)
    assert (everything > 0).all() and (everything <= 1 + 1e-5).all() and (cat <= everything).all()


def test_a_run_in_which_nothing_was_edited_says_so(caplog):
    _, finished = run(edit_of().schedule(NOTHING))
    assert finished.note().startswith(f"Nothing was edited: none of the {STEPS} steps lies in a window")
    assert finished.note() in caplog.text
    _, finished = run(edit_of())
    assert finished.note() is None


def test_a_model_that_never_asks_for_its_attention_is_an_error():
    model = small_model("sd1").clone()
    model.set_model_unet_function_wrapper(lambda apply, args: args["input"] * 0.5)
    with pytest.raises(EditError, match="TensorRT"):
        run(edit_of(), model=model)


@pytest.mark.parametrize("interface", ["sampler", "guider"])
def test_a_finished_run_leaves_nothing_behind(interface):
    model = small_model("sd1")
    before = repr(model.model_options)
    guider = EditGuider(model, edit_of().local_blend("cat", "dog"), NEGATIVE, 5.0)
    mine = set(vars(guider))
    if interface == "sampler":
        sample(guider, latent(), sampling())
    else:
        sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "karras", STEPS)
        out = guider.sample(
            torch.randn(1, 4, 16, 16), torch.zeros(1, 4, 16, 16), comfy.samplers.sampler_object("euler"), sigmas
        )
        assert out.shape == (2, 4, 16, 16)
    assert repr(model.model_options) == before
    assert set(vars(guider)) == mine
    assert guider.model_patcher is model


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), KeyboardInterrupt()])
def test_a_failed_run_leaves_nothing_behind(error, monkeypatch):
    model = small_model("sd1")
    before, reference = repr(model.model_options), plain(edit_of().source.encoding)
    guider = EditGuider(model, edit_of(), NEGATIVE, 5.0)
    mine = set(vars(guider))
    from prompt_to_prompt.p2p_core import run as core_run

    calls = []

    def fail(*args, **kwargs):
        calls.append(1)
        if len(calls) == 20:
            raise error
        return original(*args, **kwargs)

    original = core_run.edited_attention
    monkeypatch.setattr(core_run, "edited_attention", fail)
    with pytest.raises(type(error)):
        sample(guider, latent(), sampling())
    assert repr(model.model_options) == before
    assert set(vars(guider)) == mine
    assert torch.equal(plain(edit_of().source.encoding), reference)
    assert not torch.overrides._get_current_function_mode_stack()
