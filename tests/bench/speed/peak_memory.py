"""How many bytes of tensors a piece of code holds at most."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def peak_bytes(call: Callable[[], object], device: torch.device) -> int:
    """The most that `call` has allocated at once beyond what was there before it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    with _Tracking() as tracking:
        call()
    return tracking.peak


class _Tracking(TorchDispatchMode):
    """On the CPU, which keeps no such count: storages that operations made, until their last tensor goes."""

    def __init__(self):
        super().__init__()
        self.peak = self._held = 0
        self._tensors: Counter[int] = Counter()
        self._made: dict[int, int] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._hold(tensor, given)
        return out

    def _hold(self, tensor: torch.Tensor, given: set[int]) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in given and key not in self._made:
            return  # a view of something that was there before
        if key not in self._made:
            self._made[key] = storage.nbytes()
            self._held += storage.nbytes()
            self.peak = max(self.peak, self._held)
        self._tensors[key] += 1
        weakref.finalize(tensor, self._let_go, key)

    def _let_go(self, key: int) -> None:
        self._tensors[key] -= 1
        if self._tensors[key] == 0:
            del self._tensors[key]
            self._held -= self._made.pop(key, 0)
