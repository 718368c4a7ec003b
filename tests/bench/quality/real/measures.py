"""What an edit did to a drawn picture, of which it is known what should be seen, where it should change, and into what.

success: the new thing is seen, or the removed one no longer. kept: everything else that the caption decides is seen as
it was drawn. psnr, structure: how near the picture still is where the true edit does not change it; psnr_vae: the same
against what the VAE makes of it. drawn: how near the whole is to the true edit.
"""

from __future__ import annotations

import torch

from bench.judge.judge import Judge, read

from ..cases import Case
from ..measures import psnr, structure_distance
from .drawings import Drawing


@torch.no_grad()
def measure(
    judge: Judge, case: Case, drawn: Drawing, decoded: torch.Tensor, edited: torch.Tensor
) -> dict[str, float | bool]:
    """decoded: the picture through the VAE; edited: the edit, both [3, 128, 128] in [0, 1]."""
    after = read(judge, edited[None])[0]
    return {
        "success": getattr(after, case.changed) == getattr(case.edit, case.changed),
        "kept": all(getattr(after, name) == getattr(case.source, name) for name in case.kept),
        "psnr": psnr(drawn.picture, edited, drawn.outside),
        "psnr_vae": psnr(decoded, edited, drawn.outside),
        "drawn": psnr(drawn.edit, edited, torch.ones_like(drawn.outside)),
        "structure": structure_distance(judge, torch.stack([drawn.picture, edited]), drawn.outside),
    }
