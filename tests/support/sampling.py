"""Edits of small models through ComfyUI's own sampling, and the ordinary runs that they are compared with."""

from __future__ import annotations

import torch
from prompt_to_prompt.p2p_core.hosts.comfy import EditGuider, Sampling, sample
from prompt_to_prompt.p2p_core.run import Run
from prompt_to_prompt.p2p_core.schedule import InjectSchedule, Window

import nodes
from support.small_models import NEGATIVE, edit_of, small_model

STEPS, CFG = 4, 5.0
NOTHING = InjectSchedule(Window(0, 0, "cross"), Window(0, 0, "self"))
EVERYTHING = InjectSchedule(Window(0, 1, "cross"), Window(0, 1, "self"), self_layers="all")


def latent(batch: int = 1, height: int = 16, width: int = 16, **more) -> dict:
    """An empty LATENT."""
    return {"samples": torch.zeros(batch, 4, height, width), **more}


def sampling(sampler="euler", scheduler="karras", steps=STEPS, denoise=1.0, seed=3) -> Sampling:
    return Sampling(seed, steps, sampler, scheduler, denoise)


def run(
    edit=None,
    model="sd1",
    *,
    image: dict | None = None,
    cfg=CFG,
    negative=NEGATIVE,
    sampled: Sampling | None = None,
    **guider,
) -> tuple[torch.Tensor, Run]:
    """The latents of source and edits, and the finished run. `guider`: more of EditGuider's arguments."""
    model = small_model(model) if isinstance(model, str) else model
    guider = EditGuider(model, edit or edit_of(), negative, cfg, **guider)
    return sample(guider, image or latent(), sampled or sampling())


def plain(
    conditioning: list,
    model="sd1",
    *,
    image: dict | None = None,
    cfg=CFG,
    negative=NEGATIVE,
    sampled: Sampling | None = None,
) -> torch.Tensor:
    """The latents that KSampler makes with the same settings."""
    model, how = small_model(model) if isinstance(model, str) else model, sampled or sampling()
    settings = (how.seed, how.steps, cfg, how.sampler_name, how.scheduler)
    made = nodes.common_ksampler(model, *settings, conditioning, negative, image or latent(), denoise=how.denoise)
    return made[0]["samples"]


def assert_same(a: torch.Tensor, b: torch.Tensor, tolerance: float = 2e-4) -> None:
    """Equal to the rounding of float32, which a few steps of guidance amplify."""
    assert torch.isfinite(a).all()
    assert (a - b).abs().max() <= tolerance * b.abs().max()


def applied(node, model, *settings):
    """What a node of the core makes of a model. Some have their method's name from before V3."""
    execute = node.execute if hasattr(node, "execute") else getattr(node(), node.FUNCTION)
    return execute(model, *settings)[0]
