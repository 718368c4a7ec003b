"""What the comparisons with the literature share: prompts, settings, and sampling in float64."""

from __future__ import annotations

from unittest import mock

import comfy.model_management
import comfy.samplers
import torch
from prompt_to_prompt.p2p_core.alignment import Alignment, align
from prompt_to_prompt.p2p_core.edit import Edit
from prompt_to_prompt.p2p_core.hosts.comfy import EditGuider, encode, load_demo
from prompt_to_prompt.p2p_core.hosts.comfy.conditioning import stack
from prompt_to_prompt.p2p_core.schedule import InjectSchedule, Window, parse_word_windows
from reference import hertz, joint_rules

from support.float64 import InFloat64

# With five steps and windows in fifths the paper's int(fraction * (steps + 1)) and int(fraction * steps)
# begin and end at the same steps as `start <= i / n < end`.
STEPS = 5
CFG = 4.0
EXACT = {"rtol": 0, "atol": 1e-9}

SOURCE = "a cat sitting on a red car in the snow"
SWAP = "a dog sitting on a red car in the snow"
INSERTION = "a smiling cat wearing a hat sitting on a red car in the snow"
RESTYLE = "a cat sitting on a blue car at the beach"


def demo_in_float64(architecture: str = "unet"):
    """The demo's model and text encoder."""
    model, clip, _ = load_demo(architecture)
    model.model.double()
    model.model.diffusion_model.dtype = torch.float64
    return model, clip


def sampled_in_float64(guider, rows: int, sampler=None) -> torch.Tensor:
    noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(3)).double().repeat(rows, 1, 1, 1)
    sigmas = sigmas_of(guider.model_patcher)
    # Newer ComfyUIs turn positions by kernels that take no float64, but not where they train.
    with InFloat64(), mock.patch.object(comfy.model_management, "in_training", True, create=True):
        sampler = sampler or comfy.samplers.sampler_object("ddim")
        return guider.sample(noise, torch.zeros_like(noise), sampler, sigmas, disable_pbar=True, seed=3)


def sigmas_of(model) -> torch.Tensor:
    return comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", STEPS).double()


def schedule(cross=(0.0, 0.8), within=(0.0, 0.0), layers="half", words="") -> InjectSchedule:
    return InjectSchedule(Window(*cross), Window(*within), self_layers=layers, word_windows=parse_word_windows(words))


def padded(ids: list[int]) -> list[int]:
    """As Stable Diffusion 1.x pads: with the end-of-text token."""
    return ids + [ids[-1]] * (77 - len(ids))


def edit_of(clip, mode: str, *prompts: str) -> Edit:
    """Edits of SOURCE."""
    made = Edit(encode(clip, SOURCE))
    for prompt in prompts:
        made = made.add(encode(clip, prompt), mode)
    return made


def alignment_of(clip, source: str, prompt: str, mode: str) -> Alignment:
    return align(*(encode(clip, text) for text in (source, prompt)), mode)


def sampled_by_the_pack(demo, edit: Edit, trajectory: str = "dual", sampler=None) -> torch.Tensor:
    """Latents [source, edit 1, ...]."""
    model, clip = demo
    guider = EditGuider(model, edit, encode(clip, "").encoding, CFG, trajectory=trajectory)
    return sampled_in_float64(guider, 1, sampler)


def sampled_by_the_paper(
    demo, controller: hertz.Controller | joint_rules.Rule | None, prompts: list[str], sampler=None
) -> torch.Tensor:
    """Latents [source, edit 1, ...] under the paper's controller, or without any."""
    model, clip = demo
    guider = comfy.samplers.CFGGuider(controller.patched(model) if controller else model)
    guider.set_conds(stack([encode(clip, text).encoding for text in prompts]), encode(clip, "").encoding)
    guider.set_cfg(CFG)
    return sampled_in_float64(guider, len(prompts), sampler)
