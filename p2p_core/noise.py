"""One noise for all rows of a run."""

from __future__ import annotations

from contextlib import contextmanager

import torch
from torch.overrides import TorchFunctionMode, _get_current_function_mode

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
