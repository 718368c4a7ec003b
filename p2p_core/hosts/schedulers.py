"""What a run has to know of diffusers' schedulers: which steps are made, and what the UNet's input is made of."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..errors import EditError


def executed_levels(timesteps: Sequence[float], first: float, executed: int | None, order: int) -> list[float]:
    """The timesteps of the steps that a call makes, one each, falling.

    Args:
        timesteps: the scheduler's: of a second-order one with both evaluations of each step but the
            first; PNDM has its second step twice.
        first: the timestep that the call begins with.
        executed: how many of `timesteps` it makes from there; None is all.
        order: evaluations a step.
    """
    start = next((i for i in range(0, len(timesteps), order) if timesteps[i] == first), 0)
    stop = len(timesteps) if executed is None else start + executed
    return list(dict.fromkeys(timesteps[start:stop:order]))


def denoised_ratio(scheduler, timestep: float) -> float:
    """a / b of the denoised latent x0 = a x + b p, for the UNet's input x and its prediction p.

    Raises:
        EditError: the scheduler is not of the kind that Stable Diffusion was trained with.
    """
    kind = getattr(scheduler.config, "prediction_type", "epsilon")
    if not hasattr(scheduler, "alphas_cumprod") or kind not in ("epsilon", "v_prediction", "sample"):
        raise EditError(
            f"local_blend: {type(scheduler).__name__} keeps latents in a form of its own. Use another scheduler, "
            "such as DPMSolverMultistepScheduler, EulerDiscreteScheduler or DDIMScheduler."
        )
    signal = signal_level(scheduler, timestep)
    noise = (1 - signal**2) ** 0.5
    return {"epsilon": -1 / noise, "v_prediction": -signal / noise, "sample": 0.0}[kind]


def signal_level(scheduler, timestep: float) -> float:
    """How much of the UNet's input is signal: it is sqrt(s) x0 + sqrt(1 - s^2) noise with every scheduler.

    Those that keep their latents in another scale bring them to this one for the UNet.
    """
    scale = float(scheduler.scale_model_input(torch.ones((), dtype=torch.float64), timestep))
    if scale != 1:
        return scale
    if hasattr(scheduler, "sigmas"):
        step = scheduler.step_index if scheduler.step_index is not None else scheduler.begin_index or 0
        return float(1 / (1 + scheduler.sigmas[step].double() ** 2) ** 0.5)
    return float(scheduler.alphas_cumprod[int(timestep)].double() ** 0.5)
