"""What the engine has to know of a model, asked once by the host that has loaded it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .layers import Layer, blend_level
from .schedule import JOINT, InjectSchedule
from .tokens import Around, Prompt


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
    """

    name: str
    layers: tuple[Layer, ...]
    pixels: int
    prompt_length: int
    blend_blocks: tuple[str, ...] = ()

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
