"""How the command samples: what it takes where nothing is said, and the pipeline's call."""

from __future__ import annotations

import argparse
import random

from ..errors import EditError


def with_defaults(options: argparse.Namespace) -> None:
    """Fill in what was not given.

    Raises:
        EditError: a number that can't be one of steps.
    """
    options.seed = random.randrange(2**32) if options.seed is None else options.seed
    options.steps = 30 if options.steps is None else options.steps
    options.cfg = options.cfg or (7.5 if options.model else 4.0)
    options.negative = options.negative or ""
    options.sampler_name = options.sampler_name or ("euler" if options.image else "dpmpp_2m")
    options.scheduler = options.scheduler or "sgm_uniform"
    if options.steps < 1:
        raise EditError("steps", f"{options.steps} is out of range.", "Choose 1 or more.")


def sampled(pipe, prompts: list[str], options: argparse.Namespace, **begun) -> list:
    """The pictures of these prompts. `begun`: what the pipeline starts from."""
    from ..hosts.diffusers.loading import generator

    return pipe(
        prompts,
        negative_prompt=[options.negative] * len(prompts),
        num_inference_steps=options.steps,
        guidance_scale=options.cfg,
        generator=generator(options.seed),
        **begun,
    ).images
