"""The attention maps of chosen words, gathered as attention outputs of one-hot values.

`SDPA(q, k, v)` with `v` a one-hot column per token is the map's columns themselves, so the fused
kernel gives the maps of up to `head_dim` tokens in one call, and a map of all tokens is never built.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F

from .architecture import Architecture
from .attention import Attend, Call, Pair, edited_attention
from .edit import Edit
from .errors import EditError
from .layers import Layer, halved, parse_blocks
from .rows import Rows
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
            raise EditError(
                "layers", f"no maps of '{blocks}' were kept.", f"Blocks with maps: {', '.join(self.blocks) or 'none'}."
            )
        columns = [self.positions.index(i) for i in positions]
        size = max((self.blocks[name].shape[-2:] for name in chosen), key=lambda hw: hw[0] * hw[1])
        total = sum(
            F.interpolate(self.blocks[n][:, columns].sum(1, keepdim=True), size, mode="bilinear") * self.layers[n]
            for n in chosen
        )
        return total[:, 0] / sum(self.layers[name] for name in chosen)


@dataclass(frozen=True)
class AttentionMaps:
    """The maps of a run.

    Attributes:
        source, variants: of the source prompt, and of each edited one.
        size: the picture's height and width in pixels.
    """

    source: PromptMaps
    variants: tuple[PromptMaps, ...]
    size: tuple[int, int]

    @property
    def batch(self) -> int:
        """How many pictures of each prompt there are."""
        return next((len(of_block) for of_block in self.source.blocks.values()), 1)


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
        "model",
        f"its attention maps can't be laid out: a layer has {queries} positions for a latent of {height} x {width}. "
        "Something resizes the picture inside the model, as Deep Shrink does.",
        "Take it out, or do without attention maps: keep none, and use a mask instead of words in a local blend.",
    )


def word_maps(
    call: Call, tokens: Sequence[tuple[slice, int, Sequence[int]]], pairs: Sequence[Pair], attend: Attend
) -> torch.Tensor:
    """The maps of some tokens of each row, edited as the attention itself is.

    Args:
        call: of the picture's queries alone; its values are not looked at.
        tokens: (rows, length of their prompt, positions in it). A prompt tiled to more keys has the sum
            over its copies.
        pairs: as for `edited_attention`.

    Returns:
        float32 [rows, queries of the picture, most positions], averaged over heads; zero where a row has fewer.
    """
    heads, head_dim = call.layer.heads, call.layer.head_dim
    text, columns = call.text_keys, max((len(positions) for _, _, positions in tokens), default=0)
    attend = without_empty_channels(attend)
    parts = []
    for first in range(0, columns, head_dim):
        values = call.k.new_zeros(*call.k.shape[:2], head_dim)
        for rows, length, positions in tokens:
            for column, position in enumerate(positions[first : first + head_dim]):
                values[rows, text.start + position : text.stop : length, column] = 1
        repeated = values.repeat(1, 1, call.k.shape[-1] // head_dim)
        out = edited_attention(replace(call, v=repeated), pairs, attend)
        part = out.unflatten(-1, (heads, head_dim)).float().mean(2)
        parts.append(part[..., : columns - first])
    return torch.cat(parts, -1)


def without_empty_channels(attend: Attend) -> Attend:
    """The same attention, in which no channel of the values is all zero.

    A kernel that scales each channel of the values to its largest, as those in eight bits do, divides by it. Of such a
    channel the attention is zero, whatever the map.
    """

    def attend_to_something(q, k, v, mask=None):
        empty = (v == 0).all(1, keepdim=True)
        more = q.shape[-1] // k.shape[-1]  # heads of queries than of keys; each has the same channels
        return attend(q, k, v.masked_fill(empty, 1), mask).masked_fill(empty.repeat(1, 1, more), 0)

    return attend_to_something


class MapRecorder:
    """Sums the maps of a run as its layers hand them in. Evaluations may do so from several threads.

    Args:
        keep: whether the maps of all words are kept, of all layers, or only what a blend needs.
        size: the latent's height and width.
    """

    def __init__(self, edit: Edit, rows: Rows, architecture: Architecture, size: tuple[int, int], keep: bool = False):
        self.rows, self._size, self._keep = rows, size, keep
        self._pixels = architecture.pixels
        self._prompts = [edit.source] * rows.first + [variant.prompt for variant in edit.variants]
        blend_layers = architecture.blend_layers(*size)
        self._blend_blocks = tuple(dict.fromkeys(layer.name for layer in blend_layers))
        self._layers = (
            {layer for layer in architecture.layers if "text" in layer.attends_to} if keep else {*blend_layers}
        )
        self._wanted = self._wanted_tokens(edit)
        self._sums: dict[str, torch.Tensor] = {}
        self._counts: dict[str, int] = {}
        self._seen: dict[str, set[Layer]] = {}
        self._kernel = ""
        self._lock = threading.Lock()

    def go_on_from(self, earlier: MapRecorder) -> None:
        """Begin with the sums of an earlier part of the same sampling, where it has gathered the same maps."""
        mine, theirs = ((r.rows, r._size, r._wanted, r._layers) for r in (self, earlier))
        if mine == theirs:
            self._sums, self._counts = dict(earlier._sums), dict(earlier._counts)
            self._seen = {name: set(layers) for name, layers in earlier._seen.items()}

    def wants(self, layer: Layer) -> bool:
        return layer in self._layers and any(self._wanted)

    def record(self, call: Call, pairs: Sequence[Pair], attend: Attend) -> None:
        """Add the maps of one evaluation of a layer: `call` has the rows of `rows` and the picture's queries alone."""
        tokens = [
            (self.rows.of(place), len(prompt), positions)
            for place, (prompt, positions) in enumerate(zip(self._prompts, self._wanted))
        ]
        self._kernel = getattr(attend, "__name__", "")
        self.add(call.layer, word_maps(call, tokens, pairs, attend))

    def add(self, layer: Layer, maps: torch.Tensor) -> None:
        """`maps` [rows, queries, tokens] of one evaluation of a layer."""
        rows, columns = grid(maps.shape[1], *self._size)
        maps = maps.movedim(1, 2).unflatten(-1, (rows, columns))
        with self._lock:
            kept = self._sums.get(layer.name)
            self._sums[layer.name] = maps if kept is None else kept + maps.to(kept.device)
            self._counts[layer.name] = self._counts.get(layer.name, 0) + 1
            self._seen.setdefault(layer.name, set()).add(layer)

    def blend_map(self, place: int, positions: Sequence[int]) -> torch.Tensor | None:
        """The summed maps [batch, h, w] of some tokens of a prompt, over the layers that make blend masks.

        Raises:
            EditError: they are not numbers.
        """
        columns = [self._wanted[place].index(i) for i in positions]
        rows = self.rows.of(place)
        sums = [self._sums[name][rows, columns].sum(1) for name in self._blend_blocks if name in self._sums]
        return self._finite(sum(s.to(sums[0].device) for s in sums)) if sums else None

    def _finite(self, maps: torch.Tensor) -> torch.Tensor:
        # Looked at where maps are used, not where they are made: to look is to wait for the device.
        if not torch.isfinite(maps).all():
            raise EditError(
                "model",
                f"the attention kernel{f' {self._kernel}' if self._kernel else ''} gave maps of words that are not "
                "numbers.",
                "Choose another kernel, such as PyTorch's own, or use no words in a local blend and keep no maps.",
            )
        return maps

    def maps(self) -> AttentionMaps | None:
        """The maps of all words, if they were to be kept.

        Raises:
            EditError: they are not numbers.
        """
        if not self._keep:
            return None
        source, *edits = (self._of(place) for place in (0, *range(self.rows.first, self.rows.prompts)))
        return AttentionMaps(source, tuple(edits), tuple(self._pixels * side for side in self._size))

    def _of(self, place: int) -> PromptMaps:
        prompt = self._prompts[place]
        columns = [self._wanted[place].index(i) for i in _written(prompt)]
        rows = self.rows.of(place)
        return PromptMaps(
            prompt,
            _written(prompt),
            {name: self._finite(s[rows, columns] / self._counts[name]).cpu() for name, s in self._sums.items()},
            {name: len(layers) for name, layers in self._seen.items()},
        )

    def _wanted_tokens(self, edit: Edit) -> list[tuple[int, ...]]:
        """For each prompt the tokens whose maps are kept."""
        wanted: list[set[int]] = [set() for _ in self._prompts]
        if self._keep:
            wanted[0].update(_written(edit.source))
        for i, variant in enumerate(edit.variants):
            source, edited = wanted[self.rows.partner_of(i)], wanted[self.rows.place_of(i)]
            if self._keep:
                edited.update(_written(variant.prompt))
            if variant.blend is not None and variant.blend.has_words:
                source.update(variant.blend.source_positions, variant.blend.source_subtract)
                edited.update(variant.blend.edit_positions, variant.blend.edit_subtract)
        return [tuple(sorted(positions)) for positions in wanted]


def _written(prompt: Prompt) -> tuple[int, ...]:
    """All positions but padding."""
    return tuple(i for i, token in enumerate(prompt.tokens) if token.kind not in ("pad", "none"))
