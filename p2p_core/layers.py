"""The attention layers of a model, and the choosing of some."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from .errors import EditError


@dataclass(frozen=True)
class Layer:
    """One attention layer.

    Attributes:
        block, number: as in ("input", 4), under the model's own names.
        index: which attention of its kind in that block, from 0.
        attends_to: what its keys are of: "text", "image", or both in one softmax.
        level: how often the latent has been halved here: 0 is full resolution.
        heads, head_dim: the attention's shape.
    """

    block: str
    number: int
    index: int
    attends_to: tuple[str, ...]
    level: int
    heads: int
    head_dim: int

    @property
    def name(self) -> str:
        return f"{self.block}:{self.number}"

    @property
    def kind(self) -> str:
        """What people call it: cross, self or joint attention."""
        return {("text",): "cross", ("image",): "self"}.get(self.attends_to, "joint")


def halved(height: int, width: int, level: int) -> tuple[int, int]:
    """A latent's height and width after `level` halvings, each rounded up as a model's convolutions and patches do."""
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
    """Some blocks of a model, from `first` to `last`; without numbers all of that name."""

    block: str
    first: int | None = None
    last: int | None = None

    def __str__(self) -> str:
        if self.first is None:
            return self.block
        return f"{self.block}:{self.first}" + (f"-{self.last}" if self.last != self.first else "")

    def holds(self, block: str, number: int) -> bool:
        return block == self.block and (self.first is None or self.first <= number <= self.last)


def parse_blocks(text: str, input_name: str = "blocks") -> tuple[BlockRange, ...]:
    """Read "input, middle, output:3-5"; empty text is an empty tuple. Which blocks there are only a model can tell.

    Raises:
        EditError: a part of another form; the message names `input_name`.
    """
    ranges = []
    for part in filter(None, (part.strip().lower() for part in re.split(r"[,\n]", text))):
        match = re.fullmatch(r"([a-z_]+)(?:\s*:\s*(\d+)(?:\s*-\s*(\d+))?)?", part)
        if not match:
            raise EditError(
                input_name,
                f"'{part}' is not a block.",
                "Write names of blocks, separated by commas, with or without numbers: 'middle', 'output:3' or "
                "'output:3-5'.",
            )
        first = int(match[2]) if match[2] else None
        last = int(match[3]) if match[3] else first
        if first is not None and first > last:
            raise EditError(input_name, f"'{part}' counts downwards.", f"Write '{match[1]}:{last}-{first}'.")
        ranges.append(BlockRange(match[1], first, last))
    return tuple(ranges)


def check_blocks(ranges: Sequence[BlockRange], layers: Sequence[Layer]) -> None:
    """Raise EditError where one of `ranges` holds no block of the model that has attention."""
    for some in ranges:
        if not any(some.holds(layer.block, layer.number) for layer in layers):
            names = ", ".join(blocks(layers))
            raise EditError(
                "blocks", f"this model has no attention layer in '{some}'.", f"Its blocks with attention: {names}."
            )


def blend_level(layers: Sequence[Layer], height: int, width: int) -> int:
    """The level whose maps of the words make blend masks.

    The paper takes the 16 x 16 maps of a 64 x 64 latent: a quarter of its resolution. Finer maps follow
    edges and noise more than things. In smaller latents a quarter may be too coarse to tell things
    apart, so the level is the coarsest down to a quarter with at least 8 x 8 places; if none has as
    many, the finest there is.
    """
    levels = sorted({layer.level for layer in layers if "text" in layer.attends_to})
    enough = [k for k in levels if k <= 2 and math.prod(halved(height, width, k)) >= 64]
    return max(enough, default=levels[0])
