"""What a run has to know of diffusers' schedulers: which steps are made, and what the network's input is made of."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ...errors import EditError


def executed_timesteps(timesteps: Sequence[float], first: float, executed: int | None, order: int) -> list[float]:
    """Those of a scheduler's timesteps at which a call asks the network.

    Args:
        timesteps: the scheduler's: of a second-order one with both evaluations of each step but the
            first; PNDM has its second step twice.
        first: the timestep that the call begins with.
        executed: how many of `timesteps` it makes from there; None is all.
        order: evaluations per step; of each step the first is at its level.
    """
    start = next((i for i in range(0, len(timesteps), order) if timesteps[i] == first), 0)
    return list(timesteps[start : None if executed is None else start + executed])


def executed_levels(timesteps: Sequence[float], first: float, executed: int | None, order: int) -> list[float]:
    """The timesteps of the steps that a call makes, one each, falling; see `executed_timesteps`."""
    return list(dict.fromkeys(executed_timesteps(timesteps, first, executed, order)[::order]))


def denoised_parts(scheduler, timestep: float) -> tuple[float, float]:
    """a and b of the denoised latent D = a x + b p, for the network's input x and its prediction p.

    Raises:
        EditError: the scheduler is not of a kind that Stable Diffusion or Flux.1 was trained with.
    """
    kind = getattr(scheduler.config, "prediction_type", "epsilon")
    if "FlowMatch" in type(scheduler).__name__ or kind == "flow_prediction":  # x = (1 - t) D + t noise, p = noise - D
        return 1.0, -timestep / scheduler.config.num_train_timesteps
    if not hasattr(scheduler, "alphas_cumprod") or kind not in ("epsilon", "v_prediction", "sample"):
        raise EditError(
            "pipe",
            f"{type(scheduler).__name__} keeps latents in a form of its own, but local blends and real pictures need "
            "to know it.",
            "Use another scheduler, such as DPMSolverMultistepScheduler, EulerDiscreteScheduler or DDIMScheduler.",
        )
    sigma = noise_level(scheduler, timestep)
    scale = (1 + sigma**2) ** 0.5
    parts = {"epsilon": (scale, -sigma), "v_prediction": (1 / scale, -sigma / scale), "sample": (0.0, 1.0)}
    return parts[kind]


def noise_level(scheduler, timestep: float) -> float:
    """Noise over signal in the UNet's input, which is (x0 + sigma noise) / sqrt(1 + sigma^2) with every scheduler.

    Those that keep their latents in another scale bring them to this one for the UNet: the factor tells sigma, if
    only roughly, since it is computed in float32 and near 1 for small sigmas. The scheduler's own list is exact.
    """
    factor = float(scheduler.scale_model_input(torch.ones((), dtype=torch.float64), timestep))
    if factor != 1:
        sigma = max(factor**-2 - 1, 0.0) ** 0.5
        nearest = min(scheduler.sigmas.tolist(), key=lambda level: abs(level - sigma))
        return nearest if abs(nearest - sigma) < 1e-3 * sigma else sigma  # between two: within a second-order step
    if hasattr(scheduler, "sigmas"):
        step = scheduler.step_index if scheduler.step_index is not None else scheduler.begin_index or 0
        return float(scheduler.sigmas[step])
    alpha = float(scheduler.alphas_cumprod[int(timestep)])
    return ((1 - alpha) / alpha) ** 0.5
