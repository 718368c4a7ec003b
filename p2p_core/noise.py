"""One noise for all rows of a run."""

from __future__ import annotations

from contextlib import contextmanager
from copy import copy

import torch
from torch.overrides import TorchFunctionMode, _get_current_function_mode

from .rows import Rows

_DRAWS = {torch.randn, torch.rand}
_DRAWS_LIKE = {torch.randn_like, torch.rand_like}


class SharedNoise(TorchFunctionMode):
    """While active, random tensors of the stacked latent's shape are drawn for the source and repeated.

    Samplers draw their noise for the whole batch, so a row's noise would depend on how many rows
    there are. Drawn this way it is what the source alone would get from the same generator, with any
    sampler, those of other packs and torchsde's Brownian trees included, and the same for each edit.

    Args:
        rows: rows of the stacked latent.
        batch: rows of the source, the first ones; divides `rows`.
        shape: the shape of one row.
    """

    def __init__(self, rows: int, batch: int, shape: tuple[int, ...]):
        super().__init__()
        self._stacked = (rows, *shape)
        self._source = (batch, *shape)
        self._repeats = (rows // batch, *[1] * len(shape))

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in _DRAWS and self._is_stacked(args, kwargs):
            options = {name: value for name, value in kwargs.items() if name != "size"}
            return func(self._source, **options).repeat(self._repeats)
        if func in _DRAWS_LIKE and tuple(args[0].shape) == self._stacked:
            return func(args[0][: self._source[0]], *args[1:], **kwargs).repeat(self._repeats)
        return func(*args, **kwargs)

    def _is_stacked(self, args, kwargs) -> bool:
        size = kwargs.get("size", args)
        size = size[0] if len(size) == 1 and not isinstance(size[0], int) else size
        return tuple(size) == self._stacked

    @contextmanager
    def paused(self):
        """Inactive during the model's own calls, which are many and draw no noise."""
        if _get_current_function_mode() is not self:
            # A mode that was entered after this one, such as `with torch.device(...)`, is not ours to leave.
            yield
            return
        self.__exit__(None, None, None)
        try:
            yield
        finally:
            self.__enter__()


class FreshNoise:
    """A new noise for every evaluation of a run of real pictures, apart from all that the sampler draws.

    Each picture has a generator of its own, seeded by the noise that it starts from: it gets the same noises
    whatever is sampled with it, and others for another seed.

    Args:
        first: the noise [batch, ...] that the pictures start from.
        seed: the run's; it tells runs apart whose first noise is none.
    """

    def __init__(self, first: torch.Tensor, seed: int = 0):
        self._shape = first.shape[1:]
        self._generators = [
            torch.Generator().manual_seed((seed + int(one.float().view(torch.int32).sum())) % 2**63)
            for one in first.detach().cpu().contiguous()
        ]

    def copy(self) -> FreshNoise:
        """One that draws what this one would from here on; neither moves the other."""
        twin = copy(self)
        twin._generators = [torch.Generator().set_state(own.get_state()) for own in self._generators]
        return twin

    def draw(self) -> torch.Tensor:
        """[batch, ...], float32 on the CPU."""
        return torch.stack([torch.randn(self._shape, generator=own) for own in self._generators])


def moved_to(
    source: torch.Tensor, latents: torch.Tensor, rows: Rows, now_at: torch.Tensor | None = None
) -> torch.Tensor:
    """Latents [rows, ...], each picture's all moved alike, so that its source is at `source` [batch, ...].

    `now_at`: where it is, if it has no row.

    FlowEdit (Kulikov et al. 2024) asks its model there: at a source with fresh noise, and at the edit as far
    from it as the two latents are from each other.
    """
    now_at = latents[rows.of(rows.source)] if now_at is None else now_at.to(latents)
    return latents + rows.tile(source - now_at)
