"""Direct Inversion (Ju et al. 2023, "PnP Inversion"): the source is put back on its path after every step.

Written out after the paper's algorithm: the path is a DDIM inversion of the picture at guidance scale 1, offsets
are how far a guided step from each of its latents misses the next; they are added to the source alone.

Latents are x + sigma noise, in which a DDIM step is Euler's. The rows of the positive conditioning are [source, edit].
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import comfy.samplers
import torch


def inverted(model, sigmas: torch.Tensor, extra_args: dict) -> list[torch.Tensor]:
    """The picture's path [1, ...] at each of `sigmas`, which fall to 0. The model is asked at the level gone to."""
    guider, path = model.inner_model, [model.latent_image[:1]]
    cfg, guider.cfg = guider.cfg, 1.0
    for then, now in reversed(list(pairwise(sigmas))):  # from `now` up to `then`
        z = path[-1]
        denoised = model(z.repeat(2, 1, 1, 1), then * z.new_ones(2), **extra_args)[:1]
        path.append(z + (z - denoised) / then * (then - now))
    guider.cfg = cfg
    return path[::-1]


def sampler(path: Sequence[torch.Tensor] | None = None) -> comfy.samplers.KSAMPLER:
    """`path`: the picture's latents at each level; None is its inversion. Returns [picture, edit]."""

    def sample(model, x, sigmas, extra_args, callback=None, disable=None):
        z = path or inverted(model, sigmas, extra_args)

        def step(x: torch.Tensor, now: torch.Tensor, then: torch.Tensor) -> torch.Tensor:
            return x + (x - model(x, now * x.new_ones(2), **extra_args)) / now * (then - now)

        levels = list(pairwise(sigmas))
        offsets = [
            after - step(before.repeat(2, 1, 1, 1), *level)[:1] for (before, after), level in zip(pairwise(z), levels)
        ]
        x = z[0].repeat(2, 1, 1, 1)
        for offset, level in zip(offsets, levels):
            x = step(x, *level)
            x = torch.cat([x[:1] + offset, x[1:]])
        return x

    return comfy.samplers.KSAMPLER(sample)
