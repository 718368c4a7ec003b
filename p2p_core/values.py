"""Linear maps on the values of an attention call.

An edit of the map, `M = P W`, is an edit of the values, `M v = P (W v)`. Each `W` here can be applied to
values, and can say itself as a matrix, to which tests hold it.

Values are [rows, m, c]: m keys, c channels of all heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from .errors import EditError


class Values(Protocol):
    """A linear map on the keys' axis of values."""

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """`W v`, [rows, m, c]."""

    def dense(self, keys: int) -> torch.Tensor:
        """`W` for m = `keys`, float64 [m, m]."""


@dataclass(frozen=True)
class Scale:
    """`s v`: one factor for all keys."""

    factor: float

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        return values if self.factor == 1 else values * self.factor

    def dense(self, keys: int) -> torch.Tensor:
        return self.factor * torch.eye(keys, dtype=torch.float64)


@dataclass(frozen=True)
class Weigh:
    """`diag(w) v`: a factor for each token [n]. A prompt's keys may be tiled: m is a whole multiple of n."""

    weights: torch.Tensor

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        return values * self._tiled(values.shape[1])[:, None]

    def dense(self, keys: int) -> torch.Tensor:
        return torch.diag(self._tiled(keys).double())

    def _tiled(self, keys: int) -> torch.Tensor:
        return self.weights.repeat(copies(keys, len(self.weights)))


@dataclass(frozen=True)
class Mix:
    """`A v`: each of the source's tokens gets a mixture of the edit's, by a matrix [n_source, n_edit].

    Both prompts may be tiled to m keys. All copies of the edit's tokens have the same values; each copy of
    the source's has its share of the map, so every copy is given the whole value.
    """

    matrix: torch.Tensor

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        n_source, n_edit = self.matrix.shape
        tiles = copies(values.shape[1], n_source, n_edit)
        return (self.matrix @ values[:, :n_edit]).repeat(1, tiles, 1)

    def dense(self, keys: int) -> torch.Tensor:
        n_source, n_edit = self.matrix.shape
        tiles = copies(keys, n_source, n_edit)
        whole = torch.zeros(keys, keys, dtype=torch.float64)
        whole[:, :n_edit] = self.matrix.double().repeat(tiles, 1)
        return whole


@dataclass(frozen=True)
class Parts:
    """Another map for each part of the keys, block-diagonal: joint attention. Keys of no part get zero."""

    parts: Sequence[tuple[slice, Values]]

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        out = torch.zeros_like(values)
        for keys, change in self.parts:
            out[:, keys] = change(values[:, keys])
        return out

    def dense(self, keys: int) -> torch.Tensor:
        whole = torch.zeros(keys, keys, dtype=torch.float64)
        for some, change in self.parts:
            whole[some, some] = change.dense(len(range(keys)[some]))
        return whole


def copies(keys: int, *lengths: int) -> int:
    """How often the first of `lengths` goes into `keys`, all of them being whole parts of it.

    Raises:
        EditError: one is not.
    """
    if any(keys % length for length in lengths):
        raise EditError(
            "edit",
            f"the model attends to {keys} tokens, but the prompts of this edit have "
            f"{' and '.join(map(str, dict.fromkeys(lengths)))}. The encoded prompts were changed in length after they "
            "were aligned, for example by joining others to them.",
            "Join the texts in the prompts instead.",
        )
    return keys // lengths[0]
