"""InfEdit (Xu et al. 2023): denoising diffusion consistent models, whose "virtual inversion" needs no inversion.

Written out after the paper's algorithm: latents z = sqrt(a) z_0 + sqrt(1 - a) noise of a variance-preserving
diffusion with a = 1 / (1 + sigma^2). In every step the source's noise is known from the picture, the "consistency
noise"; the edit's prediction is corrected by what the source's misses of it; both are noised anew by one noise.

The rows of the model's positive conditioning are [source, edit].
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import comfy.samplers
import torch


def sampler(noises: Sequence[torch.Tensor]) -> comfy.samplers.KSAMPLER:
    """`noises`: of each step but the last. Starts from the latents that it is given; returns [picture, edit]."""

    def sample(model, x, sigmas, extra_args, callback=None, disable=None):
        z_0, remaining = model.latent_image[:1], iter(noises)
        z = x / (1 + sigmas[0] ** 2).sqrt()
        for sigma, then in pairwise(sigmas):
            a = 1 / (1 + sigma**2)
            x = z / a.sqrt()
            noise = (x - model(x, sigma * x.new_ones(2), **extra_args)) / sigma
            consistency = (z[:1] - a.sqrt() * z_0) / (1 - a).sqrt()
            edited = noise[1:] - noise[:1] + consistency
            edit = (z[1:] - (1 - a).sqrt() * edited) / a.sqrt()
            clean = torch.cat([z_0, edit])
            if then == 0:
                return clean
            a = 1 / (1 + then**2)
            z = a.sqrt() * clean + (1 - a).sqrt() * next(remaining)
        raise AssertionError("the last level is 0")

    return comfy.samplers.KSAMPLER(sample)
