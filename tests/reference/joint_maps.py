"""Joint attention edited on its maps, in float64: one softmax over the keys of the text and those of the image.

Shapes as in map_space, for one row of the source and one of the edit: q [n, c], k and v [m, c].
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Row:
    """One row of a call; `hidden` says which of its keys are masked, bool [m]."""

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    hidden: torch.Tensor


def attention_map(q: torch.Tensor, k: torch.Tensor, hidden: torch.Tensor, heads: int) -> torch.Tensor:
    """[heads, n, m]."""
    q, k = (x.unflatten(-1, (heads, -1)).transpose(0, 1) for x in (q, k))
    logits = q @ k.mT / q.shape[-1] ** 0.5
    return logits.masked_fill(hidden, float("-inf")).softmax(-1)


def applied(maps: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return (maps @ v.unflatten(-1, (len(maps), -1)).transpose(0, 1)).transpose(0, 1).flatten(-2)


def plain(row: Row, heads: int) -> torch.Tensor:
    return applied(attention_map(row.q, row.k, row.hidden, heads), row.v)


def edited_maps(
    source: Row, edit: Row, heads: int, text: slice, image: slice, a: torch.Tensor, share: torch.Tensor, strength: float
) -> torch.Tensor:
    """The picture's maps of the edit, [heads, n, m]: words by the alignment `a`, places by the factor `strength`."""
    of_source = attention_map(source.q[image], source.k, source.hidden, heads)
    maps = attention_map(edit.q[image], edit.k, edit.hidden, heads)
    of_image = torch.ones(maps.shape[-1], dtype=torch.bool)
    of_image[text] = False
    maps[..., of_image] = strength * of_source[..., of_image] + (1 - strength) * maps[..., of_image]
    maps[..., text] = of_source[..., text] @ a * share + maps[..., text] * (1 - share)
    return maps


def beside(source: Row, edit: Row, text: slice, of: str) -> torch.Tensor:
    """Keys or values: the source's, but the edit's own words."""
    mixed = getattr(source, of).clone()
    mixed[text] = getattr(edit, of)[text]
    return mixed


def edited(
    source: Row,
    edit: Row,
    heads: int,
    text: slice,
    image: slice,
    a: torch.Tensor,
    share: torch.Tensor,
    weights: torch.Tensor,
    strength: float,
    mode: str,
) -> torch.Tensor:
    """The edit's output [n, c]; queries that are not the picture's keep their own."""
    out = plain(edit, heads)
    weigh = torch.ones(len(edit.k), 1, dtype=torch.float64)
    weigh[text, 0] = weights
    if mode == "map" or not strength:
        maps = edited_maps(source, edit, heads, text, image, a, share, strength)
        out[image] = applied(maps, edit.v * weigh)
        return out
    hidden = beside(source, edit, text, "hidden")
    if mode == "layout":
        maps = attention_map(source.q[image], beside(source, edit, text, "k"), hidden, heads)
        injected = applied(maps, edit.v * weigh)
    elif mode == "key_value":
        maps = attention_map(edit.q[image], beside(source, edit, text, "k"), hidden, heads)
        injected = applied(maps, beside(source, edit, text, "v") * weigh)
    else:
        injected = applied(attention_map(source.q[image], source.k, source.hidden, heads), source.v)
    own = applied(attention_map(edit.q[image], edit.k, edit.hidden, heads), edit.v * weigh)
    out[image] = strength * injected + (1 - strength) * own
    return out
