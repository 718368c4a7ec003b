"""Sampling in parts, as people do it with ComfyUI's own nodes for custom sampling."""

from __future__ import annotations

import comfy.samplers
import pytest
import torch
from comfy_extras.nodes_custom_sampler import (
    DisableNoise,
    FlipSigmas,
    RandomNoise,
    SamplerCustomAdvanced,
    SplitSigmas,
)
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.hosts.comfy import EditGuider
from prompt_to_prompt.p2p_core.schedule import InjectSchedule, Window

import nodes
from support.sampling import CFG, EVERYTHING, assert_same, latent
from support.small_models import NEGATIVE, edit_of, small_model

STEPS = 6
SOURCE, EDITED = "a cat on a car", ("a big dog on a car", "a cat on a blue bus")


def sigmas(steps=STEPS):
    return comfy.samplers.calculate_sigmas(small_model("sd1").get_model_object("model_sampling"), "karras", steps)


def guider_of(edit, **more):
    """The guider, and a list of what it tells."""
    notes = []
    return EditGuider(small_model("sd1"), edit, NEGATIVE, CFG, tell=notes.append, **more), notes


def sampled(guider, steps, image, seed: int | None = None, sampler="euler"):
    """(output, denoised_output) of SamplerCustomAdvanced; without a seed no noise is added."""
    noise = DisableNoise().execute().result[0] if seed is None else RandomNoise().execute(seed).result[0]
    return SamplerCustomAdvanced().execute(noise, guider, comfy.samplers.sampler_object(sampler), steps, image).result


def small(batch=1):
    return latent(batch, 8, 8)


EDITS = {
    "windows that end in the second part": edit_of(SOURCE, *EDITED),
    "windows that end in the first part": edit_of(SOURCE, *EDITED).schedule(
        InjectSchedule(Window(0, 0.2, "cross"), Window(0, 0.3, "self"))
    ),
    "windows that begin in the second part": edit_of(SOURCE, *EDITED).schedule(
        InjectSchedule(Window(0.6, 1, "cross"), Window(0.7, 1, "self"))
    ),
    "a blend whose mask is of all steps": edit_of(SOURCE, *EDITED).local_blend("cat", "dog, bus", start=0.3),
    "a weight": edit_of(SOURCE, *EDITED).reweight("dog", 3.0, 0.0, 0.7),
}


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("edit", EDITS)
def test_two_parts_give_what_one_run_gives(edit, batch):
    whole = sigmas()
    once = sampled(guider_of(EDITS[edit])[0], whole, small(batch), 3)[0]["samples"]
    guider, notes = guider_of(EDITS[edit], sigmas=whole)
    high, low = SplitSigmas().execute(whole, 3).result
    first = sampled(guider, high, small(batch), 3)[0]
    second = sampled(guider, low, first)[0]["samples"]
    assert second.shape == (3 * batch, 4, 8, 8)
    assert_same(second, once)
    assert not notes


def test_three_parts_of_two_guiders_give_what_one_run_gives():
    whole, edit = sigmas(), EDITS["a blend whose mask is of all steps"]
    once = sampled(guider_of(edit)[0], whole, small(), 3)[0]["samples"]
    image, seed = small(), 3
    for steps in (whole[:3], whole[2:5], whole[4:]):
        image, seed = sampled(guider_of(edit, sigmas=whole)[0], steps, image, seed)[0], None
    assert_same(image["samples"], once)


@pytest.mark.parametrize("noise_is_left", [True, False])
def test_the_source_in_parts_is_what_ksampler_advanced_gives_in_parts(noise_is_left):
    """With its start and end step, noise added in the first part alone, and left over or not."""
    whole, edit = sigmas(), edit_of(SOURCE, *EDITED)
    model, prompts = small_model("sd1"), (edit.source.encoding, NEGATIVE)
    how = (STEPS, CFG, "euler", "karras", *prompts)
    first = nodes.common_ksampler(
        model, 3, *how, small(), start_step=0, last_step=3, force_full_denoise=not noise_is_left
    )[0]
    both = nodes.common_ksampler(model, 3, *how, first, disable_noise=noise_is_left, start_step=3, last_step=STEPS)[0]
    guider, _ = guider_of(edit, sigmas=whole if noise_is_left else None)
    steps = whole[:4].clone()
    steps[-1] *= noise_is_left
    image = sampled(guider, steps, small(), 3)[0]
    assert_same(image["samples"][:1], first["samples"])
    image = sampled(guider, whole[3:], image, None if noise_is_left else 3)[0]
    assert_same(image["samples"][:1], both["samples"])


