"""A source that is recorded once: its edits are those that are sampled beside it, through ComfyUI's own samplers."""

from __future__ import annotations

import comfy.model_management
import comfy.model_patcher
import comfy.model_sampling
import comfy.samplers
import pytest
import torch
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.hosts.comfy import architecture_of
from prompt_to_prompt.p2p_core.hosts.comfy.recording_size import rounds_of
from prompt_to_prompt.p2p_core.hosts.comfy.sampling import sigmas_of
from prompt_to_prompt.p2p_core.schedule import InjectSchedule, Window

from support.recording import KINDS, SMALL, assert_as_beside, edited, picture, recording_of
from support.sampling import assert_same, latent, plain, run, sampling
from support.small_joint_models import joint_edit, settings
from support.small_models import edit_of, prompt, small_model
from support.small_transformers import SMALL as SMALL_TRANSFORMERS
from support.small_transformers import edit_for, row_of, settings_for, small_transformer

SAMPLERS = ("euler", "heun", "dpmpp_2m", "euler_ancestral", "dpmpp_2m_sde", "uni_pc")
OTHERS = sorted(set(comfy.samplers.SAMPLER_NAMES) - {*SAMPLERS, "dpm_adaptive"})
WORDS = ("a big dog on a car", "a cat on a blue bus")


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_edit_is_the_one_beside_its_source_and_the_source_is_ksampler_s(kind, sampler):
    kept = {"self_layers": "all"} if kind == "self all" else {}
    latents, finished = assert_as_beside(KINDS[kind], sampled=sampling(sampler), kept=kept)
    assert_rounds_were_known(finished, small_model("sd1"), sampling(sampler))
    assert torch.equal(latents[:1], plain(KINDS[kind].source.encoding, image=SMALL, sampled=sampling(sampler)))


@pytest.mark.parametrize("sampler", OTHERS)
def test_every_other_sampler_and_how_often_it_asks_is_known_beforehand(sampler):
    how, model = sampling(sampler, steps=3), small_model("sd1")
    _, finished = assert_as_beside(KINDS["blend"], sampled=how)
    assert_rounds_were_known(finished, model, how)


def assert_rounds_were_known(finished, model, how) -> None:
    made = torch.tensor([one.sigma for one in finished.recorded.recording.rounds])
    torch.testing.assert_close(torch.tensor(rounds_of(model, how, sigmas_of(model, how))), made, rtol=1e-4, atol=0)


@pytest.mark.parametrize("sampler", ["euler", "heun", "euler_cfg_pp"])
@pytest.mark.parametrize("kind", KINDS)
def test_with_predictions_alone_the_source_is_evaluated_where_an_edit_takes_from_it(kind, sampler):
    assert_as_beside(KINDS[kind], sampled=sampling(sampler), kept={"keep": "predictions"})


@pytest.mark.parametrize("keep", ["attention", "predictions"])
@pytest.mark.parametrize("model", ["sd2", "sdxl", "sd1_blocks"])
def test_models(model, keep):
    edit = edit_of().schedule(InjectSchedule(self_strength=0.5, cross_strength=0.7)).reweight("dog", -2.0)
    assert_as_beside(edit, model=model, image=latent(1, 16, 16), kept={"keep": keep})


@pytest.mark.parametrize("keep", ["attention", "predictions"])
@pytest.mark.parametrize("mode", ["map", "layout"])
@pytest.mark.parametrize(
    ("model", "more"), [("sd3", (0, 0)), ("sd35m", (0, 3)), ("flux", (0, 5)), ("flux", (4, 0)), ("schnell", (0, 0))]
)
def test_transformers_whose_prompts_may_be_of_different_lengths(model, more, mode, keep):
    """`more`: tokens of the source and of the edit beyond the usual."""
    schedule = InjectSchedule(Window(0, 0.7), Window(0, 0.5), cross_strength=0.6, self_strength=0.5, self_mode=mode)
    edit = joint_edit(model, "a cat on a car", "a big dog on a car", more=more).schedule(schedule)
    how = settings(model)
    assert_as_beside(edit.local_blend("cat", "dog", start=0.0), kept={"keep": keep}, **how)


