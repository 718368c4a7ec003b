"""What attention layers a model has, as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..architecture import Architecture
from ..errors import EditError
from ..layers import Layer, blocks, grid_name, halved
from ..schedule import SELF_LAYERS, InjectSchedule

KINDS = ("self", "cross", "joint")


@dataclass(frozen=True)
class _Sizes:
    """The sizes of a model's maps for a latent of `height` x `width`."""

    height: int
    width: int
    prompt_length: int

    def grid(self, layer: Layer) -> str:
        return grid_name(layer, self.height, self.width)

    def of_map(self, layer: Layer) -> tuple[int, int]:
        """Queries of the picture, and keys."""
        queries = math.prod(halved(self.height, self.width, layer.level))
        keys = {"image": queries, "text": self.prompt_length}
        return queries, sum(keys[part] for part in layer.attends_to)

    def memory(self, layer: Layer) -> int:
        """Bytes of the layer's maps in half precision."""
        return 2 * layer.heads * math.prod(self.of_map(layer))


def model_report(architecture: Architecture, name: str, height: int, width: int) -> str:
    """A line for each attention layer in the order in which the model runs them, and what it means for an edit.

    Args:
        name: of the model.
        height, width: of the latent.
    """
    layers, pixels = architecture.layers, architecture.pixels
    sizes = _Sizes(height, width, architecture.prompt_length)
    lines = [
        "     block      index  kind        grid  queries   keys  heads size        map",
        *(_line(number, layer, sizes) for number, layer in enumerate(layers, start=1)),
        "",
        f"{name}, {pixels * width} x {pixels * height} pixels: {describe_kinds(layers)} layers in "
        f"{len(blocks(layers))} blocks.",
        f"Keeping all their maps in half precision would take {_memory(sum(map(sizes.memory, layers)))} "
        "per picture and step. This pack makes none of them.",
    ]
    for setting in SELF_LAYERS:
        try:
            schedule = InjectSchedule(self_layers=setting).on(layers)
        except EditError:  # the model's layers are not told apart by it
            continue
        reached = [layer for layer in layers if schedule.injects(layer, "image")]
        grids = " ".join(dict.fromkeys(map(sizes.grid, reached))) or "none"
        lines.append(f"self_layers {setting}: {describe_kinds(reached, 'self')} layers, grids {grids}.")
    makers = architecture.blend_layers(height, width)
    grid = " x ".join(sizes.grid(makers[0]).split("x"))
    names = ", ".join(dict.fromkeys(layer.name for layer in makers))
    where = f"of {names}" if architecture.blend_blocks else f"at {grid}"
    lines.append(f"The masks of a local blend come from the {makers[0].kind}-attention {where}.")
    return "\n".join(lines)


def describe_kinds(layers: Sequence[Layer], default: str = "cross") -> str:
    """How many layers of each kind, as "16 self-attention and 16 cross-attention"."""
    kinds = [layer.kind for layer in layers]
    return " and ".join(f"{kinds.count(k)} {k}-attention" for k in KINDS if k in kinds) or f"0 {default}-attention"


def _line(number: int, layer: Layer, sizes: _Sizes) -> str:
    queries, keys = sizes.of_map(layer)
    return (
        f"{number:>4} {layer.name:<10} {layer.index:>5}  {layer.kind:<6} {sizes.grid(layer):>9} "
        f"{queries:>8} {keys:>6} {layer.heads:>6} {layer.head_dim:>4} {_memory(sizes.memory(layer)):>10}"
    )


def _memory(size: int) -> str:
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size / 2**10:.1f} KiB"
