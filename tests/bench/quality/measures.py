"""What an edit did: seen by the judge, and measured outside of what it was about.

success: the new thing is seen. kept: everything else that the caption decides is seen as in the source's picture.
psnr, structure: how near the rest of the picture is to the source's, as PIE-Bench (Ju et al. 2023, "PnP Inversion")
measures backgrounds; its structure distance compares features of DINO, here they are the judge's.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from bench.judge.judge import OPTIONS, Judge, read
from p2p_core.demo.scenes import HAT, Box, Scene

from .cases import Case

MARGIN = 0.06  # of the picture, around a thing's box
BEST_PSNR = 50.0  # dB; a picture that is the same has no finite one
ODDS = 0.01  # by how much, in nats, a word's odds have to rise for a weight to be seen; by chance they do half the time


@torch.no_grad()
def measure(judge: Judge, case: Case, source: torch.Tensor, edited: torch.Tensor) -> dict[str, float | bool]:
    """source, edited: pictures [3, 128, 128] in [0, 1]."""
    pair = torch.stack([source, edited])
    before, after = read(judge, pair)
    outside = region(case, before.subject_box, before.object_box, source.shape[-1])
    return {
        "success": _rises(judge, case, pair) if case.kind == "weight up" else _success(case, after),
        "kept": all(getattr(before, name) == getattr(after, name) for name in case.kept),
        "psnr": psnr(source, edited, outside),
        "structure": structure_distance(judge, pair, outside),
    }


def _rises(judge: Judge, case: Case, pair: torch.Tensor) -> bool:
    logits = judge(pair)[0][case.changed]
    word = OPTIONS[case.changed].index(getattr(case.source, case.changed))
    others = [i for i in range(logits.shape[1]) if i != word]
    before, after = logits[:, word] - logits[:, others].logsumexp(1)
    return bool(after - before > ODDS)


def _success(case: Case, after: Scene) -> bool:
    seen = getattr(after, case.changed)
    if case.kind in ("weight down", "remove phrase"):
        return seen != getattr(case.source, case.changed)
    return seen == getattr(case.edit, case.changed)


def region(case: Case, subject: Box, thing: Box, size: int) -> torch.Tensor:
    """What the edit should leave alone, bool [size, size]: all but the box of its thing; for a place, the boxes."""
    if case.thing == "place":
        return _inside(subject, size) | _inside(thing, size)
    x0, y0, x1, y1 = subject if case.thing == "subject" else thing
    hat = HAT * (y1 - y0) if case.changed == "worn" else 0.0
    return ~_inside((x0 - MARGIN, y0 - MARGIN - hat, x1 + MARGIN, y1 + MARGIN), size)


def _inside(box: Box, size: int) -> torch.Tensor:
    centres = (torch.arange(size) + 0.5) / size
    x0, y0, x1, y1 = box
    return ((centres >= y0) & (centres < y1))[:, None] & ((centres >= x0) & (centres < x1))


def psnr(source: torch.Tensor, edited: torch.Tensor, where: torch.Tensor) -> float:
    """In dB, over the pixels [h, w] of pictures [3, h, w] in [0, 1]; at most BEST_PSNR."""
    error = (source - edited).square()[:, where].mean()
    return min(float(-10 * error.log10()), BEST_PSNR)


def structure_distance(judge: Judge, pair: torch.Tensor, where: torch.Tensor) -> float:
    """Mean squared difference of the two pictures' cosine similarities between all places of a 16 x 16 grid."""
    features = _features(judge, pair)
    places = F.interpolate(where[None, None].float(), features.shape[-2:], mode="area")[0, 0] > 0.5
    features = F.normalize(features[:, :, places], dim=1)
    source, edited = features.mT @ features
    return float((source - edited).square().mean())


def _features(judge: Judge, pictures: torch.Tensor) -> torch.Tensor:
    """[B, 96, 16, 16]: the judge's last layer before 8 x 8."""
    x = pictures * 2 - 1
    for layer in judge.features:
        before, x = x, layer(x)
        if x.shape[-1] < 16:
            return before
    raise AssertionError("the judge has no layer of 16 x 16")