def test_parts_of_one_step_each_give_what_one_run_gives():
    whole, edit = sigmas(4), EDITS["windows that begin in the second part"]
    once = sampled(guider_of(edit)[0], whole, small(), 3)[0]["samples"]
    image, seed = small(), 3
    for step in range(4):
        image, seed = sampled(guider_of(edit, sigmas=whole)[0], whole[step : step + 2], image, seed)[0], None
    assert_same(image["samples"], once)


@pytest.mark.parametrize("levels", ["repeated", "without an end", "one step", "two at once"])
def test_whatever_falls_is_sampled_as_it_is_without_an_edit(levels):
    whole = sigmas()
    steps = {
        "repeated": torch.cat([whole[:3], whole[2:]]),
        "without an end": whole[:-1],
        "one step": whole[[0, -1]],
        "two at once": whole[[0, 2, 4, 6]],
    }[levels]
    edit = edit_of(SOURCE, *EDITED)
    guider, notes = guider_of(edit)
    latents = sampled(guider, steps, small(), 3)[0]["samples"]
    assert_same(latents[:1], nodes_run(edit.source.encoding, steps, small(), 3))
    assert (latents[1:] - latents[:1]).abs().max() > 1e-3
    assert len(notes) == (levels == "without an end"), notes


def test_a_part_that_is_sampled_again_gives_the_same_again():
    whole, edit = sigmas(), EDITS["a blend whose mask is of all steps"]
    guider, _ = guider_of(edit, sigmas=whole)
    first = sampled(guider, whole[:4], small(), 3)[0]
    again = [sampled(guider, whole[3:], first)[0]["samples"] for _ in range(2)]
    assert torch.equal(*again)


@pytest.mark.parametrize("output", [0, 1])
def test_a_second_pass_goes_on_with_source_and_edits(output):
    """With noise of its own, as people refine a finished picture; the source stays what it is without edits."""
    whole, edit = sigmas(), edit_of(SOURCE, *EDITED)
    guider, notes = guider_of(edit)
    stack = sampled(guider, whole, small(), 3)[output]
    refined = sampled(guider, whole[3:], stack, 8)[0]["samples"]
    assert refined.shape == (3, 4, 8, 8)
    source = nodes_run(edit.source.encoding, whole[3:], {"samples": stack["samples"][:1]}, 8)
    assert_same(refined[:1], source)
    assert not notes


def nodes_run(conditioning, steps, image, seed):
    """What ComfyUI's own guider gives."""
    guider = comfy.samplers.CFGGuider(small_model("sd1"))
    guider.set_conds(conditioning, NEGATIVE)
    guider.set_cfg(CFG)
    return sampled(guider, steps, image, seed)[0]["samples"]


def test_a_second_pass_on_upscaled_latents_goes_on_with_source_and_edits_when_told():
    whole, edit = sigmas(), edit_of(SOURCE, *EDITED)
    stack = sampled(guider_of(edit)[0], whole, small(), 3)[0]
    larger = nodes.LatentUpscaleBy().upscale(stack, "nearest-exact", 1.5)[0]
    guider, notes = guider_of(edit, latent_holds="source and edits")
    refined = sampled(guider, whole[3:], larger, 8)[0]["samples"]
    assert refined.shape == (3, 4, 12, 12)
    source = nodes_run(edit.source.encoding, whole[3:], {"samples": larger["samples"][:1]}, 8)
    assert_same(refined[:1], source)
    assert (refined[1:] - refined[:1]).abs().max() > 1e-3
    assert not notes


