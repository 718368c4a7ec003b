"""What attention layers a model has, as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..layers import Layer, blend_level, blocks, grid_name, halved
from ..schedule import SELF_LAYERS

PIXELS = 8  # a latent's place is as many pixels wide
PROMPT_TOKENS = 77


def model_report(layers: Sequence[Layer], name: str, height: int, width: int) -> str:
    """A line for each attention layer in the order in which the model runs them, and what it means for an edit.

    Args:
        name: of the model.
        height, width: of the latent.
    """
    total = sum(_map_size(layer, height, width) for layer in layers)
    lines = [
        "     block      index  kind        grid  queries   keys  heads size        map",
        *(_line(number, layer, height, width) for number, layer in enumerate(layers, start=1)),
        "",
        f"{name}, {PIXELS * width} x {PIXELS * height} pixels: {_count(layers, 'self')} self-attention and "
        f"{_count(layers, 'cross')} cross-attention layers in {len(blocks(layers))} blocks.",
        f"Their maps, all kept in half precision, would be {_memory(total)} "
        "a picture and step. This pack makes none of them.",
    ]
    for setting, level in SELF_LAYERS.items():
        reached = [layer for layer in layers if layer.kind == "self" and layer.level >= level]
        grids = " ".join(dict.fromkeys(grid_name(layer, height, width) for layer in reached)) or "none"
        lines.append(f"self_layers {setting}: {len(reached)} self-attention layers, grids {grids}.")
    level = blend_level(list(layers), height, width)
    rows, columns = halved(height, width, level)
    lines.append(f"AttentionLocalBlend's masks come from the cross-attention at {columns} x {rows}.")
    return "\n".join(lines)


def _line(number: int, layer: Layer, height: int, width: int) -> str:
    queries, keys = _shape(layer, height, width)
    return (
        f"{number:>4} {layer.name:<10} {layer.index:>5}  {layer.kind:<6} {grid_name(layer, height, width):>9} "
        f"{queries:>8} {keys:>6} {layer.heads:>6} {layer.head_dim:>4} {_memory(_map_size(layer, height, width)):>10}"
    )


def _shape(layer: Layer, height: int, width: int) -> tuple[int, int]:
    queries = math.prod(halved(height, width, layer.level))
    return queries, queries if layer.kind == "self" else PROMPT_TOKENS


def _map_size(layer: Layer, height: int, width: int) -> int:
    return 2 * layer.heads * math.prod(_shape(layer, height, width))


def _memory(size: int) -> str:
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size / 2**10:.1f} KiB"


def _count(layers: Sequence[Layer], kind: str) -> int:
    return sum(layer.kind == kind for layer in layers)
