"""An edit with many variants, sampled a few at a time."""

from __future__ import annotations

from typing import Any

import torch

from ...edit import Edit
from ...trials.sweep import parts
from .guider import EditGuider, sample


def sample_parts(
    model,
    edit: Edit,
    negative,
    latent: dict[str, Any],
    seed: int,
    steps: int,
    cfg: float,
    sampler_name: str,
    scheduler: str,
    denoise: float,
    trajectory: str,
    rows_at_once: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """As P2PSampler, with one progress bar over everything.

    The source is sampled along with each part: its attention has to be there, but it is the same every time.

    Returns:
        source latents [batch, ...] and edited ones [variants * batch, ...], variant after variant.
    """
    batch = len(latent["samples"])
    pieces = list(parts(edit, rows_at_once, batch))
    source, edited = None, []
    for number, piece in enumerate(pieces):
        guider = EditGuider(model, piece, negative, cfg, trajectory=trajectory)
        latents, _ = sample(guider, latent, seed, steps, sampler_name, scheduler, denoise, (number, len(pieces)))
        source = latents[:batch] if source is None else source
        edited.append(latents[batch:])
    return source, torch.cat(edited)
