"""What tells one pipeline's model, and one call of it, from another: facts by what people call them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from .network import Inputs, Network

_SAMPLES = 64
"""Numbers of each weight that are looked at: a fused LoRA changes nearly all of them."""


def of_network(network: Network) -> str:
    """A digest of a network's weights: the same on every device, another with a LoRA put in or given another weight."""
    hashed = hashlib.sha1(usedforsecurity=False)
    hashed.update(type(network.module).__name__.encode())
    for name, weight in network.module.named_parameters():
        hashed.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
        if weight.device.type != "meta":  # weights that wait elsewhere for their turn
            chosen = weight.detach().flatten()[:: max(weight.numel() // _SAMPLES, 1)]
            hashed.update(chosen.double().cpu().numpy().tobytes())
    for name, module in network.module.named_modules():
        if isinstance(getattr(module, "scaling", None), dict):  # a LoRA beside the weight
            told = module.scaling, getattr(module, "active_adapters", None), getattr(module, "disable_adapters", None)
            hashed.update(f"{name} {told}".encode())
    return hashed.hexdigest()


def of_call(pipe, given: Inputs, asked: Sequence[float], batch: int, kwargs: dict[str, Any]) -> dict[str, str]:
    """What a pipeline's call is made with, beside its prompts and its noise.

    Args:
        given, kwargs: of the network's first call; asked: the timesteps of all.
        batch: pictures of each prompt.
    """
    scheduler = pipe.scheduler
    config = {name: value for name, value in scheduler.config.items() if not name.startswith("_")}
    more = kwargs.get("added_cond_kwargs") or {}
    ids = more.get("time_ids")  # SDXL's sizes and crop
    return {
        "scheduler": f"{type(scheduler).__name__} {json.dumps(config, sort_keys=True, default=str)}",
        "picture size": f"{tuple(given.latents.shape[1:])} {None if ids is None else ids[0].tolist()}",
        "number of pictures": str(batch),
        "number of steps, or strength": str(list(asked)),
        "guidance": f"{pipe.guidance_scale} {getattr(pipe, 'guidance_rescale', 0)}",
        "clip_skip": str(getattr(pipe, "clip_skip", None)),
    }
