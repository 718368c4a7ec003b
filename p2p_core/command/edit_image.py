"""CrossAttentionControl's procedure as one function, for those who come with a notebook."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..edit import Edit
from ..errors import EditError
from ..schedule import InjectSchedule, Window

if TYPE_CHECKING:
    from PIL import Image


def edit_image(
    pipe,
    prompt: str,
    prompt_edit: str | None = None,
    prompt_edit_token_weights: Sequence[tuple[int, float]] = (),
    prompt_edit_tokens_start: float = 0.0,
    prompt_edit_tokens_end: float = 1.0,
    prompt_edit_spatial_start: float = 0.0,
    prompt_edit_spatial_end: float = 1.0,
    guidance_scale: float = 7.5,
    steps: int = 50,
    seed: int | None = None,
    width: int = 512,
    height: int = 512,
    init_image: Image.Image | None = None,
    init_image_strength: float = 0.5,
    scheduler: str = "LMSDiscreteScheduler",
) -> Image.Image:
    """The picture of `prompt_edit`, with the attention that `prompt` has on the same latent.

    Attention is controlled while the noise level t / 1000, which runs from 1 to 0, is inside of a window: a
    spatial window from 0.7 to 1 is only the first part of the sampling. With the nodes it is:

    ============================  ==================================================================
    pipe                          P2PSampler: model, clip, vae; not changed
    prompt                        PromptPairAlign: source_prompt
    prompt_edit                   edit_prompt, mode `sequence`; None makes the picture of `prompt`
    prompt_edit_token_weights     AttentionReweight: words "[index]", scale; index 0 is the start token
    prompt_edit_tokens_start/end  AttentionInjectSchedule: cross_start and cross_end. Those count steps
                                  from the front: cross_start ~ 1 - tokens_end, cross_end ~ 1 - tokens_start
    prompt_edit_spatial_start/end self_start and self_end in the same way; self_layers `all`
    guidance_scale, steps, seed   P2PSampler: cfg, steps, seed; None draws a seed
    width, height                 EmptyLatentImage; rounded down to multiples of 64
    init_image                    LoadImage, VAEEncode; resized, transparency on white
    init_image_strength           P2PSampler: denoise
    scheduler                     P2PSampler: sampler_name (`lms`); here a diffusers class name
    (always)                      P2PSampler: trajectory `shared`
    ============================  ==================================================================

    Raises:
        EditError: a value that makes no sense; no token at an index.
    """
    from ..hosts.diffusers import align, prompt_to_prompt
    from ..hosts.diffusers.loading import generator, with_scheduler

    for name, start, end in (
        ("prompt_edit_tokens", prompt_edit_tokens_start, prompt_edit_tokens_end),
        ("prompt_edit_spatial", prompt_edit_spatial_start, prompt_edit_spatial_end),
    ):
        Window(start, end, name)  # only to have it checked
    if not 0 <= init_image_strength <= 1:
        raise EditError(
            "init_image_strength", f"{init_image_strength} is out of range.", "Choose a number from 0 to 1."
        )
    pipe = with_scheduler(pipe, scheduler, from_image=init_image is not None)
    levels = _levels(pipe.scheduler, steps, 1.0 if init_image is None else init_image_strength)
    is_edited = prompt_edit is not None
    edit = _weighted(align(pipe, prompt, prompt_edit if is_edited else prompt, "sequence"), prompt_edit_token_weights)
    edit = edit.schedule(
        InjectSchedule(
            cross_window=_window(levels, prompt_edit_tokens_start, prompt_edit_tokens_end, is_edited),
            self_window=_window(levels, prompt_edit_spatial_start, prompt_edit_spatial_end, is_edited),
            self_layers="all",
        )
    )
    width, height = (max(side // 64 * 64, 64) for side in (width, height))
    picture = {"width": width, "height": height}
    with prompt_to_prompt(pipe, edit, "shared" if is_edited else "dual") as run:
        if init_image is not None:
            image = _on_white(init_image, (width, height))
            picture = {"image": [image] * len(run.prompts), "strength": init_image_strength}
        return pipe(
            run.prompts,
            num_inference_steps=steps,
            guidance_scale=guidance_scale,
            generator=generator(random.randrange(2**32) if seed is None else seed),
            **picture,
        ).images[-1]


def _weighted(edit: Edit, weights: Sequence[tuple[int, float]]) -> Edit:
    for index, weight in weights:
        edit = edit.reweight(f"[{index}]", weight)
    return edit


def _levels(scheduler, steps: int, strength: float) -> list[float]:
    """t / 1000 of the steps that are made, falling."""
    scheduler.set_timesteps(steps)
    made = [t / scheduler.config.num_train_timesteps for t in scheduler.timesteps.tolist()]
    skipped = steps - int(steps * strength)
    if skipped >= steps:
        raise EditError("init_image_strength", f"with {strength}, none of the {steps} steps is made.", "Raise it.")
    return list(dict.fromkeys(made))[skipped:]


def _window(levels: Sequence[float], start: float, end: float, is_edited: bool = True) -> Window:
    """The steps whose noise level is inside of [start, end], as a window of fractions of the steps."""
    inside = [i for i, level in enumerate(levels) if start <= level <= end]
    if not inside or not is_edited:
        return Window(0.0, 0.0)
    return Window(inside[0] / len(levels), (inside[-1] + 1) / len(levels))


def _on_white(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    from PIL import Image

    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB").resize(size, Image.Resampling.LANCZOS)
