"""How source and edits lie in one batch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

TRAJECTORIES = ("dual", "shared")


@dataclass(frozen=True)
class Rows:
    """The rows of a batch of `batch` images with `edits` edits each, prompt after prompt.

    dual: [source, edit 1, ..., edit n]; every edit takes its maps from the source (the paper).
    shared: [source, companion 1, ..., companion n, edit 1, ..., edit n]; a companion has the source's
    prompt and its edit's latent, and the edit takes its maps from there (CrossAttentionControl).
    Its prediction is replaced by its edit's, so with shared noise the two latents stay one.
    """

    edits: int
    batch: int = 1
    trajectory: str = "dual"

    @cached_property
    def sources(self) -> tuple[int, ...]:
        """For each edit the prompt whose maps it takes."""
        return tuple(range(1, 1 + self.edits)) if self.trajectory == "shared" else (0,) * self.edits

    @cached_property
    def edited(self) -> tuple[int, ...]:
        """For each edit its own prompt."""
        first = 1 + self.edits if self.trajectory == "shared" else 1
        return tuple(range(first, first + self.edits))

    @property
    def prompts(self) -> int:
        return self.edited[-1] + 1

    def __len__(self) -> int:
        return self.prompts * self.batch

    def of(self, prompt: int, base: int = 0) -> slice:
        """The rows of one prompt, in a batch whose rows of this run begin at `base`."""
        return slice(base + prompt * self.batch, base + (prompt + 1) * self.batch)

    def tile(self, images: torch.Tensor) -> torch.Tensor:
        """[batch, ...] -> [rows, ...]: the same for every prompt."""
        return images.repeat(self.prompts, *[1] * (images.ndim - 1))

    def spread(self, source: torch.Tensor, edited: torch.Tensor) -> torch.Tensor:
        """[1, ...] and [edits, ...] -> [rows, ...]: each prompt's for every image of the batch."""
        companions = source.expand(self.edits if self.trajectory == "shared" else 0, *source.shape[1:])
        return torch.cat([source, companions, edited]).repeat_interleave(self.batch, dim=0)

    def visible(self, rows: torch.Tensor) -> torch.Tensor:
        """Without companions: [source, edit 1, ..., edit n], `batch` rows each."""
        return torch.cat([rows[self.of(0)], *(rows[self.of(prompt)] for prompt in self.edited)])
