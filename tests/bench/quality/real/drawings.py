"""Pictures of the demo world and their true edits: the same scene, with the words changed, drawn alike."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import numpy as np
import torch

from p2p_core.demo.scenes import Scene, arrange, draw

from ..cases import KINDS, Case, cases

SHAPES = ("subject", "object")  # what has other boxes once it is another


@dataclass(frozen=True)
class Drawing:
    """A picture and its true edit, [3, 128, 128] in [0, 1], and where both are the same, bool [128, 128]."""

    picture: torch.Tensor
    edit: torch.Tensor
    outside: torch.Tensor


def drawing(case: Case) -> Drawing:
    """Things, horizon, stars and houses are where they were, in the same size; a thing that is another has its own."""
    before = arrange(case.source, random.Random(case.name))
    after = replace(case.edit, subject_box=before.subject_box, object_box=before.object_box)
    if case.changed in SHAPES:
        after = arrange(case.edit, random.Random(case.name))
    picture, edit = (_drawn(scene, case.name) for scene in (before, after))
    return Drawing(picture, edit, (picture == edit).all(0))


def _drawn(scene: Scene, seed: str) -> torch.Tensor:
    pixels = np.array(draw(scene, random.Random(f"{seed} drawn")))
    return torch.from_numpy(pixels).movedim(-1, 0).float() / 255


def drawable(per_kind: int, first: int = 0) -> list[tuple[Case, ...]]:
    """`per_kind` edits of six kinds, those of a pair of captions together, a kind after another.

    Weights have no true edit, and of a place or a colour that is no longer named nobody knows what it should be.
    """
    of_kind: dict[str, list[tuple[Case, ...]]] = {}
    for case in cases(5 * per_kind, first):
        if case.scale is None and (case.kind != "remove phrase" or case.changed in ("adjective", "worn")):
            pairs = of_kind.setdefault(case.kind, [])
            if pairs and pairs[-1][0].seed == case.seed - 1:
                pairs[-1] += (case,)
            else:
                pairs.append((case,))
    assert set(of_kind) < set(KINDS)
    wanted = [pairs[: -(-per_kind // 2)] for pairs in of_kind.values()]
    return [pair for round_ in zip(*wanted, strict=True) for pair in round_]