def test_pictures_that_may_be_source_and_edits_are_named():
    whole, edit = sigmas(), edit_of(SOURCE, *EDITED)
    stack = sampled(guider_of(edit)[0], whole, small(), 3)[0]
    larger = nodes.LatentUpscaleBy().upscale(stack, "nearest-exact", 1.5)[0]
    guider, notes = guider_of(edit)
    assert len(sampled(guider, whole[3:], larger, 8)[0]["samples"]) == 9
    assert len(notes) == 1 and "latent_holds" in notes[0] and "3 pictures" in notes[0]


def test_latents_that_can_t_be_source_and_edits_are_an_error():
    guider, _ = guider_of(edit_of(SOURCE, *EDITED), latent_holds="source and edits")
    with pytest.raises(EditError, match="latent_image: it has 2 pictures, which can't be the source and 2 edits"):
        sampled(guider, sigmas(), small(2), 3)


def test_a_part_goes_on_with_no_other_prompts():
    whole = sigmas()
    first = sampled(guider_of(edit_of(SOURCE, "a dog on a car"), sigmas=whole)[0], whole[:4], small(), 3)[0]
    with pytest.raises(EditError, match="latent_image: it is the source and the edits of other prompts"):
        sampled(guider_of(edit_of(SOURCE, "a fox on a car"), sigmas=whole)[0], whole[3:], first)


@pytest.mark.parametrize("part", ["first", "second"])
def test_a_part_without_the_whole_says_what_its_windows_counted(part):
    whole = sigmas()
    guider, notes = guider_of(edit_of(SOURCE, *EDITED))
    first = sampled(guider, whole[:4], small(), 3)[0]
    if part == "second":
        notes.clear()
        sampled(guider, whole[3:], first)
    assert len(notes) == 1 and "part" in notes[0] and "connect to sigmas" in notes[0]


def test_the_noise_that_a_part_leaves_is_the_source_s_in_all_rows():
    whole = sigmas()
    guider, _ = guider_of(edit_of(SOURCE, SOURCE).schedule(EVERYTHING), sigmas=whole)
    image, seed = small(), 3
    for steps in (whole[:3], whole[2:]):
        image, seed = sampled(guider, steps, image, seed, "euler_ancestral")[0], 8
        assert_same(image["samples"][1], image["samples"][0])


@pytest.mark.parametrize("flipped", ["all", "a part", "the whole"])
def test_steps_towards_noise_are_refused(flipped):
    whole = sigmas()
    turned = FlipSigmas().execute(whole).result[0]
    steps = {"all": turned, "a part": torch.cat([whole[:3], whole[1:]]), "the whole": whole}[flipped]
    guider, _ = guider_of(edit_of(), sigmas=turned if flipped == "the whole" else None)
    with pytest.raises(EditError, match=r"sigmas: they rise.*without FlipSigmas"):
        sampled(guider, steps, small(), 3)


def test_steps_of_another_schedule_are_refused():
    guider, _ = guider_of(edit_of(), sigmas=sigmas())
    with pytest.raises(EditError, match=r"sigmas: the steps that are sampled.*are none of these"):
        sampled(guider, sigmas(5)[:3], small(), 3)


def test_parts_of_a_real_picture_are_the_whole_and_the_last_may_be_sampled_again():
    """With a new noise for every evaluation, which goes on where the part before had come to."""
    levels, picture = sigmas(), {"samples": torch.randn(1, 4, 8, 8)}
    edit = edit_of(SOURCE, EDITED[0]).schedule(EVERYTHING).real_picture()
    whole, _ = sampled(guider_of(edit)[0], levels, picture, seed=3)
    guider, _ = guider_of(edit, sigmas=levels)
    first, second = SplitSigmas().execute(levels, 3).result
    half, _ = sampled(guider, first, picture, seed=3)
    for _ in range(2):
        parts, _ = sampled(guider, second, half)
        assert_same(parts["samples"], whole["samples"])
        assert torch.equal(parts["samples"][:1], picture["samples"])
