"""What KSampler does, with an edit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import comfy.model_management
import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview
import torch

from ...edit import Edit
from ...run import Run
from ...trials.batches import batches
from .conditioning import Conditioning
from .guider import EditGuider
from .preview import side_by_side

SAMPLER_NAMES = comfy.samplers.KSampler.SAMPLERS
SCHEDULER_NAMES = comfy.samplers.KSampler.SCHEDULERS


@dataclass(frozen=True)
class Sampling:
    """How pictures are sampled: KSampler's settings, under its names. Guidance is the guider's."""

    seed: int
    steps: int
    sampler_name: str
    scheduler: str
    denoise: float = 1.0


def sigmas_of(model, sampling: Sampling) -> torch.Tensor:
    """The noise levels that KSampler steps through, [steps made + 1]."""
    return comfy.samplers.KSampler(
        model,
        sampling.steps,
        model.load_device,
        sampling.sampler_name,
        sampling.scheduler,
        sampling.denoise,
        model_options=model.model_options,
    ).sigmas


def sample(
    guider: EditGuider, latent: dict[str, Any], sampling: Sampling, run_of: tuple[int, int] = (0, 1)
) -> tuple[torch.Tensor, Run]:
    """What KSampler does, with an EditGuider: noise from the seed, sigmas, mask, progress and preview.

    Args:
        latent: ComfyUI's LATENT, of the source; or of source and edits, see EditGuider.run.
        run_of: (i, n) says that this is run i of n in a row, which share one progress bar.

    Returns:
        latents [(1 + edits) * batch, ...], the source's first unless it was recorded, and the finished run.
    """
    model = guider.model_patcher
    samples = comfy.sample.fix_empty_latent_channels(model, latent["samples"])
    noise = comfy.sample.prepare_noise(samples, sampling.seed, latent.get("batch_index"))
    sigmas = sigmas_of(model, sampling)
    number, runs = run_of
    progress = latent_preview.prepare_callback(model, sampling.steps * runs)

    def shown(step, x0, x, total):
        progress(number * total + step, side_by_side(x0, guider.current_run.rows.batch), x, runs * total)

    latents, run = guider.run(
        noise,
        samples,
        comfy.samplers.sampler_object(sampling.sampler_name),
        sigmas,
        denoise_mask=latent.get("noise_mask"),
        callback=shown,
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        seed=sampling.seed,
    )
    return latents.to(comfy.model_management.intermediate_device()), run


def sample_batches(
    model,
    edit: Edit,
    negative: Conditioning,
    cfg: float,
    latent: dict[str, Any],
    sampling: Sampling,
    trajectory: str = "dual",
    rows_at_once: int = 8,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """An edit of many variants, sampled a few at a time with one progress bar over everything.

    The source is sampled along with each batch: its attention has to be there, but it is the same every time.

    Args:
        rows_at_once: the most edited pictures that are sampled together.
        tell: called with how far it is, in pictures, before each batch and at the end.

    Returns:
        source latents [batch, ...] and edited ones [variants * batch, ...], variant after variant.
    """
    batch = len(latent["samples"])
    lots = list(batches(edit, rows_at_once, batch))
    source, edited = None, []
    for number, some in enumerate(lots):
        tell(f"{sum(map(len, edited))} of {len(edit.variants) * batch} pictures")
        guider = EditGuider(model, some, negative, cfg, trajectory=trajectory)
        latents, _ = sample(guider, latent, sampling, (number, len(lots)))
        source = latents[:batch] if source is None else source
        edited.append(latents[batch:])
    tell(f"{len(edit.variants) * batch} pictures")
    return source, torch.cat(edited)
