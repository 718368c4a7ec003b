"""How source and edits lie in one batch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

TRAJECTORIES = ("dual", "shared")


@dataclass(frozen=True)
class Evaluation:
    """The rows of an attention call that are one evaluation of the whole run: they begin at `base`.

    `shares_prompt`: source and edits have one encoding here, in which the words of the prompts mean nothing.
    `number`: which conditioning is evaluated, where a prompt has several.
    """

    base: int = 0
    shares_prompt: bool = False
    number: int = 0


@dataclass(frozen=True)
class Rows:
    """The rows of a batch of `batch` images with `edits` edits each, prompt after prompt.

    dual: [source, edit 1, ..., edit n]; every edit takes its maps from the source (the paper).
    shared: [source, companion 1, ..., companion n, edit 1, ..., edit n]; a companion has the source's
    prompt and its edit's latent, and the edit takes its maps from there (CrossAttentionControl).
    Its prediction is replaced by its edit's, so with shared noise the two latents stay one.
    With a recorded source there is no row of it: [edit 1, ..., edit n].
    """

    edits: int
    batch: int = 1
    trajectory: str = "dual"
    recorded: bool = False

    @property
    def source(self) -> int | None:
        """The source's place among the prompts."""
        return None if self.recorded else 0

    @cached_property
    def first(self) -> int:
        """The first edit's place among the prompts."""
        return (0 if self.recorded else 1) + (self.edits if self.trajectory == "shared" else 0)

    @property
    def prompts(self) -> int:
        return self.first + self.edits

    def __len__(self) -> int:
        return self.prompts * self.batch

    def place_of(self, edit: int) -> int:
        """An edit's place among the prompts."""
        return self.first + edit

    def partner_of(self, edit: int) -> int | None:
        """The place of the prompt whose maps an edit takes: its companion's or the source's."""
        return 1 + edit if self.trajectory == "shared" else self.source

    def of(self, place: int, base: int = 0) -> slice:
        """The rows of one prompt, in a batch whose rows of this run begin at `base`."""
        return slice(base + place * self.batch, base + (place + 1) * self.batch)

    def tile(self, images: torch.Tensor) -> torch.Tensor:
        """[batch, ...] -> [rows, ...]: the same for every prompt."""
        return images.repeat(self.prompts, *[1] * (images.ndim - 1))

    def spread(self, source: torch.Tensor, *edited: torch.Tensor) -> torch.Tensor:
        """[1, ...] and, if there are edits, [edits, ...] -> [rows, ...]: each prompt's for every image of the batch."""
        companions = source.expand(self.first, *source.shape[1:])
        return torch.cat([companions, *edited]).repeat_interleave(self.batch, dim=0)

    def visible(self, rows: torch.Tensor) -> torch.Tensor:
        """Without companions: [source, edit 1, ..., edit n], `batch` rows each."""
        if self.trajectory != "shared":
            return rows
        return torch.cat([rows[self.of(0)], rows[self.of(self.first).start :]])

    def complete(self, visible: torch.Tensor) -> torch.Tensor:
        """What `visible` gave, [(1 + edits) * batch, ...], with the companions, which are on their edits' latents."""
        source, edits = visible[: self.batch], visible[self.batch :]
        return torch.cat([source, edits, edits]) if self.trajectory == "shared" else visible