@pytest.mark.parametrize("name", SMALL_TRANSFORMERS)
def test_every_transformer(name):
    """With a source that is shorter than one of the edits, where the model can, and longer than another."""
    schedule = InjectSchedule(Window(0, 0.7), Window(0, 0.5), cross_strength=0.6, self_mode="map")
    longer = () if row_of(name).pad == "none" else ("a very big dog on a car",)
    edit = edit_for(name, "a cat on a car", "a dog on a car", *longer).schedule(schedule)
    model = architecture_of(small_transformer(name))
    if not model.stays_in_place(edit.on(model).within(model).source):
        with pytest.raises(EditError, match=r"edit: .*longer than the recorded source's"):
            assert_as_beside(edit, **settings_for(name))
        edit = edit_for(name, "a very big cat on a car", "a cat on a car").schedule(schedule)
    assert_as_beside(edit, **settings_for(name))


@pytest.mark.parametrize("sampler", ["euler_ancestral", "dpmpp_2m_sde"])
@pytest.mark.parametrize("keep", ["attention", "predictions"])
def test_a_batch_and_several_edits(sampler, keep):
    edit = edit_of("a cat on a car", *WORDS).local_blend("cat, car", "dog, bus", start=0.0)
    image = latent(2, 8, 8, batch_index=[3, 5])
    assert_as_beside(edit, image=image, sampled=sampling(sampler), kept={"keep": keep})


@pytest.mark.parametrize(("source", "edit", "negative"), [(1, 2, 1), (2, 1, 1), (2, 3, 1), (1, 1, 2), (2, 1, 3)])
def test_prompts_of_different_lengths_are_tiled(source, edit, negative):
    """In chunks of 77 tokens."""
    of = edit_of("a cat on a car", "a dog on a car", chunks=(source, edit)).local_blend("cat", "dog", start=0.0)
    assert_as_beside(of, negative=prompt("blurry", negative).encoding, keep_maps=True)


@pytest.mark.parametrize("keep", ["attention", "predictions"])
@pytest.mark.parametrize(("noise", "sampler"), [("fresh", "euler"), ("fresh", "heun"), ("fixed", "uni_pc")])
def test_a_real_picture(noise, sampler, keep):
    edit = edit_of("a cat on a car", *WORDS).local_blend("cat, car", "dog, bus", threshold=0.6)
    edit = edit.real_picture(noise=noise, fidelity=0.8, source_cfg=3.0)
    kept = {"picture": noise, "keep": keep}
    latents, finished = assert_as_beside(edit, image=picture(2), sampled=sampling(sampler), kept=kept)
    assert torch.equal(latents[:2], picture(2)["samples"])
    assert finished.note() is None


def test_a_real_picture_is_released_and_hardly_moved_as_beside():
    edit = edit_of().schedule(InjectSchedule(Window(0, 0.5), Window(0, 0.5))).real_picture(release=0.5)
    assert_as_beside(edit, image=picture(), kept={"picture": "fresh"})
    edit = edit_of("a cat on a car", "a cat on a car").real_picture()
    _, finished = assert_as_beside(edit, image=picture(), cfg=1.5, kept={"picture": "fresh"})
    assert "hardly moved" in finished.note()
    assert_as_beside(edit_of().real_picture(fidelity=0.0), image=picture(), kept={"picture": "fixed"})


def test_a_part_of_the_steps_within_a_mask():
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 32:] = 1
    image = picture()
    assert_as_beside(edit_of(), image={**image, "noise_mask": mask}, sampled=sampling("dpmpp_2m", denoise=0.6))
    recording, source = recording_of(edit_of(), image=image, sampled=sampling(denoise=0.0))
    assert torch.equal(source, image["samples"])
    assert torch.equal(edited(edit_of(), recording)[0], image["samples"])


@pytest.mark.parametrize("sampler", ["euler", "euler_cfg_pp"])
def test_without_guidance(sampler):
    assert_as_beside(KINDS["blend"], cfg=1.0, sampled=sampling(sampler))


def test_maps_are_those_of_an_edit_beside_its_source():
    _, finished = assert_as_beside(edit_of(), keep_maps=True)
    _, beside = run(edit_of(), image=SMALL, keep_maps=True)
    for made, expected in zip((finished.maps().source, *finished.maps().variants), _prompts(beside.maps())):
        for name, maps in expected.blocks.items():
            assert_same(made.blocks[name], maps, 1e-4)


def _prompts(maps):
    return (maps.source, *maps.variants)
