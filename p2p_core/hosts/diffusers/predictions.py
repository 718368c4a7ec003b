"""The engine's rules, which are on denoised latents, for what a network predicts.

Both are made of the network's input x and its prediction p: D = a x + b p (see `denoised_parts`). Guidance is linear in
D, its weights sum to 1 and the rules are linear but for a constant, so they hold for each evaluation by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ...errors import EditError
from ...predictions import with_guided_source
from ...run import Run

Tensors = Sequence[torch.Tensor]
Parts = tuple[float, float]


def blended(
    run: Run,
    predictions: Tensors,
    latents: Tensors,
    parts: Parts,
    sources: Tensors = (),
    source_latents: torch.Tensor | None = None,
) -> list[torch.Tensor]:
    """Predictions [rows, ...] of each evaluation such that the denoised latents are the source's outside of the masks.

    Rules that are linear in D may be applied to p, plus a / b of what they change in x: to the bit where source and
    edit already are the same.

    Args:
        sources, source_latents: the source's own [batch, ...], where it has no row.
    """
    a, b = parts
    ruled = run.predictions(*predictions, sources=sources)
    return [p + a / b * (run.ruled(x, source_latents) - x) for p, x in zip(ruled, latents)]


def pinned(
    run: Run, predictions: Tensors, asked: Tensors, latents: Tensors, parts: Parts, cfg: float
) -> list[torch.Tensor]:
    """Predictions [rows, ...] of each evaluation at `latents` that give what the rules make of those made at `asked`.

    Args:
        cfg: the pipeline's guidance scale; the source may have its own.
    """
    a, b = parts
    denoised = [a * x.to(_exact(x)) + b * p.to(_exact(p)) for x, p in zip(asked, predictions)]
    own = run.edit.picture.source_cfg
    if own and own != cfg:
        if len(denoised) == 1:
            raise EditError(
                "source_cfg",
                "the pipeline samples without guidance, so the source can't have its own.",
                "Call it with a guidance_scale above 1, or leave source_cfg at 0.",
            )
        unconditional, conditional = denoised
        denoised = [with_guided_source(d, conditional, unconditional, run.rows, own - cfg) for d in denoised]
    return [((d - a * x.to(d)) / b).to(x) for d, x in zip(run.predictions(*denoised), latents)]


def _exact(x: torch.Tensor) -> torch.dtype:
    """At least float32: at high noise a denoised latent is the small difference of two large ones."""
    return torch.promote_types(x.dtype, torch.float32)
