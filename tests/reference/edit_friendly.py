"""Edit-Friendly DDPM inversion (Huberman-Spiegelglas et al. 2023): the noise of each step that leads to a picture.

Written out after the paper's algorithm: noisy pictures are drawn independently for each level, x_t = sqrt(a) x_0 +
sqrt(1 - a) n_t with a = 1 / (1 + sigma^2); z_t is what a step from one of them misses of the next; the edit makes its
own steps with the same z_t. The paper divides z_t by the step's standard deviation, which the last step has none
of: here z_t is the noise times it.

The rows of the model's positive conditioning are [source, edit].
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import comfy.samplers
import torch


def sampler(noises: Sequence[torch.Tensor]) -> comfy.samplers.KSAMPLER:
    """`noises`: n_t of each level but 0. Returns [picture, edit]."""

    def sample(model, x, sigmas, extra_args, callback=None, disable=None):
        picture = model.latent_image[:1]
        a = 1 / (1 + sigmas**2)
        path = [a[i].sqrt() * picture + (1 - a[i]).sqrt() * noise for i, noise in enumerate(noises)] + [picture]
        edit = path[0]
        for i, (now, then) in enumerate(pairwise(range(len(sigmas)))):
            rows = torch.cat([path[now], edit])
            x = rows / a[now].sqrt()
            clean = model(x, sigmas[now] * x.new_ones(2), **extra_args)
            noise = (rows - a[now].sqrt() * clean) / (1 - a[now]).sqrt()
            variance = (1 - a[then]) / (1 - a[now]) * (1 - a[now] / a[then])
            mean = a[then].sqrt() * clean + (1 - a[then] - variance).clamp(min=0).sqrt() * noise
            z = path[i + 1] - mean[:1]
            edit = mean[1:] + z
        return torch.cat([picture, edit])

    return comfy.samplers.KSAMPLER(sample)
