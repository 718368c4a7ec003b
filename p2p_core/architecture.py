"""What the engine has to know of a model, asked once by the host that has loaded it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from .layers import Layer, blend_level, blocks
from .schedule import JOINT, InjectSchedule
from .tokens import Around, Prompt

# Of a model with so many blocks of each name, and in them a second attention of the picture alone or not, those whose
# maps tell things apart best: five by Shin et al. 2025, and of the demo's transformer, the last, one by measure.
_BLEND_BLOCKS = {
    ("SD 3.x", (24,), False): ("joint", 4, 5, 7, 8, 9),
    ("SD 3.x", (24,), True): ("joint", 5, 7, 8, 9, 10),
    ("SD 3.x", (38,), False): ("joint", 16, 18, 20, 21, 24),
    ("Flux.1", (19, 38), False): ("double", 11, 12, 14, 17, 18),
    ("Flux.1", (2, 6), False): ("single", 4),
}


def joint_blend_blocks(name: str, layers: Sequence[Layer], second: bool = False) -> tuple[str, ...]:
    """The names of the blocks whose maps make a transformer's blend masks: the best known, else the middle third.

    Args:
        name: what people call the model.
        second: whether its blocks have another attention of the picture alone.
    """
    found = blocks(layers)
    depths = tuple(Counter(name.split(":")[0] for name in found).values())
    if (name, depths, second) in _BLEND_BLOCKS:
        block, *numbers = _BLEND_BLOCKS[name, depths, second]
        return tuple(f"{block}:{number}" for number in numbers)
    third = len(found) // 3
    return tuple(found)[third : len(found) - third]


@dataclass(frozen=True)
class Architecture:
    """A model's attention and its measures.

    Attributes:
        name: what people call the model.
        layers: its attention layers in the order in which it runs them.
        pixels: pixels of the picture per position of the latent, to each side.
        prompt_length: positions of an ordinary prompt, for reports.
        blend_blocks: names of the blocks whose maps make blend masks, where they are known; empty chooses
            by resolution.
        reads_pictures: whether its text encoder may have read pictures before a prompt's words, in their order.
    """

    name: str
    layers: tuple[Layer, ...]
    pixels: int
    prompt_length: int
    blend_blocks: tuple[str, ...] = ()
    reads_pictures: bool = False

    @property
    def schedule(self) -> InjectSchedule:
        """That of edits that have none of their own."""
        return JOINT if any(layer.kind == "joint" for layer in self.layers) else InjectSchedule()

    def around(self, prompts: Sequence[Prompt]) -> list[Around]:
        """What each of some prompts has around it where the model attends to them together."""
        return [Around()] * len(prompts)

    def blend_layers(self, height: int, width: int) -> Sequence[Layer]:
        """The layers whose maps of the words make the blend masks of a latent of this size."""
        reads = [layer for layer in self.layers if "text" in layer.attends_to]
        if self.blend_blocks:
            return [layer for layer in reads if layer.name in self.blend_blocks]
        level = blend_level(reads, height, width)
        return [layer for layer in reads if layer.level == level]
