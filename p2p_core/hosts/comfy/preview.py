"""What is seen of a run while it is sampled."""

from __future__ import annotations

from collections.abc import Callable

import latent_preview
import torch

from ...rows import Rows


def side_by_side(predicted: torch.Tensor, batch: int) -> torch.Tensor:
    """The first picture of each prompt, [prompts * batch, ..., width] -> [1, ..., prompts * width]."""
    return torch.cat(list(predicted[::batch]), dim=-1)[None]


class Telling:
    """Tells a sampler's callback of each step, in the rows that others see.

    ComfyUI's own callback shows the first picture of a prediction, and keeps the last prediction as an output. So it
    is told of source and edits side by side, and at the end of the prediction as it is. Other callbacks may do
    anything with a prediction, and are told of it as it is.

    Attributes:
        predicted: the last prediction, [(1 + edits) * batch, ...]; None before the first.
    """

    def __init__(self, callback: Callable | None, rows: Rows):
        self.callback = callback
        self.rows = rows
        self.shows = getattr(callback, "__module__", None) == latent_preview.__name__
        self.predicted: torch.Tensor | None = None
        self._last: tuple = ()

    def step(self, i: int, x0: torch.Tensor, x: torch.Tensor, steps: int) -> None:
        """A sampler's callback: the number of the step, prediction and latents [rows, ...], the number of steps."""
        self.predicted = self.rows.visible(x0)
        self._last = i, self.predicted, self.rows.visible(x), steps
        if self.callback is not None:
            shown = side_by_side(self.predicted, self.rows.batch) if self.shows else self.predicted
            self.callback(i, shown, *self._last[2:])

    def end(self) -> None:
        """Once everything is sampled."""
        if self.shows and self._last:
            self.callback(*self._last)
