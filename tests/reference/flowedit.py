"""FlowEdit (Kulikov et al. 2024): from a picture straight to its edit, along the difference of two velocities.

Written out after the paper's algorithm 1 with one noise a step, and with a guidance scale for each prompt. It is
told how a picture is noised: (1 - t) x + t n on flow models, x + t n where sigma is the time. On both the
velocity is (x - D) / t for the denoised prediction D.

The rows of the model's positive conditioning are [source, edit].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import comfy.samplers
import torch

Noised = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""(picture, t, noise) -> the noisy picture."""


def exploding(picture: torch.Tensor, t: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    return picture + t * noise


def straight(picture: torch.Tensor, t: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    return (1 - t) * picture + t * noise


def sampler(
    noises: Sequence[torch.Tensor], noised: Noised = exploding, source_cfg: float | None = None
) -> comfy.samplers.KSAMPLER:
    """`noises`: one for each step. Returns [picture, edit]."""

    def sample(model, x, sigmas, extra_args, callback=None, disable=None):
        picture = edit = model.latent_image[:1]
        for (t, then), noise in zip(pairwise(sigmas), noises, strict=True):
            source = noised(picture, t, noise)
            target = edit + source - picture
            of_source, of_target = _velocities(model, torch.cat([source, target]), t, extra_args, source_cfg)
            edit = edit + (then - t) * (of_target - of_source)
        return torch.cat([picture, edit])

    return comfy.samplers.KSAMPLER(sample)


def _velocities(model, rows: torch.Tensor, t: torch.Tensor, extra_args: dict, source_cfg: float | None):
    def velocity() -> torch.Tensor:
        return (rows - model(rows, t * rows.new_ones(2), **extra_args)) / t

    both = velocity()
    source, target = both[:1], both[1:]
    if source_cfg is not None:
        guider = model.inner_model
        cfg, guider.cfg = guider.cfg, source_cfg
        source = velocity()[:1]
        guider.cfg = cfg
    return source, target
