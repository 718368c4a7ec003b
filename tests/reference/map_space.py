"""Every edit of DESIGN's table done to the attention maps themselves, in float64.

Shapes as in the engine: q [rows, n, c], k and v [rows, m, c], c = heads * head_dim. A map is
[rows, heads, n, m], each of its rows a softmax. A prompt of t tokens whose keys are tiled has c * t
keys; its map over the prompt's own tokens is `folded`.
"""

from __future__ import annotations

import torch


def attention_map(q: torch.Tensor, k: torch.Tensor, heads: int) -> torch.Tensor:
    q, k = (x.double().unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k))
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)


def applied(maps: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """map @ v of every head: [rows, n, c]."""
    return (maps @ v.double().unflatten(-1, (maps.shape[1], -1)).transpose(1, 2)).transpose(1, 2).flatten(-2)


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int) -> torch.Tensor:
    return applied(attention_map(q, k, heads), v)


def folded(maps: torch.Tensor, tokens: int) -> torch.Tensor:
    """The map over a prompt's own tokens: what its tiled copies got, together."""
    return maps.unflatten(-1, (-1, tokens)).sum(-2)


def swapped(source: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    """Word swap: P_s A."""
    return source @ a


def refined(source: torch.Tensor, own: torch.Tensor, a: torch.Tensor, strengths: torch.Tensor) -> torch.Tensor:
    """Refinement: each token has its own share of the source's map and the rest of its own."""
    return swapped(source, a) * strengths + own * (1 - strengths)


def reweighted(maps: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """A token's map times its weight; nothing is renormalised."""
    return maps * weights


def self_attention(
    q: tuple[torch.Tensor, torch.Tensor],
    k: tuple[torch.Tensor, torch.Tensor],
    v: tuple[torch.Tensor, torch.Tensor],
    heads: int,
    mode: str,
    strength: float,
) -> torch.Tensor:
    """The edit's output with self-attention injected; q, k and v are (source's, edit's)."""
    source, own = attention_map(q[0], k[0], heads), attention_map(q[1], k[1], heads)
    injected = {
        "map": lambda: applied(source, v[1]),
        "key_value": lambda: applied(attention_map(q[1], k[0], heads), v[0]),
        "output": lambda: applied(source, v[0]),
    }[mode]()
    return strength * injected + (1 - strength) * applied(own, v[1])


def word_map(maps: torch.Tensor, positions: list[int]) -> torch.Tensor:
    """Columns of a folded map, averaged over heads: [rows, n, words]."""
    return maps[..., positions].mean(1)
