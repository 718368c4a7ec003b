"""The attention maps of chosen words, gathered as attention outputs of one-hot values.

`SDPA(q, k, v)` with `v` a one-hot column per token is the map's columns themselves, so the fused
kernel gives the maps of up to `head_dim` tokens in one call, and a map of all tokens is never built.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from .attention import Attend, Pair, edited_attention
from .errors import EditError
from .layers import Layer, halved, parse_blocks
from .tokens import Prompt


@dataclass(frozen=True)
class PromptMaps:
    """One prompt's maps.

    Attributes:
        positions: the tokens that have a map.
        blocks: for each block with maps its name, as "output:5", to float32 [batch, tokens, h, w] in
            [0, 1], averaged over steps, heads and the block's layers.
        layers: for each block how many layers were averaged.
    """

    prompt: Prompt
    positions: tuple[int, ...]
    blocks: dict[str, torch.Tensor] = field(repr=False)
    layers: dict[str, int]

    def of(self, positions: Sequence[int], blocks: str = "") -> torch.Tensor:
        """The map of some tokens together, [batch, h, w], at the finest of the blocks' resolutions.

        `blocks` as in InjectSchedule.blocks; empty is all.

        Raises:
            EditError: no map of these tokens or blocks was kept.
        """
        ranges = parse_blocks(blocks, "layers")
        chosen = [n for n in self.blocks if not ranges or any(r.holds(*_block(n)) for r in ranges)]
        if not chosen or any(not any(r.holds(*_block(n)) for n in chosen) for r in ranges):
            raise EditError(f"layers: no maps of '{blocks}' were kept. There are: {', '.join(self.blocks) or 'none'}.")
        columns = [self.positions.index(i) for i in positions]
        size = max((self.blocks[name].shape[-2:] for name in chosen), key=lambda hw: hw[0] * hw[1])
        total = sum(
            F.interpolate(self.blocks[n][:, columns].sum(1, keepdim=True), size, mode="bilinear") * self.layers[n]
            for n in chosen
        )
        return total[:, 0] / sum(self.layers[name] for name in chosen)


@dataclass(frozen=True)
class AttentionMaps:
    """The maps of a run: of the source prompt and of each edit prompt. `size` is the latent's."""

    source: PromptMaps
    edits: tuple[PromptMaps, ...]
    size: tuple[int, int]


def _block(name: str) -> tuple[str, int]:
    block, number = name.split(":")
    return block, int(number)


def grid(queries: int, height: int, width: int) -> tuple[int, int]:
    """Rows and columns of a layer's queries: the latent's, halved as often as it takes.

    Raises:
        EditError: no halving gives as many.
    """
    for level in range(8):
        size = halved(height, width, level)
        if math.prod(size) == queries:
            return size
    raise EditError(
        f"Attention maps can't be laid out: a layer has {queries} places for a latent of {height} x {width}. "
        "Another node resizes the picture inside the model (Deep Shrink does); take it out, or use no words "
        "in AttentionLocalBlend and no P2PAttentionMaps."
    )


def word_maps(
    q: torch.Tensor,
    k: torch.Tensor,
    tokens: Sequence[tuple[slice, int, Sequence[int]]],
    pairs: Sequence[Pair],
    heads: int,
    attend: Attend,
) -> torch.Tensor:
    """The maps of some tokens of each row, edited as the attention itself is.

    Args:
        q: [rows, n, c]; k: [rows, m, c].
        tokens: (rows, length of their prompt, positions in it). A prompt tiled to m keys has the sum
            over its copies.
        pairs: as for `edited_attention`.

    Returns:
        float32 [rows, n, most positions], averaged over heads; zero where a row has fewer.
    """
    head_dim = q.shape[-1] // heads
    columns = max((len(positions) for _, _, positions in tokens), default=0)
    parts = []
    for first in range(0, columns, head_dim):
        values = q.new_zeros(len(q), k.shape[1], head_dim)
        for rows, length, positions in tokens:
            for column, position in enumerate(positions[first : first + head_dim]):
                values[rows, position::length, column] = 1
        out = edited_attention(q, k, values.repeat(1, 1, heads), pairs, attend)
        part = out.unflatten(-1, (heads, head_dim)).float().mean(2)
        parts.append(part[..., : columns - first])
    return torch.cat(parts, -1)


class MapRecorder:
    """Sums the maps of a run as its layers hand them in. Chunks may do so from several threads.

    Args:
        wanted: for each prompt row the tokens whose maps are kept.
    """

    def __init__(self, wanted: Sequence[tuple[int, ...]], batch: int):
        self.wanted = tuple(wanted)
        self._batch = batch
        self._sums: dict[str, torch.Tensor] = {}
        self._counts: dict[str, int] = {}
        self._layers: dict[str, set[Layer]] = {}
        self._lock = threading.Lock()

    def add(self, layer: Layer, maps: torch.Tensor, size: tuple[int, int]) -> None:
        """`maps` [rows, queries, tokens] of one evaluation of a layer, for a latent of `size`."""
        rows, columns = grid(maps.shape[1], *size)
        maps = maps.movedim(1, 2).unflatten(-1, (rows, columns))
        with self._lock:
            kept = self._sums.get(layer.name)
            self._sums[layer.name] = maps if kept is None else kept + maps.to(kept.device)
            self._counts[layer.name] = self._counts.get(layer.name, 0) + 1
            self._layers.setdefault(layer.name, set()).add(layer)

    def total(self, prompt: int, positions: Sequence[int], names: Sequence[str]) -> torch.Tensor | None:
        """The summed maps [batch, h, w] of some tokens over the blocks `names` of one resolution."""
        columns = [self.wanted[prompt].index(i) for i in positions]
        rows = slice(prompt * self._batch, (prompt + 1) * self._batch)
        sums = [self._sums[name][rows, columns].sum(1) for name in names if name in self._sums]
        return sum(s.to(sums[0].device) for s in sums) if sums else None

    def of(self, prompt: Prompt, row: int, positions: Sequence[int]) -> PromptMaps:
        """What was kept of one prompt, averaged."""
        columns = [self.wanted[row].index(i) for i in positions]
        rows = slice(row * self._batch, (row + 1) * self._batch)
        return PromptMaps(
            prompt,
            tuple(positions),
            {name: (s[rows, columns] / self._counts[name]).cpu() for name, s in self._sums.items()},
            {name: len(layers) for name, layers in self._layers.items()},
        )
