"""The attention layers of a UNet, and the choosing of some."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .errors import EditError


@dataclass(frozen=True)
class Layer:
    """One attention layer, named as ComfyUI names its blocks.

    Attributes:
        block, number: as in ("input", 4); of the UNet's input, middle and output blocks.
        index: which transformer of that block, from 0.
        kind: "self" or "cross".
        level: how often the latent has been halved here: 0 is full resolution.
        heads, head_dim: the attention's shape.
    """

    block: Literal["input", "middle", "output"]
    number: int
    index: int
    kind: Literal["self", "cross"]
    level: int
    heads: int
    head_dim: int

    @property
    def name(self) -> str:
        return f"{self.block}:{self.number}"


def halved(height: int, width: int, level: int) -> tuple[int, int]:
    """A latent's height and width after `level` halvings, each rounded up as the UNet's convolutions do."""
    return -(-height // 2**level), -(-width // 2**level)


def blocks(layers: Sequence[Layer]) -> dict[str, list[Layer]]:
    """The layers of each block, in order, by names such as "output:5"."""
    found: dict[str, list[Layer]] = {}
    for layer in layers:
        found.setdefault(layer.name, []).append(layer)
    return found


def grid_name(layer: Layer, height: int, width: int) -> str:
    rows, columns = halved(height, width, layer.level)
    return f"{columns}x{rows}"


@dataclass(frozen=True)
class BlockRange:
    block: str
    first: int | None = None
    last: int | None = None

    def holds(self, block: str, number: int) -> bool:
        return block == self.block and (self.first is None or self.first <= number <= self.last)


def parse_blocks(text: str, input_name: str = "blocks") -> tuple[BlockRange, ...]:
    """Read "input, middle, output:3-5"; empty text is an empty tuple. Messages name `input_name`.

    Raises:
        EditError: a part of another form.
    """
    ranges = []
    for part in filter(None, (part.strip().lower() for part in re.split(r"[,\n]", text))):
        match = re.fullmatch(r"(input|middle|output)(?:\s*:\s*(\d+)(?:\s*-\s*(\d+))?)?", part)
        if not match:
            raise EditError(
                f"{input_name}: '{part}' is no block. Write input, middle, output, or with numbers: "
                "'output:3' or 'output:3-5', separated by commas."
            )
        first = int(match[2]) if match[2] else None
        last = int(match[3]) if match[3] else first
        if first is not None and first > last:
            raise EditError(f"{input_name}: '{part}' counts downwards; write '{match[1]}:{last}-{first}'.")
        ranges.append(BlockRange(match[1], first, last))
    return tuple(ranges)


def check_blocks(text: str, layers: list[Layer]) -> None:
    """Raise EditError where a part of `text` names no block of the model that has attention."""
    for part, block in zip(filter(None, (p.strip() for p in re.split(r"[,\n]", text))), parse_blocks(text)):
        if not any(block.holds(layer.block, layer.number) for layer in layers):
            names = ", ".join(dict.fromkeys(layer.name for layer in layers))
            raise EditError(f"blocks: '{part}' has no attention layer in this model. It has: {names}.")


def blend_level(layers: list[Layer], height: int, width: int) -> int:
    """The level whose cross-attention maps make blend masks.

    The paper takes the 16 x 16 maps of a 64 x 64 latent: a quarter of its resolution. Finer maps follow
    edges and noise more than things. In smaller latents a quarter may be too coarse to tell things
    apart, so the level is the coarsest down to a quarter with at least 8 x 8 places; if none has as
    many, the finest there is.
    """
    levels = sorted({layer.level for layer in layers if layer.kind == "cross"})
    enough = [k for k in levels if k <= 2 and math.prod(halved(height, width, k)) >= 64]
    return max(enough, default=levels[0])
