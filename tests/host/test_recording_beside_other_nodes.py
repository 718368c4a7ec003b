"""Recorded sources and their edits with other nodes on the model and on the prompts."""

from __future__ import annotations

import comfy.model_management
import comfy.model_patcher
import comfy.model_sampling
import comfy.samplers
import pytest
import torch
from prompt_to_prompt.p2p_core.errors import EditError

import nodes
from support.recording import EVERYWHERE, SMALL, assert_as_beside, edited, free, recording_of, with_lora
from support.sampling import assert_same, latent, run
from support.small_models import NEGATIVE, edit_of, prompt, small_controlnet, small_model

COMMON = prompt("a photo of the sea").encoding
CONDITIONINGS = {
    "combine": lambda c: nodes.ConditioningCombine().combine(c, COMMON)[0],
    "area": lambda c: nodes.ConditioningSetArea().append(c, 32, 64, 32, 0, 1.0)[0] + COMMON,
    "time range": lambda c: (
        nodes.ConditioningSetTimestepRange().set_range(c, 0.0, 0.6)[0]
        + nodes.ConditioningSetTimestepRange().set_range(COMMON, 0.6, 1.0)[0]
    ),
    "controlnet": lambda c: nodes.ControlNetApplyAdvanced().apply_controlnet(
        c, [], small_controlnet(), HINT, 1.0, 0.0, 1.0
    )[0],
}
HINT = torch.rand(2, 64, 64, 3, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("keep", ["attention", "predictions"])
@pytest.mark.parametrize("change", CONDITIONINGS)
def test_conditioning_nodes_on_source_and_edited(change, keep):
    edit, change = edit_of(), CONDITIONINGS[change]
    source, conditioning = change(edit.source.encoding), change(edit.variants[0].prompt.encoding)
    recording, before = recording_of(edit, source=source, image=latent(2, 8, 8), keep=keep)
    made, _ = edited(edit, recording, edited=conditioning)
    expected, _ = run(edit, image=latent(2, 8, 8), source=source, edited=conditioning)
    assert_same(torch.cat([before, made]), expected, 1e-4)


def test_controlnet_on_one_side_alone_is_said():
    edit = edit_of()
    recording, _ = recording_of(edit, source=CONDITIONINGS["controlnet"](edit.source.encoding))
    with pytest.raises(EditError, match="they differ in their ControlNet"):
        edited(edit, recording)


def test_a_negative_area():
    """The host then copies positive entries under the negative's name."""
    negative = nodes.ConditioningSetArea().append(NEGATIVE, 32, 64, 32, 0, 1.0)[0] + NEGATIVE
    assert_as_beside(edit_of(), negative=negative)


@pytest.mark.parametrize("batch", [1, 2])
def test_a_rule_that_takes_all_pictures_together_sees_those_of_one_prompt(batch):
    model = small_model("sd1").clone()
    model.set_model_sampler_post_cfg_function(
        lambda args: args["denoised"] - args["denoised"].mean(0, keepdim=True) / 2
    )
    edit = edit_of()
    assert_as_beside(edit.add(edit.variants[0].prompt), model=model, image=latent(batch, 8, 8))


def test_a_lora():
    latents, _ = assert_as_beside(edit_of(), model=with_lora(1.0))
    assert (latents - assert_as_beside(edit_of())[0]).abs().max() > 1e-3


def evaluates_again(scale: float):
    """A model with guidance as PAG's: it evaluates the prompts once more, with less in one place."""
    model = small_model("sd1").clone()

    def guided(args):
        weak = comfy.model_patcher.set_model_options_patch_replace(
            comfy.model_patcher.create_model_options_clone(args["model_options"]),
            lambda q, k, v, extra_options, mask=None: v * 0.5,
            "attn1",
            "middle",
            0,
        )
        (again,) = comfy.samplers.calc_cond_batch(args["model"], [args["cond"]], args["input"], args["sigma"], weak)
        return args["denoised"] + scale * (args["cond_denoised"] - again)

    model.set_model_sampler_post_cfg_function(guided)
    return model


@pytest.mark.parametrize("keep", ["attention", "predictions"])
def test_guidance_that_evaluates_the_prompts_again(keep):
    model = evaluates_again(2.0)
    if keep == "attention":
        latents, _ = assert_as_beside(edit_of().schedule(EVERYWHERE), model=model, kept={"self_layers": "all"})
        assert (latents - run(edit_of().schedule(EVERYWHERE), image=SMALL)[0]).abs().max() > 1e-3
    else:
        with pytest.raises(EditError, match=r"recording: .*another node evaluates the prompts again"):
            assert_as_beside(edit_of().schedule(EVERYWHERE), model=model, kept={"keep": keep})


def test_prompts_that_the_host_evaluates_one_by_one(monkeypatch):
    """As it does where memory is short, at any moment."""
    recording, source = recording_of(edit_of())
    free(monkeypatch, 0)
    made, _ = edited(edit_of(), recording)
    monkeypatch.undo()
    assert_same(torch.cat([source, made]), run(edit_of(), image=SMALL)[0], 1e-4)
