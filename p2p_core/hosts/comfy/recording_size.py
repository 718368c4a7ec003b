"""How much memory a recording takes, known before it is made."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import comfy.model_management
import comfy.samplers
import torch

from ...recording import Kept, check_fits
from ...step import step_of
from .architecture import architecture_of
from .conditioning import Conditioning
from .sampling import Sampling, sigmas_of


def check_size(model, kept: Kept, source: Conditioning, latent: dict[str, Any], sampling: Sampling) -> None:
    """Raise EditError where a recording would take more than half of the free memory."""
    free = comfy.model_management.get_free_memory(torch.device("cpu"))
    wanted = expected_bytes(model, kept, source, latent, sampling)
    check_fits(wanted, free, kept.until, ", or choose 'predictions', which takes little")


def expected_bytes(model, kept: Kept, source: Conditioning, latent: dict[str, Any], sampling: Sampling) -> int:
    """What a recording will take, known before it is made."""
    sigmas = sigmas_of(model, sampling)
    batch, size = len(latent["samples"]), tuple(latent["samples"].shape[-2:])
    itemsize = computes_in(model).itemsize
    asked = rounds_of(model, sampling, sigmas)
    steps = len(sigmas) - 1
    within = sum(step_of(sigma, sigmas.tolist()) < kept.steps(steps) for sigma in asked)
    lengths = (architecture_of(model).text_positions(*entry) for entry in source)
    attention = sum(kept.bytes_a_round(size, length, itemsize) for length in lengths)
    latents = 4 * model.get_model_object("latent_format").latent_channels * size[0] * size[1]
    return batch * (within * attention + (4 * len(asked) + 1) * latents)


def computes_in(model) -> torch.dtype:
    """The precision of a ModelPatcher's queries and keys."""
    return model.model.manual_cast_dtype or model.model.get_dtype()


def rounds_of(model, sampling: Sampling, sigmas: torch.Tensor) -> list[float]:
    """The noise levels at which a sampler asks the model, found by sampling with one that predicts nothing."""
    asked: list[float] = []
    if len(sigmas) < 2:
        return asked

    def predicts_nothing(x, sigma, model_options=None, seed=None):
        asked.append(float(sigma[0]))
        nothing = torch.zeros_like(x)
        for rule in (model_options or {}).get("sampler_post_cfg_function", []):
            rule({"denoised": nothing, "uncond_denoised": nothing, "cond_denoised": nothing})
        return nothing

    class PredictsNothing(comfy.samplers.CFGGuider):
        def __call__(self, *args, **kwargs):
            return predicts_nothing(*args, **kwargs)

    noise = torch.zeros(1, model.get_model_object("latent_format").latent_channels, 8, 8)
    with torch.random.fork_rng(devices=[]):
        sampler = comfy.samplers.sampler_object(sampling.sampler_name)
        guider = PredictsNothing(model)
        guider.inner_model = SimpleNamespace(model_sampling=model.get_model_object("model_sampling"))
        sampler.sample(guider, sigmas.cpu(), {"model_options": {}, "seed": 0}, None, noise, noise, disable_pbar=True)
    return asked
